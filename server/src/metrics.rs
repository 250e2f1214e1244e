//! What happened in, Prometheus text out.
//!
//! Each topic is a file: a struct with its metrics, which it registers by name (a test reads the names in
//! the calls on `r`, and compares them with `docs/operations.md`), and the methods of [`Metrics`] by which
//! the rest of the service counts. To add a topic, add such a file and a field here.
//!
//! - Labels have few values, all known beforehand or configured: never an image, a digest, a
//!   namespace, a tenant or anything else that a caller chooses (CASES T143).
//! - What every answer counts is a `counts::Counts` or a `durations::Durations`: no look-up by
//!   label, no lock, and nothing that two threads write. Elsewhere a `Family` will do.
//! - What can be read when it is asked for (a size, an age) is sampled, not kept up to date.
//! - Seconds and bytes, by `Unit`.

mod shards;
mod counts;
mod durations;
mod exposition;
mod process;
mod calls;
mod decisions;
mod events;
mod evidence;
mod limits;
mod caches;
mod clock;
mod clusters;
mod logs;
mod policy;
mod questions;
mod refresh;
mod registries;
mod reported;
mod spool;
mod store;
mod tls;
mod watch;

use std::fmt;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use self::caches::CacheSize;
pub(crate) use self::calls::code_name;
pub use self::calls::{Method, MethodKind};
pub(crate) use self::evidence::Lookup;
pub use self::exposition::Exposition;

/// Every metric of the service. Labels have few values: no image, digest or namespace, and only
/// configured registry hosts by name.
pub struct Metrics {
    registry: Registry,
    /// Named as every program names them, without our prefix.
    process: Registry,
    calls: calls::CallMetrics,
    decisions: decisions::DecisionMetrics,
    events: events::EventMetrics,
    evidence: evidence::EvidenceMetrics,
    caches: caches::CacheMetrics,
    clock: clock::ClockMetrics,
    clusters: clusters::ClusterMetrics,
    limits: limits::LimitMetrics,
    policy: policy::PolicyMetrics,
    questions: questions::QuestionMetrics,
    refresh: refresh::RefreshMetrics,
    registries: registries::RegistryMetrics,
    reported: reported::ReportedMetrics,
    spool: spool::SpoolMetrics,
    store: store::StoreMetrics,
    tls: tls::TlsMetrics,
    watch: watch::WatchMetrics,
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let mut own = Registry::default();
        process::register(&mut own);
        logs::register(&mut registry);
        let r = &mut registry;
        r.register(
            "build",
            "The version that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        Self {
            calls: calls::CallMetrics::register(r),
            decisions: decisions::DecisionMetrics::register(r),
            events: events::EventMetrics::register(r),
            evidence: evidence::EvidenceMetrics::register(r),
            caches: caches::CacheMetrics::register(r),
            clock: clock::ClockMetrics::register(r),
            clusters: clusters::ClusterMetrics::register(r),
            limits: limits::LimitMetrics::register(r),
            policy: policy::PolicyMetrics::register(r),
            questions: questions::QuestionMetrics::register(r),
            refresh: refresh::RefreshMetrics::register(r),
            registries: registries::RegistryMetrics::register(r),
            reported: reported::ReportedMetrics::register(r),
            spool: spool::SpoolMetrics::register(r),
            store: store::StoreMetrics::register(r),
            tls: tls::TlsMetrics::register(r),
            watch: watch::WatchMetrics::register(r),
            process: own,
            registry,
        }
    }

    /// The OpenMetrics text that Prometheus scrapes.
    ///
    /// # Errors
    /// When the text cannot be written, which a `String` does not know.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.encode_as(Exposition::OpenMetrics)
    }

    /// The text as a scraper wants it; exemplars are in OpenMetrics alone.
    ///
    /// # Errors
    /// When the text cannot be written, which a `String` does not know.
    pub fn encode_as(&self, exposition: Exposition) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.process)?;
        match exposition {
            Exposition::OpenMetrics => {
                let (name, exemplars) = self.decisions.exemplars();
                text = exposition::with_exemplars(&text, name, &exemplars)?;
                encode_eof(&mut text)?;
                Ok(text)
            }
            Exposition::Text => exposition::plain(&text),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
