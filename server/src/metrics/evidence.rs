//! What was known of images, how old that was, and what was done to find out.

use std::time::Duration;

use portcullis_core::evidence::{Evidence, Source};
use portcullis_telemetry::spans;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use super::counts::Counts;
use super::durations::{Durations, Ticks};

const STATUSES: [&str; 7] =
    ["verified", "missing", "rejected", "stale", "withheld", "unavailable", "unsupported"];
const SOURCES: [&str; 4] = [
    Source::Registry.as_str(),
    Source::Memory.as_str(),
    Source::Store.as_str(),
    Source::Stale.as_str(),
];
const LOOKUPS: [&str; 5] = ["hit", "stale", "coalesced", "fetched", "failed"];

/// From what was just asked of a registry to what is served while none answers.
const AGES: &[f64] =
    &[0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0];

/// How a question about one manifest was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// From memory, fresh.
    Hit,
    /// From memory, though it could not be confirmed in time.
    Stale,
    /// By a search that another question had begun.
    Coalesced,
    /// By a search that this question began.
    Fetched,
    /// Not at all.
    Failed,
}

pub(super) struct EvidenceMetrics {
    evidence: Counts<[(&'static str, &'static str); 2], { STATUSES.len() * SOURCES.len() }>,
    age: Durations,
    lookups: Counts<[(&'static str, &'static str); 1], { LOOKUPS.len() }>,
    flights: Gauge,
    marks_failed: Counter,
    marks_forgotten: Counter,
}

impl EvidenceMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let label = |index: usize| {
            let status = STATUSES.get(index / SOURCES.len()).copied().unwrap_or_default();
            let source = SOURCES.get(index % SOURCES.len()).copied().unwrap_or_default();
            [("status", status), ("source", source)]
        };
        let metrics = Self {
            evidence: Counts::new(std::array::from_fn(label)),
            age: Durations::new(AGES, Ticks::Milliseconds),
            lookups: Counts::new(LOOKUPS.map(|outcome| [("outcome", outcome)])),
            flights: Gauge::default(),
            marks_failed: Counter::default(),
            marks_forgotten: Counter::default(),
        };
        r.register("evidence", "Evidence used by status and source", metrics.evidence.clone());
        r.register_with_unit(
            "evidence_age",
            "Time since the registry last confirmed the evidence that was used",
            Unit::Seconds,
            metrics.age.clone(),
        );
        r.register(
            "evidence_lookups",
            "Questions about manifests by how they were answered",
            metrics.lookups.clone(),
        );
        r.register("flights", "Searches under way", metrics.flights.clone());
        r.register(
            "marks_failed",
            "Times that high-water marks could not be read from disk or written to it",
            metrics.marks_failed.clone(),
        );
        r.register(
            "marks_forgotten",
            "High-water marks that made room for others",
            metrics.marks_forgotten.clone(),
        );
        metrics
    }
}

const fn status(evidence: &Evidence) -> usize {
    match evidence {
        Evidence::Verified(_) => 0,
        Evidence::Missing => 1,
        Evidence::Rejected(_) => 2,
        Evidence::Stale { .. } => 3,
        Evidence::Withheld => 4,
        Evidence::Unavailable(_) => 5,
        Evidence::Unsupported => 6,
    }
}

impl Metrics {
    /// A decision was made from this, which a registry confirmed `age` ago.
    pub fn evidence(&self, evidence: &Evidence, source: Source, age: Duration) {
        let source = match source {
            Source::Registry => 0,
            Source::Memory => 1,
            Source::Store => 2,
            Source::Stale => 3,
        };
        self.evidence.evidence.add(status(evidence) * SOURCES.len() + source, 1);
        // What could not be found out has no age.
        if !matches!(evidence, Evidence::Unavailable(_) | Evidence::Unsupported) {
            self.evidence.age.observe(age);
        }
    }

    /// So many questions about manifests were answered from memory.
    pub fn hits(&self, count: usize) {
        self.evidence.lookups.add(0, count as u64);
    }

    pub(crate) fn lookup(&self, lookup: Lookup) {
        let index = match lookup {
            Lookup::Hit => 0,
            Lookup::Stale => 1,
            Lookup::Coalesced => 2,
            Lookup::Fetched => 3,
            Lookup::Failed => 4,
        };
        // Said where the question's span is the current one.
        spans::record("portcullis.cache.outcome", LOOKUPS.get(index).copied().unwrap_or_default());
        self.evidence.lookups.add(index, 1);
    }

    pub(crate) fn flights(&self, change: i64) {
        self.evidence.flights.inc_by(change);
    }

    pub(crate) fn marks_failed(&self) {
        self.evidence.marks_failed.inc();
    }

    pub(crate) fn mark_forgotten(&self) {
        self.evidence.marks_forgotten.inc();
    }
}
