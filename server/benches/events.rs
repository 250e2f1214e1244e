//! What it costs an answer to be recorded.
//!
//! `cargo bench -p portcullis-server --bench events`, and with `-- --json` as one JSON document. A plain
//! allow with a context of some two hundred bytes and one verified report, recorded by one thread while
//! another writes to disk. Figures are of the recording thread alone, by the clock: medians of rounds, of which
//! each has room for all its decisions; and the bytes of a decision on disk. docs/performance.md says how
//! to read them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark has no callers, measures real time, and ends where something is wrong"
)]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::decide::{Context, decide};
use portcullis_core::event::stored::Made;
use portcullis_core::evidence::{Evidence, Report, Source, Subject};
use portcullis_core::findings::{Findings, Scanner};
use portcullis_core::image::{Digest, Reference};
use portcullis_core::policy::Policy;
use portcullis_core::signature::Signer;
use portcullis_server::clock::SystemClock;
use portcullis_server::events::spool::{Spool, SpoolConfig, folder_of};
use portcullis_server::metrics::Metrics;
use time::OffsetDateTime;

/// Decisions in a round.
const ROUND: u32 = 10_000;
/// Rounds.
const ROUNDS: usize = 51;
/// Different images in a round.
const IMAGES: usize = 100;

fn subject(number: usize, now: OffsetDateTime) -> Subject {
    let signer = Signer {
        subject: "CN=scanner".to_owned(),
        fingerprint: "0".repeat(64),
        policy: "all".to_owned(),
        signed_at: Some(now),
    };
    let scanner = Scanner { name: "trivy".to_owned(), version: Some("0.60.0".to_owned()) };
    let report = Report {
        digest: Digest::of(&number.to_le_bytes()),
        signer: Arc::new(signer),
        findings: Findings::new(scanner, now, Vec::new()),
        notices: Vec::new(),
    };
    Subject {
        digest: Some(Digest::of(&number.to_be_bytes())),
        platform: None,
        evidence: Arc::new(Evidence::verified(vec![Arc::new(report)])),
        fetched_at: now,
        source: Source::Memory,
    }
}

fn main() {
    let now = OffsetDateTime::now_utc();
    let folder = tempfile::tempdir().unwrap();
    let path = folder_of(folder.path());
    let (clock, metrics) = (Arc::new(SystemClock), Arc::new(Metrics::new()));
    let (spool, writer) = Spool::open(SpoolConfig::default(), path.clone(), now, clock, metrics);
    let writer = std::thread::spawn(move || writer.run());

    let labels = [("app", "web"), ("pod-template-hash", "7d9c6b5f4")];
    let ctx = Context {
        provider: "aws".to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-central-1".to_owned(),
        cluster: "prod-eu-1".to_owned(),
        namespace: "shop".to_owned(),
        workload_kind: "Deployment".to_owned(),
        workload: "web-frontend".to_owned(),
        pod: "web-frontend-7d9c6b5f4-x2x7k".to_owned(),
        pod_labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        service_account: "default".to_owned(),
        ..Context::default()
    };
    let subjects: Vec<_> = (0..IMAGES).map(|number| [subject(number, now)]).collect();
    let images: Vec<Reference> = subjects
        .iter()
        .map(|own| format!("registry.example.com/shop/web@{}", own[0].digest.unwrap()))
        .map(|name| name.parse().unwrap())
        .collect();
    let decision = decide(&Policy::default_policy(), &images[0], &subjects[0], &ctx, now);
    let record = |number: u32| {
        let place = number as usize % IMAGES;
        let made = Made {
            time: now,
            took: Duration::from_micros(2),
            image: &images[place],
            subjects: &subjects[place],
            ctx: &ctx,
            container: "main",
            decision: &decision,
        };
        spool.record(&made).unwrap();
    };
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            (0..ROUND).for_each(record);
            let took = begun.elapsed();
            // Until the disk has it.
            std::thread::sleep(Duration::from_millis(100));
            took.as_nanos() as f64 / f64::from(ROUND)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let (least, median, most) = (rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
    drop(spool);
    writer.join().unwrap();
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let events = files.filter(|file| file.path().extension().is_some_and(|end| end == "events"));
    let bytes: u64 = events.map(|file| file.metadata().unwrap().len()).sum();
    let each = bytes as f64 / (f64::from(ROUND) * ROUNDS as f64);
    if std::env::args().any(|argument| argument == "--json") {
        println!(
            "{{\"record_ns\":{{\"least\":{least:.0},\"median\":{median:.0},\"most\":{most:.0}}},\
             \"bytes_per_decision\":{each:.0}}}"
        );
    } else {
        println!("a plain allow is recorded in {median:.0} ns ({least:.0} to {most:.0})");
        println!("and takes {each:.0} bytes on disk");
    }
}
