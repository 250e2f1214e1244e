//! The sections on logs and traces of a configuration in, what is logged and traced out.

use serde::Deserialize;

use super::ConfigError;
use crate::telemetry::{LogFormat, TelemetryConfig};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LogFile {
    #[serde(default)]
    format: LogFormat,
    filter: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TracesFile {
    otlp_endpoint: Option<String>,
    sample_ratio: Option<f64>,
}

pub(super) fn telemetry(
    log: LogFile,
    traces: TracesFile,
    defaults: TelemetryConfig,
) -> Result<TelemetryConfig, ConfigError> {
    let LogFile { format, filter } = log;
    let TracesFile { otlp_endpoint, sample_ratio } = traces;
    let sample_ratio = sample_ratio.unwrap_or(defaults.sample_ratio);
    if !(0.0..=1.0).contains(&sample_ratio) {
        return Err(ConfigError::Range { field: "traces.sampleRatio", expected: "0.0 to 1.0" });
    }
    let filter = filter.unwrap_or(defaults.filter);
    Ok(TelemetryConfig { format, filter, otlp_endpoint, sample_ratio })
}
