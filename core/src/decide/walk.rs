//! Findings in the order of the walk and one rule in, what they violate of it out.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use super::profile::{Profile, Tally, is_limited};
use super::{Clock, Condition, TOP_FINDINGS};
use crate::findings::{FindingRef, Severity};
use crate::policy::{Exemption, Limit, Policy, Rule};

/// Findings of one walk: all are counted, the worst few are kept.
#[derive(Clone, Default)]
pub(super) struct Worst {
    profile: Option<Arc<Profile>>,
    places: Box<[u32]>,
    pub(super) total: usize,
}

impl Worst {
    pub(super) fn new(profile: &Arc<Profile>, places: &[u32]) -> Self {
        let kept = places.iter().take(TOP_FINDINGS).copied().collect();
        Self { profile: Some(Arc::clone(profile)), places: kept, total: places.len() }
    }

    /// When the newest scan finished that they are of.
    pub(super) fn scanned_at(&self) -> Option<OffsetDateTime> {
        self.profile.as_deref()?.scanned_at
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = FindingRef<'_>> + Clone {
        let profile = self.profile.as_deref();
        self.places.iter().filter_map(move |place| profile?.finding(*place))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.total == other.total
            && self.places.len() == other.places.len()
            && self.iter().zip(other.iter()).all(|(a, b)| a.walk_order(b).is_eq())
    }
}

impl fmt::Debug for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A condition that the findings fulfil.
#[derive(Debug)]
pub(super) struct Fulfilled {
    /// The place of the finding that fulfils it.
    pub(super) at: u32,
    pub(super) condition: Condition,
    pub(super) worst: Worst,
}

/// Findings that an exemption keeps from a condition which they would fulfil with others.
#[derive(Debug)]
pub(super) struct Exempted {
    pub(super) exemption: Arc<Exemption>,
    /// In order, each once.
    pub(super) places: Vec<u32>,
}

/// One rule against the findings of one manifest.
pub(super) struct Walk<'w> {
    pub(super) policy: &'w Policy,
    pub(super) profile: &'w Arc<Profile>,
    pub(super) rule: &'w Rule,
    /// Those that are about the image, at any time.
    pub(super) exemptions: &'w [&'w Arc<Exemption>],
    pub(super) clock: &'w mut Clock,
    pub(super) fulfilled: Vec<Fulfilled>,
    pub(super) exempted: Vec<Exempted>,
}

impl Walk<'_> {
    /// Finds every condition of the rule that the findings fulfil.
    pub(super) fn apply(&mut self) {
        self.forbidden();
        let rule = self.rule;
        if rule.limits.is_empty() {
            return;
        }
        let Some(narrowing) = self.policy.narrowings().get(rule.narrowing) else {
            return;
        };
        let tally: Tally = self.profile.tally(narrowing, self.clock.now);
        if let Some(instant) = tally.changes_at {
            self.clock.changes_at(instant);
        }
        for limit in &rule.limits {
            let names_unknown = rule
                .limits
                .iter()
                .any(|l| l.population == limit.population && l.level == Severity::Unknown);
            // What is allowed or exempt only makes it fewer.
            if tally.count(limit, names_unknown) > limit.max {
                self.limited(limit, names_unknown);
            }
        }
    }

    fn limited(&mut self, limit: &Limit, names_unknown: bool) {
        let Some(narrowing) = self.policy.narrowings().get(self.rule.narrowing) else {
            return;
        };
        let now = self.clock.now;
        let counted: Vec<u32> = self
            .profile
            .places()
            .filter(|(place, finding)| {
                is_limited(limit, names_unknown, *finding)
                    && !self.profile.is_cleared(*place)
                    && narrowing.counts(*finding, now, |_| {})
            })
            .map(|(place, _)| place)
            .collect();
        let past = usize::try_from(limit.max).unwrap_or(usize::MAX);
        let left = self.spare(counted, past);
        if let Some(at) = left.get(past) {
            let condition = Condition::MaxAllowed {
                population: limit.population,
                level: limit.level,
                limit: limit.max,
                count: left.len(),
            };
            let worst = Worst::new(self.profile, &left);
            self.fulfilled.push(Fulfilled { at: *at, condition, worst });
        }
    }

    fn forbidden(&mut self) {
        for forbidden in &self.rule.forbidden {
            let counted: Vec<u32> = self
                .profile
                .named(forbidden.key)
                .filter(|place| !self.profile.is_cleared(*place))
                .collect();
            if counted.is_empty() {
                continue;
            }
            let left = self.spare(counted, 0);
            if let Some(at) = left.first() {
                let condition = Condition::Forbidden { id: forbidden.id.to_string() };
                let worst = Worst::new(self.profile, &left);
                self.fulfilled.push(Fulfilled { at: *at, condition, worst });
            }
        }
    }

    /// What is left of `counted` without what the rule allows, and without what is exempt. Where more
    /// than `past` would be left without exemptions, those that take part are noted.
    fn spare(&mut self, mut counted: Vec<u32>, past: usize) -> Vec<u32> {
        let allowed = self.allowed();
        counted.retain(|place| allowed.binary_search(place).is_err());
        if counted.len() <= past {
            return counted;
        }
        let mut exempt: Vec<u32> = Vec::new();
        for exemption in self.exemptions.iter().filter(|e| e.is_for(self.rule.name())) {
            let places: Vec<u32> = counted
                .iter()
                .copied()
                .filter(|place| {
                    self.profile.finding(*place).is_some_and(|finding| exemption.exempts(finding))
                })
                .collect();
            if places.is_empty() {
                continue;
            }
            self.clock.term(exemption);
            if !exemption.holds(self.clock.now) {
                continue;
            }
            exempt.extend_from_slice(&places);
            let noted = self.exempted.iter_mut().find(|e| Arc::ptr_eq(&e.exemption, exemption));
            match noted {
                Some(noted) => {
                    noted.places.extend_from_slice(&places);
                    noted.places.sort_unstable();
                    noted.places.dedup();
                }
                None => {
                    self.exempted.push(Exempted { exemption: Arc::clone(exemption), places });
                }
            }
        }
        exempt.sort_unstable();
        counted.retain(|place| exempt.binary_search(place).is_err());
        counted
    }

    /// The findings that the rule allows now, in order.
    fn allowed(&mut self) -> Vec<u32> {
        let mut allowed = Vec::new();
        for entry in &self.rule.allowed {
            let before = allowed.len();
            allowed.extend(self.profile.named(entry.key));
            if allowed.len() == before {
                continue;
            }
            if let Some(until) = entry.until {
                self.clock.changes_at(until);
                if until <= self.clock.now {
                    allowed.truncate(before);
                }
            }
        }
        allowed.sort_unstable();
        allowed.dedup();
        allowed
    }
}
