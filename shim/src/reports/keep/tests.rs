//! What waits is on disk, whatever became of the disk and of the shim.

use std::fs;
use std::time::UNIX_EPOCH;

use portcullis_proto::v1;

use super::super::Given;
use super::*;

const MAX_BYTES: usize = 64 * 1024;

fn reports() -> Arc<Reports> {
    Arc::new(Reports::new(MAX_BYTES).unwrap())
}

fn give(reports: &Reports, image: &str) {
    let container = v1::Container { name: "main".to_owned(), image: image.to_owned() };
    let request = v1::CheckRequest { containers: vec![container], ..Default::default() };
    reports.take(&request, &Given::FailPolicy(true, "unreachable"), UNIX_EPOCH);
}

/// The images of what waits, and how many are of the run of `reports`.
fn waiting(reports: &Reports) -> Vec<String> {
    let batch = reports.queue.lock().batch(0, usize::MAX);
    let answered = batch.map(|batch| batch.request.answered).unwrap_or_default();
    answered.into_iter().map(|answered| answered.containers[0].image.clone()).collect()
}

fn config(file: std::path::PathBuf) -> ReportsConfig {
    ReportsConfig { file: Some(file), max_bytes: MAX_BYTES }
}

/// What a shim that begins now finds.
fn found(config: &ReportsConfig) -> Vec<String> {
    let reports = reports();
    drop(Keeper::new(Arc::clone(&reports), config, "east"));
    waiting(&reports)
}

#[tokio::test]
async fn what_is_sent_is_gone_from_the_file_and_what_is_not_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path().join("reports"));
    let reports = reports();
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, "east");
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
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, "east");
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
    let mut keeper = Keeper::new(Arc::clone(&reports), &config, "east");
    give(&reports, "a");
    assert!(!keeper.write().await);
    assert_eq!(reports.counts().disk_failures, 1);
    fs::create_dir(&inside).unwrap();
    give(&reports, "b");
    assert!(keeper.write().await);
    assert_eq!(found(&config), ["a", "b"]);
    assert_eq!(waiting(&reports), ["a", "b"]);
}
