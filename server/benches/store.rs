//! What the evidence store costs: to fill it, to open it again, and to look into it.
//!
//! `cargo bench -p portcullis-server --bench store -- ENTRIES BYTES` keeps so many entries of so many bytes
//! each, closes the store, opens it again and reads every entry, not in their order: as JSON, one document.
//! The folder is a new one in the place for temporary files. Filling waits for the disk, so that nothing is
//! dropped; `found` says whether that was long enough.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark has no callers, measures real time, and ends where something is wrong"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::image::{Digest, Reference};
use portcullis_core::ports::Clock as _;
use portcullis_core::referrers::OCI_MANIFEST;
use portcullis_server::clock::SystemClock;
use portcullis_server::evidence::store::{Store, StoreConfig, StoreKey};
use portcullis_server::metrics::Metrics;
use portcullis_server::registry::{Answers, Fetched};
use tokio::runtime::Handle;

const LONG: Duration = Duration::from_secs(600);

fn key(number: u64) -> StoreKey {
    let image: Reference =
        format!("reg.example/team/service-{}:v1", number % 2_000).parse().unwrap();
    StoreKey::evidence(&image, Digest::of(&number.to_be_bytes()), "anonymous")
}

fn answers(number: u64, length: usize) -> Answers {
    let mut content = number.to_be_bytes().repeat(length / 8 + 1);
    content.truncate(length);
    let digest = Digest::of(&content);
    Answers::of(
        None,
        &Fetched { bytes: content.into(), media_type: OCI_MANIFEST.to_owned(), digest },
    )
}

async fn open(config: &StoreConfig) -> (Store, Duration) {
    let begun = Instant::now();
    let store = Store::open(config, &Arc::new(Metrics::new()), Handle::current());
    store.opened(LONG).await;
    (store, begun.elapsed())
}

#[tokio::main]
async fn main() {
    let given = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let mut given = given.collect::<Vec<_>>().into_iter();
    let (entries, length) = (given.next().unwrap_or(10_000), given.next().unwrap_or(4_000));
    let length = usize::try_from(length).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { folder: Some(folder.path().to_owned()), max_bytes: u64::MAX / 2 };
    let (store, _) = open(&config).await;
    let begun = Instant::now();
    for number in 0..entries {
        store.keep(key(number), SystemClock.now(), answers(number, length));
        // No more than its queue holds: what is past it would be dropped.
        if number % 2_000 == 1_999 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    store.close();
    drop(store);
    let filled = begun.elapsed();
    let size = std::fs::metadata(folder.path().join("evidence.redb")).unwrap().len();
    let (store, opened) = open(&config).await;
    let begun = Instant::now();
    let mut found = 0;
    for number in 0..entries {
        // A prime, so that each comes once.
        let number = (number * 1_000_003) % entries;
        found += u64::from(store.find(&key(number)).await.is_some());
    }
    let read = begun.elapsed();
    println!(
        "{{\"entries\": {entries}, \"entry_bytes\": {length}, \"file_bytes\": {size}, \
         \"filled_ms\": {}, \"opened_ms\": {}, \"read_all_ms\": {}, \"read_us\": {}, \"found\": {:.4}}}",
        filled.as_millis(),
        opened.as_millis(),
        read.as_millis(),
        read.as_micros() / u128::from(entries),
        found as f64 / entries as f64,
    );
    store.close();
}
