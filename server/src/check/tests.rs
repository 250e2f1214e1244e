//! For how long an answer may be reused.

use portcullis_core::evidence::{Cause, CauseKind, Source};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

fn subject(evidence: Evidence) -> Subject {
    Subject {
        digest: None,
        platform: None,
        evidence: Arc::new(evidence),
        fetched_at: NOW,
        source: Source::Registry,
    }
}

#[track_caller]
fn check(known: &Known, evidence: Evidence, changes_in: Option<u64>, expected: u64) {
    let changes_at = changes_in.map(|seconds| NOW + Duration::from_secs(seconds));
    let subjects = [subject(Evidence::Missing), subject(evidence)];
    let expected = Duration::from_secs(expected);
    assert_eq!(reusable(known, &subjects, changes_at, NOW.into()), expected);
}

#[test]
fn an_answer_holds_while_its_evidence_is_fresh_and_the_clock_changes_nothing() {
    let until = |seconds| Known::Until(Stamp::of(NOW + Duration::from_secs(seconds)));
    check(&until(30), Evidence::Missing, None, 30);
    check(&until(30), Evidence::Missing, Some(20), 20);
    check(&until(30), Evidence::Missing, Some(40), 30);
    check(&until(30), Evidence::Missing, Some(0), 0);
    check(&until(0), Evidence::Missing, None, 0);
    let past = Known::Until(Stamp::of(NOW - Duration::from_secs(1)));
    check(&past, Evidence::Missing, None, 0);
}

#[test]
fn an_answer_without_knowledge_does_not_hold() {
    let until = || Known::Until(Stamp::of(NOW + Duration::from_secs(30)));
    let cause = Cause { kind: CauseKind::Denied, detail: String::new() };
    check(&Known::Nothing, Evidence::Missing, None, 0);
    check(&until(), Evidence::Unavailable(cause), None, 0);
    check(&until(), Evidence::Stale { age: Duration::from_secs(1) }, None, 0);
}
