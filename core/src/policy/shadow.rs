//! Rules in, warnings out about those that may keep another from denying.
//!
//! Under `firstMatch` the rule that is fulfilled first decides. So a rule that only audits can let
//! pass what another, fulfilled by a later vulnerability, would have denied. Each warning tells of
//! findings with which that happens.

mod example;
mod sample;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use time::OffsetDateTime;

use self::example::{Example, Group, Search};
#[cfg(test)]
pub(super) use self::sample::NOW as EXAMPLE_NOW;
use super::doubts::{self, Timed};
use super::node::Place;
use super::reader::push;
use super::scope::{Field, Scope, Test, Values};
use super::{IdKey, Ids, MAX_PROBLEMS, Narrowing, Parts, Population, Problem, Rule};
use crate::decide::Action;
use crate::findings::Severity;

/// The most pairs of rules that are compared, so that loading stays quick.
const MAX_PAIRS: usize = 1_000_000;
/// The most other deny rules that an example is held against.
const MAX_OTHERS: usize = 32;

/// An audit rule, the deny rule that it can keep from denying, and findings with which it does.
pub(super) struct Shadow<'r> {
    pub(super) audit: &'r Rule,
    pub(super) deny: &'r Rule,
    pub(super) example: Rc<Example>,
}

/// Adds a warning for each pair, as far as [`MAX_PROBLEMS`] allows.
pub(super) fn warn(parts: &mut Parts) {
    let Parts { rules, narrowings, ids, warnings, timed, .. } = parts;
    let (shadows, looked) = find(rules, narrowings, ids);
    for shadow in shadows {
        let problem = shadow.problem();
        match shadow.example.until {
            Some(until) => timed.push(Timed::Before(until, problem)),
            None if warnings.len() < MAX_PROBLEMS => warnings.push(problem),
            None => {}
        }
    }
    if looked == Looked::AtSome {
        let message = "there are too many rules to compare each audit rule with each deny rule: \
                       set `evaluation: denyOverrides` to let every denial win";
        push(warnings, "policy", Place::default(), message.to_owned());
    }
}

/// At how many pairs of rules it was looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// At all, or at enough to find [`MAX_PROBLEMS`].
    AtAll,
    AtSome,
}

/// At most [`MAX_PROBLEMS`] pairs, in the order of the files.
pub(super) fn find<'r>(
    rules: &'r [Rule],
    narrowings: &[Narrowing],
    ids: &Ids,
) -> (Vec<Shadow<'r>>, Looked) {
    let pairs = Pairs::new(rules);
    let mut search = Search::new(narrowings, ids);
    let mut found: HashMap<_, Option<Rc<Example>>> = HashMap::new();
    let mut shadows = Vec::new();
    let mut left = MAX_PAIRS;
    for audit in &pairs.audits {
        let others = pairs.others(audit);
        for deny in pairs.against(audit) {
            if shadows.len() >= MAX_PROBLEMS {
                return (shadows, Looked::AtAll);
            }
            if left == 0 || search.is_spent() {
                return (shadows, Looked::AtSome);
            }
            left -= 1;
            if audit.rule.scope.excludes(&deny.rule.scope) {
                continue;
            }
            let classes: Vec<usize> = others.iter().map(|other| other.class).collect();
            let example = found.entry((audit.class, deny.class, classes)).or_insert_with(|| {
                let others: Vec<_> = others.iter().map(|other| other.rule).collect();
                search.find(audit.rule, deny.rule, &others).map(Rc::new)
            });
            if let Some(example) = example {
                let (audit, deny, example) = (audit.rule, deny.rule, Rc::clone(example));
                shadows.push(Shadow { audit, deny, example });
            }
        }
    }
    (shadows, Looked::AtAll)
}

impl Shadow<'_> {
    fn problem(&self) -> Problem {
        let group = |group: &Group| {
            let Group { finding, told, count, .. } = group;
            let noun = if *count == 1 { "vulnerability" } else { "vulnerabilities" };
            format!("{count} {} {noun}{told}", finding.severity)
        };
        let groups: Vec<String> = self.example.groups.iter().map(group).collect();
        let (audited, denied) = (self.example.audited + 1, self.example.denied + 1);
        let (first, later) = (&self.audit.name, &self.deny.name);
        let (file, Place { line, column }) = &self.audit.place;
        Problem {
            file: file.to_string(),
            line: *line,
            column: *column,
            message: format!(
                "rule `{first}` can let pass what rule `{later}` denies: of {} in an image, number \
                 {audited} fulfils `{first}`, which audits, and number {denied}, at which \
                 `{later}` denies, is never reached; set `evaluation: denyOverrides` to let the \
                 denial win",
                groups.join(" and ")
            ),
        }
    }
}

/// Which rules are to be compared with each other.
struct Pairs<'r> {
    audits: Vec<Compared<'r>>,
    denies: Vec<Compared<'r>>,
    /// The field by whose values the deny rules are listed.
    field: Field,
    by_value: HashMap<&'r str, Vec<usize>>,
    /// Those that do not say which values of it they are for.
    anywhere: Vec<usize>,
}

/// A rule that counts findings.
struct Compared<'r> {
    rule: &'r Rule,
    /// Rules of one class ask the same of findings.
    class: usize,
    /// Rules of one place have the same scope.
    place: usize,
}

impl<'r> Pairs<'r> {
    fn new(rules: &'r [Rule]) -> Self {
        let (mut classes, mut places) = (HashMap::new(), HashMap::new());
        let (mut audits, mut denies) = (Vec::new(), Vec::new());
        for rule in rules {
            let counts_findings = !rule.limits.is_empty() || !rule.forbidden.is_empty();
            if !rule.enabled || !counts_findings || doubts::impossible(&rule.scope).is_some() {
                continue;
            }
            let (next_class, next_place) = (classes.len(), places.len());
            let class = *classes.entry(Class::of(rule)).or_insert(next_class);
            let place = *places.entry(place_key(&rule.scope)).or_insert(next_place);
            let list = if rule.action == Action::Deny { &mut denies } else { &mut audits };
            list.push(Compared { rule, class, place });
        }
        let field = commonest(&denies);
        let mut by_value: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut anywhere = Vec::new();
        for (n, deny) in denies.iter().enumerate() {
            match equals(&deny.rule.scope, field) {
                Some(values) => {
                    for value in values.iter() {
                        by_value.entry(value).or_default().push(n);
                    }
                }
                None => anywhere.push(n),
            }
        }
        Self { audits, denies, field, by_value, anywhere }
    }

    /// The deny rules that may be about a container that `audit` is about, in the order of the files.
    fn against(&self, audit: &Compared<'_>) -> impl Iterator<Item = &Compared<'r>> {
        let places = match equals(&audit.rule.scope, self.field) {
            None => (0..self.denies.len()).collect(),
            Some(values) => {
                let named = values.iter().filter_map(|value| self.by_value.get(value)).flatten();
                let mut places: Vec<usize> = named.chain(&self.anywhere).copied().collect();
                places.sort_unstable();
                places.dedup();
                places
            }
        };
        places.into_iter().filter_map(|place| self.denies.get(place))
    }

    /// Deny rules that are about every container that `audit` is about, one of each class.
    fn others(&self, audit: &Compared<'_>) -> Vec<&Compared<'r>> {
        let scope = &audit.rule.scope;
        let near = equals(scope, self.field).and_then(|values| values.iter().next());
        let near = near.and_then(|value| self.by_value.get(value)).into_iter().flatten();
        let near = near.chain(&self.anywhere).filter_map(|place| self.denies.get(*place));
        let surely = near.filter(|deny| {
            let Rule { scope, unsupported, allowed_images, .. } = deny.rule;
            let everywhere = scope.matchers.is_empty() && scope.selectors.is_empty();
            (everywhere || deny.place == audit.place)
                && unsupported.0.is_empty()
                && allowed_images.is_empty()
        });
        let mut classes = HashSet::new();
        surely.filter(|deny| classes.insert(deny.class)).take(MAX_OTHERS).collect()
    }
}

/// What a rule asks of findings.
#[derive(PartialEq, Eq, Hash)]
struct Class {
    limits: Vec<(Population, Severity, u32)>,
    narrowing: usize,
    forbidden: Vec<IdKey>,
    allowed: Vec<(IdKey, Option<OffsetDateTime>)>,
}

impl Class {
    fn of(rule: &Rule) -> Self {
        Self {
            limits: rule.limits.iter().map(|l| (l.population, l.level, l.max)).collect(),
            narrowing: rule.narrowing,
            forbidden: rule.forbidden.iter().map(|forbidden| forbidden.key).collect(),
            allowed: rule.allowed.iter().map(|allowed| (allowed.key, allowed.until)).collect(),
        }
    }
}

/// A text that is the same for scopes that are written alike.
fn place_key(scope: &Scope) -> String {
    let matchers = scope.matchers.iter().map(|matcher| match &matcher.test {
        Test::Equals(values) | Test::NotEquals(values) => {
            let mut sorted: Vec<_> = values.iter().collect();
            sorted.sort_unstable();
            let not = matches!(&matcher.test, Test::NotEquals(_));
            format!("{:?} {not} {sorted:?}", matcher.field)
        }
        test => format!("{:?} {test:?}", matcher.field),
    });
    let selectors = scope.selectors.iter().map(|selector| format!("{selector:?}"));
    matchers.chain(selectors).collect::<Vec<_>>().join("\n")
}

/// The values of `field` that a scope is for, where it says so.
fn equals(scope: &Scope, field: Field) -> Option<&Values> {
    scope.matchers.iter().find_map(|matcher| match &matcher.test {
        Test::Equals(values) if matcher.field == field => Some(values),
        _ => None,
    })
}

/// The field with one spelling of which most rules say which values they are for.
fn commonest(rules: &[Compared<'_>]) -> Field {
    let mut counts: HashMap<Field, usize> = HashMap::new();
    for matcher in rules.iter().flat_map(|compared| &compared.rule.scope.matchers) {
        // Of the others, two values may be one.
        let one_spelling = !matches!(matcher.field, Field::Image | Field::Workload);
        if one_spelling && matches!(matcher.test, Test::Equals(_)) {
            *counts.entry(matcher.field).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(field, count)| (*count, *field));
    most.map_or(Field::Namespace, |(field, _)| field)
}
