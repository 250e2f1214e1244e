//! What is stored comes back, within its bound, whatever becomes of the file.

use std::fs;
use std::path::Path;

use portcullis_core::referrers::OCI_MANIFEST;
use redb::{Database, TableDefinition};
use time::macros::datetime;

use super::*;
use crate::registry::Fetched;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);
/// Longer than any file of these tests takes.
const LONG: Duration = Duration::from_secs(60);

fn image(number: usize) -> Reference {
    format!("reg.io/team/app:v{number}").parse().unwrap()
}

fn key(number: usize) -> StoreKey {
    StoreKey::name(&image(number), "anonymous")
}

fn answers(number: usize, length: usize) -> Answers {
    let bytes = bytes::Bytes::from(vec![u8::try_from(number % 256).unwrap(); length]);
    let (media_type, digest) = (OCI_MANIFEST.to_owned(), Digest::of(&bytes));
    Answers::of(Some(&format!("v{number}")), &Fetched { bytes, media_type, digest })
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be none")]
fn stored(at: OffsetDateTime, answers: Answers) -> Option<Stored> {
    Some(Stored { at, is_doubted: false, answers })
}

async fn open(folder: &Path, max_bytes: u64) -> (Store, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let config = StoreConfig { folder: Some(folder.to_owned()), max_bytes };
    let store = Store::open(&config, &metrics, Handle::current());
    store.opened(LONG).await;
    (store, metrics)
}

/// Closes a store so that all that was sent is written, and opens it again.
async fn reopened(store: Store, folder: &Path, max_bytes: u64) -> (Store, Arc<Metrics>) {
    store.close();
    drop(store);
    open(folder, max_bytes).await
}

fn metric(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.encode().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn what_is_kept_comes_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    for number in 0..3 {
        store.keep(key(number), NOW, answers(number, 100));
    }
    let later = NOW + Duration::from_millis(1_500);
    store.keep(key(1), later, answers(1, 100));
    store.forget(key(2));
    let (store, metrics) = reopened(store, folder.path(), MIN_BYTES).await;
    assert_eq!(store.find(&key(0)).await, stored(NOW, answers(0, 100)));
    assert_eq!(store.find(&key(1)).await, stored(later, answers(1, 100)));
    assert_eq!(store.find(&key(2)).await, None);
    assert_eq!(metric(&metrics, r#"portcullis_store_reads_total{outcome="hit"}"#), 2);
    assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 0);
}

#[tokio::test]
async fn what_was_said_to_be_old_is_so_after_a_restart_until_it_is_answered_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    for number in 0..3 {
        store.keep(key(number), NOW, answers(number, 100));
    }
    let later = NOW + Duration::from_secs(1);
    for number in 0..4 {
        store.doubt(key(number), later);
    }
    // An answer of before, one of after, and one of before that comes when nothing is stored any more.
    store.keep(key(0), later, answers(0, 100));
    store.keep(key(1), later + Duration::from_millis(1), answers(1, 100));
    store.forget(key(2));
    store.keep(key(2), NOW, answers(2, 100));
    // It was being asked for the first time.
    store.doubt(key(4), later);
    store.keep(key(4), later, answers(4, 100));
    store.doubt(key(5), later);
    store.keep(key(5), later + Duration::from_millis(1), answers(5, 100));
    let (store, _) = reopened(store, folder.path(), MIN_BYTES).await;
    let mut doubted = Vec::new();
    for number in 0..6 {
        doubted.push(store.find(&key(number)).await.map(|stored| stored.is_doubted));
    }
    let (old, new) = (Some(true), Some(false));
    assert_eq!(doubted, [old, new, old, None, old, new]);
}

#[tokio::test]
async fn a_search_that_was_overtaken_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    let later = NOW + Duration::from_secs(30);
    store.keep(key(0), later, answers(0, 100));
    store.keep(key(0), NOW, answers(1, 100));
    // What is later than any search takes is of a clock that was set back.
    store.keep(key(1), NOW + Duration::from_secs(3_600), answers(0, 100));
    store.keep(key(1), NOW, answers(1, 100));
    let (store, _) = reopened(store, folder.path(), MIN_BYTES).await;
    assert_eq!(store.find(&key(0)).await, stored(later, answers(0, 100)));
    assert_eq!(store.find(&key(1)).await, stored(NOW, answers(1, 100)));
}

#[tokio::test]
async fn what_is_asked_just_after_it_was_said_to_be_old_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    store.keep(key(0), NOW - Duration::from_secs(1), answers(0, 100));
    store.doubt(key(0), NOW);
    store.keep(key(0), NOW + Duration::from_micros(5), answers(0, 100));
    let (store, _) = reopened(store, folder.path(), MIN_BYTES).await;
    assert_eq!(store.find(&key(0)).await, stored(NOW, answers(0, 100)));
}

#[tokio::test]
async fn each_part_of_a_key_counts() {
    let image = |text: &str| text.parse::<Reference>().unwrap();
    let digest = Digest::of(b"1");
    let pinned = image("reg.io/team/app:v1").at(digest);
    let keys = [
        StoreKey::name(&image("reg.io/team/app:v1"), "a"),
        StoreKey::name(&image("reg.io/team/app:v1"), "b"),
        StoreKey::name(&image("reg.io/team/app:v2"), "a"),
        StoreKey::name(&image("reg.io/team/ap:pv1"), "a"),
        StoreKey::name(&image("other.io/team/app:v1"), "a"),
        StoreKey::name(&pinned, "a"),
        StoreKey::evidence(&pinned, digest, "a"),
        StoreKey::evidence(&pinned, Digest::of(b"2"), "a"),
    ];
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[tokio::test]
async fn what_was_confirmed_longest_ago_goes_first_and_there_is_never_more_than_fits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    for number in 0..10 {
        store.keep(key(number), NOW, answers(number, 100_000));
    }
    // Confirmed, and so younger than all others.
    store.keep(key(0), NOW + LONG, answers(0, 100_000));
    let (store, _) = reopened(store, folder.path(), MIN_BYTES).await;
    store.keep(key(10), NOW, answers(10, 100_000));
    store.keep(key(11), NOW, answers(11, 200_000));
    let (store, metrics) = reopened(store, folder.path(), MIN_BYTES).await;
    let mut left = Vec::new();
    for number in 0..12 {
        if store.find(&key(number)).await.is_some() {
            left.push(number);
        }
    }
    assert_eq!(left, [0, 4, 5, 6, 7, 8, 9, 10, 11]);
    // One that is larger than all room is not kept, and takes nobody's place.
    store.keep(key(12), NOW, answers(12, usize::try_from(MIN_BYTES).unwrap()));
    let (store, _) = reopened(store, folder.path(), MIN_BYTES).await;
    assert!(store.find(&key(12)).await.is_none());
    assert!(store.find(&key(4)).await.is_some());
    assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 0);
}

#[tokio::test]
async fn a_file_that_is_none_is_moved_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evidence.redb");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let (store, metrics) = open(folder.path(), MIN_BYTES).await;
    assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 1);
    store.keep(key(0), NOW, answers(0, 100));
    let (store, _) = reopened(store, folder.path(), MIN_BYTES).await;
    assert_eq!(store.find(&key(0)).await, stored(NOW, answers(0, 100)));
    let aside = fs::read(folder.path().join("evidence.redb.broken")).unwrap();
    assert_eq!(aside, vec![7; 100_000]);
}

#[tokio::test]
async fn a_file_in_which_bytes_were_changed_gives_what_was_stored_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    for number in 0..20 {
        store.keep(key(number), NOW, answers(number, 1_000));
    }
    store.close();
    drop(store);
    let path = folder.path().join("evidence.redb");
    let good = fs::read(&path).unwrap();
    for turn in 0..40 {
        let mut bad = good.clone();
        // Every turn breaks another part of each page.
        for place in (turn * 97..bad.len()).step_by(4_096 + turn) {
            bad[place] ^= 0x55;
        }
        fs::write(&path, bad).unwrap();
        let (store, _) = open(folder.path(), MIN_BYTES).await;
        for number in 0..20 {
            if let Some(Stored { answers: found, .. }) = store.find(&key(number)).await {
                assert_eq!(found, answers(number, 1_000));
            }
        }
        store.keep(key(0), NOW, answers(0, 1_000));
        store.close();
    }
}

#[tokio::test]
async fn a_file_of_a_later_version_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evidence.redb");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let about = TableDefinition::<&str, u64>::new("about");
    transaction.open_table(about).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = file::open(&path).unwrap_err();
    assert!(matches!(error, file::OpenError::Newer { found: 2 }) && !error.is_broken());
    let (store, metrics) = open(folder.path(), MIN_BYTES).await;
    store.keep(key(0), NOW, answers(0, 1));
    assert!(store.find(&key(0)).await.is_none());
    assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 1);
    store.close();
    assert!(!folder.path().join("evidence.redb.broken").exists());
    assert!(matches!(file::open(&path), Err(file::OpenError::Newer { found: 2 })));
}

#[tokio::test]
async fn a_file_that_another_process_has_open_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = open(folder.path(), MIN_BYTES).await;
    let (second, metrics) = open(folder.path(), MIN_BYTES).await;
    assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 1);
    second.keep(key(0), NOW, answers(0, 1));
    assert!(second.find(&key(0)).await.is_none());
    first.keep(key(1), NOW, answers(1, 1));
    let (first, _) = reopened(first, folder.path(), MIN_BYTES).await;
    assert!(first.find(&key(1)).await.is_some());
}

#[tokio::test]
async fn t163_a_folder_that_is_not_there_or_is_a_file_costs_only_what_would_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for folder in [folder.path().join("missing"), file] {
        let (store, metrics) = open(&folder, MIN_BYTES).await;
        assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 1);
        store.keep(key(0), NOW, answers(0, 1));
        assert!(store.find(&key(0)).await.is_none());
        store.close();
    }
    let (store, metrics) = (Store::none(), Metrics::new());
    store.keep(key(0), NOW, answers(0, 1));
    assert!(store.find(&key(0)).await.is_none());
    assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 0);
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_nobody_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    store.keep(key(0), NOW, answers(0, 1));
    let (store, _) = reopened(store, folder.path(), MIN_BYTES).await;
    tokio::time::pause();
    let shared = store.0.clone().unwrap();
    // As many reads are under way as there may be, and none of them ends.
    let room = u32::try_from(MAX_READS).unwrap();
    let hanging = Arc::clone(&shared.reads).acquire_many_owned(room).await.unwrap();
    let begun = Instant::now();
    assert!(store.find(&key(0)).await.is_none());
    assert!((PATIENCE..PATIENCE * 2).contains(&begun.elapsed()));
    // A read that was too slow keeps others from trying.
    drop(hanging);
    let rest = i64::try_from(REST.as_millis()).unwrap();
    shared.rests_until.store(shared.now() + rest, Ordering::Relaxed);
    let begun = Instant::now();
    for _ in 0..1_000 {
        assert!(store.find(&key(0)).await.is_none());
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::advance(REST).await;
    assert!(store.find(&key(0)).await.is_some());
    let late = r#"portcullis_store_reads_total{outcome="late"}"#;
    assert_eq!(metric(&shared.metrics, late), 1_001);
}

#[tokio::test]
async fn a_crowd_is_answered_from_disk_as_long_as_it_gets_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), MIN_BYTES).await;
    for number in 0..200 {
        store.keep(key(number), NOW, answers(number, 1_000));
    }
    let (store, metrics) = reopened(store, folder.path(), MIN_BYTES).await;
    let asked = (0..5_000).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.find(&key(number % 200)).await.is_some() })
    });
    for found in asked.collect::<Vec<_>>() {
        assert!(found.await.unwrap());
    }
    assert_eq!(metric(&metrics, r#"portcullis_store_reads_total{outcome="hit"}"#), 5_000);
}

#[tokio::test]
async fn one_change_past_the_bounds_of_the_queue_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, metrics) = open(folder.path(), 1 << 30).await;
    let large = writer::MAX_PENDING;
    store.keep(key(0), NOW, answers(0, large + 1));
    assert_eq!(metric(&metrics, "portcullis_store_dropped_total"), 1);
    store.close();
    store.keep(key(0), NOW, answers(0, 1));
    assert_eq!(metric(&metrics, "portcullis_store_dropped_total"), 2);
}

mod killed;
