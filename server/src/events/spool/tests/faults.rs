//! Disks that are full, slow, read-only, or forget (CASES T160, T161, T163, T164).

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// The numbers that are neither in the record nor told of in it as lost: there must be none.
#[track_caller]
fn assert_accounted(site: &Site, given: u64, dropped: u64) {
    let verdict = site.verify();
    assert_eq!((verdict.missing, verdict.damaged, verdict.restarted), (0, 0, 0), "{verdict:?}");
    assert_eq!((verdict.decisions, verdict.told), (given - dropped, dropped), "{verdict:?}");
}

#[test]
fn t161_a_full_disk_costs_what_is_counted_and_break_glass_and_heals() {
    let site = Site::new();
    let quota = Arc::new(AtomicU64::new(10_000));
    let run = site.start_on(Faults { quota: Some(quota.clone()), ..Faults::default() });
    let mut given = 0;
    // Whatever the disk does, there is an answer.
    eventually(|| {
        given += 1;
        run.allow(&given.to_string()).ok();
        run.counted("portcullis_events_failures_total") > 0
    });
    // Whoever waits for a record is not told that there is one, and told soon.
    assert!(run.awaited("glass").unwrap().blocking_recv().is_err());
    given += 1;
    quota.store(u64::MAX / 2, Ordering::SeqCst);
    run.awaited("healed").unwrap().blocking_recv().unwrap();
    given += 1;
    let dropped = run.counted("portcullis_events_dropped_total");
    assert_eq!(run.counted("portcullis_events_written_total"), given - dropped);
    assert!(dropped >= 2);
    run.stop();
    assert_accounted(&site, given, dropped);
    let verdict = site.verify();
    assert!(verdict.gaps.iter().all(|gap| gap.why == Some("failed")), "{verdict:?}");
    let lines = site.lines(0);
    assert!(lines.iter().all(|line| line["pod"] != "glass"));
    assert_eq!(lines.last().unwrap()["pod"], "healed");
    // What was known is told anew in the segment after the one that failed.
    assert!(lines.iter().all(|line| line["evidence"][0]["status"] == "verified"));
}

#[test]
fn t160_a_disk_that_hangs_does_not_hold_up_answers_and_what_has_no_room_is_told() {
    let site = Site::new();
    let gate = Gate::shut();
    let run = site.start_on(Faults { gate: Some(gate.clone()), ..Faults::default() });
    run.allow("first").unwrap();
    gate.wait_for_one();
    // The disk hangs until the end of this loop, and each answer is there.
    let fixture = Fixture::allow("app");
    let (mut given, mut dropped) = (1, 0);
    while dropped < 1_000 {
        given += 1;
        if run.spool.record(&fixture.made()).is_err() {
            dropped += 1;
            run.metrics.event_dropped();
        }
    }
    assert!(run.awaited("glass").is_err());
    (given, dropped) = (given + 1, dropped + 1);
    gate.open();
    run.written(given - dropped);
    run.allow("later").unwrap();
    given += 1;
    run.stop();
    assert_accounted(&site, given, dropped);
    let gaps = site.verify().gaps;
    assert_eq!(gaps, [Gap { first: given - dropped, last: given - 1, why: Some("full") }]);
    // One batch that is being written, one that waits, and what the last of each has beyond.
    let bytes: u64 = site
        .segments()
        .iter()
        .map(|name| fs::metadata(site.folder().join(name)).unwrap().len())
        .sum();
    assert!(bytes < 2 * MAX_WAITING as u64 + 64 * 1024, "{bytes}");
}

#[test]
fn t164_what_the_disk_may_have_lost_is_not_in_the_record_and_its_segment_is_given_up() {
    let site = Site::new();
    let faults = Faults::default();
    let run = site.start_on(faults.clone());
    run.awaited("good").unwrap().blocking_recv().unwrap();
    faults.forgets.store(true, Ordering::SeqCst);
    assert!(run.awaited("lost").unwrap().blocking_recv().is_err());
    assert_eq!(site.segments().len(), 1);
    faults.forgets.store(false, Ordering::SeqCst);
    run.awaited("again").unwrap().blocking_recv().unwrap();
    assert_eq!(site.segments().len(), 2);
    assert_eq!(run.counted("portcullis_events_dropped_total"), 1);
    run.stop();
    let pods: Vec<_> = site.lines(0).iter().map(|line| line["pod"].clone()).collect();
    assert_eq!(pods, ["good", "again"]);
    assert_accounted(&site, 3, 1);
}

#[test]
fn t163_a_folder_that_cannot_be_used_costs_the_record_alone_and_is_tried_again() {
    let site = Site::new();
    // Root may write where nobody may, but nobody makes a folder of a file.
    fs::write(site.folder(), "a file").unwrap();
    let run = site.start();
    run.allow("lost").unwrap();
    eventually(|| run.counted("portcullis_events_dropped_total") == 1);
    assert!(run.awaited("glass").unwrap().blocking_recv().is_err());
    fs::remove_file(site.folder()).unwrap();
    run.awaited("healed").unwrap().blocking_recv().unwrap();
    run.stop();
    assert_eq!(site.lines(0)[0]["pod"], "healed");
    assert_accounted(&site, 3, 2);
}

#[test]
fn t163_a_folder_that_goes_away_while_it_is_used_is_no_end() {
    let mut site = Site::new();
    site.config.segment_bytes = 1;
    let run = site.start();
    run.awaited("one").unwrap().blocking_recv().unwrap();
    // A report may come into it meanwhile.
    eventually(|| fs::remove_dir_all(site.folder()).is_ok());
    run.awaited("two").unwrap().blocking_recv().unwrap();
    run.stop();
    assert_eq!(site.lines(0)[0]["pod"], "two");
    // The report that it names went away with the folder, and is written again.
    assert_eq!(site.attached(), 1);
}

#[test]
fn t163_a_segment_that_is_taken_away_while_it_is_written_is_counted_and_told_of() {
    let site = Site::new();
    let run = site.start();
    for pod in ["one", "two"] {
        run.awaited(pod).unwrap().blocking_recv().unwrap();
    }
    fs::remove_file(site.newest().0).unwrap();
    for pod in ["three", "four"] {
        run.awaited(pod).unwrap().blocking_recv().unwrap();
    }
    assert_eq!(run.counted("portcullis_events_dropped_total"), 2);
    assert_eq!(run.counted("portcullis_events_failures_total"), 1);
    // Another of its name is not the same.
    let (path, bytes) = site.newest();
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    run.awaited("five").unwrap().blocking_recv().unwrap();
    assert_eq!(run.counted("portcullis_events_failures_total"), 2);
    run.stop();
    let lines = site.lines(0);
    let pods: Vec<_> = lines.iter().map(|line| line["pod"].clone()).collect();
    assert_eq!(pods, ["three", "four", "five"]);
    assert!(lines.iter().all(|line| line["evidence"][0]["status"] == "verified"));
}

#[test]
fn a_decision_that_was_given_up_while_the_disk_hung_is_taken_back() {
    let site = Site::new();
    let gate = Gate::shut();
    let run = site.start_on(Faults { gate: Some(gate.clone()), ..Faults::default() });
    let given_up = run.awaited("glass").unwrap();
    // It is written as given, and nobody knows yet whether the disk has it.
    gate.wait_for_one();
    drop(given_up);
    run.spool.take_back(&[1]);
    gate.open();
    run.awaited("later").unwrap().blocking_recv().unwrap();
    // A reader that goes on hears of it, and one that begins is not told of the decision.
    let (mut reader, mut heard) = (Reader::new(site.folder(), 0), Vec::new());
    reader.advance(|entry| heard.extend(seq(&entry))).unwrap();
    assert_eq!(heard, [2]);
    run.spool.take_back(&[2]);
    run.allow("last").unwrap();
    run.written(3);
    let mut taken_back = Vec::new();
    let read = |entry: Entry<'_>| match entry {
        Entry::TakenBack { seq } => taken_back.push(seq),
        other => heard.extend(seq(&other)),
    };
    reader.advance(read).unwrap();
    assert_eq!((heard, taken_back), (vec![2, 3], vec![2]));
    run.stop();
    assert_eq!(site.lines(0).len(), 1);
    let verdict = site.verify();
    assert_eq!((verdict.decisions, verdict.missing, verdict.restarted), (1, 0, 0), "{verdict:?}");
}

#[test]
fn what_is_taken_back_while_the_disk_fails_is_so_at_the_end_of_the_record() {
    let site = Site::new();
    let forgets = Faults::default().forgets;
    let run = site.start_on(Faults { forgets: forgets.clone(), ..Faults::default() });
    run.awaited("glass").unwrap().blocking_recv().unwrap();
    forgets.store(true, Ordering::SeqCst);
    run.spool.take_back(&[1]);
    assert!(run.awaited("lost").unwrap().blocking_recv().is_err());
    forgets.store(false, Ordering::SeqCst);
    run.stop();
    let verdict = site.verify();
    assert_eq!((verdict.decisions, verdict.told, verdict.missing), (0, 1, 0), "{verdict:?}");
}

/// It was never told of as given.
#[test]
fn what_is_not_in_the_record_is_not_taken_back() {
    let site = Site::new();
    let (gate, forgets) = (Gate::shut(), Faults::default().forgets);
    let run = site.start_on(Faults {
        gate: Some(gate.clone()),
        forgets: forgets.clone(),
        ..Faults::default()
    });
    run.allow("first").unwrap();
    gate.wait_for_one();
    // One that nobody waits for any more when it is written, and one that cannot be kept.
    drop(run.awaited("void").unwrap());
    gate.open();
    run.written(2);
    forgets.store(true, Ordering::SeqCst);
    assert!(run.awaited("lost").unwrap().blocking_recv().is_err());
    forgets.store(false, Ordering::SeqCst);
    run.spool.take_back(&[2, 3]);
    run.awaited("last").unwrap().blocking_recv().unwrap();
    run.stop();
    let mut taken_back = 0;
    let read = |entry: Entry<'_>| taken_back += u64::from(matches!(entry, Entry::TakenBack { .. }));
    Reader::new(site.folder(), 0).advance(read).unwrap();
    assert_eq!(taken_back, 0);
    let verdict = site.verify();
    assert_eq!((verdict.decisions, verdict.told, verdict.missing), (2, 1, 0), "{verdict:?}");
}

#[test]
fn one_decision_past_those_that_may_be_taken_back_stays_in_the_record() {
    let site = Site::new();
    let gate = Gate::shut();
    let run = site.start_on(Faults { gate: Some(gate.clone()), ..Faults::default() });
    run.allow("first").unwrap();
    gate.wait_for_one();
    let numbers: Vec<u64> = (1_000..).take(MAX_TAKEN_BACK - 1).collect();
    run.spool.take_back(&numbers);
    assert_eq!(run.spool.taken_back().len(), MAX_TAKEN_BACK - 1);
    run.spool.take_back(&[1, 2]);
    assert_eq!(run.spool.taken_back().len(), MAX_TAKEN_BACK);
    run.spool.take_back(&[3]);
    assert_eq!(run.spool.taken_back().last(), Some(&1));
    gate.open();
    run.allow("second").unwrap();
    run.written(2);
    run.stop();
    // The first was in time, and the second stays.
    let pods: Vec<_> = site.lines(0).iter().map(|line| line["pod"].clone()).collect();
    assert_eq!(site.verify().decisions, 1);
    assert!(pods.contains(&"second".into()), "{pods:?}");
}

#[test]
fn what_decisions_name_while_they_wait_has_a_bound_in_bytes() {
    let site = Site::new();
    let gate = Gate::shut();
    let run = site.start_on(Faults { gate: Some(gate.clone()), ..Faults::default() });
    run.allow("first").unwrap();
    gate.wait_for_one();
    // One is beyond the bound, and there is room for no other.
    let large: Vec<_> = (0..2).map(|n| Fixture::large(&n.to_string(), MAX_HELD)).collect();
    let given: Vec<_> = large.iter().map(|one| run.spool.record(&one.made())).collect();
    assert_eq!(given, [Ok(2), Err(3)]);
    gate.open();
    run.written(2);
    run.spool.record(&large[1].made()).unwrap();
    run.stop();
    assert_eq!(site.verify().told, 1);
}

#[test]
fn t164_what_a_disk_has_that_neither_keeps_nor_cuts_is_not_told_of_as_lost_as_well() {
    let site = Site::new();
    let faults = Faults::default();
    let run = site.start_on(faults.clone());
    run.awaited("good").unwrap().blocking_recv().unwrap();
    faults.forgets.store(true, Ordering::SeqCst);
    faults.uncut.store(true, Ordering::SeqCst);
    assert!(run.awaited("lost").unwrap().blocking_recv().is_err());
    // It is there all the same.
    assert_eq!(site.lines(0).len(), 2);
    // A disk that keeps again, and does not cut, has nothing after it.
    faults.forgets.store(false, Ordering::SeqCst);
    assert!(run.awaited("lost too").unwrap().blocking_recv().is_err());
    assert_eq!(site.segments().len(), 1);
    faults.uncut.store(false, Ordering::SeqCst);
    run.awaited("again").unwrap().blocking_recv().unwrap();
    run.stop();
    let pods: Vec<_> = site.lines(0).iter().map(|line| line["pod"].clone()).collect();
    assert_eq!(pods, ["good", "again"]);
    assert_accounted(&site, 4, 2);
}

#[test]
fn t163_reports_whose_segment_is_taken_away_are_written_again() {
    let site = Site::new();
    let run = site.start();
    let write = |pod: &str| run.awaited(pod).unwrap().blocking_recv().unwrap();
    write("one");
    eventually(|| site.attached() == 1);
    // One that waits is written into a segment that is there.
    fs::remove_file(&site.attachments()[0]).unwrap();
    run.spool.record(&Fixture::large("two", 1).made()).unwrap();
    eventually(|| site.attached() == 1);
    // It is as good as never named, and so is what was written before.
    write("three");
    eventually(|| site.attached() == 2);
    // Where nothing waits, it is seen when somebody looks.
    fs::remove_file(&site.attachments()[0]).unwrap();
    site.clock.forward(Duration::from_secs(60));
    eventually(|| {
        write("four");
        site.attachments().len() == 1 && site.attached() == 1
    });
    assert_eq!(run.counted("portcullis_events_failures_total"), 2);
    run.stop();
    let verdict = site.verify();
    assert!(verdict.is_whole() && verdict.told == 0, "{verdict:?}");
}

#[test]
fn what_is_taken_back_twice_or_is_gone_is_not_taken_from_the_others() {
    let mut site = Site::new();
    site.config.segment_bytes = 1;
    let run = site.start();
    for pod in ["one", "two", "three"] {
        run.awaited(pod).unwrap().blocking_recv().unwrap();
    }
    let oldest = site.segments()[0].clone();
    run.spool.take_back(&[2]);
    run.awaited("four").unwrap().blocking_recv().unwrap();
    run.spool.take_back(&[1, 2]);
    run.awaited("five").unwrap().blocking_recv().unwrap();
    run.stop();
    assert_eq!(site.verify().decisions, 3);
    fs::remove_file(site.folder().join(oldest)).unwrap();
    let verdict = site.verify();
    assert_eq!((verdict.decisions, verdict.first), (3, Some(2)), "{verdict:?}");
}
