//! Exemptions and break-glass entries in, their compiled form out.

use std::sync::Arc;

use super::scopes::{self, Operator};
use super::{Reading, names, values};
use crate::image::Digest;
use crate::policy::doubts;
use crate::policy::exemption::{IdTest, TextTest};
use crate::policy::fields::{BREAK_GLASS, EXEMPT_MATCHER, EXEMPTION, OWN_EXEMPTION};
use crate::policy::node::Node;
use crate::policy::reader::{Fields, Reader, quoted};
use crate::policy::scope::{Field, Matcher, Scope};
use crate::policy::{BreakGlass, Exemption, MAX_EXEMPTIONS, MAX_TEXT, MAX_VALUES, Rule};

/// What a matcher of an exemption looks at.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) enum Exempt {
    Vulnerability,
    Digest,
    Context(Field),
}

pub(in crate::policy) const EXEMPT: [(&str, Exempt); 8] = [
    ("vulnerability", Exempt::Vulnerability),
    ("image", Exempt::Digest),
    ("repository", Exempt::Context(Field::Repository)),
    ("registry", Exempt::Context(Field::Registry)),
    ("namespace", Exempt::Context(Field::Namespace)),
    ("pod", Exempt::Context(Field::Pod)),
    ("workload", Exempt::Context(Field::Workload)),
    ("cluster", Exempt::Context(Field::Cluster)),
];

/// An exemption says what it covers, never what it does not.
pub(in crate::policy) const EXEMPT_OPERATORS: [(&str, Operator); 4] = [
    ("equals", Operator::Equals),
    ("startsWith", Operator::StartsWith),
    ("endsWith", Operator::EndsWith),
    ("contains", Operator::Contains),
];

/// What the matchers of an exemption ask.
#[derive(Debug, Default)]
struct Matched {
    scope: Scope,
    images: Vec<TextTest>,
    vulnerabilities: Vec<IdTest>,
}

impl Reading {
    /// The exemptions of `rule` alone, or those of the policy.
    pub(super) fn exemptions(&mut self, reader: &mut Reader<'_>, node: &Node, rule: Option<&Rule>) {
        let what = match rule {
            Some(rule) => format!("`exemptions` of rule `{}`", rule.name),
            None => "`exemptions`".to_owned(),
        };
        for node in reader.list(node, &what, MAX_EXEMPTIONS) {
            if self.exemptions.len() >= MAX_EXEMPTIONS {
                let message =
                    format!("there are more than the {MAX_EXEMPTIONS} exemptions allowed");
                return reader.note(node.place, message);
            }
            if let Some(exemption) = self.exemption(reader, node, rule) {
                self.parts.exemptions.push(Arc::new(exemption));
            }
        }
    }

    fn exemption(
        &mut self,
        reader: &mut Reader<'_>,
        node: &Node,
        rule: Option<&Rule>,
    ) -> Option<Exemption> {
        let mapping = if rule.is_some() { &OWN_EXEMPTION } else { &EXEMPTION };
        let what = names::called(node, "exemption");
        let fields = reader.fields(node, &what, mapping)?;
        let name = self.exemptions.read(reader, &fields, "exemption");
        let rules = match (rule, fields.get("rules")) {
            (Some(rule), _) => Some(vec![Arc::clone(&rule.name)]),
            (None, Some(node)) => Some(self.mentions(reader, node, &what)),
            (None, None) => None,
        };
        let matched = self.matched(reader, &fields, &what);
        let instant = |reader: &mut Reader<'_>, name: &str, read: ReadInstant| {
            let node = fields.get(name)?;
            read(reader, node, &format!("`{name}` of {what}"))
        };
        let from = instant(reader, "from", values::from);
        let until = instant(reader, "until", values::until);
        if let (Some(from), Some(until), Some(node)) = (from, until, fields.get("until"))
            && until <= from
        {
            let message = format!("`until` of {what} is not after its `from`: it would never hold");
            reader.note(node.place, message);
        }
        let until_fixed = fields
            .get("untilFixed")
            .and_then(|node| reader.boolean(node, &format!("`untilFixed` of {what}")));
        let mut text = |name: &str| {
            let node = fields.get(name)?;
            reader.text(node, &format!("`{name}` of {what}"), MAX_TEXT).map(Box::from)
        };
        let (owner, reason, ticket) = (text("owner"), text("reason"), text("ticket"));
        if let Some(why) = doubts::impossible(&matched.scope) {
            reader.warn(node.place, format!("nothing is in the scope of {what}: {why}"));
        }
        if let Some(until) = until {
            self.ends(reader, what, until, node);
        }
        Some(Exemption {
            name: name?,
            owner: owner?,
            reason: reason?,
            ticket,
            from,
            until,
            until_fixed: until_fixed.unwrap_or_default(),
            rules,
            scope: matched.scope,
            images: matched.images,
            vulnerabilities: matched.vulnerabilities,
            place: (Arc::clone(reader.file), node.place),
        })
    }

    fn matched(&mut self, reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Matched {
        let mut matched = Matched::default();
        let Some(node) = fields.get("match") else {
            return matched;
        };
        let items = reader.list(node, &format!("`match` of {what}"), MAX_VALUES);
        if node.is_empty_list() {
            let message = format!("`match` of {what} is empty: name at least one matcher");
            reader.note(node.place, message);
        }
        let what = format!("a matcher of {what}");
        for item in items {
            let read =
                scopes::matcher(reader, item, &what, &EXEMPT_MATCHER, &EXEMPT, &EXEMPT_OPERATORS);
            match read {
                Some((Exempt::Vulnerability, operator, values)) => {
                    let test = self.vulnerability(reader, operator, &values, &what);
                    matched.vulnerabilities.push(test);
                }
                Some((Exempt::Digest, operator, values)) => {
                    matched.images.push(digests(reader, operator, &values));
                }
                Some((Exempt::Context(field), operator, values)) => {
                    let test = scopes::test(reader, field, operator, &values);
                    matched.scope.matchers.push(Matcher { field, test });
                }
                None => {}
            }
        }
        matched
    }

    fn vulnerability(
        &mut self,
        reader: &mut Reader<'_>,
        operator: Operator,
        values: &[(&Node, &str)],
        what: &str,
    ) -> IdTest {
        let ids: Vec<&str> =
            values.iter().filter_map(|(node, _)| values::id(reader, node, what)).collect();
        let upper = ids.iter().map(|id| Box::<str>::from(id.to_ascii_uppercase()));
        match text_test(operator, Vec::new()) {
            TextTest::Equals(_) => {
                IdTest::Equals(upper.map(|id| (self.parts.ids.intern(&id), id)).collect())
            }
            _ => IdTest::Text(text_test(operator, upper.collect())),
        }
    }

    pub(super) fn break_glass(&mut self, reader: &mut Reader<'_>, node: &Node) {
        for node in reader.list(node, "`breakGlass`", MAX_EXEMPTIONS) {
            if self.break_glass.len() >= MAX_EXEMPTIONS {
                let message =
                    format!("there are more than the {MAX_EXEMPTIONS} break-glass entries allowed");
                return reader.note(node.place, message);
            }
            let what = names::called(node, "break-glass entry");
            let Some(fields) = reader.fields(node, &what, &BREAK_GLASS) else {
                continue;
            };
            let name = self.break_glass.read(reader, &fields, "break-glass entry");
            let scope = fields.get("scope").map(|node| scopes::scope(reader, node, &what));
            let rules = fields.get("rules").map(|node| self.mentions(reader, node, &what));
            if let Some(name) = name {
                let scope = scope.unwrap_or_default();
                let place = (Arc::clone(reader.file), node.place);
                self.parts.break_glass.push(BreakGlass { name, scope, rules, place });
            }
        }
    }
}

type ReadInstant = fn(&mut Reader<'_>, &Node, &str) -> Option<time::OffsetDateTime>;

/// Values of a digest, or of parts of one.
fn digests(reader: &mut Reader<'_>, operator: Operator, values: &[(&Node, &str)]) -> TextTest {
    let mut texts = Vec::with_capacity(values.len());
    for (node, text) in values {
        let lower = text.to_ascii_lowercase();
        let hex = lower.strip_prefix("sha256:").unwrap_or(&lower);
        let is_part = hex.len() <= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        let good = match operator {
            Operator::Equals => lower.parse::<Digest>().is_ok(),
            Operator::StartsWith => is_part && lower.starts_with("sha256:"),
            _ => is_part,
        };
        if good {
            texts.push(lower.into());
        } else {
            let message = format!(
                "{} is not a digest: write it in full, `sha256:…`; to exempt by name, match \
                 `repository`",
                quoted(text)
            );
            reader.note(node.place, message);
        }
    }
    text_test(operator, texts)
}

fn text_test(operator: Operator, texts: Vec<Box<str>>) -> TextTest {
    match operator {
        Operator::StartsWith => TextTest::StartsWith(texts),
        Operator::EndsWith => TextTest::EndsWith(texts),
        Operator::Contains => TextTest::Contains(texts),
        // There is no `notEquals` of an exemption.
        Operator::Equals | Operator::NotEquals => TextTest::Equals(texts),
    }
}
