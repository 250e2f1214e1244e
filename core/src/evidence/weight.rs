//! Reports in, the memory that they take out, with what decisions keep beside them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Reports, Statements};
use crate::decide::Profiles;
use crate::findings::{Analysis, Findings};

/// What a finding takes, with its words, where none of it is shared with other reports, in bytes.
const UNSHARED: usize = 64;
/// Of how many findings one has a name that rules have, for which decisions keep eight bytes.
const NAMED: usize = 8;

/// What reports weigh, once that was asked: all their findings are looked at for it, and who asks may hold a lock.
/// A copy begins without it, and it makes no difference between two.
#[derive(Default)]
pub(super) struct Weighed(AtomicUsize);

impl Clone for Weighed {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Weighed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Weighed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Weighed")
    }
}

impl Reports {
    /// With room for what decisions keep beside them.
    pub(super) fn weight(&self) -> usize {
        // Nothing weighs nothing. Two who ask at once find the same.
        let known = self.weighed.0.load(Ordering::Relaxed);
        if known > 0 {
            return known;
        }
        let weight = self.weigh();
        self.weighed.0.store(weight, Ordering::Relaxed);
        weight
    }

    fn weigh(&self) -> usize {
        let reports: usize = self.list.iter().map(|report| report.weight()).sum();
        let vex: usize = self.vex.iter().map(|vex| vex.weight()).sum();
        let findings: usize = self.list.iter().map(|report| report.findings.len()).sum();
        // What is merged is packed anew, and shares nothing.
        let merged = if self.list.len() > 1 { reports.max(findings * UNSHARED) } else { 0 };
        // With what decisions and answers keep beside them, which most do as soon as somebody asks.
        let beside = findings.div_ceil(NAMED) * 8 + Profiles::ROOM + self.told_room();
        reports + vex + merged + beside + self.cleared() * Profiles::CLEARED
    }

    /// How many findings do not count, at the most: which of them a VEX document is about is not looked for.
    fn cleared(&self) -> usize {
        let clears = |document: &Arc<Statements>| {
            document.vex.statements.iter().any(|statement| statement.status.clears())
        };
        let all = self.list.iter().map(|report| &report.findings);
        if self.vex.iter().any(clears) {
            return all.map(Findings::len).sum();
        }
        let own = |findings: &Findings| {
            findings.iter().filter(|finding| finding.analysis() != Analysis::Affected).count()
        };
        all.map(own).sum()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::evidence::Report;
    use crate::findings::vex::{Statement, Status};
    use crate::findings::{Finding, FixState, Scanner, Severity, Vex};
    use crate::image::Digest;
    use crate::signature::Signer;

    const FINDINGS: usize = 100;
    const NOW: time::OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

    fn signer() -> Arc<Signer> {
        let (subject, fingerprint) = (String::new(), String::new());
        Arc::new(Signer { subject, fingerprint, policy: String::new(), signed_at: None })
    }

    fn finding(number: usize, analysis: Analysis) -> Finding {
        Finding {
            id: format!("CVE-2026-{number}").into(),
            aliases: Vec::new(),
            severity: Severity::High,
            score: None,
            package: None,
            purl: None,
            installed: None,
            fixed: Vec::new(),
            fix_state: FixState::NotStated,
            known_exploited: None,
            epss: None,
            published: None,
            first_seen: None,
            analysis,
        }
    }

    /// One report of which the first findings have an `analysis`, and what is said of one of them.
    fn weight(analysed: &[Analysis], said: Option<Status>) -> usize {
        let analysis = |n: usize| analysed.get(n).copied().unwrap_or(Analysis::Affected);
        let list = (0..FINDINGS).map(|n| finding(n, analysis(n))).collect();
        let scanner = Scanner { name: "trivy".to_owned(), version: None };
        let findings = Findings::new(scanner, NOW, list);
        let digest = Digest::of(b"report");
        let report = Report { digest, signer: signer(), findings, notices: Vec::new() };
        let document = |status| {
            let ids = vec!["CVE-2026-1".into()];
            let statement = Statement { ids, status, packages: Vec::new(), issued_at: NOW };
            let vex = Vex { author: String::new(), statements: vec![statement] };
            Arc::new(Statements { digest: Digest::of(b"vex"), signer: signer(), vex })
        };
        let vex = said.map(document).into_iter().collect();
        Reports::new(vec![Arc::new(report)], vex).weight()
    }

    #[test]
    fn reports_are_weighed_once_and_copies_anew() {
        let lone = Reports::new(Vec::new(), Vec::new());
        let weight = lone.weight();
        lone.weighed.0.store(weight + 1, Ordering::Relaxed);
        let copy = lone.clone();
        assert_eq!((lone.weight(), copy.weight()), (weight + 1, weight));
        assert_eq!(copy, lone);
    }

    #[test]
    fn what_does_not_count_is_kept_beside_reports_and_weighs() {
        use Analysis::{Affected, Fixed, NotAffected};
        let all = weight(&[Affected], None);
        let two = weight(&[NotAffected, Affected, Fixed], None);
        assert!(two >= all + 2 * Profiles::CLEARED, "{two} {all}");
        // A document may clear all of them.
        let clears_none = weight(&[], Some(Status::UnderInvestigation));
        let clears_some = weight(&[], Some(Status::Fixed));
        assert_eq!(clears_some, clears_none + FINDINGS * Profiles::CLEARED);
    }
}
