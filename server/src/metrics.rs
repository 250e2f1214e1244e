//! What happened in, Prometheus text out (OpenMetrics 1.0).

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Content type of the text (OpenMetrics).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvidenceLabels {
    status: &'static str,
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegistryLabels {
    host: String,
    route: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostLabel {
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevocationLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    what: &'static str,
    outcome: &'static str,
}

/// Every metric of the service. Labels have few values: no image, digest or namespace, and only
/// configured registry hosts by name.
pub struct Metrics {
    registry: Registry,
    decisions: Family<ActionLabel, Counter>,
    bulk_decisions: Family<ActionLabel, Counter>,
    bulk_pending: Counter,
    exemptions_applied: Counter,
    break_glass: Family<OutcomeLabel, Counter>,
    check_duration: Histogram,
    no_answers: Family<OutcomeLabels, Counter>,
    evidence: Family<EvidenceLabels, Counter>,
    registry_requests: Family<RegistryLabels, Counter>,
    registry_waits: Family<HostLabel, Counter>,
    registry_waited: Family<HostLabel, Counter<f64, AtomicU64>>,
    registry_content: Family<OutcomeLabel, Counter>,
    registry_content_kept: Gauge<i64, AtomicI64>,
    revocation_checks: Family<RevocationLabels, Counter>,
    credentials: Family<OutcomeLabels, Counter>,
    reloads: Family<OutcomeLabels, Counter>,
    events_dropped: Counter,
    marks_failed: Counter,
    marks_forgotten: Counter,
    kept_entries: Gauge<i64, AtomicI64>,
    kept_bytes: Gauge<i64, AtomicI64>,
    flights: Gauge<i64, AtomicI64>,
    in_flight: Gauge<i64, AtomicI64>,
    rules: Gauge<i64, AtomicI64>,
    exemptions: Family<StateLabel, Gauge<i64, AtomicI64>>,
    policy_changed: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("portcullis"),
            decisions: Family::default(),
            bulk_decisions: Family::default(),
            bulk_pending: Counter::default(),
            exemptions_applied: Counter::default(),
            break_glass: Family::default(),
            // From the time of a hit to the largest budget.
            check_duration: Histogram::new([
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05,
                0.1, 0.25, 0.5, 1.0, 2.5,
            ]),
            no_answers: Family::default(),
            evidence: Family::default(),
            registry_requests: Family::default(),
            registry_waits: Family::default(),
            registry_waited: Family::default(),
            registry_content: Family::default(),
            registry_content_kept: Gauge::default(),
            revocation_checks: Family::default(),
            credentials: Family::default(),
            reloads: Family::default(),
            events_dropped: Counter::default(),
            marks_failed: Counter::default(),
            marks_forgotten: Counter::default(),
            kept_entries: Gauge::default(),
            kept_bytes: Gauge::default(),
            flights: Gauge::default(),
            in_flight: Gauge::default(),
            rules: Gauge::default(),
            exemptions: Family::default(),
            policy_changed: Gauge::default(),
        };
        metrics.register();
        metrics.register_bulk();
        metrics.register_marks();
        metrics.register_requests();
        metrics
    }

    /// What is asked of others.
    fn register_requests(&mut self) {
        let r = &mut self.registry;
        r.register(
            "credentials",
            "Times that a credential for registries was renewed, by kind and outcome",
            self.credentials.clone(),
        );
        r.register(
            "registry_requests",
            "Requests to registries by host, route and outcome",
            self.registry_requests.clone(),
        );
        r.register(
            "registry_waits",
            "Requests to registries that waited for their turn in the budget, by host",
            self.registry_waits.clone(),
        );
        r.register_with_unit(
            "registry_waited",
            "Time that requests to registries waited for their turn, by host",
            Unit::Seconds,
            self.registry_waited.clone(),
        );
        r.register(
            "registry_content",
            "Manifests and small blobs wanted by digest, by whether they were kept from before",
            self.registry_content.clone(),
        );
        r.register_with_unit(
            "registry_content_kept",
            "Memory that manifests and small blobs take",
            Unit::Bytes,
            self.registry_content_kept.clone(),
        );
        r.register(
            "revocation_checks",
            "Times that OCSP responders or CRLs were asked about a certificate, by outcome",
            self.revocation_checks.clone(),
        );
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "build",
            "The version that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        r.register("decisions", "Decisions on containers by action", self.decisions.clone());
        r.register(
            "exemptions_applied",
            "Exemptions applied in decisions, each once for a container, rule and manifest",
            self.exemptions_applied.clone(),
        );
        r.register(
            "break_glass",
            "Denials of containers for which a justification was given, by outcome",
            self.break_glass.clone(),
        );
        r.register_with_unit(
            "check_duration",
            "Time from a question to its answer",
            Unit::Seconds,
            self.check_duration.clone(),
        );
        r.register("no_answers", "Questions without an answer by reason", self.no_answers.clone());
        r.register("evidence", "Evidence used by status and source", self.evidence.clone());
        r.register(
            "reloads",
            "Times that rules or trust were read again, by outcome",
            self.reloads.clone(),
        );
        r.register(
            "events_dropped",
            "Events that were lost because the sink was slow or failed",
            self.events_dropped.clone(),
        );
        r.register("evidence_kept_entries", "Digests in memory", self.kept_entries.clone());
        r.register_with_unit(
            "evidence_kept",
            "Memory that evidence takes",
            Unit::Bytes,
            self.kept_bytes.clone(),
        );
        r.register("flights", "Searches under way", self.flights.clone());
        r.register("checks_in_flight", "Questions being answered", self.in_flight.clone());
        r.register("policy_rules", "Rules in force", self.rules.clone());
        r.register("exemptions", "Exemptions of the policy by state", self.exemptions.clone());
        r.register_with_unit(
            "policy_changed_timestamp",
            "Unix time at which the policy in force was loaded",
            Unit::Seconds,
            self.policy_changed.clone(),
        );
    }

    fn register_bulk(&mut self) {
        let r = &mut self.registry;
        r.register(
            "bulk_decisions",
            "What would be decided about images in questions about many, by action",
            self.bulk_decisions.clone(),
        );
        r.register(
            "bulk_pending",
            "Images in questions about many that were not known yet",
            self.bulk_pending.clone(),
        );
    }

    fn register_marks(&mut self) {
        let r = &mut self.registry;
        r.register(
            "marks_failed",
            "Times that high-water marks could not be read from disk or written to it",
            self.marks_failed.clone(),
        );
        r.register(
            "marks_forgotten",
            "High-water marks that made room for others",
            self.marks_forgotten.clone(),
        );
    }

    /// The text that Prometheus scrapes.
    ///
    /// # Errors
    /// When the text cannot be written, which a `String` does not know.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(crate) fn decision(&self, action: &'static str) {
        self.decisions.get_or_create(&ActionLabel { action }).inc();
    }

    pub(crate) fn bulk(&self, action: &'static str, count: usize) {
        self.bulk_decisions.get_or_create(&ActionLabel { action }).inc_by(count as u64);
    }

    pub(crate) fn bulk_pending(&self, count: usize) {
        self.bulk_pending.inc_by(count as u64);
    }

    pub(crate) fn exemptions_applied(&self, count: usize) {
        self.exemptions_applied.inc_by(count as u64);
    }

    pub(crate) fn break_glass(&self, outcome: &'static str, count: usize) {
        self.break_glass.get_or_create(&OutcomeLabel { outcome }).inc_by(count as u64);
    }

    pub(crate) fn exemptions(&self, state: &'static str, count: usize) {
        let gauge = self.exemptions.get_or_create(&StateLabel { state });
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn answered(&self, took: Duration) {
        self.check_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn no_answer(&self, outcome: &'static str) {
        self.no_answers.get_or_create(&OutcomeLabels { what: "check", outcome }).inc();
    }

    pub(crate) fn evidence(&self, status: &'static str, source: &'static str) {
        self.evidence.get_or_create(&EvidenceLabels { status, source }).inc();
    }

    pub(crate) fn registry_request(&self, host: &str, route: &'static str, outcome: &'static str) {
        let labels = RegistryLabels { host: host.to_owned(), route, outcome };
        self.registry_requests.get_or_create(&labels).inc();
    }

    pub(crate) fn registry_waited(&self, host: &str, waited: Duration) {
        let label = HostLabel { host: host.to_owned() };
        self.registry_waits.get_or_create(&label).inc();
        self.registry_waited.get_or_create(&label).inc_by(waited.as_secs_f64());
    }

    pub(crate) fn registry_content(&self, outcome: &'static str, kept_bytes: u64) {
        self.registry_content.get_or_create(&OutcomeLabel { outcome }).inc();
        self.registry_content_kept.set(i64::try_from(kept_bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn revocation_check(&self, method: &'static str, outcome: &'static str) {
        self.revocation_checks.get_or_create(&RevocationLabels { method, outcome }).inc();
    }

    pub(crate) fn credential(&self, what: &'static str, outcome: &'static str) {
        self.credentials.get_or_create(&OutcomeLabels { what, outcome }).inc();
    }

    pub(crate) fn reload(&self, what: &'static str, outcome: &'static str) {
        self.reloads.get_or_create(&OutcomeLabels { what, outcome }).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub(crate) fn marks_failed(&self) {
        self.marks_failed.inc();
    }

    pub(crate) fn mark_forgotten(&self) {
        self.marks_forgotten.inc();
    }

    pub(crate) fn kept(&self, entries: u64, bytes: u64) {
        self.kept_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.kept_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn flights(&self, change: i64) {
        self.flights.inc_by(change);
    }

    pub(crate) fn in_flight(&self, change: i64) {
        self.in_flight.inc_by(change);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix seconds fit a double until the year 285 million"
    )]
    pub(crate) fn policy(&self, rules: usize, loaded_at: time::OffsetDateTime) {
        self.rules.set(i64::try_from(rules).unwrap_or(i64::MAX));
        self.policy_changed.set(loaded_at.unix_timestamp() as f64);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
