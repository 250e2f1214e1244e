//! A second, naive decision that reads like the design, and the proof that both agree (CASES T093).
//!
//! It shares no code with the engine: only what goes in and what comes out. `spec` is what is written,
//! `about` says which rules and exemptions are about a container, `merged` what the reports found, and
//! `weighed` what one rule says of one manifest.

mod about;
mod answer;
mod case;
mod draws;
mod explained;
mod lineage;
mod many;
mod merged;
mod properties;
mod random;
mod spec;
mod weighed;
mod yaml;

use std::cmp::Ordering;
use std::sync::Arc;

use time::macros::datetime;

use super::*;
use crate::evidence::{Cause, CauseKind, Evidence, Report};
use crate::findings::Severity;
use answer::{Answer, Fault};
use case::Case;
use weighed::Weighed;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const LEVELS: [Severity; 5] =
    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Unknown];

fn hours(hours: i64) -> time::Duration {
    time::Duration::hours(hours)
}

/// Decides as section 4 of the design reads, one sentence after the other.
fn oracle(case: &Case) -> Answer {
    let mut answer = Answer::default();
    let rules = rules(case, &mut answer.notices);
    for manifest in manifests(case, &mut answer.notices) {
        let mut weighed = Weighed::default();
        for rule in &rules {
            weighed.weigh(case, &manifest, rule);
        }
        weighed.tell_of_cleared(&manifest);
        answer.notices.extend(weighed.notices);
        answer.exemptions.extend(weighed.exempted);
        weighed.faults.sort_by(walk);
        // Each manifest is decided on its own, and the worst action wins.
        let decider = decider(case.document.deny_overrides, &weighed.faults);
        let worst = answer.action;
        for (place, mut fault) in weighed.faults.into_iter().enumerate() {
            if Some(place) == decider && fault.action > worst {
                for other in &mut answer.violations {
                    other.deciding = false;
                }
                fault.deciding = true;
                answer.action = fault.action;
                answer.rule = Some(fault.rule.clone());
            }
            answer.violations.push(fault);
        }
    }
    break_glass(case, &mut answer);
    answer
}

/// The rules that are about the image in its context, and notices of why others are not.
fn rules<'c>(case: &'c Case, notices: &mut Vec<Notice>) -> Vec<&'c spec::Rule> {
    let mut note = |rule: Option<&spec::Rule>, kind| {
        let rule = rule.map(|rule| rule.name.as_str().into());
        notices.push(Notice { rule, subject: None, platform: None, kind });
    };
    let allowed = |patterns: &[&str]| {
        let pattern = patterns.iter().find(|pattern| about::fits(pattern, &case.image))?;
        Some(NoticeKind::AllowedImage { pattern: (*pattern).to_owned() })
    };
    if let Some(kind) = allowed(&case.document.allowed_images) {
        note(None, kind);
        return Vec::new();
    }
    let rules = case.document.rules.iter();
    let in_scope: Vec<_> =
        rules.filter(|rule| rule.enabled && about::is_in(&rule.scope, case)).collect();
    if in_scope.is_empty() {
        note(None, NoticeKind::OutOfScope);
    }
    let mut left = Vec::new();
    for rule in in_scope {
        let registries = &rule.unsupported;
        if registries.iter().any(|registry| about::begins(case.image.name(), registry)) {
            note(Some(rule), NoticeKind::UnsupportedRegistry);
        } else if let Some(kind) = allowed(&rule.allowed_images) {
            note(Some(rule), kind);
        } else {
            left.push(rule);
        }
    }
    left
}

/// A manifest that is decided.
struct Manifest {
    digest: Option<Digest>,
    platform: Option<Platform>,
    evidence: Arc<Evidence>,
    /// The reports that are not from the future, the newest first.
    believed: Vec<Arc<Report>>,
    /// By what exemptions may name it: its digest, that of its index, and that of the reference.
    digests: Vec<Digest>,
}

/// What must be decided: the index and each platform's manifest, but one of these without evidence is
/// covered by verified evidence on the index, and an index without leaves the word to them.
fn manifests(case: &Case, notices: &mut Vec<Notice>) -> Vec<Manifest> {
    let index = case.subjects.iter().find(|subject| subject.platform.is_none());
    let index_speaks = index.is_some_and(|index| !believed(index, case.now).is_empty());
    let has_platforms = case.subjects.iter().any(|subject| subject.platform.is_some());
    let mut manifests = Vec::new();
    for subject in &case.subjects {
        let spoken_for = if subject.platform.is_some() { index_speaks } else { has_platforms };
        if spoken_for && *subject.evidence == Evidence::Missing {
            continue;
        }
        let digests = [subject.digest, index.and_then(|index| index.digest), case.image.digest()];
        let manifest = Manifest {
            digest: subject.digest,
            platform: subject.platform.clone(),
            evidence: Arc::clone(&subject.evidence),
            believed: believed(subject, case.now),
            digests: digests.into_iter().flatten().collect(),
        };
        notices.extend(manifest.notices());
        manifests.push(manifest);
    }
    manifests.sort_by_key(|manifest| (manifest.platform.clone(), manifest.digest));
    if manifests.is_empty() {
        let detail = "no manifest of the image is known".to_owned();
        manifests.push(Manifest {
            digest: None,
            platform: None,
            evidence: Arc::new(Evidence::Unavailable(Cause { kind: CauseKind::NotFound, detail })),
            believed: Vec::new(),
            digests: case.image.digest().into_iter().collect(),
        });
    }
    manifests
}

impl Manifest {
    fn notice(&self, rule: Option<&str>, kind: NoticeKind) -> Notice {
        let (subject, platform) = (self.digest, self.platform.clone());
        Notice { rule: rule.map(Arc::from), subject, platform, kind }
    }

    /// What is to be known of the reports, where some are believed.
    fn notices(&self) -> Vec<Notice> {
        let Evidence::Verified(reports) = &*self.evidence else {
            return Vec::new();
        };
        let mut notices = Vec::new();
        for report in reports.iter().filter(|_| !self.believed.is_empty()) {
            let (digest, scanned_at) = (report.digest, report.findings.scanned_at);
            if !self.believed.contains(report) {
                let kind = NoticeKind::EarlyReport { report: digest, scanned_at };
                notices.push(self.notice(None, kind));
                continue;
            }
            for detail in report.notices.iter().take(MAX_SIGNATURE_NOTICES) {
                let kind = NoticeKind::Signature { report: digest, detail: detail.clone() };
                notices.push(self.notice(None, kind));
            }
        }
        notices
    }
}

fn believed(subject: &Subject, now: OffsetDateTime) -> Vec<Arc<Report>> {
    let Evidence::Verified(reports) = &*subject.evidence else {
        return Vec::new();
    };
    let mut reports: Vec<_> =
        reports.iter().filter(|r| r.findings.scanned_at <= now + MAX_SKEW).cloned().collect();
    reports.sort_by_key(|r| (std::cmp::Reverse(r.findings.scanned_at), r.digest));
    reports
}

/// All rules are walked together: the evidence first, then from the most severe vulnerability to the
/// least severe. Where one fulfils several conditions, deny wins over audit, then the rule's name.
fn walk(a: &Fault, b: &Fault) -> Ordering {
    let place = match (&a.at, &b.at) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some((a, m)), Some((b, n))) => merged::order(a, b).then(m.cmp(n)),
    };
    place.then_with(|| b.action.cmp(&a.action)).then_with(|| a.rule.cmp(&b.rule))
}

/// The place of the fault that decides: the first of the walk, or the first that denies. What is wrong
/// with the evidence alone does not end the walk where that is stricter.
fn decider(deny_overrides: bool, faults: &[Fault]) -> Option<usize> {
    let first = |is: &dyn Fn(&Fault) -> bool| faults.iter().position(is);
    let denies = first(&|fault| deny_overrides && fault.action == Action::Deny);
    let evidence = first(&|fault| fault.at.is_none());
    let vulnerability = first(&|fault| fault.at.is_some());
    denies.or(match (evidence, vulnerability) {
        (Some(e), Some(v)) if faults[v].action > faults[e].action => Some(v),
        (e, v) => e.or(v),
    })
}

/// A denial is lifted for a reason, where one entry of the policy permits it for all that deny.
fn break_glass(case: &Case, answer: &mut Answer) {
    let justification = &case.ctx.break_glass;
    if answer.action != Action::Deny || justification.is_empty() {
        return;
    }
    let denying: Vec<_> =
        answer.violations.iter().filter(|fault| fault.action == Action::Deny).collect();
    let permits = |entry: &&spec::BreakGlass| {
        about::is_surely_in(&entry.scope, case)
            && denying.iter().all(|fault| about::is_for(entry.rules.as_deref(), &fault.rule))
    };
    if let Some(entry) = case.document.break_glass.iter().find(permits) {
        let (name, justification) = (entry.name.as_str().into(), justification.clone());
        answer.action = Action::Audit;
        answer.break_glass = Some(Lifted { name, justification });
    } else {
        let kind = NoticeKind::BreakGlassRefused(Refusal::NotPermitted);
        answer.notices.push(Notice { rule: None, subject: None, platform: None, kind });
    }
}
