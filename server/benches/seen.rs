//! What it costs an answer to be counted, and a call not to be traced.
//!
//! `cargo bench -p portcullis-server --bench seen`. Each figure is nanoseconds of one thread; "two threads"
//! is what one of two pays that count at the same time. `library` is the same counted with families and
//! histograms of `prometheus-client`, which look up labels and take a lock.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark has no callers, and measures real time"
)]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use portcullis_core::decide::Action;
use portcullis_core::evidence::{Evidence, Source};
use portcullis_server::metrics::Metrics;
use portcullis_telemetry::Telemetry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use time::OffsetDateTime;

const TIMES: u32 = 2_000_000;
const RUNS: usize = 7;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvidenceLabels {
    status: &'static str,
    source: &'static str,
}

/// As the library has it.
struct Library {
    decisions: Family<ActionLabel, Counter>,
    evidence: Family<EvidenceLabels, Counter>,
    age: Histogram,
    duration: Histogram,
}

impl Library {
    fn new() -> Self {
        let buckets = || (0..20).map(|n| 1e-6 * f64::from(1 << n));
        Self {
            decisions: Family::default(),
            evidence: Family::default(),
            age: Histogram::new(buckets()),
            duration: Histogram::new(buckets()),
        }
    }

    fn count(&self) {
        self.decisions.get_or_create(&ActionLabel { action: "allow" }).inc();
        let labels = EvidenceLabels { status: "missing", source: "memory" };
        self.evidence.get_or_create(&labels).inc();
        self.age.observe(black_box(12.0));
        self.duration.observe(black_box(0.000_004));
    }
}

fn ours(metrics: &Metrics) {
    let age = black_box(Duration::from_secs(12));
    metrics.decision(black_box(Action::Allow));
    metrics.evidence(&Evidence::Missing, Source::Memory, age);
    metrics.hits(1);
    metrics.answered(black_box(Duration::from_micros(4)), None, OffsetDateTime::UNIX_EPOCH);
}

/// The median of the nanoseconds of one `work`, where `threads` do it at the same time.
fn measure(threads: usize, work: impl Fn() + Sync) -> f64 {
    let once = || {
        let began = Instant::now();
        (0..TIMES).for_each(|_| work());
        began.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    let mut runs: Vec<_> = (0..RUNS)
        .map(|_| {
            thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(once)).collect();
                let own = once();
                others.into_iter().for_each(|other| drop(other.join()));
                own
            })
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs.get(RUNS / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let (metrics, library) = (Metrics::new(), Library::new());
    let header = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".as_slice();
    println!("{:<44} {:>10} {:>12}", "nanoseconds", "one thread", "two threads");
    let row = |name: &str, work: &(dyn Fn() + Sync)| {
        println!("{name:<44} {:>10.1} {:>12.1}", measure(1, work), measure(2, work));
    };
    row("an answer counted", &|| ours(&metrics));
    row("the same by families of the library", &|| library.count());
    row("traces off, no header", &|| {
        black_box(Telemetry::samples(black_box(None)));
    });
    row("traces off, not sampled by the caller", &|| {
        black_box(Telemetry::samples(black_box(Some(header))));
    });
}
