//! Violations in, their order and the one that decides out.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use super::profile::Profile;
use super::{Condition, Violation};
use crate::findings::Severity;
use crate::policy::{Evaluation, Population};

/// Place of the violation that decides among those of one manifest, which are in order.
pub(super) fn decider(evaluation: Evaluation, found: &[Found]) -> Option<usize> {
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
pub(super) struct Found {
    /// The walk and the place in it of the finding that fulfils the condition; `None` for what is
    /// wrong with the evidence or the image, which comes first. Rules that do not look at old reports
    /// walk another list, so that the place alone says nothing.
    pub(super) at: Option<(Arc<Profile>, u32)>,
    pub(super) violation: Violation,
}

impl Found {
    /// The order of the walk. Where one vulnerability fulfils several conditions: deny before
    /// audit, then the rule's name, then forbidden by identifier before the levels, the highest
    /// first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let walk = match (&self.at, &other.at) {
            (Some((a, m)), Some((b, n))) if Arc::ptr_eq(a, b) => m.cmp(n),
            (Some((a, m)), Some((b, n))) => match (a.finding(*m), b.finding(*n)) {
                (Some(a), Some(b)) => a.walk_order(b).then(m.cmp(n)),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        walk.then_with(|| other.violation.action.cmp(&self.violation.action))
            .then_with(|| self.violation.rule.cmp(&other.violation.rule))
            .then_with(|| self.condition().cmp(&other.condition()))
    }

    fn condition(&self) -> (Option<(Reverse<Severity>, Population)>, Option<&str>) {
        match &self.violation.condition {
            Condition::MaxAllowed { level, population, .. } => {
                (Some((Reverse(*level), *population)), None)
            }
            // Not by number, which other rules have a part in.
            Condition::Forbidden { id } => (None, Some(id)),
            _ => (None, None),
        }
    }
}
