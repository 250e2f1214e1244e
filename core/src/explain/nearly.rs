//! Violations and exemptions in, those that one thing keeps from being applied out.

use std::sync::Arc;

use time::OffsetDateTime;

use super::Asked;
use crate::decide::{Action, Counted, printable};
use crate::findings::{FindingRef, FixState};
use crate::policy::{Exemption, Fit, MAX_SHOWN, MAX_SHOWN_VALUES, Mismatch};

/// The most exemptions that are named as nearly applied.
pub const MAX_NEARLY: usize = 32;
/// The most violations for which exemptions are looked at.
const MAX_VIOLATIONS: usize = 8;
/// The most findings of a violation for which exemptions are looked at, the worst first.
const MAX_FINDINGS: usize = 500;

/// An exemption that would cover what is violated, but for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearly {
    /// Name of the exemption.
    pub name: Arc<str>,
    /// Who answers for it.
    pub owner: String,
    /// Name of the rule that is violated.
    pub rule: Arc<str>,
    /// What keeps it from being applied.
    pub obstacle: Obstacle,
}

/// What keeps an exemption from being applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It does not hold yet.
    NotBegun {
        /// The first instant at which it does.
        from: OffsetDateTime,
    },
    /// It holds no longer.
    Ended {
        /// The first instant at which it did not.
        until: OffsetDateTime,
    },
    /// It is for other rules.
    OtherRules {
        /// Their names, a few.
        rules: Vec<Arc<str>>,
    },
    /// It ends with a fix, and there is one.
    FixPublished {
        /// The vulnerability.
        id: String,
    },
    /// It ends with a fix, and so is about findings alone.
    FindingsOnly,
    /// One matcher does not hold.
    Matcher(Box<Mismatch>),
}

/// The exemptions that would cover something of what is violated with `action`, but for one thing.
pub(super) fn nearly(asked: &Asked<'_>, counted: &[Counted<'_>], action: Action) -> Vec<Nearly> {
    let violated: Vec<_> =
        counted.iter().filter(|c| c.met && c.action >= action).take(MAX_VIOLATIONS).collect();
    let of = |exemption: &Arc<Exemption>| {
        let obstacle = |violation: &&Counted<'_>| {
            let obstacle = obstacle(asked, exemption, violation)?;
            Some((Arc::clone(violation.rule.name()), obstacle))
        };
        let (rule, obstacle) = violated.iter().find_map(obstacle)?;
        Some(Nearly {
            name: Arc::clone(exemption.name()),
            owner: printable(exemption.owner(), MAX_SHOWN),
            rule,
            obstacle,
        })
    };
    asked.policy.exemptions().iter().filter_map(of).take(MAX_NEARLY).collect()
}

/// The one thing that keeps `exemption` from covering `violation`, if it is one.
fn obstacle(asked: &Asked<'_>, exemption: &Exemption, violation: &Counted<'_>) -> Option<Obstacle> {
    let Fit { held, failed } = exemption.fit(&asked.target, asked.ctx, &violation.digests);
    let mut all: Vec<_> = failed.into_iter().map(|m| Obstacle::Matcher(Box::new(m))).collect();
    match (exemption.from(), exemption.until()) {
        (Some(from), _) if asked.now < from => all.push(Obstacle::NotBegun { from }),
        (_, Some(until)) if until <= asked.now => all.push(Obstacle::Ended { until }),
        _ => {}
    }
    let rule = violation.rule.name();
    if let Some(rules) = exemption.rules().filter(|_| !exemption.is_for(rule)) {
        let rules = rules.iter().take(MAX_SHOWN_VALUES).cloned().collect();
        all.push(Obstacle::OtherRules { rules });
    }
    if all.len() > 1 {
        return None;
    }
    let (held, more) = match violation.limit() {
        Some(_) => violation
            .findings()
            .take(MAX_FINDINGS)
            .filter_map(|finding| about(exemption, finding))
            .map(|(also, more)| (held + also, more))
            .min_by_key(|(_, more)| more.len())?,
        None if exemption.names_vulnerabilities() => return None,
        None if exemption.exempts_evidence() => (held, Vec::new()),
        None => (held, vec![Obstacle::FindingsOnly]),
    };
    all.extend(more);
    // One that has nothing in common with the image is not nearly about it.
    if held == 0 || all.len() != 1 {
        return None;
    }
    all.pop()
}

/// How many matchers hold for `finding`, and what keeps the exemption from covering it; `None` where
/// it is about other vulnerabilities altogether.
fn about(exemption: &Exemption, finding: FindingRef<'_>) -> Option<(usize, Vec<Obstacle>)> {
    let Fit { held, failed } = exemption.fit_finding(finding);
    if held == 0 && !failed.is_empty() {
        return None;
    }
    let mut all: Vec<_> = failed.into_iter().map(|m| Obstacle::Matcher(Box::new(m))).collect();
    if exemption.is_until_fixed() && finding.fix_state() == FixState::Fixed {
        all.push(Obstacle::FixPublished { id: printable(finding.id(), MAX_SHOWN) });
    }
    Some((held, all))
}
