//! Rules in, warnings out about those that may keep another from denying.
//!
//! Under `firstMatch` the rule that is fulfilled first decides. So a rule that only audits can let
//! pass what another, fulfilled by a later vulnerability, would have denied.

use super::{Limit, MAX_PROBLEMS, Problem, Rule};
use crate::decide::Action;
use crate::findings::Severity;

/// The most pairs of rules that are compared, so that loading stays quick.
const MAX_PAIRS: usize = 1_000_000;

/// Adds a warning for each pair, as far as [`MAX_PROBLEMS`] allows.
pub(super) fn warn(rules: &[Rule], warnings: &mut Vec<Problem>) {
    let enabled = || rules.iter().filter(|rule| rule.enabled);
    let denying: Vec<_> =
        enabled().filter(|r| r.action == Action::Deny && counts_findings(r)).collect();
    let pairs = enabled().flat_map(|first| denying.iter().map(move |later| (first, *later)));
    for (first, later) in pairs.take(MAX_PAIRS) {
        if warnings.len() >= MAX_PROBLEMS {
            return;
        }
        let Some(how) = shadows(first, later) else {
            continue;
        };
        if first.name == later.name || first.scope.excludes(&later.scope) {
            continue;
        }
        let (file, place) = &first.place;
        warnings.push(Problem {
            file: file.to_string(),
            line: place.line,
            column: place.column,
            message: format!(
                "rule `{}` can let pass what rule `{}` denies: {how}, and then the first decides; \
                 set `evaluation: denyOverrides` to let the denial win",
                first.name, later.name
            ),
        });
    }
}

/// How `first` can decide with an audit although `later` is violated too.
fn shadows(first: &Rule, later: &Rule) -> Option<&'static str> {
    (first.action == Action::Audit && counts_findings(first) && !is_covered(first, later))
        .then_some("a vulnerability can fulfil it before one fulfils the other")
}

fn counts_findings(rule: &Rule) -> bool {
    !rule.limits.is_empty() || !rule.forbidden.is_empty()
}

/// Whether any vulnerability that fulfils a condition of `first` fulfils one of `later`, or one
/// before it did.
fn is_covered(first: &Rule, later: &Rule) -> bool {
    let allows_no_more = later
        .allowed
        .iter()
        .all(|a| first.allowed.iter().any(|b| a.key == b.key && b.until.is_none()));
    let names_unknown = |rule: &Rule| rule.limits.iter().any(|l| l.level == Severity::Unknown);
    let limits = first.limits.iter().all(|Limit { level, max: limit, .. }| {
        later.limits.iter().any(|Limit { level: other, max: at_most, .. }| {
            let counted = match (*level, *other) {
                (Severity::Unknown, Severity::Unknown) => true,
                (Severity::Unknown, _) => !names_unknown(later),
                (_, Severity::Unknown) => false,
                (level, other) => other <= level && (names_unknown(first) || !names_unknown(later)),
            };
            counted && at_most <= limit
        })
    });
    let forbidden = first.forbidden.iter().all(|a| later.forbidden.iter().any(|b| a.key == b.key));
    allows_no_more && limits && forbidden
}
