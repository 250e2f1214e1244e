//! What happened in, Prometheus text out. Labels have few values, none of which a caller chooses.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::sampled::{Sample, Sampled};

use self::sampled::Samples;

mod sampled;

/// How long reviews take, in seconds.
const BUCKETS: [f64; 10] = [0.000_25, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 10.0];

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Durations = Family<Labels<1>, Histogram, fn() -> Histogram>;

/// Every metric of the shim.
pub(crate) struct Metrics {
    registry: Registry,
    reviews: Counters<3>,
    seconds: Durations,
    unanswered: Counters<2>,
    refused: Counters<1>,
    connections: Gauge,
    certificates: Counters<1>,
    begins: Gauge<i64, AtomicI64>,
    expires: Gauge<i64, AtomicI64>,
    known_failures: Counter,
    renewals: Counters<1>,
    renewal_failures: Counters<1>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let r = &mut registry;
        r.register(
            "shim_build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let reviews = Counters::default();
        r.register(
            "shim_reviews",
            "Reviews that were answered, by what came of them and where that is from",
            reviews.clone(),
        );
        let seconds: Durations = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        r.register_with_unit(
            "shim_review_duration",
            "Time from the whole body of a review to its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        let unanswered = Counters::default();
        r.register(
            "shim_unanswered",
            "Reviews about which the service did not say anything, by why, and what was done instead",
            unanswered.clone(),
        );
        let refused = Counters::default();
        r.register(
            "shim_refused",
            "Connections and requests that were not served",
            refused.clone(),
        );
        let connections = Gauge::default();
        r.register("shim_connections", "Connections that are open", connections.clone());
        let (certificates, begins, expires) = certificate(r);
        let known_failures = Counter::default();
        r.register(
            "shim_last_known_failures",
            "Writes of what was last known that failed",
            known_failures.clone(),
        );
        let renewals = Counters::default();
        r.register(
            "shim_renewals",
            "What this replica made anew of its own certificates, and what it told the API server of",
            renewals.clone(),
        );
        let renewal_failures = Counters::default();
        r.register(
            "shim_renewal_failures",
            "Looks after its own certificates that failed, by why",
            renewal_failures.clone(),
        );
        Self {
            registry,
            reviews,
            seconds,
            unanswered,
            refused,
            connections,
            certificates,
            begins,
            expires,
            known_failures,
            renewals,
            renewal_failures,
        }
    }
}

/// What is told of the certificate that is shown: its changes, its begin and its end.
fn certificate(r: &mut Registry) -> (Counters<1>, Gauge<i64, AtomicI64>, Gauge<i64, AtomicI64>) {
    let certificates = Counters::default();
    r.register(
        "shim_certificate_changes",
        "Changes of the certificate's files: taken, or kept where they cannot be used",
        certificates.clone(),
    );
    let begins = Gauge::default();
    r.register_with_unit(
        "shim_certificate_begin",
        "Unix time from which on the certificate is valid, 0 while there is none",
        Unit::Seconds,
        begins.clone(),
    );
    let expires = Gauge::default();
    r.register_with_unit(
        "shim_certificate_expiry",
        "Unix time at which the certificate ends, 0 while there is none",
        Unit::Seconds,
        expires.clone(),
    );
    (certificates, begins, expires)
}

impl Metrics {
    /// With what is read when metrics are asked for.
    pub(crate) fn with(sampled: Arc<dyn Sampled>) -> Self {
        let mut metrics = Self::default();
        metrics.registry.register_collector(Box::new(Samples(sampled)));
        metrics
    }

    /// The OpenMetrics text that Prometheus scrapes.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(crate) fn review(
        &self,
        webhook: &'static str,
        outcome: &'static str,
        source: &'static str,
        took: Duration,
    ) {
        let labels = [("webhook", webhook), ("outcome", outcome), ("source", source)];
        self.reviews.get_or_create(&labels).inc();
        self.seconds.get_or_create(&[("webhook", webhook)]).observe(took.as_secs_f64());
    }

    pub(crate) fn unanswered(&self, cause: &'static str, instead: &'static str) {
        self.unanswered.get_or_create(&[("cause", cause), ("instead", instead)]).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(crate) fn certificate(&self, begins: i64, expires: i64) {
        self.begins.set(begins);
        self.expires.set(expires);
    }

    pub(crate) fn certificate_taken(&self) {
        self.certificates.get_or_create(&[("result", "taken")]).inc();
    }

    pub(crate) fn certificate_kept(&self) {
        self.certificates.get_or_create(&[("result", "kept")]).inc();
    }

    pub(crate) fn renewed(&self, what: &'static str) {
        self.renewals.get_or_create(&[("what", what)]).inc();
    }

    pub(crate) fn renewal_failed(&self, cause: &'static str) {
        self.renewal_failures.get_or_create(&[("cause", cause)]).inc();
    }

    pub(crate) fn known_failed(&self) {
        self.known_failures.inc();
    }
}
