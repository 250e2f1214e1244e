//! The record of decisions, with its thread and its faults.

mod faults;
mod panics;
mod segments;
mod site;

use std::sync::Arc;

use portcullis_core::simulate::recorded::{self, Kind, Recorded};
use serde_json::Value;

use self::site::*;
use super::*;

#[test]
fn what_is_recorded_is_read_with_all_that_it_names() {
    let site = Site::new();
    let run = site.start();
    run.allow("a").unwrap();
    run.deny("b").unwrap();
    run.allow("c").unwrap();
    run.stop();
    let lines = site.lines(0);
    assert_eq!(lines.len(), 3);
    let text = |line: usize, field: &str| lines[line][field].as_str().unwrap().to_owned();
    assert_eq!([text(0, "pod"), text(1, "pod"), text(2, "pod")], ["a", "b", "c"]);
    assert_eq!([text(0, "action"), text(1, "action")], ["allow", "deny"]);
    assert_eq!(text(1, "rule"), "r");
    assert_eq!(text(0, "id"), format!("{:x}-1", START.unix_timestamp_nanos()));
    // The line of the report makes it possible to decide again.
    let line = serde_json::to_vec(&lines[2]).unwrap();
    assert_eq!(recorded::kind(&line).unwrap(), Kind::Decision);
    let mut attachments = Attachments::new(site.folder());
    let question = Recorded::read(&line).unwrap().question(|attached| {
        let report = attachments.line(attached.reports[0]).unwrap().unwrap();
        let report = Arc::new(recorded::report(&report).unwrap());
        Ok(Arc::new(portcullis_core::evidence::Evidence::verified(vec![report])))
    });
    assert_eq!(question.unwrap().decide(&policy()).action.as_str(), "allow");
    assert_eq!(attachments.line(digest("another")).unwrap(), None);
    let verdict = site.verify();
    assert_eq!((verdict.decisions, verdict.runs, verdict.open_ended), (3, 1, 0));
    assert!(verdict.is_whole() && verdict.gaps.is_empty(), "{verdict:?}");
}

#[test]
fn numbers_go_on_in_the_next_run_and_names_are_others() {
    let site = Site::new();
    for n in 0..3 {
        let run = site.start_at(START + Duration::from_secs(n));
        run.allow("a").unwrap();
        run.allow("b").unwrap();
        run.stop();
    }
    let lines = site.lines(0);
    let numbers: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    let names: std::collections::BTreeSet<_> =
        lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 6);
    let verdict = site.verify();
    assert_eq!((verdict.decisions, verdict.runs, verdict.open_ended), (6, 3, 0));
    assert!(verdict.is_whole());
    // Each report is there once, whoever wrote it.
    assert_eq!(site.attached(), 1);
}

#[test]
fn a_run_that_has_no_decision_leaves_nothing_behind() {
    let site = Site::new();
    site.start().stop();
    assert_eq!(site.segments(), [] as [String; 0]);
    assert_eq!(site.verify(), Verdict::default());
}

#[test]
fn t157_a_reader_goes_on_where_it_ended_and_reads_in_order() {
    let site = Site::new();
    let run = site.start();
    let mut reader = Reader::new(site.folder(), 0);
    let mut read = Vec::new();
    for round in 0..3 {
        for n in 0..100 {
            run.allow(&format!("{round}-{n}")).unwrap();
        }
        run.written((round + 1) * 100);
        reader.advance(|entry| read.extend(seq(&entry))).unwrap();
        assert_eq!(read, (1..=(round + 1) * 100).collect::<Vec<_>>());
    }
    run.stop();
    reader.advance(|entry| read.extend(seq(&entry))).unwrap();
    assert_eq!(read.len(), 300);
}

#[test]
fn t159_who_reads_from_a_position_again_gets_the_same_names() {
    let mut site = Site::new();
    site.config.segment_bytes = 1_000;
    let run = site.start();
    for n in 1..=100 {
        run.allow(&n.to_string()).unwrap();
        run.written(n);
    }
    run.stop();
    assert!(site.segments().len() > 10);
    let all = site.lines(0);
    for from in [0, 1, 2, 50, 100, 101] {
        let lines = site.lines(from);
        let first = usize::try_from(from).unwrap().saturating_sub(1);
        assert_eq!(lines, all[first.min(100)..], "{from}");
        assert_eq!(lines, site.lines(from));
    }
}

#[test]
fn t168_a_record_that_was_taken_out_is_missing() {
    let site = Site::new();
    let run = site.start();
    for n in 1..=5 {
        run.allow(&n.to_string()).unwrap();
    }
    run.stop();
    site.without(kind::DECISION, 3);
    let verdict = site.verify();
    assert!(!verdict.is_whole());
    assert_eq!((verdict.decisions, verdict.missing, verdict.told, verdict.damaged), (4, 1, 0, 0));
    assert_eq!(verdict.gaps, [Gap { first: 3, last: 3, why: None }]);
}

#[test]
fn t168_the_last_records_taken_out_and_a_whole_segment_are_missing() {
    let mut site = Site::new();
    site.config.segment_bytes = 1_000;
    let run = site.start();
    for n in 1..=50 {
        run.allow(&n.to_string()).unwrap();
        run.written(n);
    }
    run.stop();
    let segments = site.segments();
    std::fs::remove_file(site.folder().join(&segments[2])).unwrap();
    site.without(kind::DECISION, 50);
    let verdict = site.verify();
    assert_eq!(verdict.gaps.len(), 2);
    assert_eq!(verdict.gaps[1], Gap { first: 50, last: 50, why: None });
    assert_eq!(verdict.missing, 50 - verdict.decisions);
}

#[test]
fn one_folder_is_of_one_service_at_a_time() {
    let site = Site::new();
    let one = site.start();
    one.allow("one").unwrap();
    one.written(1);
    let two = site.start_at(START + Duration::from_secs(1));
    two.allow("lost").unwrap();
    eventually(|| two.counted("portcullis_events_dropped_total") == 1);
    one.stop();
    // The other takes over, and says what it lost.
    eventually(|| two.allow("two").is_ok() && two.counted("portcullis_events_written_total") > 0);
    two.stop();
    let pods: Vec<_> = site.lines(0).iter().map(|line| line["pod"].clone()).collect();
    assert_eq!(pods[0], "one");
    assert!(pods.contains(&Value::from("two")) && !pods.contains(&Value::from("lost")));
}

#[test]
fn a_decision_that_nobody_waits_for_any_more_is_void() {
    let site = Site::new();
    let gate = Gate::shut();
    let run = site.start_on(Faults { gate: Some(gate.clone()), ..Faults::default() });
    run.allow("a").unwrap();
    gate.wait_for_one();
    // The thread is busy with the first, and these wait.
    let gone = run.awaited("gone").unwrap();
    drop(gone);
    let stays = run.awaited("stays").unwrap();
    gate.open();
    stays.blocking_recv().unwrap();
    run.stop();
    let pods: Vec<_> = site.lines(0).iter().map(|line| line["pod"].clone()).collect();
    assert_eq!(pods, ["a", "stays"]);
    let verdict = site.verify();
    assert!(verdict.is_whole() && verdict.gaps.is_empty(), "{verdict:?}");
}

#[test]
fn a_plain_allow_takes_no_memory_of_its_own() {
    let site = Site::new();
    let gate = Gate::shut();
    let run = site.start_on(Faults { gate: Some(gate.clone()), ..Faults::default() });
    let fixture = Fixture::allow("app-7d9c6b5f4-x2x7k");
    let record = || run.spool.record(&fixture.made()).unwrap();
    // The thread is kept busy with the first. Then there is room for some thousands.
    record();
    gate.wait_for_one();
    for _ in 0..10_000 {
        record();
    }
    let mut allocations = 0;
    for _ in 0..1_000 {
        allocations += allocation_counter::measure(|| {
            record();
        })
        .count_total;
    }
    // The room doubles now and then, as long as it was never needed before.
    assert!(allocations <= 1, "{allocations}");
    gate.open();
    run.written(11_001);
    run.stop();
    assert_eq!(site.verify().decisions, 11_001);
}
