//! What a mark refuses, what it lets pass, and what of it outlives a restart.

use std::fs;

use portcullis_core::evidence::{Report, Statements};
use portcullis_core::findings::{Findings, Scanner, Vex, vex};
use portcullis_core::signature::Signer;
use proptest::prelude::*;
use time::Duration;
use time::macros::datetime;

use super::*;
use crate::metrics::Metrics;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

fn at(hours: i64) -> OffsetDateTime {
    NOW + Duration::hours(hours)
}

fn trust() -> Digest {
    Digest::of(b"trust")
}

fn report(signer: &str, scanner: &str, hours: i64) -> Arc<Report> {
    let signer = Signer {
        subject: signer.to_owned(),
        fingerprint: String::new(),
        policy: String::new(),
        signed_at: Some(NOW),
    };
    let scanner = Scanner { name: scanner.to_owned(), version: None };
    Arc::new(Report {
        digest: Digest::of(format!("{scanner:?}{hours}").as_bytes()),
        signer: Arc::new(signer),
        findings: Findings::new(scanner, at(hours), Vec::new()),
        notices: Vec::new(),
    })
}

fn document(name: &str, hours: i64) -> Arc<Statements> {
    let statement = vex::Statement {
        ids: vec!["CVE-2024-1".into()],
        status: vex::Status::NotAffected,
        packages: Vec::new(),
        issued_at: at(hours),
    };
    let vex = Vex { author: String::new(), statements: vec![statement] };
    let signer = Arc::clone(&report("s", "trivy", 0).signer);
    Arc::new(Statements { digest: Digest::of(name.as_bytes()), signer, vex })
}

fn reports(list: &[Arc<Report>], vex: &[Arc<Statements>]) -> Reports {
    Reports::new(list.to_vec(), vex.to_vec())
}

fn seen(reports: &Reports) -> Mark {
    Mark::seen(reports, trust(), NOW)
}

/// What is said of these reports after those.
fn judged(before: &Reports, after: &Reports) -> &'static str {
    word(&seen(before).judge(after, trust(), NOW))
}

const fn word(judgement: &Judgement) -> &'static str {
    match judgement {
        Judgement::Current(None) => "current",
        Judgement::Current(Some(_)) => "vex gone",
        Judgement::Rollback(_) => "rollback",
        Judgement::Withheld => "withheld",
    }
}

#[test]
fn t016_a_report_older_than_one_that_was_seen_is_refused() {
    let newer = reports(&[report("s", "trivy", -1)], &[]);
    let older = reports(&[report("s", "trivy", -2)], &[]);
    assert_eq!(judged(&newer, &older), "rollback");
    assert_eq!(judged(&newer, &newer), "current");
    assert_eq!(judged(&older, &newer), "current");
    // A mark never falls, whoever raises it to what.
    let mark = seen(&newer).raised(&seen(&older));
    assert_eq!(mark, seen(&newer));
    assert_eq!(seen(&older).raised(&seen(&newer)), mark);
    let Judgement::Rollback(why) = mark.judge(&older, trust(), NOW) else { panic!() };
    assert_eq!(why.reason, Reason::Rollback);
    assert!(why.detail.contains("10:00") && why.detail.contains("11:00"), "{}", why.detail);
}

#[test]
fn t020_a_scanner_whose_report_is_gone_is_missed_while_it_is_believed() {
    let both = reports(&[report("s", "trivy", -1), report("t", "grype", -1)], &[]);
    let one = reports(&[report("s", "trivy", 0)], &[]);
    assert_eq!(judged(&both, &one), "withheld");
    let and_another = reports(&[report("s", "trivy", 0), report("t", "grype", -1)], &[]);
    assert_eq!(judged(&one, &and_another), "current");
    // Who else signed the very same report does not matter.
    let resigned = reports(&[report("s", "trivy", -1), report("u", "grype", -1)], &[]);
    assert_eq!(judged(&both, &resigned), "current");
    // Another trust may not believe it any more, nor may a later day.
    let mark = seen(&both);
    assert_eq!(word(&mark.judge(&one, Digest::of(b"other"), NOW)), "current");
    let mark = seen(&both.until(Some(at(1))));
    assert_eq!(word(&mark.judge(&one, trust(), at(1) - Duration::NANOSECOND)), "withheld");
    assert_eq!(word(&mark.judge(&one, trust(), at(1))), "current");
    // What is older is refused under any.
    let old = reports(&[report("s", "trivy", -2)], &[]);
    assert_eq!(word(&mark.judge(&old, Digest::of(b"other"), at(2))), "rollback");
}

#[test]
fn a_vex_document_that_is_gone_may_have_taken_back_what_came_before_it() {
    let with = |vex: &[Arc<Statements>]| reports(&[report("s", "trivy", -1)], vex);
    let (old, new) = (document("old", -3), document("new", -2));
    let mark = seen(&with(&[Arc::clone(&old), Arc::clone(&new)]));
    let judge = |vex: &[Arc<Statements>]| mark.judge(&with(vex), trust(), NOW);
    assert_eq!(judge(&[Arc::clone(&new), Arc::clone(&old)]), Judgement::Current(None));
    assert_eq!(judge(&[Arc::clone(&old)]), Judgement::Current(Some(at(-2))));
    assert_eq!(judge(&[new]), Judgement::Current(Some(at(-3))));
    assert_eq!(judge(&[]), Judgement::Current(Some(at(-2))));
}

#[test]
fn a_scan_of_the_future_raises_no_mark() {
    let skew = i64::try_from(MAX_SKEW.as_secs()).unwrap();
    let at_skew = |seconds| {
        let mut report = (*report("s", "trivy", 0)).clone();
        report.findings.scanned_at = NOW + Duration::seconds(seconds);
        seen(&reports(&[Arc::new(report)], &[])).is_empty()
    };
    assert!(!at_skew(skew));
    assert!(at_skew(skew + 1));
}

#[test]
fn a_mark_remembers_the_newest_up_to_its_bound() {
    let count = i64::try_from(MAX_REMEMBERED).unwrap();
    let list: Vec<_> = (0..=count).map(|n| report("s", &format!("scanner{n}"), -n)).collect();
    let vex: Vec<_> = (0..=count).map(|n| document(&n.to_string(), -n)).collect();
    let mark = seen(&reports(&list, &vex));
    assert_eq!((mark.reports.len(), mark.vex.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    assert!(mark.reports.iter().all(|report| report.scanned_at > at(-count)));
    assert!(mark.vex.iter().all(|document| document.issued_at > at(-count)));
}

fn key(name: &str) -> Key {
    Key::new("reg.io", name, Digest::of(b"image"))
}

fn mark(hours: i64) -> Mark {
    seen(&reports(&[report("s", "trivy", hours)], &[]))
}

#[tokio::test]
async fn t017_marks_outlive_the_process_that_raised_them() {
    let folder = tempfile::tempdir().unwrap();
    let open = |limit| Kept::open(folder.path(), limit, Arc::new(Metrics::new()));
    let first = open(2);
    first.raise(key("a"), mark(-1), at(1)).await;
    first.raise(key("b"), mark(-1), at(2)).await;
    first.raise(key("a"), mark(-2), at(3)).await;
    first.close();
    let second = open(2);
    assert_eq!(second.of(&key("a")).await, mark(-1));
    // The one that was raised longest ago makes room, also for the next process.
    second.raise(key("c"), mark(-1), at(4)).await;
    assert_eq!(second.of(&key("b")).await, Mark::default());
    second.forget(key("c")).await;
    second.close();
    let third = open(3);
    assert_eq!(third.of(&key("a")).await, mark(-1));
    assert_eq!(third.of(&key("b")).await, Mark::default());
    assert_eq!(third.of(&key("c")).await, Mark::default());
    third.close();
    // It is closed, and still knows.
    third.raise(key("d"), mark(-1), at(5)).await;
    assert_eq!(third.of(&key("d")).await, mark(-1));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_makes_nothing_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("marks.redb");
    fs::write(&file, vec![7; 10_000]).unwrap();
    let metrics = Arc::new(Metrics::new());
    let kept = Kept::open(folder.path(), 2, Arc::clone(&metrics));
    assert!(metrics.encode().unwrap().contains("portcullis_marks_failed_total 1"));
    kept.raise(key("a"), mark(-1), NOW).await;
    assert_eq!(kept.of(&key("a")).await, mark(-1));
    // What is there stays as it is, for whoever wants to look.
    assert_eq!(fs::read(&file).unwrap(), vec![7; 10_000]);
    let nowhere = Kept::open(&folder.path().join("none/there"), 2, metrics);
    nowhere.raise(key("a"), mark(-1), NOW).await;
    assert_eq!(nowhere.of(&key("a")).await, mark(-1));
}

#[test]
fn t078_two_images_never_have_one_key() {
    let digest = Digest::of(b"image");
    assert_ne!(Key::new("a", "bc", digest), Key::new("ab", "c", digest));
    assert_ne!(Key::new("a", "b/c", digest), Key::new("a/b", "c", digest));
    // Two spellings of one text in Unicode are two texts.
    assert_ne!(Key::new("a", "\u{e9}", digest), Key::new("a", "e\u{301}", digest));
}

proptest! {
    #[test]
    fn t078_keys_are_equal_only_where_all_their_parts_are(
        a in "\\PC{0,3}", b in "\\PC{0,3}", c in "\\PC{0,3}", d in "\\PC{0,3}",
        x in any::<[u8; 32]>(), y in any::<[u8; 32]>(),
    ) {
        let (x, y) = (Digest::from_bytes(x), Digest::from_bytes(y));
        prop_assert_eq!(Key::new(&a, &b, x) == Key::new(&c, &d, x), a == c && b == d);
        prop_assert_eq!(Key::new(&a, &b, x) == Key::new(&a, &b, y), x == y);
    }
}
