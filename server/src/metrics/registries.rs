//! What was asked of registries, and of those who say whom to believe.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    host: String,
    route: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostLabel {
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabels {
    what: &'static str,
    outcome: &'static str,
}

pub(super) struct RegistryMetrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<HostLabel, Histogram>,
    waits: Family<HostLabel, Counter>,
    waited: Family<HostLabel, Counter<f64, AtomicU64>>,
    content: Family<OutcomeLabel, Counter>,
    revocation_checks: Family<MethodLabels, Counter>,
    credentials: Family<WhatLabels, Counter>,
}

/// From a registry beside us to one that is given up.
fn duration() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

impl RegistryMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(duration),
            waits: Family::default(),
            waited: Family::default(),
            content: Family::default(),
            revocation_checks: Family::default(),
            credentials: Family::default(),
        };
        // There from the start, so that the first one is an increase.
        for outcome in ["good", "revoked", "unknown", "failed"] {
            for method in ["ocsp", "crl"] {
                drop(metrics.revocation_checks.get_or_create(&MethodLabels { method, outcome }));
            }
        }
        for what in ["file", "aws", "ecr", "entra", "acr", "gar"] {
            let failed = WhatLabels { what, outcome: "failed" };
            drop(metrics.credentials.get_or_create(&failed));
        }
        r.register(
            "credentials",
            "Times that a credential for registries was renewed, by kind and outcome",
            metrics.credentials.clone(),
        );
        r.register(
            "registry_requests",
            "Requests to registries by host, route and outcome",
            metrics.requests.clone(),
        );
        r.register_with_unit(
            "registry_request_duration",
            "Time from a request to the head of its response or to its failure, by host",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        r.register(
            "registry_waits",
            "Requests to registries that waited for their turn in the budget, by host",
            metrics.waits.clone(),
        );
        r.register_with_unit(
            "registry_waited",
            "Time that requests to registries waited for their turn, by host",
            Unit::Seconds,
            metrics.waited.clone(),
        );
        r.register(
            "registry_content",
            "Manifests and small blobs wanted by digest, by whether they were kept from before",
            metrics.content.clone(),
        );
        r.register(
            "revocation_checks",
            "Times that OCSP responders or CRLs were asked about a certificate, by outcome",
            metrics.revocation_checks.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A request ended after `took`; `None` where it was not sent.
    pub(crate) fn registry_request(
        &self,
        host: &str,
        route: &'static str,
        outcome: &'static str,
        took: Option<Duration>,
    ) {
        let labels = RequestLabels { host: host.to_owned(), route, outcome };
        self.registries.requests.get_or_create(&labels).inc();
        if let Some(took) = took {
            let label = HostLabel { host: host.to_owned() };
            self.registries.duration.get_or_create(&label).observe(took.as_secs_f64());
        }
    }

    pub(crate) fn registry_waited(&self, host: &str, waited: Duration) {
        let label = HostLabel { host: host.to_owned() };
        self.registries.waits.get_or_create(&label).inc();
        self.registries.waited.get_or_create(&label).inc_by(waited.as_secs_f64());
    }

    pub(crate) fn registry_content(&self, outcome: &'static str) {
        self.registries.content.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn revocation_check(&self, method: &'static str, outcome: &'static str) {
        self.registries.revocation_checks.get_or_create(&MethodLabels { method, outcome }).inc();
    }

    pub(crate) fn credential(&self, what: &'static str, outcome: &'static str) {
        self.registries.credentials.get_or_create(&WhatLabels { what, outcome }).inc();
    }
}
