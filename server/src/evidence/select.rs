//! What became of each attached document in, one value for all of them out.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::decide::MAX_SKEW;
use portcullis_core::evidence::{Cause, Evidence, Reason, Rejection, Report, Reports, Statements};
use portcullis_core::findings::vex::Statement;
use time::OffsetDateTime;

/// What became of the reports on one digest, so far.
pub(super) struct Selection {
    now: OffsetDateTime,
    verified: Vec<Arc<Report>>,
    vex: Vec<Arc<Statements>>,
    unreadable_vex: Vec<Option<OffsetDateTime>>,
    unreadable: Vec<(Option<OffsetDateTime>, Rejection)>,
    undecided: Vec<(Option<OffsetDateTime>, Cause)>,
    rejected: Vec<Rejection>,
    crowded: Option<String>,
    valid_until: Option<OffsetDateTime>,
}

impl Selection {
    pub(super) const fn new(now: OffsetDateTime) -> Self {
        Self {
            now,
            verified: Vec::new(),
            vex: Vec::new(),
            unreadable_vex: Vec::new(),
            unreadable: Vec::new(),
            undecided: Vec::new(),
            rejected: Vec::new(),
            crowded: None,
            valid_until: None,
        }
    }

    /// A report passed verification.
    pub(super) fn verified(&mut self, report: impl Into<Arc<Report>>) {
        self.verified.push(report.into());
    }

    /// What passed verification has to be verified again from `instant` on.
    pub(super) fn valid_until(&mut self, instant: Option<OffsetDateTime>) {
        self.valid_until = self.valid_until.into_iter().chain(instant).min();
    }

    /// A VEX document passed verification.
    pub(super) fn vex(&mut self, statements: impl Into<Arc<Statements>>) {
        self.vex.push(statements.into());
    }

    /// A VEX document is signed by someone trusted, at `created` as they say, and cannot be read: it may
    /// take back what was said before.
    pub(super) fn unreadable_vex(&mut self, created: Option<OffsetDateTime>) {
        self.unreadable_vex.push(created);
    }

    /// Not all VEX documents were looked at, so that it is not known which is the newest: none counts.
    pub(super) fn no_vex(&mut self) {
        self.vex.clear();
    }

    /// Whether any report passed verification.
    pub(super) const fn has_reports(&self) -> bool {
        !self.verified.is_empty()
    }

    /// A report is signed by someone trusted, at `created` as they say, and says nothing that can be
    /// used.
    pub(super) fn unreadable(&mut self, created: Option<OffsetDateTime>, why: Rejection) {
        self.unreadable.push((created, why));
    }

    /// It could not be found out whether a report is to be believed, which was made at `created` as it
    /// says.
    pub(super) fn undecided(&mut self, created: Option<OffsetDateTime>, cause: Cause) {
        self.undecided.push((created, cause));
    }

    /// A report cannot be believed.
    pub(super) fn rejected(&mut self, why: Rejection) {
        self.rejected.push(why);
    }

    /// Reports were not looked at because others, which cannot be believed, took their places.
    pub(super) fn crowded(&mut self, detail: String) {
        self.crowded.get_or_insert(detail);
    }

    /// How many reports cannot be believed.
    pub(super) fn rejections(&self) -> usize {
        self.rejected.len()
    }

    /// What all this comes to. A trusted signer's newer report that cannot be used counts more than
    /// an older one that can, and whoever crowds out reports wins nothing.
    pub(super) fn evidence(self) -> Evidence {
        let newest = self.verified.iter().map(|report| report.findings.scanned_at).max();
        let is_newer = move |created: &Option<OffsetDateTime>| match (created, newest) {
            (Some(created), Some(newest)) => *created > newest,
            _ => true,
        };
        if let Some((_, why)) = self.unreadable.into_iter().find(|(created, _)| is_newer(created)) {
            return Evidence::Rejected(why);
        }
        if let Some((_, cause)) = self.undecided.into_iter().find(|(created, _)| is_newer(created))
        {
            return Evidence::Unavailable(cause);
        }
        if let Some(detail) = self.crowded {
            return Evidence::Rejected(Rejection { reason: Reason::TooMany, report: None, detail });
        }
        if !self.verified.is_empty() {
            let reports = newest_of_each(self.verified, self.now);
            let vex = not_taken_back(self.vex, &self.unreadable_vex);
            return Evidence::Verified(Reports::new(reports, vex).until(self.valid_until));
        }
        self.rejected.into_iter().next().map_or(Evidence::Missing, Evidence::Rejected)
    }
}

/// What VEX documents say, without what clears and may have been taken back since by one that cannot be
/// read, of any of these times.
pub(super) fn not_taken_back(
    vex: Vec<Arc<Statements>>,
    unreadable: &[Option<OffsetDateTime>],
) -> Vec<Arc<Statements>> {
    let stays = |statement: &Statement| {
        !statement.status.clears()
            || unreadable.iter().all(|at| at.is_some_and(|at| statement.issued_at > at))
    };
    let without = |mut document: Arc<Statements>| {
        if !document.vex.statements.iter().all(stays) {
            Arc::make_mut(&mut document).vex.statements.retain(stays);
        }
        document
    };
    vex.into_iter().map(without).collect()
}

/// The newest reports by signed scan time, of each signer's each scanner; several where their times
/// are equal. Those of the future, which rules will not believe, replace none of the present.
fn newest_of_each(reports: Vec<Arc<Report>>, now: OffsetDateTime) -> Vec<Arc<Report>> {
    let mut newest: BTreeMap<(String, String), Vec<Arc<Report>>> = BTreeMap::new();
    let is_early = |report: &Report| report.findings.scanned_at > now + MAX_SKEW;
    for report in reports {
        let key = (report.signer.subject.clone(), report.findings.scanner.name.to_string());
        let kept = newest.entry(key).or_default();
        let rank = |r: &Report| (!is_early(r), r.findings.scanned_at);
        match kept.first().map(|first| rank(&report).cmp(&rank(first))) {
            None | Some(std::cmp::Ordering::Equal) => kept.push(report),
            Some(std::cmp::Ordering::Greater) => *kept = vec![report],
            Some(std::cmp::Ordering::Less) => {}
        }
    }
    newest.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use portcullis_core::evidence::CauseKind;
    use portcullis_core::findings::vex::Status;
    use portcullis_core::findings::{Findings, Scanner, Vex};
    use portcullis_core::image::Digest;
    use portcullis_core::signature::Signer;
    use time::Duration;

    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-21 12:00 UTC);

    fn report(signer: &str, scanner: &str, hours: i64, name: &str) -> Report {
        let scanner = Scanner { name: scanner.into(), version: None };
        let signer = Signer {
            subject: signer.to_owned(),
            fingerprint: String::new(),
            policy: String::new(),
            signed_at: Some(NOW),
        };
        Report {
            digest: Digest::of(name.as_bytes()),
            signer: Arc::new(signer),
            findings: Findings::new(scanner, at(hours), Vec::new()),
            notices: Vec::new(),
        }
    }

    fn at(hours: i64) -> OffsetDateTime {
        NOW + Duration::hours(hours)
    }

    fn why(detail: &str) -> Rejection {
        Rejection { reason: Reason::Malformed, report: None, detail: detail.to_owned() }
    }

    /// The names of the reports that count, or the reason why none does.
    #[track_caller]
    fn check(selection: Selection, expected: &[&str]) {
        let mut found = match selection.evidence() {
            Evidence::Verified(reports) => reports.iter().map(|r| r.digest.to_string()).collect(),
            Evidence::Rejected(why) => vec![why.detail],
            other => vec![other.status().to_owned()],
        };
        let mut expected: Vec<_> = expected
            .iter()
            .map(|name| match name.strip_prefix('#') {
                Some(report) => Digest::of(report.as_bytes()).to_string(),
                None => (*name).to_owned(),
            })
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    fn of(reports: Vec<Report>) -> Selection {
        let mut selection = Selection::new(NOW);
        reports.into_iter().for_each(|report| selection.verified(report));
        selection
    }

    #[test]
    fn the_newest_of_each_signer_and_scanner_counts() {
        check(Selection::new(NOW), &["missing"]);
        check(of(vec![report("s", "trivy", -2, "a"), report("s", "trivy", -1, "b")]), &["#b"]);
        check(
            of(vec![report("s", "trivy", -2, "a"), report("s", "grype", -1, "b")]),
            &["#a", "#b"],
        );
        check(
            of(vec![report("s", "trivy", -2, "a"), report("t", "trivy", -1, "b")]),
            &["#a", "#b"],
        );
        check(
            of(vec![report("s", "trivy", -1, "a"), report("s", "trivy", -1, "b")]),
            &["#a", "#b"],
        );
    }

    #[test]
    fn t035_reports_of_two_scanners_at_one_time_both_count() {
        check(
            of(vec![report("s", "trivy", -1, "a"), report("s", "grype", -1, "b")]),
            &["#a", "#b"],
        );
    }

    #[test]
    fn what_ends_first_ends_all() {
        let until = |instants: [Option<i64>; 3]| {
            let mut selection = of(vec![report("s", "trivy", -1, "a")]);
            instants.iter().for_each(|instant| selection.valid_until(instant.map(at)));
            let Evidence::Verified(reports) = selection.evidence() else { panic!("not verified") };
            reports.valid_until()
        };
        assert_eq!(until([None, None, None]), None);
        assert_eq!(until([Some(2), None, Some(1)]), Some(at(1)));
    }

    #[test]
    fn a_report_of_the_future_replaces_none_of_the_present() {
        check(of(vec![report("s", "trivy", -1, "a"), report("s", "trivy", 1, "b")]), &["#a"]);
        check(of(vec![report("s", "trivy", 1, "b"), report("s", "trivy", -1, "a")]), &["#a"]);
        check(of(vec![report("s", "trivy", 1, "b")]), &["#b"]);
    }

    #[test]
    fn a_newer_report_that_cannot_be_used_is_not_answered_by_an_older_one() {
        let with = |created: Option<i64>| {
            let mut selection = of(vec![report("s", "trivy", -2, "a")]);
            selection.unreadable(created.map(at), why("not covered"));
            selection
        };
        check(with(Some(-1)), &["not covered"]);
        check(with(None), &["not covered"]);
        check(with(Some(-3)), &["#a"]);
    }

    #[test]
    fn a_newer_report_that_is_not_decided_is_not_answered_by_an_older_one() {
        let with = |reports: Vec<Report>, created: Option<i64>| {
            let mut selection = of(reports);
            let cause = Cause { kind: CauseKind::Revocation, detail: String::new() };
            selection.undecided(created.map(at), cause);
            selection
        };
        let known = || vec![report("s", "trivy", -2, "a")];
        check(with(known(), Some(-1)), &["unavailable"]);
        check(with(known(), None), &["unavailable"]);
        check(with(Vec::new(), Some(-3)), &["unavailable"]);
        // What was decided since counts.
        check(with(known(), Some(-3)), &["#a"]);
    }

    fn statements(name: &str) -> Statements {
        let report = report("s", "trivy", 0, name);
        Statements { digest: report.digest, signer: report.signer, vex: Vex::default() }
    }

    #[test]
    fn vex_documents_are_beside_reports_and_none_of_them() {
        let mut alone = Selection::new(NOW);
        alone.vex(statements("v"));
        assert!(!alone.has_reports());
        check(alone, &["missing"]);

        let mut beside = of(vec![report("s", "trivy", -1, "a")]);
        assert!(beside.has_reports());
        beside.vex(statements("v"));
        let Evidence::Verified(reports) = beside.evidence() else { panic!("not verified") };
        assert_eq!((reports.len(), reports.vex().len()), (1, 1));

        let mut crowded = of(vec![report("s", "trivy", -1, "a")]);
        crowded.vex(statements("v"));
        crowded.no_vex();
        let Evidence::Verified(reports) = crowded.evidence() else { panic!("not verified") };
        assert_eq!((reports.len(), reports.vex().len()), (1, 0));
    }

    #[test]
    fn a_newer_vex_document_that_cannot_be_read_takes_back_what_older_ones_clear() {
        let kept = |unreadable: &[Option<i64>]| {
            let mut selection = of(vec![report("s", "trivy", -1, "a")]);
            let mut document = statements("v");
            let statement = |status, hours| Statement {
                ids: vec!["CVE-2024-1111".into()],
                status,
                packages: Vec::new(),
                issued_at: at(hours),
            };
            document.vex.statements =
                vec![statement(Status::NotAffected, -2), statement(Status::Affected, -2)];
            selection.vex(document);
            unreadable.iter().for_each(|created| selection.unreadable_vex(created.map(at)));
            let Evidence::Verified(reports) = selection.evidence() else { panic!("not verified") };
            reports.vex()[0].vex.statements.iter().map(|s| s.status).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[]), [Status::NotAffected, Status::Affected]);
        assert_eq!(kept(&[Some(-3)]), [Status::NotAffected, Status::Affected]);
        for unreadable in [&[Some(-1)][..], &[Some(-2)], &[None], &[Some(-3), None]] {
            assert_eq!(kept(unreadable), [Status::Affected], "{unreadable:?}");
        }
    }

    #[test]
    fn whoever_crowds_out_reports_wins_nothing() {
        let mut selection = of(vec![report("s", "trivy", -2, "a")]);
        selection.rejected(why("unsigned"));
        assert_eq!(selection.rejections(), 1);
        selection.crowded("crowded".to_owned());
        check(selection, &["crowded"]);
        let mut selection = of(vec![report("s", "trivy", -2, "a")]);
        selection.rejected(why("unsigned"));
        check(selection, &["#a"]);
    }
}
