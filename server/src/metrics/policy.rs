//! The rules and the trust in force.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use time::OffsetDateTime;

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    what: &'static str,
    outcome: &'static str,
}

type Timestamp = Gauge<f64, AtomicU64>;

pub(super) struct PolicyMetrics {
    rules: Gauge,
    exemptions: Family<StateLabel, Gauge>,
    reloads: Family<OutcomeLabels, Counter>,
    changed: Timestamp,
    looked: Timestamp,
    revisions: Revisions,
}

/// What names the policy and the trust in force: labels of one metric, which is never there twice.
#[derive(Debug, Clone, Default)]
struct Revisions(Arc<Mutex<(String, String)>>);

impl PolicyMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self {
            rules: Gauge::default(),
            exemptions: Family::default(),
            reloads: Family::default(),
            changed: Timestamp::default(),
            looked: Timestamp::default(),
            revisions: Revisions::default(),
        };
        r.register("policy_rules", "Rules in force", metrics.rules.clone());
        r.register("exemptions", "Exemptions of the policy by state", metrics.exemptions.clone());
        r.register(
            "reloads",
            "Times that rules, trust or certificates were read again, by outcome",
            metrics.reloads.clone(),
        );
        r.register_with_unit(
            "policy_changed_timestamp",
            "Unix time at which the policy in force was loaded",
            Unit::Seconds,
            metrics.changed.clone(),
        );
        r.register_with_unit(
            "policy_looked_timestamp",
            "Unix time at which the files of rules and trust were last looked at",
            Unit::Seconds,
            metrics.looked.clone(),
        );
        // There from the start, so that the first failure is an increase.
        for outcome in ["ok", "failed"] {
            for what in ["rules", "trust", "certificate", "authorities"] {
                drop(metrics.reloads.get_or_create(&OutcomeLabels { what, outcome }));
            }
        }
        let registry = r;
        registry.register_collector(Box::new(metrics.revisions.clone()));
        metrics
    }
}

impl Metrics {
    pub(crate) fn policy(&self, revision: &str, rules: usize, loaded_at: OffsetDateTime) {
        revision.clone_into(&mut self.policy.revisions.0.lock().0);
        self.policy.rules.set(i64::try_from(rules).unwrap_or(i64::MAX));
        self.policy.changed.set(seconds(loaded_at));
    }

    pub(crate) fn trust(&self, revision: impl fmt::Display) {
        // As short as a revision of the policy: it is compared, not looked up.
        let revision = revision.to_string();
        let revision = revision.strip_prefix("sha256:").unwrap_or(&revision);
        self.policy.revisions.0.lock().1 = revision.chars().take(16).collect();
    }

    /// The files of rules and trust were looked at.
    pub(crate) fn looked(&self, at: OffsetDateTime) {
        self.policy.looked.set(seconds(at));
    }

    pub(crate) fn exemptions(&self, state: &'static str, count: usize) {
        let gauge = self.policy.exemptions.get_or_create(&StateLabel { state });
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn reload(&self, what: &'static str, outcome: &'static str) {
        self.policy.reloads.get_or_create(&OutcomeLabels { what, outcome }).inc();
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Unix seconds fit a double until the year 285 million"
)]
pub(super) const fn seconds(at: OffsetDateTime) -> f64 {
    at.unix_timestamp() as f64
}

impl Collector for Revisions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (policy, trust) = self.0.lock().clone();
        let (help, info) = ("The policy and the trust in force", MetricType::Info);
        encoder
            .encode_descriptor("policy", help, None, info)?
            .encode_info(&[("revision", policy), ("trust", trust)])
    }
}
