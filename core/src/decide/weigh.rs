//! Manifests and rules in, all violations and the deciding one out.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::subject::{Known, Looked};
use super::walk::Walk;
use super::{Action, Clock, Condition, Decision, Notice, NoticeKind, Violation};
use crate::evidence::Report;
use crate::findings::Finding;
use crate::policy::{Evaluation, Ids, Policy, Rule, Target};

/// Applies all rules that are about `target` to each of its manifests.
pub(super) fn weigh(
    policy: &Policy,
    target: &Target<'_>,
    looked: Vec<Looked<'_>>,
    mut clock: Clock,
    mut notices: Vec<Notice>,
) -> Decision {
    let in_scope = policy.rules().iter().filter(|r| r.is_enabled() && r.scope.covers(target));
    let (sparing, rules): (Vec<&Rule>, Vec<&Rule>) =
        in_scope.partition(|rule| target.is_in(&rule.unsupported));
    if sparing.is_empty() && rules.is_empty() {
        let kind = NoticeKind::OutOfScope;
        notices.push(Notice { rule: None, subject: None, platform: None, kind });
    }
    for rule in sparing {
        let kind = NoticeKind::UnsupportedRegistry;
        let rule = Some(Arc::clone(rule.name()));
        notices.push(Notice { rule, subject: None, platform: None, kind });
    }
    let names_ids = rules.iter().any(|r| !r.forbidden.is_empty() || !r.allowed.is_empty());
    let ids = names_ids.then_some(policy.ids());
    let mut violations: Vec<Violation> = Vec::new();
    let mut deciding: Option<(Action, usize)> = None;
    for looked in looked {
        let mut weighing = Weighing {
            looked: &looked,
            ids,
            clock: &mut clock,
            notices: &mut notices,
            found: Vec::new(),
        };
        weighing.all(&rules);
        let mut found = weighing.found;
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
    Decision {
        action: deciding.map_or(Action::Allow, |(action, _)| action),
        rule,
        violations,
        notices,
        changes_at: clock.next,
        policy_revision: policy.shared_revision(),
    }
}

/// Place of the violation that decides among those of one manifest, which are in order.
fn decider(evaluation: Evaluation, found: &[Found]) -> Option<usize> {
    match evaluation {
        Evaluation::FirstMatch => {
            let first = found.first()?;
            // The walk is over vulnerabilities: an audit for the evidence itself, which one rule may
            // ask for and another not, does not end it and so cannot hide a denial.
            let walk = found.iter().position(|f| f.at.is_some());
            let stricter = |at: &usize| {
                found.get(*at).is_some_and(|f| f.violation.action > first.violation.action)
            };
            Some(walk.filter(stricter).unwrap_or(0))
        }
        Evaluation::DenyOverrides => {
            let worst = found.iter().map(|found| found.violation.action).max()?;
            found.iter().position(|found| found.violation.action == worst)
        }
    }
}

/// A violation and where in the walk it was found.
#[derive(Debug)]
struct Found {
    /// The finding that fulfils the condition and its number; `None` for what is wrong with the
    /// evidence, which comes first. Rules that do not look at old reports walk another list, so
    /// that the number alone says nothing.
    at: Option<(Arc<Finding>, usize)>,
    violation: Violation,
}

impl Found {
    /// The order of the walk. Where one vulnerability fulfils several conditions: deny before
    /// audit, then the rule's name, then forbidden before the levels, the highest first.
    fn order(&self, other: &Self) -> Ordering {
        let walk = match (&self.at, &other.at) {
            // Of one walk, equal numbers are the same finding.
            (Some((a, m)), Some((b, n))) if Arc::ptr_eq(a, b) => m.cmp(n),
            (Some((a, m)), Some((b, n))) => a.walk_order(b).then(m.cmp(n)),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        let level = |found: &Self| match &found.violation.condition {
            Condition::MaxAllowed { level, .. } => Some(Reverse(*level)),
            _ => None,
        };
        walk.then_with(|| other.violation.action.cmp(&self.violation.action))
            .then_with(|| self.violation.rule.cmp(&other.violation.rule))
            .then_with(|| level(self).cmp(&level(other)))
    }
}

/// All rules against one manifest.
struct Weighing<'w, 'a> {
    looked: &'w Looked<'a>,
    ids: Option<&'w Ids>,
    clock: &'w mut Clock,
    notices: &'w mut Vec<Notice>,
    found: Vec<Found>,
}

impl Weighing<'_, '_> {
    fn all(&mut self, rules: &[&Rule]) {
        if let Known::Reports(reports) = &self.looked.known {
            // A rule may not look at old reports, so what it walks is the newest few.
            let mut walks: Vec<Option<Walk<'_>>> = reports.iter().map(|_| None).collect();
            for rule in rules {
                let (walked, old) = self.split(rule, reports);
                let Some(slot) = walked.len().checked_sub(1).and_then(|l| walks.get_mut(l)) else {
                    continue;
                };
                let walk = slot.get_or_insert_with(|| Walk::new(walked, self.ids));
                for report in old {
                    let (report, scanned_at) = (report.digest, report.findings.scanned_at);
                    self.notice(rule, NoticeKind::OldReport { report, scanned_at });
                }
                for fulfilled in walk.apply(rule, self.clock) {
                    let violation = Violation {
                        findings: fulfilled.findings,
                        total: fulfilled.total,
                        ..self.violation(rule, rule.action(), fulfilled.condition)
                    };
                    self.found.push(Found { at: Some(fulfilled.at), violation });
                }
            }
            return;
        }
        for rule in rules {
            self.without_findings(rule);
        }
    }

    /// The `reports`, newest first, that `rule` looks at, and those that are too old for it. Age takes
    /// away the right to say clean, not to say bad: where all are too old, that is a violation, and
    /// what they found still counts.
    fn split<'r, 'a>(
        &mut self,
        rule: &Rule,
        reports: &'r [&'a Report],
    ) -> (&'r [&'a Report], &'r [&'a Report]) {
        let fresh = self.fresh(rule, reports);
        if fresh == 0 {
            self.stale(rule, reports);
            return (reports, &[]);
        }
        reports.split_at_checked(fresh).unwrap_or((reports, &[]))
    }

    /// How many of `reports`, newest first, are not too old for `rule`.
    fn fresh(&mut self, rule: &Rule, reports: &[&Report]) -> usize {
        let Some(max_age) = rule.max_age else {
            return reports.len();
        };
        reports.iter().take_while(|r| self.is_fresh(r.findings.scanned_at, max_age)).count()
    }

    fn is_fresh(&mut self, scanned_at: OffsetDateTime, max_age: Duration) -> bool {
        let end =
            time::Duration::try_from(max_age).ok().and_then(|age| scanned_at.checked_add(age));
        // An end that cannot be written down is after all time.
        let Some(end) = end else {
            return true;
        };
        // At just this age it is not older yet.
        if let Some(old_from) = end.checked_add(time::Duration::NANOSECOND) {
            self.clock.changes_at(old_from);
        }
        self.clock.now <= end
    }

    fn stale(&mut self, rule: &Rule, reports: &[&Report]) {
        if let (Some(newest), Some(max_age)) = (reports.first(), rule.max_age) {
            let scanned_at = newest.findings.scanned_at;
            self.unusable(rule, Condition::Stale { scanned_at, max_age });
        }
    }

    fn without_findings(&mut self, rule: &Rule) {
        match &self.looked.known {
            Known::Reports(_) => {}
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
    fn absent(&mut self, rule: &Rule, condition: Condition, otherwise: NoticeKind) {
        if rule.block_unscanned {
            self.wrong(rule, rule.action(), condition);
        } else {
            self.notice(rule, otherwise);
        }
    }

    /// There are reports, and they cannot be used: never silent.
    fn unusable(&mut self, rule: &Rule, condition: Condition) {
        let action = if rule.block_unscanned { rule.action() } else { Action::Audit };
        self.wrong(rule, action, condition);
    }

    fn wrong(&mut self, rule: &Rule, action: Action, condition: Condition) {
        let violation = self.violation(rule, action, condition);
        self.found.push(Found { at: None, violation });
    }

    fn violation(&self, rule: &Rule, action: Action, condition: Condition) -> Violation {
        Violation {
            rule: Arc::clone(rule.name()),
            action,
            condition,
            deciding: false,
            subject: self.looked.digest,
            platform: self.looked.platform.cloned(),
            findings: Vec::new(),
            total: 0,
        }
    }

    fn notice(&mut self, rule: &Rule, kind: NoticeKind) {
        let rule = Some(Arc::clone(rule.name()));
        self.notices.push(Notice { rule, ..self.looked.notice(kind) });
    }
}
