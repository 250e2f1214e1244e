//! Manifests and rules in, all violations and the deciding one out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use time::OffsetDateTime;

use super::found::{Found, decider};
use super::profile::{self, ClearedBy, Profile};
use super::subject::{Known, Looked};
use super::walk::{Covering, Exempted, Fulfilled, Walk, Worst, is_kept};
use super::{
    Action, Applied, Clock, Condition, Decision, Notice, NoticeKind, TOP_FINDINGS, Violation,
};
use crate::evidence::Report;
use crate::image::Digest;
use crate::policy::{Exemption, Policy, Rule, Target};

/// Applies `rules`, which are about `target`, to each of its manifests. `own` is the digest of what the
/// reference itself names.
pub(super) fn weigh(
    policy: &Policy,
    target: &Target<'_>,
    rules: &[&Rule],
    own: Option<Digest>,
    looked: &[Looked<'_>],
    mut clock: Clock,
    mut notices: Vec<Notice>,
) -> Weighed {
    let mut violations: Vec<Violation> = Vec::new();
    let mut exemptions = Vec::new();
    let mut deciding: Option<(Action, usize)> = None;
    for looked in looked {
        let mut weighing = Weighing {
            policy,
            target,
            looked,
            covering: Covering::new(policy, target, [own, looked.digest]),
            clock: &mut clock,
            notices: &mut notices,
            found: Vec::new(),
            applied: Vec::new(),
        };
        weighing.all(rules);
        let Weighing { mut found, applied, .. } = weighing;
        if !applied.is_empty() {
            exemptions.extend(applied);
        }
        if found.is_empty() {
            continue;
        }
        found.sort_by(Found::order);
        if let Some(first) = decider(policy.evaluation(), &found)
            && let Some(decider) = found.get(first)
        {
            // Of several manifests, the first with the worst action decides.
            if deciding.is_none_or(|(action, _)| decider.violation.action > action) {
                deciding = Some((decider.violation.action, violations.len() + first));
            }
        }
        violations.extend(found.into_iter().map(|found| found.violation));
    }
    let mut rule = None;
    if let Some((_, place)) = deciding
        && let Some(violation) = violations.get_mut(place)
    {
        violation.deciding = true;
        rule = Some(Arc::clone(&violation.rule));
    }
    let action = deciding.map_or(Action::Allow, |(action, _)| action);
    Weighed { action, rule, violations, exemptions, notices, changes_at: clock.next }
}

/// What a decision says before anybody lifts it, as [`Decision`] has it.
pub(super) struct Weighed {
    pub(super) action: Action,
    pub(super) rule: Option<Arc<str>>,
    violations: Vec<Violation>,
    exemptions: Vec<Applied>,
    notices: Vec<Notice>,
    pub(super) changes_at: Option<OffsetDateTime>,
}

impl Weighed {
    /// The decision by `policy`, by which it was weighed.
    pub(super) fn decision(self, policy: &Policy) -> Decision {
        let Self { action, rule, violations, exemptions, notices, changes_at } = self;
        Decision {
            action,
            rule,
            violations,
            exemptions,
            break_glass: None,
            notices,
            changes_at,
            policy_revision: policy.shared_revision(),
        }
    }
}

/// All rules against one manifest.
struct Weighing<'w, 't, 'a> {
    policy: &'w Policy,
    target: &'w Target<'t>,
    looked: &'w Looked<'a>,
    covering: Covering<'w, 't>,
    clock: &'w mut Clock,
    notices: &'w mut Vec<Notice>,
    found: Vec<Found>,
    applied: Vec<Applied>,
}

impl<'w> Weighing<'w, '_, '_> {
    fn all(&mut self, rules: &[&'w Rule]) {
        for rule in rules {
            self.image(rule);
        }
        let Known::Reports(reports, known) = &self.looked.known else {
            for rule in rules {
                self.without_findings(rule);
            }
            return;
        };
        // A rule may not look at old reports, so what it walks is the newest few: of most, all.
        let mut of_all: Option<Arc<Profile>> = None;
        let mut of_fewer: SmallVec<[(usize, Arc<Profile>); 1]> = SmallVec::new();
        for rule in rules {
            let (walked, old) = self.split(rule, reports);
            let (policy, now) = (self.policy, self.clock.now);
            let made;
            let profile = if old.is_empty() {
                &*of_all.get_or_insert_with(|| profile::of(policy, walked, known, now))
            } else {
                let same = of_fewer.iter().find(|(of, _)| *of == walked.len());
                made = same.map(|(_, profile)| Arc::clone(profile)).unwrap_or_else(|| {
                    let profile = profile::of(policy, walked, known, now);
                    of_fewer.push((walked.len(), Arc::clone(&profile)));
                    profile
                });
                &made
            };
            if let Some(instant) = profile.term.until {
                self.clock.changes_at(instant);
            }
            for report in old {
                let (report, scanned_at) = (report.digest, report.findings.scanned_at);
                self.notice(rule, NoticeKind::OldReport { report, scanned_at });
            }
            if !is_kept(policy, rule, profile, self.clock) {
                self.findings(rule, profile);
            }
        }
        // The one of the most reports tells the most, whichever rule comes last.
        let of_fewer = of_fewer.iter().max_by_key(|(of, _)| *of).map(|(_, profile)| profile);
        if let Some(profile) = of_all.as_ref().or(of_fewer) {
            self.cleared(profile);
        }
    }

    fn image(&mut self, rule: &'w Rule) {
        let trusted = rule.trusted_images.as_ref();
        if trusted.is_some_and(|patterns| self.target.find(patterns).is_none()) {
            self.wrong(rule, rule.action(), Condition::UntrustedImage);
        }
    }

    fn findings(&mut self, rule: &'w Rule, profile: &Arc<Profile>) {
        let mut walk = Walk {
            policy: self.policy,
            profile,
            rule,
            covering: &mut self.covering,
            clock: self.clock,
            fulfilled: Vec::new(),
            exempted: Vec::new(),
        };
        walk.apply();
        let Walk { fulfilled, exempted, .. } = walk;
        for Fulfilled { at, condition, worst } in fulfilled {
            let violation = Violation { worst, ..self.violation(rule, rule.action(), condition) };
            self.found.push(Found { at: Some((Arc::clone(profile), at)), violation });
        }
        for Exempted { exemption, places } in exempted {
            let worst = Worst::new(profile, &places);
            self.applied.push(Applied { worst, ..self.applied(rule, &exemption) });
        }
    }

    /// Tells of the findings that no rule counts.
    fn cleared(&mut self, profile: &Profile) {
        if profile.cleared().is_empty() {
            return;
        }
        let mut by: Vec<ClearedBy> = profile.cleared().iter().map(|(_, by)| *by).collect();
        by.sort_unstable();
        by.dedup();
        for by in by {
            let of = profile.cleared().iter().filter(|(_, other)| *other == by);
            let total = of.clone().count();
            let findings = of.filter_map(|(place, _)| profile.finding(*place));
            let ids = findings.take(TOP_FINDINGS).map(|f| f.id().to_owned()).collect();
            let by = match by {
                ClearedBy::Report => None,
                ClearedBy::Vex(digest) => Some(digest),
            };
            self.notices.push(self.looked.notice(NoticeKind::Cleared { by, ids, total }));
        }
    }

    /// The `reports`, newest first, that `rule` looks at, and those that are too old for it. Age takes
    /// away the right to say clean, not to say bad: where all are too old, that is a violation, and
    /// what they found still counts.
    fn split<'r, 'a>(
        &mut self,
        rule: &'w Rule,
        reports: &'r [&'a Arc<Report>],
    ) -> (&'r [&'a Arc<Report>], &'r [&'a Arc<Report>]) {
        let fresh = self.fresh(rule, reports);
        if fresh == 0 {
            self.stale(rule, reports);
            return (reports, &[]);
        }
        reports.split_at_checked(fresh).unwrap_or((reports, &[]))
    }

    /// How many of `reports`, newest first, are not too old for `rule`.
    fn fresh(&mut self, rule: &Rule, reports: &[&Arc<Report>]) -> usize {
        let Some(max_age) = rule.max_age else {
            return reports.len();
        };
        reports.iter().take_while(|r| self.is_fresh(r.findings.scanned_at, max_age)).count()
    }

    fn is_fresh(&mut self, scanned_at: OffsetDateTime, max_age: Duration) -> bool {
        // At just this age it is not older yet.
        let old = time::Duration::try_from(max_age)
            .ok()
            .map(|age| age.saturating_add(time::Duration::NANOSECOND));
        // What cannot be written down is after all time.
        let old_from = old.and_then(|age| scanned_at.checked_add(age));
        old_from.is_none_or(|old_from| self.clock.changes_at(old_from))
    }

    fn stale(&mut self, rule: &'w Rule, reports: &[&Arc<Report>]) {
        if let (Some(newest), Some(max_age)) = (reports.first(), rule.max_age) {
            let scanned_at = newest.findings.scanned_at;
            self.unusable(rule, Condition::Stale { scanned_at, max_age });
        }
    }

    fn without_findings(&mut self, rule: &'w Rule) {
        match &self.looked.known {
            Known::Reports(..) => {}
            Known::Missing => self.absent(rule, Condition::Unscanned, NoticeKind::Unscanned),
            Known::Unsupported => {
                self.absent(rule, Condition::Unsupported, NoticeKind::Unsupported);
            }
            Known::Rejected(rejection) => {
                self.unusable(rule, Condition::Rejected(Cow::clone(rejection).into_owned()));
            }
            Known::Unconfirmed(age) => {
                self.unusable(rule, Condition::Unconfirmed { age: *age });
            }
            Known::Withheld => self.unusable(rule, Condition::Withheld),
            Known::Unavailable(cause) => {
                let cause = Cow::clone(cause).into_owned();
                match rule.on_unavailable {
                    Action::Allow => self.notice(rule, NoticeKind::Unavailable(cause)),
                    action => self.wrong(rule, action, Condition::Unavailable(cause)),
                }
            }
        }
    }

    /// There are no reports: only a violation where the rule blocks such images.
    fn absent(&mut self, rule: &'w Rule, condition: Condition, otherwise: NoticeKind) {
        if rule.block_unscanned {
            self.wrong(rule, rule.action(), condition);
        } else {
            self.notice(rule, otherwise);
        }
    }

    /// There are reports, and they cannot be used: never silent.
    fn unusable(&mut self, rule: &'w Rule, condition: Condition) {
        let action = if rule.block_unscanned { rule.action() } else { Action::Audit };
        self.wrong(rule, action, condition);
    }

    fn wrong(&mut self, rule: &'w Rule, action: Action, condition: Condition) {
        let mut exempt = false;
        for exemption in self.covering.of_evidence(rule) {
            self.clock.term(exemption);
            if exemption.holds(self.clock.now) {
                exempt = true;
                let condition = Some(condition.as_str());
                self.applied.push(Applied { condition, ..self.applied(rule, exemption) });
            }
        }
        if !exempt {
            let violation = self.violation(rule, action, condition);
            self.found.push(Found { at: None, violation });
        }
    }

    fn applied(&self, rule: &Rule, exemption: &Exemption) -> Applied {
        Applied {
            name: Arc::clone(exemption.name()),
            owner: exemption.owner().to_owned(),
            reason: exemption.reason().to_owned(),
            ticket: exemption.ticket().map(str::to_owned),
            until: exemption.until(),
            rule: Arc::clone(rule.name()),
            subject: self.looked.digest,
            platform: self.looked.platform.cloned(),
            condition: None,
            worst: Worst::default(),
        }
    }

    fn violation(&self, rule: &Rule, action: Action, condition: Condition) -> Violation {
        Violation {
            subject: self.looked.digest,
            platform: self.looked.platform.cloned(),
            ..Violation::new(Arc::clone(rule.name()), action, condition)
        }
    }

    fn notice(&mut self, rule: &Rule, kind: NoticeKind) {
        let rule = Some(Arc::clone(rule.name()));
        self.notices.push(Notice { rule, ..self.looked.notice(kind) });
    }
}
