//! Rules and manifests in, each condition with what it counts and leaves out, met or not, out: what
//! [`super::decide`] finds only where something is violated, slowly and in full.

use std::sync::Arc;

use time::OffsetDateTime;

use super::profile::{self, Profile, is_limited};
use super::subject::{Known, Looked, look};
use super::{Action, Clock, Condition};
use crate::evidence::{Report, Reports, Subject};
use crate::findings::{FindingRef, FixState, Severity};
use crate::image::{Digest, Platform};
use crate::policy::{
    Exemption, IdKey, Limit, Narrowing, NotStated, Policy, Population, Rule, Target,
};

/// One condition of one rule against one manifest.
#[derive(Debug)]
pub(crate) struct Counted<'p> {
    pub(crate) rule: &'p Rule,
    pub(crate) subject: Option<Digest>,
    pub(crate) platform: Option<Platform>,
    /// What exemptions may name the manifest by.
    pub(crate) digests: Vec<Digest>,
    pub(crate) condition: Condition,
    /// What is done where it is met: [`Action::Allow`] lets it pass with a notice.
    pub(crate) action: Action,
    /// Whether it is a violation.
    pub(crate) met: bool,
    /// Of the findings that it is about, those that the rule allows.
    pub(crate) allowed: usize,
    /// Those that exemptions keep from counting; or 1 where one keeps the condition from counting.
    pub(crate) exempt: usize,
    /// Those that the report or a VEX document clears.
    pub(crate) cleared: usize,
    /// Those that the rule's `count` does not look at.
    pub(crate) outside: usize,
    /// Those, counted or not, that do not state something that is asked about.
    pub(crate) not_stated: usize,
    profile: Option<Arc<Profile>>,
    places: Vec<u32>,
}

impl Counted<'_> {
    /// The findings that count, worst first.
    pub(crate) fn findings(&self) -> impl Iterator<Item = FindingRef<'_>> + Clone {
        let profile = self.profile.as_deref();
        self.places.iter().filter_map(move |place| profile?.finding(*place))
    }

    /// How many count.
    pub(crate) const fn count(&self) -> usize {
        self.places.len()
    }

    /// How many may count without a violation; `None` where it is not about findings.
    pub(crate) fn limit(&self) -> Option<usize> {
        match &self.condition {
            Condition::MaxAllowed { limit, .. } => {
                Some(usize::try_from(*limit).unwrap_or(usize::MAX))
            }
            Condition::Forbidden { .. } => Some(0),
            _ => None,
        }
    }

    /// The finding that fulfils it.
    pub(crate) fn fulfilled_by(&self) -> Option<FindingRef<'_>> {
        self.findings().nth(self.limit()?)
    }
}

/// Every condition of `rules`, which are in scope, against every manifest that has to be decided, by
/// platform and then in the order of the rules.
pub(crate) fn recount<'p>(
    policy: &'p Policy,
    target: &Target<'_>,
    subjects: &[Subject],
    now: OffsetDateTime,
    rules: &[&'p Rule],
) -> Vec<Counted<'p>> {
    let looked = look(subjects, &mut Clock { now, next: None }, &mut Vec::new());
    let own = subjects.iter().find(|s| s.platform.is_none()).and_then(|s| s.digest);
    let mut all = Vec::new();
    for looked in &looked {
        let digests: Vec<Digest> =
            own.into_iter().chain(looked.digest).chain(target.digest()).collect();
        let exemptions = policy.exemptions().iter();
        let exemptions = exemptions.filter(|e| e.holds(now) && e.covers(target, &digests));
        let exemptions: Vec<&Exemption> = exemptions.map(|exemption| &**exemption).collect();
        // By how many of the newest reports it is made of.
        let mut profiles: Vec<(usize, Arc<Profile>)> = Vec::new();
        for rule in rules {
            let mut counting = Counting {
                policy,
                rule,
                looked,
                digests: &digests,
                exemptions: exemptions.iter().copied().filter(|e| e.is_for(rule.name())).collect(),
                now,
                all: &mut all,
            };
            counting.image(target);
            counting.evidence(&mut profiles);
        }
    }
    all
}

/// One rule against one manifest.
struct Counting<'c, 'p, 'a> {
    policy: &'p Policy,
    rule: &'p Rule,
    looked: &'c Looked<'a>,
    digests: &'c [Digest],
    /// Those that hold now and are about the manifest and the rule.
    exemptions: Vec<&'p Exemption>,
    now: OffsetDateTime,
    all: &'c mut Vec<Counted<'p>>,
}

impl<'p> Counting<'_, 'p, '_> {
    fn image(&mut self, target: &Target<'_>) {
        if let Some(patterns) = &self.rule.trusted_images {
            let is_wrong = target.find(patterns).is_none();
            self.wrong(Condition::UntrustedImage, self.rule.action(), is_wrong);
        }
    }

    fn evidence(&mut self, profiles: &mut Vec<(usize, Arc<Profile>)>) {
        let rule = self.rule;
        let absent = if rule.block_unscanned { rule.action() } else { Action::Allow };
        let unusable = if rule.block_unscanned { rule.action() } else { Action::Audit };
        let (condition, action) = match &self.looked.known {
            Known::Reports(reports, known) => return self.reports(reports, known, profiles),
            Known::Missing => (Condition::Unscanned, absent),
            Known::Unsupported => (Condition::Unsupported, absent),
            Known::Rejected(rejection) => {
                (Condition::Rejected(rejection.clone().into_owned()), unusable)
            }
            Known::Unconfirmed(age) => (Condition::Unconfirmed { age: *age }, unusable),
            Known::Withheld => (Condition::Withheld, unusable),
            Known::Unavailable(cause) => {
                (Condition::Unavailable(cause.clone().into_owned()), rule.on_unavailable)
            }
        };
        self.wrong(condition, action, true);
    }

    fn reports(
        &mut self,
        reports: &[&Arc<Report>],
        known: &Reports,
        profiles: &mut Vec<(usize, Arc<Profile>)>,
    ) {
        let rule = self.rule;
        if rule.block_unscanned {
            self.wrong(Condition::Unscanned, rule.action(), false);
        }
        let mut walked = reports;
        if let (Some(max_age), Some(newest)) = (rule.max_age, reports.first()) {
            let is_fresh = |report: &&&Arc<Report>| {
                let age = time::Duration::try_from(max_age).ok();
                let end = age.and_then(|age| report.findings.scanned_at.checked_add(age));
                end.is_none_or(|end| self.now <= end)
            };
            let fresh = reports.iter().take_while(is_fresh).count();
            let scanned_at = newest.findings.scanned_at;
            let action = if rule.block_unscanned { rule.action() } else { Action::Audit };
            self.wrong(Condition::Stale { scanned_at, max_age }, action, fresh == 0);
            if fresh > 0 {
                walked = reports.get(..fresh).unwrap_or(reports);
            }
        }
        let made = profiles.iter().find(|(of, _)| *of == walked.len());
        let profile = if let Some((_, profile)) = made {
            Arc::clone(profile)
        } else {
            let profile = profile::of(self.policy, walked, known, self.now);
            profiles.push((walked.len(), Arc::clone(&profile)));
            profile
        };
        self.findings(&profile);
    }

    fn findings(&mut self, profile: &Arc<Profile>) {
        let rule = self.rule;
        for forbidden in &rule.forbidden {
            let condition = Condition::Forbidden { id: forbidden.id.to_string() };
            let places = named(profile, forbidden.key).collect();
            self.count(profile, condition, places, None, |_| false);
        }
        let narrowing = self.policy.narrowings().get(rule.narrowing);
        for limit in &rule.limits {
            let names_unknown = rule
                .limits
                .iter()
                .any(|l| l.population == limit.population && l.level == Severity::Unknown);
            let limited =
                |(_, finding): &(u32, FindingRef<'_>)| is_limited(limit, names_unknown, *finding);
            let places = profile.places().filter(limited).map(|(place, _)| place).collect();
            let Limit { population, level, max } = *limit;
            let condition = Condition::MaxAllowed { population, level, limit: max, count: 0 };
            let not_stated = |finding: FindingRef<'_>| {
                (level != Severity::Unknown && finding.severity() == Severity::Unknown)
                    || (population != Population::All && finding.fix_state() == FixState::NotStated)
            };
            self.count(profile, condition, places, narrowing, not_stated);
        }
    }

    /// Puts each of `places`, which the condition is about, where it belongs.
    fn count(
        &mut self,
        profile: &Arc<Profile>,
        condition: Condition,
        places: Vec<u32>,
        narrowing: Option<&Narrowing>,
        not_stated: impl Fn(FindingRef<'_>) -> bool,
    ) {
        let now = self.now;
        let allowed = self.rule.allowed.iter().filter(|a| a.until.is_none_or(|until| now < until));
        let mut allowed: Vec<u32> = allowed.flat_map(|entry| named(profile, entry.key)).collect();
        allowed.sort_unstable();
        let with = |not_stated| narrowing.map(|n| Narrowing { not_stated, ..n.clone() });
        let (open, strict) = (with(NotStated::Count), with(NotStated::Ignore));
        let mut counted = self.counted(condition, self.rule.action());
        for place in places {
            let Some(finding) = profile.finding(place) else {
                continue;
            };
            if profile.is_cleared(place) {
                counted.cleared += 1;
                continue;
            }
            let looks = |narrowing: Option<&Narrowing>| {
                narrowing.is_none_or(|narrowing| narrowing.counts(finding, now, |_| {}))
            };
            if not_stated(finding) || looks(open.as_ref()) != looks(strict.as_ref()) {
                counted.not_stated += 1;
            }
            if !looks(narrowing) {
                counted.outside += 1;
            } else if allowed.binary_search(&place).is_ok() {
                counted.allowed += 1;
            } else if self.exemptions.iter().any(|exemption| exemption.exempts(finding)) {
                counted.exempt += 1;
            } else {
                counted.places.push(place);
            }
        }
        let total = counted.places.len();
        counted.met = counted.limit().is_some_and(|limit| total > limit);
        if let Condition::MaxAllowed { count, .. } = &mut counted.condition {
            *count = total;
        }
        counted.profile = Some(Arc::clone(profile));
        self.all.push(counted);
    }

    /// A condition about the evidence or the image, which `is_wrong` or not.
    fn wrong(&mut self, condition: Condition, action: Action, is_wrong: bool) {
        let is_exempt = is_wrong
            && action != Action::Allow
            && self.exemptions.iter().any(|exemption| exemption.exempts_evidence());
        let mut counted = self.counted(condition, action);
        counted.exempt = usize::from(is_exempt);
        counted.met = is_wrong && action != Action::Allow && !is_exempt;
        self.all.push(counted);
    }

    fn counted(&self, condition: Condition, action: Action) -> Counted<'p> {
        Counted {
            rule: self.rule,
            subject: self.looked.digest,
            platform: self.looked.platform.cloned(),
            digests: self.digests.to_vec(),
            condition,
            action,
            met: false,
            allowed: 0,
            exempt: 0,
            cleared: 0,
            outside: 0,
            not_stated: 0,
            profile: None,
            places: Vec::new(),
        }
    }
}

/// The findings that have the name of this number, in order.
fn named(profile: &Profile, key: IdKey) -> impl Iterator<Item = u32> + '_ {
    let from = profile.named().partition_point(|(other, _)| *other < key);
    let rest = profile.named().get(from..).unwrap_or_default();
    rest.iter().take_while(move |(other, _)| *other == key).map(|(_, place)| *place)
}
