//! The clusters that are configured, as they are heard.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use time::OffsetDateTime;

use super::Metrics;
use super::policy::seconds;

/// A cluster by its name in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabel {
    cluster: String,
}

pub(super) struct ClusterMetrics {
    silent: Family<ClusterLabel, Gauge>,
    asked: Family<ClusterLabel, Gauge<f64, AtomicU64>>,
}

impl ClusterMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self { silent: Family::default(), asked: Family::default() };
        r.register(
            "cluster_silent",
            "Whether nothing is heard of a cluster that is configured with a certificate",
            metrics.silent.clone(),
        );
        r.register_with_unit(
            "cluster_asked_timestamp",
            "Unix time of about the last question of a cluster, or of the start",
            Unit::Seconds,
            metrics.asked.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn cluster_silent(&self, cluster: &str, is_silent: bool) {
        let label = ClusterLabel { cluster: cluster.to_owned() };
        self.clusters.silent.get_or_create(&label).set(i64::from(is_silent));
    }

    pub(crate) fn cluster_asked(&self, cluster: &str, at: OffsetDateTime) {
        let label = ClusterLabel { cluster: cluster.to_owned() };
        self.clusters.asked.get_or_create(&label).set(seconds(at));
    }
}
