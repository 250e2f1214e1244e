//! An audit rule and a deny rule in, findings at which the first keeps the second from denying out.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use time::OffsetDateTime;

use super::sample::{Kind, TellsFix, counts, kinds};
use crate::findings::{Finding, MAX_FINDINGS, Severity};
use crate::policy::{IdKey, Ids, Limit, Narrowing, Population, Rule};

/// The most vulnerabilities of one list that are tried.
const MAX_NAMED: usize = 8;
/// The most examples that are tried for all rules, so that loading stays quick.
const MAX_TRIED: usize = 200_000;

/// Findings of which an audit rule keeps a deny rule from denying.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Example {
    /// In the order of the walk.
    pub(super) groups: Vec<Group>,
    /// The place in the walk of the finding that fulfils the audit rule, from 0.
    pub(super) audited: usize,
    /// And of the one that would fulfil the deny rule.
    pub(super) denied: usize,
    /// The instant up to which this is so.
    pub(super) until: Option<OffsetDateTime>,
}

#[cfg(test)]
impl Example {
    /// All findings, of packages of their own.
    pub(in crate::policy) fn findings(&self) -> Vec<Finding> {
        let all = self.groups.iter().flat_map(|group| {
            (0..group.count).map(|n| {
                let package = Some(format!("package-{n}").into());
                Finding { package, ..group.finding.clone() }
            })
        });
        all.collect()
    }
}

/// So many findings of one kind.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Group {
    pub(super) finding: Finding,
    pub(super) told: String,
    key: Option<IdKey>,
    /// Whether the limits of the audit rule look at them, and those of the deny rule.
    counted: [bool; 2],
    pub(super) count: usize,
}

/// Finds examples among the rules of one policy.
pub(super) struct Search<'p> {
    narrowings: &'p [Narrowing],
    /// The names of vulnerabilities by their numbers.
    names: HashMap<IdKey, &'p str>,
    /// Two names that no rule knows, in their order.
    plain: [String; 2],
    left: usize,
}

impl<'p> Search<'p> {
    pub(super) fn new(narrowings: &'p [Narrowing], ids: &'p Ids) -> Self {
        let names = ids.0.iter().map(|(name, key)| (*key, name.as_str())).collect();
        let unknown = |n: &usize| !ids.0.contains_key(&plain(*n));
        // One more than there are names is enough to find one that is not there.
        let mut free = (0..=ids.0.len() + 1).filter(unknown).map(plain);
        let plain = [free.next().unwrap_or_default(), free.next().unwrap_or_default()];
        Self { narrowings, names, plain, left: MAX_TRIED }
    }

    /// Whether nothing more is tried.
    pub(super) const fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Findings that fulfil `audit` before they fulfil `deny` or one of `others`, which deny wherever
    /// `audit` applies.
    pub(super) fn find(&mut self, audit: &Rule, deny: &Rule, others: &[&Rule]) -> Option<Example> {
        let first = self.narrowings.get(audit.narrowing)?;
        let second = self.narrowings.get(deny.narrowing)?;
        let kinds = kinds(first, second, tells_fix(&[audit, deny], &[first, second]));
        let [head, tail] = &self.plain;
        let allowed: Vec<IdKey> = deny.allowed.iter().map(|allowed| allowed.key).collect();
        let ends = Ends { rule: audit, side: 0, plain: head, extra: &allowed };
        let heads = self.groups(&ends, &kinds);
        let ends = Ends { rule: deny, side: 1, plain: tail, extra: &[] };
        let tails = self.groups(&ends, &kinds);
        for head in &heads {
            for tail in &tails {
                self.left = self.left.checked_sub(1)?;
                let Some(example) = example(audit, deny, head, tail) else {
                    continue;
                };
                let earlier = |rule: &&Rule| {
                    let counts = |group: &Group| self.counts(rule, &group.finding);
                    place(rule, &example.groups, counts).is_some_and(|p| p <= example.audited)
                };
                if !others.iter().any(earlier) {
                    return Some(example);
                }
            }
        }
        None
    }

    /// What could fulfil each condition of a rule by itself.
    fn groups(&self, ends: &Ends<'_>, kinds: &[Kind]) -> Vec<Group> {
        let Ends { rule, side, plain, extra } = ends;
        let mut groups = Vec::new();
        let named = extra.iter().take(MAX_NAMED).filter_map(|key| {
            let name = self.names.get(key)?;
            Some((Some(*key), (*name).to_owned()))
        });
        let names: Vec<_> = std::iter::once((None, (*plain).clone())).chain(named).collect();
        for limit in &rule.limits {
            for severity in severities(*limit) {
                for kind in kinds.iter().filter(|kind| kind.counted.get(*side) == Some(&true)) {
                    for (key, name) in &names {
                        let count = usize::try_from(limit.max).unwrap_or(usize::MAX);
                        groups.push(group(kind, severity, *key, name, count.saturating_add(1)));
                    }
                }
            }
        }
        for forbidden in rule.forbidden.iter().take(MAX_NAMED) {
            for severity in ALL {
                for kind in kinds {
                    groups.push(group(kind, severity, Some(forbidden.key), &forbidden.id, 1));
                }
            }
        }
        groups
    }

    fn counts(&self, rule: &Rule, finding: &Finding) -> bool {
        self.narrowings.get(rule.narrowing).is_some_and(|narrowing| counts(narrowing, finding))
    }
}

/// All of `head`, and as few of `tail` as are needed.
fn example(audit: &Rule, deny: &Rule, head: &Group, tail: &Group) -> Option<Example> {
    let order = |group: &Group| {
        (Reverse((group.finding.severity, group.finding.score)), group.finding.id.clone())
    };
    let head_first = match order(head).cmp(&order(tail)) {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal => return None,
    };
    // What counts of the head need not be in the tail.
    let most = tail.count.min(MAX_FINDINGS.checked_sub(head.count)?);
    let least = tail.count.saturating_sub(head.count).clamp(1, most.max(1));
    let with = |count| {
        let tail = Group { count, ..tail.clone() };
        let groups = if head_first { vec![head.clone(), tail] } else { vec![tail, head.clone()] };
        let audited = place(audit, &groups, |group| group.counted[0])?;
        let denied = place(deny, &groups, |group| group.counted[1])?;
        let until = groups.iter().filter_map(|g| ends(&[audit, deny], g.key)).min();
        (audited < denied).then_some(Example { groups, audited, denied, until })
    };
    with(least).or_else(|| with(most))
}

/// The first place in the walk that fulfils a condition of `rule`, of which the limits look at those
/// that `counted` names.
fn place(rule: &Rule, groups: &[Group], counted: impl Fn(&Group) -> bool) -> Option<usize> {
    let looked_at: Vec<bool> =
        groups.iter().map(|group| counted(group) && !allows(rule, group.key)).collect();
    let limits = rule.limits.iter().filter_map(|limit| {
        let own = |other: &&Limit| other.population == limit.population;
        let names_unknown =
            rule.limits.iter().filter(own).any(|other| other.level == Severity::Unknown);
        let mut left = usize::try_from(limit.max).ok()?;
        let mut start = 0;
        for (group, looked_at) in groups.iter().zip(&looked_at) {
            let Finding { severity, fix_state, .. } = group.finding;
            if *looked_at && limit.is_about(names_unknown, severity, fix_state) {
                match left.checked_sub(group.count) {
                    Some(rest) => left = rest,
                    None => return Some(start + left),
                }
            }
            start += group.count;
        }
        None
    });
    let mut start = 0;
    let forbidden = groups.iter().find_map(|group| {
        let place = start;
        start += group.count;
        let named = |key| rule.forbidden.iter().any(|forbidden| forbidden.key == key);
        (group.key.is_some_and(named) && !allows(rule, group.key)).then_some(place)
    });
    limits.chain(forbidden).min()
}

/// What findings at one end of an example are for.
struct Ends<'e> {
    rule: &'e Rule,
    /// Which of the two rules it is.
    side: usize,
    plain: &'e String,
    /// Vulnerabilities that are tried beside one that no rule names.
    extra: &'e [IdKey],
}

const ALL: [Severity; 6] = [
    Severity::Critical,
    Severity::High,
    Severity::Medium,
    Severity::Low,
    Severity::Negligible,
    Severity::Unknown,
];

/// Those that may count for `limit`, its own first.
fn severities(limit: Limit) -> impl Iterator<Item = Severity> {
    let above = ALL.into_iter().rev().filter(move |severity| {
        *severity != Severity::Unknown
            && limit.level != Severity::Unknown
            && *severity >= limit.level
    });
    above.chain([Severity::Unknown])
}

fn group(kind: &Kind, severity: Severity, key: Option<IdKey>, name: &str, count: usize) -> Group {
    let finding = Finding { id: name.into(), severity, ..kind.finding.clone() };
    let told = match key {
        Some(_) => format!(" `{name}`{}", kind.told),
        None => kind.told.clone(),
    };
    Group { finding, told, key, counted: kind.counted, count }
}

/// A name that looks like a vulnerability's and sorts by its number.
fn plain(n: usize) -> String {
    format!("CVE-0000-{n:07}")
}

fn allows(rule: &Rule, key: Option<IdKey>) -> bool {
    key.is_some_and(|key| rule.allowed.iter().any(|allowed| allowed.key == key))
}

/// When one of `rules` no longer allows a vulnerability.
fn ends(rules: &[&Rule], key: Option<IdKey>) -> Option<OffsetDateTime> {
    let of = |rule: &&Rule| {
        let mut entries = rule.allowed.iter().filter(|allowed| Some(allowed.key) == key);
        let for_ever = entries.clone().any(|allowed| allowed.until.is_none());
        let last = entries.by_ref().filter_map(|allowed| allowed.until).max();
        last.filter(|_| !for_ever)
    };
    rules.iter().filter_map(of).min()
}

fn tells_fix(rules: &[&Rule], narrowings: &[&Narrowing]) -> TellsFix {
    let by_population =
        |rule: &&Rule| rule.limits.iter().any(|limit| limit.population != Population::All);
    let asks = rules.iter().any(by_population)
        || narrowings.iter().any(|narrowing| narrowing.fix_available.is_some());
    if asks { TellsFix::Yes } else { TellsFix::No }
}
