//! What is allowed but hardly meant: scopes that nothing is in, exemptions that never apply or soon
//! end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::labels::{Operator, Selector};
use super::node::Place;
use super::reader::push;
use super::scope::{Field, Scope, Target, Test};
use super::{BreakGlass, Exemption, Parts, Problem, Rule};
use crate::decide::{Action, Context, instant};
use crate::image::Reference;

/// How long before its end an exemption is warned of: 14 days.
const NOTICE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// The most values that are tried to find one that all matchers of a field let pass.
const MAX_TRIED: usize = 100;
/// The most pairs of a rule and an exemption that are compared, so that loading stays quick.
const MAX_PAIRS: usize = 200_000;

/// A warning that depends on the time.
#[derive(Debug, Clone)]
pub(super) enum Timed {
    /// Something ends.
    Ends { what: Box<str>, until: OffsetDateTime, file: Arc<str>, place: Place },
    /// Something is doubtful before an instant.
    Before(OffsetDateTime, Problem),
}

impl Timed {
    /// The warning at `now`, if there is one.
    pub(super) fn at(&self, now: OffsetDateTime) -> Option<Problem> {
        let (what, until, file, place) = match self {
            Self::Before(until, problem) => return (now < *until).then(|| problem.clone()),
            Self::Ends { what, until, file, place } => (what, *until, file, place),
        };
        let at = instant(until);
        let message = if until <= now {
            format!("{what} ended at {at} and holds no longer: remove it, or renew it")
        } else if time::Duration::try_from(NOTICE).is_ok_and(|notice| until - now <= notice) {
            let days = (until - now).whole_days();
            format!("{what} ends at {at}, in {days} days: renew it if it must hold longer")
        } else {
            return None;
        };
        let Place { line, column } = *place;
        Some(Problem { file: file.to_string(), line, column, message })
    }
}

/// Why nothing can be in `scope`; `None` where something can, or where that is not known.
pub(super) fn impossible(scope: &Scope) -> Option<String> {
    let fields: HashSet<Field> = scope.matchers.iter().map(|matcher| matcher.field).collect();
    let mut fields: Vec<Field> = fields.into_iter().collect();
    fields.sort_unstable();
    for field in fields {
        if !can_match(scope, field) {
            return Some(match field {
                Field::Workload => "a workload is written as `Kind/name`".to_owned(),
                _ => format!("no {} passes all its matchers", field.as_str().replace('_', " ")),
            });
        }
    }
    scope.selectors.iter().find_map(|(field, selector)| {
        let key = impossible_key(selector)?;
        let field = field.as_str().replace('_', " ");
        Some(format!("no {field} pass what is asked of the label `{key}`"))
    })
}

/// Whether some value of `field` can pass all matchers of `scope`. A value that one of them names is
/// shown to the others.
fn can_match(scope: &Scope, field: Field) -> bool {
    let mut named = scope.matchers.iter().filter(|matcher| matcher.field == field);
    let mut equals = named.clone().filter_map(|matcher| match &matcher.test {
        Test::Equals(values) => Some(values),
        _ => None,
    });
    let Some(values) = equals.next() else {
        return true;
    };
    match field {
        // They have several spellings, of which each matcher may look at another.
        Field::Image => return true,
        Field::Workload => return values.iter().any(|value| value.contains('/')),
        _ if named.nth(1).is_none() || values.len() > MAX_TRIED => return true,
        _ => {}
    }
    let matchers = scope.matchers.iter().filter(|matcher| matcher.field == field);
    let alone = Scope { matchers: matchers.cloned().collect(), ..Scope::default() };
    values.iter().any(|value| {
        let (image, ctx) = (sample(field, value), context(field, value));
        image.is_none_or(|image| alone.covers(&Target::new(&image, &ctx)))
    })
}

/// An image whose `field` is `value`; `None` if there is none.
fn sample(field: Field, value: &str) -> Option<Reference> {
    match field {
        Field::Registry => format!("{value}/x/x").parse().ok(),
        Field::Repository => value.parse().ok(),
        _ => "x".parse().ok(),
    }
}

/// A place whose `field` is `value`.
fn context(field: Field, value: &str) -> Context {
    let mut ctx = Context::default();
    let text = match field {
        Field::Provider => &mut ctx.provider,
        Field::Account => &mut ctx.account,
        Field::Region => &mut ctx.region,
        Field::Cluster => &mut ctx.cluster,
        Field::Namespace => &mut ctx.namespace,
        Field::Pod => &mut ctx.pod,
        Field::ServiceAccount => &mut ctx.service_account,
        Field::Container => &mut ctx.container,
        _ => return ctx,
    };
    value.clone_into(text);
    ctx
}

/// A key of which the requirements contradict each other.
fn impossible_key(selector: &Selector) -> Option<&str> {
    /// What is asked of one key.
    #[derive(Default)]
    struct Asked<'s> {
        one_of: Option<HashSet<&'s str>>,
        none_of: HashSet<&'s str>,
        present: bool,
        absent: bool,
    }
    let mut keys: HashMap<&str, Asked<'_>> = HashMap::new();
    for requirement in &selector.requirements {
        let asked = keys.entry(&requirement.key).or_default();
        let values = requirement.values.iter().map(String::as_str);
        match requirement.operator {
            Operator::In => match &mut asked.one_of {
                Some(kept) => {
                    let values: HashSet<_> = values.collect();
                    kept.retain(|value| values.contains(value));
                }
                none => *none = Some(values.collect()),
            },
            Operator::NotIn => asked.none_of.extend(values),
            Operator::Exists => asked.present = true,
            Operator::DoesNotExist => asked.absent = true,
        }
    }
    let contradicts = |asked: &Asked<'_>| {
        let present = asked.present || asked.one_of.is_some();
        let none_left = |values: &HashSet<&str>| values.is_subset(&asked.none_of);
        (present && asked.absent) || asked.one_of.as_ref().is_some_and(none_left)
    };
    keys.iter().filter(|(_, asked)| contradicts(asked)).map(|(key, _)| *key).min()
}

/// Adds a warning for each exemption and each break-glass entry that can never apply.
pub(super) fn warn(parts: &mut Parts) {
    let Parts { rules, exemptions, break_glass, warnings, .. } = parts;
    let by_name: HashMap<&str, &Rule> = rules.iter().map(|rule| (&*rule.name, rule)).collect();
    let enabled: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
    let mut pairs = MAX_PAIRS;
    for exemption in exemptions.iter() {
        let named = exemption.rules.as_ref().map(|names| named(names, &by_name));
        let rules = named.as_deref().unwrap_or(&enabled);
        let Some(why) = never_applies(exemption, rules, &mut pairs) else {
            continue;
        };
        let (file, place) = &exemption.place;
        let message = format!("exemption `{}` never applies: {why}", exemption.name);
        push(warnings, file, *place, message);
    }
    for entry in break_glass.iter() {
        let named = entry.rules.as_ref().map(|names| named(names, &by_name));
        let rules = named.as_deref().unwrap_or(&enabled);
        let Some(why) = never_lifts(entry, rules, &mut pairs) else {
            continue;
        };
        let (file, place) = &entry.place;
        let message = format!("break-glass entry `{}` never applies: {why}", entry.name);
        push(warnings, file, *place, message);
    }
}

fn named<'r>(names: &[Arc<str>], by_name: &HashMap<&str, &'r Rule>) -> Vec<&'r Rule> {
    names.iter().filter_map(|name| by_name.get(&**name)).copied().collect()
}

fn never_applies(
    exemption: &Exemption,
    rules: &[&Rule],
    pairs: &mut usize,
) -> Option<&'static str> {
    // That no rule is enabled at all is said once.
    if rules.is_empty() {
        return None;
    }
    if !rules.iter().any(|rule| rule.enabled) {
        return Some("no rule that it is for is enabled");
    }
    let counts = |rule: &&Rule| {
        rule.enabled
            && (exemption.exempts_evidence()
                || !rule.limits.is_empty()
                || !rule.forbidden.is_empty())
    };
    if !rules.iter().any(counts) {
        return Some("it covers only vulnerabilities, which no rule that it is for counts");
    }
    let counting = rules.iter().filter(|rule| counts(rule));
    all_exclude(&exemption.scope, counting, pairs)
        .then_some("nothing is in its scope and in that of a rule that it is for")
}

fn never_lifts(entry: &BreakGlass, rules: &[&Rule], pairs: &mut usize) -> Option<&'static str> {
    let denies = |rule: &&Rule| {
        rule.enabled && (rule.action == Action::Deny || rule.on_unavailable == Action::Deny)
    };
    if rules.is_empty() {
        return None;
    }
    if !rules.iter().any(denies) {
        return Some("no rule that it is for denies");
    }
    all_exclude(&entry.scope, rules.iter().filter(|rule| denies(rule)), pairs)
        .then_some("nothing is in its scope and in that of a rule that it is for")
}

/// Whether nothing is in `scope` and in that of one of `rules`, as far as that is known within
/// `pairs` more comparisons.
fn all_exclude<'r>(
    scope: &Scope,
    rules: impl Iterator<Item = &'r &'r Rule>,
    pairs: &mut usize,
) -> bool {
    for rule in rules {
        let Some(left) = pairs.checked_sub(1) else {
            return false;
        };
        *pairs = left;
        if !scope.excludes(&rule.scope) {
            return false;
        }
    }
    true
}
