//! The conditions and demands of a rule in, their compiled form out.

use super::{Reading, counting, values};
use crate::decide::Action;
use crate::findings::Severity;
use crate::policy::fields::{ALLOWED, LEVELS};
use crate::policy::node::{Kind, Node};
use crate::policy::prefix::Prefix;
use crate::policy::reader::{Fields, Reader, quoted};
use crate::policy::{
    Allowed, Forbidden, ImagePatterns, Limit, MAX_TEXT, MAX_VALUE, MAX_VALUES, Narrowing,
    Population, Prefixes, Rule,
};

pub(in crate::policy) const ON_UNAVAILABLE: [(&str, Action); 3] =
    [("allow", Action::Allow), ("audit", Action::Audit), ("deny", Action::Deny)];

const LIMITS: [(&str, Population); 3] = [
    ("maxAllowed", Population::All),
    ("maxAllowedFixable", Population::Fixable),
    ("maxAllowedUnfixable", Population::Unfixable),
];

impl Reading {
    /// Reads everything of a rule that is not its name, action, scope and exemptions.
    pub(super) fn conditions(
        &mut self,
        reader: &mut Reader<'_>,
        fields: &Fields<'_>,
        what: &str,
        rule: &mut Rule,
    ) {
        let of = |name: &str| format!("`{name}` of {what}");
        for (name, population) in LIMITS {
            if let Some(node) = fields.get(name) {
                rule.limits.extend(limits(reader, node, &of(name), population));
            }
        }
        if let Some(node) = fields.get("count") {
            let narrowing = counting::narrowing(reader, node, &of("count"));
            counting::warn(reader, node, &narrowing, what);
            rule.narrowing = self.narrowing(narrowing);
        }
        self.vulnerabilities(reader, fields, what, rule);
        if let Some(node) = fields.get("allowedImages") {
            let patterns = values::patterns(reader, node, &of("allowedImages"));
            rule.allowed_images = ImagePatterns::new(patterns);
        }
        if let Some(node) = fields.get("trustedImages") {
            let patterns = values::patterns(reader, node, &of("trustedImages"));
            if node.is_empty_list() {
                let message = format!("{} is empty: name a pattern", of("trustedImages"));
                reader.note(node.place, message);
            }
            rule.trusted_images = Some(ImagePatterns::new(patterns));
        }
        if let Some(node) = fields.get("blockUnscannedImages") {
            let value = reader.boolean(node, &of("blockUnscannedImages"));
            rule.block_unscanned = value.unwrap_or_default();
        }
        if let Some(node) = fields.get("maxFindingsAge") {
            rule.max_age = values::age(reader, node, &of("maxFindingsAge"));
        }
        if let Some(node) = fields.get("onUnavailable") {
            let value = reader.word(node, &of("onUnavailable"), &ON_UNAVAILABLE);
            rule.on_unavailable = value.unwrap_or(Action::Audit);
        }
        if let Some(node) = fields.get("unsupportedRegistries") {
            rule.unsupported = registries(reader, node, &of("unsupportedRegistries"));
        }
    }

    /// The place of a narrowing among those of the policy; the first looks at everything.
    fn narrowing(&mut self, narrowing: Narrowing) -> usize {
        let list = &mut self.parts.narrowings;
        if list.is_empty() {
            list.push(Narrowing::default());
        }
        if narrowing.is_all() {
            return 0;
        }
        *self.narrowings.entry(narrowing).or_insert_with_key(|narrowing| {
            list.push(narrowing.clone());
            list.len() - 1
        })
    }

    fn vulnerabilities(
        &mut self,
        reader: &mut Reader<'_>,
        fields: &Fields<'_>,
        what: &str,
        rule: &mut Rule,
    ) {
        if let Some(node) = fields.get("forbiddenVulnerabilities") {
            let what = format!("`forbiddenVulnerabilities` of {what}");
            for item in reader.list(node, &what, MAX_VALUES) {
                if let Some(id) = values::id(reader, item, &what) {
                    let key = self.parts.ids.intern(id);
                    rule.forbidden.push(Forbidden { id: id.into(), key });
                }
            }
            // By number, and each once, as it was written first.
            rule.forbidden.sort_by_key(|forbidden| forbidden.key);
            rule.forbidden.dedup_by_key(|forbidden| forbidden.key);
        }
        if let Some(node) = fields.get("allowedVulnerabilities") {
            let what = format!("`allowedVulnerabilities` of {what}");
            for item in reader.list(node, &what, MAX_VALUES) {
                rule.allowed.extend(self.allowed(reader, item, &what));
            }
        }
    }

    fn allowed(&mut self, reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Allowed> {
        if !matches!(node.kind, Kind::Map(_)) {
            let id = values::id(reader, node, what)?;
            return Some(Allowed { key: self.parts.ids.intern(id), until: None });
        }
        let fields = reader.fields(node, &format!("an item of {what}"), &ALLOWED)?;
        if let Some(node) = fields.get("reason") {
            reader.text(node, &format!("`reason` in {what}"), MAX_TEXT);
        }
        let until = match fields.get("until") {
            Some(node) => Some(values::until(reader, node, &format!("`until` in {what}"))?),
            None => None,
        };
        let id = values::id(reader, fields.get("id")?, what)?;
        if let Some(until) = until {
            self.ends(reader, format!("{} in {what}", quoted(id)), until, node);
        }
        Some(Allowed { key: self.parts.ids.intern(id), until })
    }
}

fn limits(reader: &mut Reader<'_>, node: &Node, what: &str, population: Population) -> Vec<Limit> {
    let levels =
        [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Unknown];
    let Some(fields) = reader.fields(node, what, &LEVELS) else {
        return Vec::new();
    };
    let mut limits = Vec::new();
    for level in levels {
        if let Some(node) = fields.get(level.as_str()) {
            let limit = reader.count(node, &format!("`{level}` in {what}"));
            limits.extend(limit.map(|max| Limit { population, level, max }));
        }
    }
    limits
}

fn registries(reader: &mut Reader<'_>, node: &Node, what: &str) -> Prefixes {
    let mut prefixes = Vec::new();
    for item in reader.list(node, what, MAX_VALUES) {
        let Some(text) = reader.text(item, &format!("an item of {what}"), MAX_VALUE) else {
            continue;
        };
        match Prefix::of_registry(text) {
            Some(prefix) => prefixes.push(prefix),
            None => {
                let message = format!(
                    "{} is not a registry: write its host, or its host and a path, `reg.io/team`",
                    quoted(text)
                );
                reader.note(item.place, message);
            }
        }
    }
    Prefixes(prefixes)
}
