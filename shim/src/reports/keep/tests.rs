//! What waits is on disk, whatever became of the disk and of the shim.

use std::fs;
use std::time::UNIX_EPOCH;

use portcullis_client::EncodedReports;
use portcullis_proto::v1;
use prost::Message as _;

use super::super::Given;
use super::*;

const MAX_BYTES: usize = 64 * 1024;

fn reports() -> Arc<Reports> {
    Arc::new(Reports::new(MAX_BYTES).unwrap())
}

fn give(reports: &Reports, image: &str) {
    let container = v1::Container { name: "main".to_owned(), image: image.to_owned() };
    let request = v1::CheckRequest { containers: vec![container], ..Default::default() };
    reports.take(request, &Given::FailPolicy(true, "unreachable"), UNIX_EPOCH);
}

/// The images of what waits, and how many are of the run of `reports`.
fn waiting(reports: &Reports) -> Vec<String> {
    let batch = reports.queue.lock().batch(usize::MAX);
    let answered = batch.map(|batch| batch.request.answered).unwrap_or_default();
    let image = |answered| v1::Answered::decode(answered).unwrap().containers[0].image.clone();
    answered.into_iter().map(image).collect()
}

fn place() -> Place {
    Place { cluster: "east".to_owned(), ..Place::default() }
}

fn config(file: std::path::PathBuf) -> ReportsConfig {
    ReportsConfig { file: Some(file), max_bytes: MAX_BYTES }
}

/// What a shim that begins now finds.
fn found(config: &ReportsConfig) -> Vec<String> {
    let reports = reports();
    drop(Keeper::new(Arc::clone(&reports), config, &place()));
    waiting(&reports)
}

#[tokio::test]
async fn what_is_sent_is_gone_from_the_file_and_what_is_not_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path().join("reports"));
    let reports = reports();
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, &place());
    // Each step is written, or two together.
    for (step, expected) in [
        (("a", 0), &["a"][..]),
        (("b", 1), &["b"]),
        (("c", 1), &["b", "c"]),
        (("d", 4), &[]),
        (("e", 4), &["e"]),
        (("f", 6), &[]),
    ] {
        let (image, sent) = step;
        give(&reports, image);
        reports.queue.lock().pop(sent);
        assert!(keeper.write().await);
        assert_eq!(found(&config), expected, "{step:?}");
    }
}

#[tokio::test]
async fn a_file_that_grows_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path().join("reports"));
    let reports = reports();
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, &place());
    let image = "x".repeat(1_000);
    give(&reports, "first");
    for sent in 0..500 {
        give(&reports, &image);
        assert!(keeper.write().await);
        // One always waits.
        reports.queue.lock().pop(sent);
    }
    let length = fs::metadata(folder.path().join("reports")).unwrap().len();
    assert!(length < 3 * MAX_BYTES as u64, "{length}");
}

#[tokio::test]
async fn t163_a_disk_that_cannot_be_written_costs_nothing_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("missing");
    let config = config(inside.join("reports"));
    let reports = reports();
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, &place());
    give(&reports, "a");
    assert!(!keeper.write().await);
    assert_eq!(reports.counts().disk_failures, 1);
    fs::create_dir(&inside).unwrap();
    give(&reports, "b");
    assert!(keeper.write().await);
    assert_eq!(found(&config), ["a", "b"]);
    assert_eq!(waiting(&reports), ["a", "b"]);
}

#[tokio::test]
async fn what_was_dropped_last_is_told_of_after_a_restart_and_not_once_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = ReportsConfig { max_bytes: 1_024, ..config(folder.path().join("reports")) };
    let reports = Arc::new(Reports::new(config.max_bytes).unwrap());
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, &place());
    let image = "x".repeat(400);
    give(&reports, &image);
    assert!(keeper.write().await);
    // The second has room, and the others have none.
    for _ in 0..4 {
        give(&reports, &image);
    }
    assert_eq!((reports.counts().waiting, reports.counts().dropped), (1, 4));
    assert!(keeper.write().await);
    let again = Arc::new(Reports::new(config.max_bytes).unwrap());
    let mut keeper = Keeper::new(Arc::clone(&again), &config, &place());
    let calls = || {
        let mut queue = again.queue.lock();
        let mut calls = Vec::new();
        while let Some(batch) = queue.batch(usize::MAX) {
            queue.sent(&batch);
            let EncodedReports { run, dropped, answered } = batch.request;
            calls.push((run == answered_run(&reports), dropped, answered.len()));
        }
        calls
    };
    assert_eq!(calls(), [(false, 0, 1), (true, 4, 0)]);
    assert!(keeper.write().await);
    let third = Arc::new(Reports::new(config.max_bytes).unwrap());
    drop(Keeper::new(Arc::clone(&third), &config, &place()));
    assert!(third.queue.lock().batch(usize::MAX).is_none());
}

fn answered_run(reports: &Reports) -> Vec<u8> {
    reports.queue.lock().standing(0).lost[0].run.to_vec()
}

#[tokio::test]
async fn what_is_of_somebody_else_is_counted_and_what_cannot_be_read_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path().join("reports"));
    let reports = reports();
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, &place());
    give(&reports, "a");
    assert!(keeper.write().await);
    let elsewhere = Place { account: "4711".to_owned(), ..place() };
    let other = self::reports();
    let mut keeper = Keeper::new(Arc::clone(&other), &config, &elsewhere);
    assert_eq!((other.counts().set_aside, waiting(&other).len()), (1, 0));
    give(&other, "b");
    assert!(keeper.write().await);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let file = config.file.clone().unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let third = self::reports();
    let mut keeper = Keeper::new(Arc::clone(&third), &config, &place());
    give(&third, "c");
    assert!(keeper.write().await);
    assert_eq!((third.counts().disk_failures, third.counts().waiting), (1, 1));
    assert!(file.is_dir());
}
