//! The clock of the machine: what it says, and whether somebody sets it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use portcullis_core::ports::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

pub(super) struct ClockMetrics {
    jumps: Family<DirectionLabel, Counter>,
    shown: Shown,
}

/// The clock, once there is one.
#[derive(Clone, Default)]
struct Shown(Arc<OnceLock<Arc<dyn Clock>>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ClockMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let metrics = Self { jumps: Family::default(), shown: Shown::default() };
        r.register(
            "clock_jumps",
            "Times that the clock of the machine was set by more than two seconds",
            metrics.jumps.clone(),
        );
        // There from the start, so that the first jump is an increase.
        for direction in ["forward", "back"] {
            drop(metrics.jumps.get_or_create(&DirectionLabel { direction }));
        }
        let registry = r;
        registry.register_collector(Box::new(metrics.shown.clone()));
        metrics
    }
}

impl Metrics {
    /// The clock by which is decided. It is set once.
    pub(crate) fn show_clock(&self, clock: &Arc<dyn Clock>) {
        let _ = self.clock.shown.0.set(Arc::clone(clock));
    }

    pub(crate) fn clock_jumped(&self, direction: &'static str) {
        self.clock.jumps.get_or_create(&DirectionLabel { direction }).inc();
    }
}

impl Collector for Shown {
    fn encode(&self, mut r: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(clock) = self.0.get() else { return Ok(()) };
        let now = ConstGauge::new(clock.now().unix_timestamp_nanos() as f64 / 1e9);
        now.encode(r.encode_descriptor(
            "clock_timestamp",
            "Unix time by the clock of the machine, as it is asked for",
            Some(&Unit::Seconds),
            now.metric_type(),
        )?)
    }
}
