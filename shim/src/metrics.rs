//! What happened in, Prometheus text out. Labels have few values, none of which a caller chooses.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use portcullis_telemetry::{flood, sending};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::reports::Counts;

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

/// What is read when metrics are asked for.
pub(crate) trait Sampled: Send + Sync + 'static {
    /// As it is now.
    fn sample(&self) -> Sample;
}

/// What is read when metrics are asked for.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) replicas_ready: usize,
    pub(crate) retries: u64,
    pub(crate) near_hits: u64,
    pub(crate) near_misses: u64,
    pub(crate) near_bytes: usize,
    pub(crate) known_entries: usize,
    pub(crate) known_bytes: usize,
    pub(crate) is_open: bool,
    pub(crate) unlabelled: u64,
    pub(crate) reports: Counts,
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

struct Samples(Arc<dyn Sampled>);

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Samples")
    }
}

impl Collector for Samples {
    fn encode(&self, mut e: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sample = self.0.sample();
        let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));

        let help = "Replicas of the decision service that are asked";
        let value = gauge(sample.replicas_ready);
        value.encode(e.encode_descriptor(
            "shim_replicas_ready",
            help,
            None,
            value.metric_type(),
        )?)?;

        let help = "Questions that were asked of a second replica";
        let value = ConstCounter::new(sample.retries);
        value.encode(e.encode_descriptor("shim_retries", help, None, value.metric_type())?)?;

        let help = "Questions that the near cache answered";
        let value = ConstCounter::new(sample.near_hits);
        value.encode(e.encode_descriptor("shim_near_hits", help, None, value.metric_type())?)?;

        let help = "Questions that the near cache did not answer";
        let value = ConstCounter::new(sample.near_misses);
        value.encode(e.encode_descriptor(
            "shim_near_misses",
            help,
            None,
            value.metric_type(),
        )?)?;

        let help = "What the near cache holds";
        let value = gauge(sample.near_bytes);
        value.encode(e.encode_descriptor(
            "shim_near",
            help,
            Some(&Unit::Bytes),
            value.metric_type(),
        )?)?;

        let help = "Answers that count while the service is away";
        let value = gauge(sample.known_entries);
        value.encode(e.encode_descriptor("shim_last_known", help, None, value.metric_type())?)?;

        let help = "What those answers hold";
        let value = gauge(sample.known_bytes);
        value.encode(e.encode_descriptor(
            "shim_last_known_size",
            help,
            Some(&Unit::Bytes),
            value.metric_type(),
        )?)?;

        let help = "Answers by a policy that reads labels of a namespace of which none are known";
        let value = ConstCounter::new(sample.unlabelled);
        value.encode(e.encode_descriptor("shim_unlabelled", help, None, value.metric_type())?)?;

        reports(&mut e, &sample.reports)?;
        unseen(&mut e)?;

        let help = "Whether the service is taken to be away: it is asked once a second";
        let value = gauge(usize::from(sample.is_open));
        value.encode(e.encode_descriptor("shim_service_away", help, None, value.metric_type())?)
    }
}

/// What became of reports of answers that were given without the service.
fn reports(e: &mut DescriptorEncoder<'_>, counts: &Counts) -> Result<(), fmt::Error> {
    let gauge = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));

    let help = "Answers that were given without the service and are reported to it";
    let value = ConstCounter::new(counts.made);
    value.encode(e.encode_descriptor("shim_reports", help, None, value.metric_type())?)?;

    let help = "Reports that the service has";
    let value = ConstCounter::new(counts.sent);
    value.encode(e.encode_descriptor("shim_reports_sent", help, None, value.metric_type())?)?;

    let help = "Reports for which there was no room, or that the service does not take";
    let value = ConstCounter::new(counts.dropped);
    value.encode(e.encode_descriptor(
        "shim_reports_dropped",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Calls with reports that failed";
    let value = ConstCounter::new(counts.send_failures);
    value.encode(e.encode_descriptor(
        "shim_reports_send_failures",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Times that reports could not be written to disk or read from it";
    let value = ConstCounter::new(counts.disk_failures);
    value.encode(e.encode_descriptor(
        "shim_reports_disk_failures",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help =
        "Files with reports of another cluster, account or version that are kept and not sent";
    let value = ConstCounter::new(counts.set_aside);
    value.encode(e.encode_descriptor(
        "shim_reports_set_aside",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Reports that wait to be sent";
    let value = gauge(counts.waiting);
    value.encode(e.encode_descriptor(
        "shim_reports_waiting",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "What those reports hold";
    let value = gauge(counts.waiting_bytes);
    value.encode(e.encode_descriptor(
        "shim_reports_waiting_size",
        help,
        Some(&Unit::Bytes),
        value.metric_type(),
    )?)
}

/// Log lines and spans that nobody will see.
fn unseen(e: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "Log lines that were not written, because there were too many like them";
    let value = ConstCounter::new(flood::left_out());
    value.encode(e.encode_descriptor(
        "shim_log_lines_left_out",
        help,
        None,
        value.metric_type(),
    )?)?;

    let help = "Spans that did not get to the collector of traces";
    let value = ConstCounter::new(sending::lost());
    value.encode(e.encode_descriptor("shim_spans_lost", help, None, value.metric_type())?)
}
