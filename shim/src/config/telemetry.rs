//! The sections on logs and traces of a configuration in, what is logged and traced out. They are the service's.

use portcullis_telemetry::{LogFormat, TelemetryConfig};
use serde::Deserialize;

use super::ConfigError;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct LogFile {
    format: LogFormat,
    filter: Option<String>,
    max_per_second: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TracesFile {
    otlp_endpoint: Option<String>,
    sample_ratio: Option<f64>,
}

pub(super) fn telemetry(log: LogFile, traces: TracesFile) -> Result<TelemetryConfig, ConfigError> {
    let LogFile { format, filter, max_per_second } = log;
    let TracesFile { otlp_endpoint, sample_ratio } = traces;
    let defaults = TelemetryConfig::default();
    let sample_ratio = sample_ratio.unwrap_or(defaults.sample_ratio);
    if !(0.0..=1.0).contains(&sample_ratio) {
        return Err(ConfigError::Range { field: "traces.sampleRatio", expected: "0.0 to 1.0" });
    }
    Ok(TelemetryConfig {
        format,
        filter: filter.unwrap_or(defaults.filter),
        max_per_second: max_per_second.unwrap_or(defaults.max_per_second),
        otlp_endpoint,
        sample_ratio,
        // It asks none.
        propagate_to_registries: false,
    })
}
