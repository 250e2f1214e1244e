//! Segments that are damaged, foreign, too many or too old (CASES T162).

use std::fs;

use super::super::segment::{self, Family, HEADER};
use super::*;

/// A site with a run of five decisions, numbers 1 to 5.
fn recorded() -> Site {
    let site = Site::new();
    let run = site.start();
    for n in 1..=5 {
        run.allow(&n.to_string()).unwrap();
    }
    run.stop();
    site
}

/// The numbers of the decisions, after one more by a new run.
fn numbers_after_one_more(site: &Site) -> Vec<u64> {
    let run = site.start_at(START + Duration::from_secs(1));
    run.allow("more").unwrap();
    run.stop();
    site.lines(0).iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

#[test]
fn t162_a_torn_last_record_is_cut_off_and_the_rest_is_read() {
    let site = recorded();
    let (path, bytes) = site.newest();
    // Within the last record, which says that the run ended.
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(numbers_after_one_more(&site), [1, 2, 3, 4, 5, 6]);
    assert_eq!(site.verify().open_ended, 1);
    // It was cut off, so that nobody finds it again.
    assert!(site.verify().files.is_empty());
    assert!(fs::metadata(&path).unwrap().len() < bytes.len() as u64 - 1);
}

#[test]
fn t162_a_flipped_bit_costs_its_record_and_is_counted() {
    let site = recorded();
    let (path, mut bytes) = site.newest();
    let pod = bytes.windows(2).rposition(|pair| pair == b"\x013").unwrap();
    bytes[pod + 1] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(numbers_after_one_more(&site), [1, 2, 4, 5, 6]);
    let verdict = site.verify();
    assert_eq!((verdict.damaged, verdict.missing), (1, 1));
    assert_eq!(verdict.gaps, [Gap { first: 3, last: 3, why: None }]);
    assert_eq!(verdict.files, [path]);
}

#[test]
fn t162_an_empty_segment_and_one_with_half_a_beginning_are_passed_over() {
    for length in [0, 1, HEADER - 1, HEADER] {
        let site = recorded();
        let (_, bytes) = site.newest();
        let path = segment::path(&site.folder(), Family::Events, 900);
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(numbers_after_one_more(&site), [1, 2, 3, 4, 5, 6], "{length}");
        assert!(site.verify().is_whole(), "{length}");
    }
}

#[test]
fn t162_a_segment_of_a_later_version_is_left_alone() {
    let mut site = recorded();
    let (_, mut bytes) = site.newest();
    bytes[8] = 2;
    let path = segment::path(&site.folder(), Family::Events, 900);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(numbers_after_one_more(&site), [1, 2, 3, 4, 5, 6]);
    assert_eq!(site.verify().files, std::slice::from_ref(&path));
    // Not even for room.
    (site.config.max_bytes, site.config.segment_bytes) = (2, 1);
    numbers_after_one_more(&site);
    assert_eq!(fs::read(path).unwrap(), bytes);
    // Who goes on reading passes over it once more.
    let mut reader = Reader::new(site.folder(), 0);
    reader.advance(|_| {}).unwrap();
    reader.advance(|entry| panic!("{entry:?}")).unwrap();
}

#[test]
fn t162_a_file_of_anything_is_no_end() {
    let site = recorded();
    let path = segment::path(&site.folder(), Family::Events, 900);
    fs::write(&path, "neither of this version nor of another".repeat(10)).unwrap();
    fs::write(segment::path(&site.folder(), Family::Attached, 901), "no").unwrap();
    fs::write(site.folder().join("notes.txt"), "what is this").unwrap();
    assert_eq!(numbers_after_one_more(&site), [1, 2, 3, 4, 5, 6]);
    assert!(site.verify().damaged > 0);
}

#[test]
fn the_oldest_segments_go_when_there_is_too_much() {
    let mut site = Site::new();
    site.config.segment_bytes = 1_000;
    site.config.max_bytes = 20_000;
    let run = site.start();
    for n in 1..=300 {
        run.allow(&n.to_string()).unwrap();
        run.written(n);
    }
    let expired = run.counted("portcullis_events_segments_expired_total");
    assert!(expired > 0);
    run.stop();
    let lines = site.lines(0);
    let first = lines[0]["seq"].as_u64().unwrap();
    assert!(first > 1);
    assert_eq!(lines.len() as u64, 301 - first);
    let verdict = site.verify();
    assert!(verdict.is_whole(), "{verdict:?}");
    assert_eq!((verdict.first, verdict.last), (Some(first), Some(300)));
    let bytes: u64 = site
        .segments()
        .iter()
        .map(|name| fs::metadata(site.folder().join(name)).unwrap().len())
        .sum();
    assert!(bytes < 12_500, "{bytes}");
    // Reports have a room of their own, and this one is still there.
    assert_eq!(site.attached(), 1);
}

#[test]
fn segments_go_when_they_are_too_old_and_reports_are_written_again() {
    let mut site = Site::new();
    site.config.max_age = Duration::from_secs(24 * 3600);
    let run = site.start();
    run.allow("one").unwrap();
    run.stop();
    site.clock.forward(Duration::from_secs(25 * 3600));
    let run = site.start_at(START + Duration::from_secs(1));
    run.awaited("two").unwrap().blocking_recv().unwrap();
    eventually(|| run.counted("portcullis_events_segments_expired_total") == 2);
    run.awaited("three").unwrap().blocking_recv().unwrap();
    run.stop();
    let pods: Vec<_> = site.lines(0).iter().map(|line| line["pod"].clone()).collect();
    assert_eq!(pods, ["two", "three"]);
    assert_eq!(site.attached(), 1);
}
