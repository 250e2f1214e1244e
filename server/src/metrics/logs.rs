//! Log lines that were not written, and spans that were not sent.

use std::fmt;

use portcullis_telemetry::{flood, sending};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

#[derive(Debug)]
struct Lines;

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Lines));
}

impl Collector for Lines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Log lines that were not written, because there were too many like them";
        let counter = MetricType::Counter;
        let lines = encoder.encode_descriptor("log_lines_left_out", help, None, counter)?;
        ConstCounter::new(flood::left_out()).encode(lines)?;

        let help = "Spans that did not get to the collector of traces";
        let spans = encoder.encode_descriptor("spans_lost", help, None, counter)?;
        ConstCounter::new(sending::lost()).encode(spans)
    }
}
