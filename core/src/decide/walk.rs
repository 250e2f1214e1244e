//! Findings in the order of the walk and one rule in, what they violate of it out.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;
use time::OffsetDateTime;

use super::profile::{Profile, is_limited};
use super::{Clock, Condition, TOP_FINDINGS};
use crate::findings::{FindingRef, Severity};
use crate::image::Digest;
use crate::policy::{Exemption, Forbidden, IdKey, Limit, Policy, Rule, Target};

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
        self.profile.as_deref()?.scanned_at()
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
pub(super) struct Walk<'w, 'p, 't> {
    pub(super) policy: &'p Policy,
    pub(super) profile: &'w Arc<Profile>,
    pub(super) rule: &'w Rule,
    pub(super) covering: &'w mut Covering<'p, 't>,
    pub(super) clock: &'w mut Clock,
    pub(super) fulfilled: Vec<Fulfilled>,
    pub(super) exempted: Vec<Exempted>,
}

impl Walk<'_, '_, '_> {
    /// Finds every condition of the rule that the findings fulfil.
    pub(super) fn apply(&mut self) {
        let (policy, rule, profile) = (self.policy, self.rule, self.profile);
        common(
            profile.named(),
            &rule.forbidden,
            |f| f.key,
            |forbidden, places| {
                self.forbidden(forbidden, places);
            },
        );
        let mut exceeded: SmallVec<[_; 4]> = SmallVec::new();
        each_exceeded(policy, rule, profile, self.clock, |limit, names_unknown, count| {
            exceeded.push((limit, names_unknown, count));
        });
        for (limit, names_unknown, count) in exceeded {
            self.limited(limit, names_unknown, count);
        }
    }

    /// `count` findings are more than `limit` allows, unless the rule or an exemption spares some.
    fn limited(&mut self, limit: &Limit, names_unknown: bool, count: u32) {
        let Some(narrowing) = self.policy.narrowings().get(self.rule.narrowing) else {
            return;
        };
        let (profile, now) = (Arc::clone(self.profile), self.clock.now);
        let (allowed, all) = (self.allowed(), narrowing.is_all());
        let mut counted = profile.range(limit).filter(|place| {
            profile.finding(*place).is_some_and(|finding| {
                is_limited(limit, names_unknown, finding)
                    && !profile.is_cleared(*place)
                    && (all || narrowing.counts(finding, now, |_| {}))
            }) && allowed.binary_search(place).is_err()
        });
        let past = usize::try_from(limit.max).unwrap_or(usize::MAX);
        let exemptions = self.covering.of_findings(self.rule, &profile);
        let (worst, at) = if !allowed.is_empty() || !exemptions.is_empty() {
            let left = self.spare(counted.collect(), past, &exemptions);
            (Worst::new(&profile, &left), left.get(past).copied())
        } else {
            // Nobody asks for the others.
            let top: Vec<u32> = counted.by_ref().take(TOP_FINDINGS).collect();
            let at = match past.checked_sub(top.len()) {
                None => top.get(past).copied(),
                Some(further) => counted.nth(further),
            };
            let total = usize::try_from(count).unwrap_or(usize::MAX);
            (Worst { total, ..Worst::new(&profile, &top) }, at)
        };
        if let Some(at) = at {
            let condition = Condition::MaxAllowed {
                population: limit.population,
                level: limit.level,
                limit: limit.max,
                count: worst.total,
            };
            self.fulfilled.push(Fulfilled { at, condition, worst });
        }
    }

    fn forbidden(&mut self, forbidden: &Forbidden, places: &[(IdKey, u32)]) {
        let allowed = self.allowed();
        let counted = places.iter().map(|(_, place)| *place);
        let counted = counted.filter(|place| {
            !self.profile.is_cleared(*place) && allowed.binary_search(place).is_err()
        });
        let counted: Vec<u32> = counted.collect();
        if counted.is_empty() {
            return;
        }
        let exemptions = self.covering.of_findings(self.rule, self.profile);
        let left = self.spare(counted, 0, &exemptions);
        if let Some(at) = left.first() {
            let condition = Condition::Forbidden { id: forbidden.id.to_string() };
            let worst = Worst::new(self.profile, &left);
            self.fulfilled.push(Fulfilled { at: *at, condition, worst });
        }
    }

    /// What is left of `counted` without what is exempt. Where more than `past` would be left without
    /// exemptions, those that take part are noted.
    fn spare(
        &mut self,
        mut counted: Vec<u32>,
        past: usize,
        exemptions: &[&Arc<Exemption>],
    ) -> Vec<u32> {
        if counted.len() <= past {
            return counted;
        }
        let mut exempt: Vec<u32> = Vec::new();
        let profile = Arc::clone(self.profile);
        for exemption in exemptions {
            let covered =
                |place: &u32| profile.finding(*place).is_some_and(|f| exemption.exempts(f));
            let places: Vec<u32> = counted.iter().copied().filter(covered).collect();
            if places.is_empty() {
                continue;
            }
            self.clock.term(exemption);
            if exemption.holds(self.clock.now) {
                exempt.extend_from_slice(&places);
                note(&mut self.exempted, exemption, &places);
            }
        }
        exempt.sort_unstable();
        counted.retain(|place| exempt.binary_search(place).is_err());
        counted
    }

    /// The findings that the rule allows now, in order.
    fn allowed(&mut self) -> Vec<u32> {
        let mut allowed = Vec::new();
        let (named, rule, clock) = (self.profile.named(), self.rule, &mut *self.clock);
        common(
            named,
            &rule.allowed,
            |entry| entry.key,
            |entry, places| {
                if let Some(until) = entry.until {
                    clock.changes_at(until);
                }
                if entry.until.is_none_or(|until| clock.now < until) {
                    allowed.extend(places.iter().map(|(_, place)| *place));
                }
            },
        );
        allowed.sort_unstable();
        allowed.dedup();
        allowed
    }
}

fn note(exempted: &mut Vec<Exempted>, exemption: &Arc<Exemption>, places: &[u32]) {
    match exempted.iter_mut().find(|e| Arc::ptr_eq(&e.exemption, exemption)) {
        Some(noted) => {
            noted.places.extend_from_slice(places);
            noted.places.sort_unstable();
            noted.places.dedup();
        }
        None => {
            let exemption = Arc::clone(exemption);
            exempted.push(Exempted { exemption, places: places.to_vec() });
        }
    }
}

/// Visits each entry of a rule whose name some findings have, with these. Both lists are in the order
/// of their keys, and the shorter one is gone through.
fn common<E>(
    named: &[(IdKey, u32)],
    entries: &[E],
    key: impl Fn(&E) -> IdKey,
    mut visit: impl FnMut(&E, &[(IdKey, u32)]),
) {
    if entries.len() <= named.len() {
        for entry in entries {
            let from = named.partition_point(|(other, _)| *other < key(entry));
            let rest = named.get(from..).unwrap_or_default();
            let end = rest.partition_point(|(other, _)| *other == key(entry));
            let places = rest.get(..end).unwrap_or_default();
            if !places.is_empty() {
                visit(entry, places);
            }
        }
        return;
    }
    for places in named.chunk_by(|(a, _), (b, _)| a == b) {
        let Some((wanted, _)) = places.first() else {
            continue;
        };
        let from = entries.partition_point(|entry| key(entry) < *wanted);
        let rest = entries.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(|entry| key(entry) == *wanted)
            .for_each(|entry| visit(entry, places));
    }
}

/// Whether the findings keep to `rule` as they are: none is forbidden, and nowhere are more than it allows. Then
/// no allowed vulnerability and no exemption has a part in it.
pub(super) fn is_kept(policy: &Policy, rule: &Rule, profile: &Profile, clock: &mut Clock) -> bool {
    let mut is_kept = true;
    common(profile.named(), &rule.forbidden, |f| f.key, |_, _| is_kept = false);
    each_exceeded(policy, rule, profile, clock, |_, _, _| is_kept = false);
    is_kept
}

/// Calls `visit` with each limit of `rule` that more findings are about than it allows, with whether the rule says
/// itself what unknown severities count for, and with how many they are.
fn each_exceeded<'r>(
    policy: &Policy,
    rule: &'r Rule,
    profile: &Profile,
    clock: &mut Clock,
    mut visit: impl FnMut(&'r Limit, bool, u32),
) {
    if rule.limits.is_empty() {
        return;
    }
    let Some(tally) = profile.tally(policy, rule.narrowing, clock.now) else {
        return;
    };
    if let Some(instant) = tally.term.until {
        clock.changes_at(instant);
    }
    for limit in &rule.limits {
        // What is allowed or exempt only makes it fewer, and so does what the rule says of unknown ones.
        if tally.count(limit, false) <= limit.max {
            continue;
        }
        let names_unknown = rule
            .limits
            .iter()
            .any(|l| l.population == limit.population && l.level == Severity::Unknown);
        let count = tally.count(limit, names_unknown);
        if count > limit.max {
            visit(limit, names_unknown, count);
        }
    }
}

/// The exemptions that are about one manifest of an image, found out when a rule asks.
pub(super) struct Covering<'p, 't> {
    target: &'p Target<'t>,
    policy: &'p Policy,
    /// What exemptions may name the manifest by beside the digest of the reference: its own digest, and
    /// that of the index which it is in.
    digests: [Option<Digest>; 2],
    /// Those about the evidence.
    evidence: Option<Vec<&'p Arc<Exemption>>>,
    /// Those about findings, and of which profile.
    findings: Option<(Arc<Profile>, Vec<&'p Arc<Exemption>>)>,
}

impl<'p, 't> Covering<'p, 't> {
    pub(super) const fn new(
        policy: &'p Policy,
        target: &'p Target<'t>,
        digests: [Option<Digest>; 2],
    ) -> Self {
        Self { target, policy, digests, evidence: None, findings: None }
    }

    /// Those that are for `rule` and about the evidence or the image itself, at any time.
    pub(super) fn of_evidence(&mut self, rule: &Rule) -> Vec<&'p Arc<Exemption>> {
        let found = self.evidence.take().unwrap_or_else(|| {
            let mut found = self.find(&[]);
            found.retain(|exemption| exemption.exempts_evidence());
            found
        });
        let own = found.iter().copied().filter(|exemption| exemption.is_for(rule.name()));
        let own = own.collect();
        self.evidence = Some(found);
        own
    }

    /// Those that are for `rule` and may be about findings of `profile`, at any time.
    fn of_findings(&mut self, rule: &Rule, profile: &Arc<Profile>) -> Vec<&'p Arc<Exemption>> {
        let kept = self.findings.take().filter(|(of, _)| Arc::ptr_eq(of, profile));
        let (of, found) = kept.unwrap_or_else(|| (Arc::clone(profile), self.find(profile.named())));
        let own = found.iter().copied().filter(|exemption| exemption.is_for(rule.name()));
        let own = own.collect();
        self.findings = Some((of, found));
        own
    }

    /// All that are about the manifest, in the order of the policy.
    fn find(&self, named: &[(IdKey, u32)]) -> Vec<&'p Arc<Exemption>> {
        let digests = self.digests.into_iter().chain([self.target.digest()]).flatten();
        let digests: SmallVec<[Digest; 3]> = digests.collect();
        let mut found = Vec::new();
        self.policy.exemptions_for(self.target, &digests, named, |exemption| {
            if exemption.covers(self.target, &digests) {
                found.push(exemption);
            }
        });
        // They lie side by side in the policy.
        found.sort_unstable_by_key(|exemption| std::ptr::from_ref(*exemption));
        found
    }
}
