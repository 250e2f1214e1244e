//! Handshakes, and the end of our own certificate.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use time::Duration;

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    listener: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

pub(super) struct TlsMetrics {
    handshakes: Family<HandshakeLabels, Counter>,
    remaining: Family<ListenerLabel, Gauge<f64, AtomicU64>>,
}

impl TlsMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self { handshakes: Family::default(), remaining: Family::default() };
        r.register(
            "tls_handshakes",
            "Handshakes of TLS by listener and outcome",
            metrics.handshakes.clone(),
        );
        r.register_with_unit(
            "tls_certificate_remaining",
            "Time until the certificate of a listener expires, negative when it has",
            Unit::Seconds,
            metrics.remaining.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A handshake ended.
    pub(crate) fn handshake(&self, listener: &'static str, outcome: &'static str) {
        self.tls.handshakes.get_or_create(&HandshakeLabels { listener, outcome }).inc();
    }

    /// The certificate of a listener has so much time left.
    pub(crate) fn certificate(&self, listener: &'static str, left: Duration) {
        self.tls.remaining.get_or_create(&ListenerLabel { listener }).set(left.as_seconds_f64());
    }
}
