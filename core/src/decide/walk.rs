//! Findings in the order of the walk in, what they violate of one rule out.

use std::collections::HashMap;
use std::sync::Arc;

use super::merge::{self, Merged};
use super::{Clock, Condition, TOP_FINDINGS};
use crate::evidence::Report;
use crate::findings::{Finding, Severity};
use crate::policy::{IdKey, Ids, Rule};

/// The findings of one manifest from the most to the least severe, ready for many rules.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    list: Vec<Merged<'a>>,
    /// Where the findings of unknown severity begin: they come last.
    unknown: usize,
    /// Which findings have an identifier that some rule names, in order.
    named: HashMap<IdKey, Vec<usize>>,
    /// Copies for violations by place, made once for all rules.
    copies: Vec<Option<Arc<Finding>>>,
}

/// A condition that the findings fulfil.
#[derive(Debug)]
pub(super) struct Fulfilled {
    /// The finding that fulfils it, and its number in the walk.
    pub(super) at: (Arc<Finding>, usize),
    pub(super) condition: Condition,
    pub(super) findings: Vec<Arc<Finding>>,
    pub(super) total: usize,
}

impl<'a> Walk<'a> {
    /// `ids` are the identifiers that rules name, if any rule in scope does.
    pub(super) fn new(reports: &[&'a Report], ids: Option<&Ids>) -> Self {
        let list = merge::merge(reports);
        let unknown = list.partition_point(|f| f.severity > Severity::Unknown);
        let mut named: HashMap<IdKey, Vec<usize>> = HashMap::new();
        let mut buffer = String::new();
        if let Some(ids) = ids {
            for (place, finding) in list.iter().enumerate() {
                for id in merge::ids(finding) {
                    if let Some(key) = ids.find(id, &mut buffer) {
                        let places = named.entry(key).or_default();
                        if places.last() != Some(&place) {
                            places.push(place);
                        }
                    }
                }
            }
        }
        Self { list, unknown, named, copies: Vec::new() }
    }

    /// Every condition of `rule` that the findings fulfil.
    pub(super) fn apply(&mut self, rule: &Rule, clock: &mut Clock) -> Vec<Fulfilled> {
        let allowed = self.allowed(rule, clock);
        let mut fulfilled = Vec::new();
        for forbidden in &rule.forbidden {
            let Some(places) = self.named.get(&forbidden.key) else {
                continue;
            };
            let counted: Vec<_> =
                places.iter().copied().filter(|p| allowed.binary_search(p).is_err()).collect();
            if let Some(at) = counted.first().and_then(|first| self.at(*first)) {
                let condition = Condition::Forbidden { id: forbidden.id.to_string() };
                let findings = self.copies(counted.iter().copied());
                fulfilled.push(Fulfilled { at, condition, findings, total: counted.len() });
            }
        }
        let names_unknown = rule.max_allowed.iter().any(|(l, _)| *l == Severity::Unknown);
        for (level, limit) in &rule.max_allowed {
            // What is not stated could be as bad as the worst that the rule asks about, and so
            // counts at each of its levels, unless it says itself what that counts for (CASES T032).
            let stated = match level {
                Severity::Unknown => Counted::default(),
                level => {
                    let end = self.list.partition_point(|f| f.severity >= *level);
                    Counted::new(0, end, &allowed)
                }
            };
            let unstated = if *level == Severity::Unknown || !names_unknown {
                Counted::new(self.unknown, self.list.len(), &allowed)
            } else {
                Counted::default()
            };
            let total = stated.len() + unstated.len();
            let past = usize::try_from(*limit).unwrap_or(usize::MAX);
            let at = stated.nth(past).or_else(|| unstated.nth(past.checked_sub(stated.len())?));
            if let Some(at) = at.and_then(|place| self.at(place)) {
                let condition =
                    Condition::MaxAllowed { level: *level, limit: *limit, count: total };
                let findings = self.copies(stated.places().chain(unstated.places()));
                fulfilled.push(Fulfilled { at, condition, findings, total });
            }
        }
        fulfilled
    }

    /// The findings that `rule` allows now, in order.
    fn allowed(&self, rule: &Rule, clock: &mut Clock) -> Vec<usize> {
        let mut allowed = Vec::new();
        for entry in &rule.allowed {
            let Some(places) = self.named.get(&entry.key) else {
                continue;
            };
            if let Some(until) = entry.until {
                clock.changes_at(until);
            }
            if entry.until.is_none_or(|until| clock.now < until) {
                allowed.extend_from_slice(places);
            }
        }
        allowed.sort_unstable();
        allowed.dedup();
        allowed
    }

    fn at(&mut self, place: usize) -> Option<(Arc<Finding>, usize)> {
        Some((self.copy(place)?, place))
    }

    fn copies(&mut self, places: impl Iterator<Item = usize>) -> Vec<Arc<Finding>> {
        places.take(TOP_FINDINGS).filter_map(|place| self.copy(place)).collect()
    }

    fn copy(&mut self, place: usize) -> Option<Arc<Finding>> {
        let finding = self.list.get(place)?;
        if self.copies.len() <= place {
            self.copies.resize(place + 1, None);
        }
        let copy = self.copies.get_mut(place)?;
        Some(Arc::clone(copy.get_or_insert_with(|| Arc::new((**finding).clone()))))
    }
}

/// The places of a range without those that are allowed.
#[derive(Debug, Clone, Copy, Default)]
struct Counted<'s> {
    start: usize,
    end: usize,
    /// Those allowed within the range, in order.
    allowed: &'s [usize],
}

impl<'s> Counted<'s> {
    fn new(start: usize, end: usize, allowed: &'s [usize]) -> Self {
        let before = allowed.partition_point(|place| *place < start);
        let within = allowed.partition_point(|place| *place < end);
        Self { start, end, allowed: allowed.get(before..within).unwrap_or_default() }
    }

    const fn len(&self) -> usize {
        self.end - self.start - self.allowed.len()
    }

    /// The place that has `n` places before it.
    fn nth(&self, n: usize) -> Option<usize> {
        if n >= self.len() {
            return None;
        }
        let mut place = self.start + n;
        for allowed in self.allowed {
            place += usize::from(*allowed <= place);
        }
        Some(place)
    }

    fn places(self) -> impl Iterator<Item = usize> + 's {
        let Self { start, end, allowed } = self;
        (start..end).filter(move |place| allowed.binary_search(place).is_err())
    }
}
