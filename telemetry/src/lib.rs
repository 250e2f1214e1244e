//! Log lines and spans out: structured logs on standard error, traces over OTLP where an endpoint is
//! configured.

pub mod spans;
pub mod flood;
mod lines;
pub mod sending;

use std::io::IsTerminal as _;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{OTEL_BSP_MAX_QUEUE_SIZE, Sampler, SdkTracerProvider};
use tracing::Metadata;
use tracing::subscriber::Interest;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _};

use self::flood::Flood;
use self::lines::Lines;
use self::spans::{Propagation, ROOTS, SPANS, Sampling};

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and traced.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryConfig {
    /// How log lines are written.
    pub format: LogFormat,
    /// Which are: a level, or `target=level` pairs with commas, as `tracing`'s `EnvFilter` has them.
    pub filter: String,
    /// How many lines each place in the source may write a second in the long run, and ten times as
    /// many at once; 0 for as many as come.
    pub max_per_second: u32,
    /// Where traces go: an OTLP gRPC endpoint, such as `http://localhost:4317`. None: nowhere.
    pub otlp_endpoint: Option<String>,
    /// The share of traces that begin here which is kept, 0.0 to 1.0. A caller's sampled trace is
    /// always continued.
    pub sample_ratio: f64,
    /// Whether registries are told the trace that a request belongs to, where that is kept.
    pub propagate_to_registries: bool,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
            max_per_second: 50,
            otlp_endpoint: None,
            sample_ratio: 0.1,
            propagate_to_registries: false,
        }
    }
}

/// Why logging or tracing cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is malformed.
    #[error(
        "`{filter}` is not a log filter: expected a level such as `info`, or `target=level` pairs"
    )]
    Filter {
        /// As configured.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP endpoint cannot be used.
    #[error("failed to set up traces to `{endpoint}`")]
    Otlp {
        /// As configured.
        endpoint: String,
        /// Why.
        source: ExporterBuildError,
    },
    /// Logging was set up before.
    #[error("logging is set up already")]
    Twice(#[from] TryInitError),
}

/// Keeps traces flowing; [`Telemetry::end`] sends what is left.
#[must_use]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Sets up logs and traces for the process. Needs a tokio runtime when traces are on. Those are of `service`, as
    /// OpenTelemetry's `service.name` has it.
    ///
    /// # Errors
    /// When the filter or the endpoint cannot be used, or it was called before.
    pub fn begin(service: &'static str, config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let filter = EnvFilter::try_new(&config.filter)
            .map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
        let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = std::io::stderr().is_terminal() && !asked_not_to;
        let (format, flood) = (config.format, Flood::new(config.max_per_second));
        let filter = filter.and(flood.clone());
        let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
        let logs = match format {
            LogFormat::Text => {
                let lines = |inner| Lines { inner, format, flood };
                logs.map_event_format(lines).with_filter(filter).boxed()
            }
            LogFormat::Json => {
                let lines = |inner| Lines { inner, format, flood };
                let logs = logs.json().flatten_event(true);
                logs.map_event_format(lines).with_filter(filter).boxed()
            }
        };
        let endpoint = config.otlp_endpoint.as_deref();
        let provider = endpoint.map(|to| provider(service, to)).transpose()?;
        let traces = provider.as_ref().map(|provider| {
            let tracer = provider.tracer("portcullis");
            // Spans are under targets of their own. Where a trace begins was decided before; others are
            // made only within one that is kept.
            let kept = dynamic_filter_fn(|metadata, context| match metadata.target() {
                ROOTS => metadata.is_span(),
                SPANS => metadata.is_span() && context.lookup_current().is_some(),
                _ => false,
            });
            let kept = kept.with_max_level_hint(LevelFilter::DEBUG);
            let kept = kept.with_callsite_filter(interest);
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(kept)
        });
        tracing_subscriber::registry().with(traces).with(logs).try_init()?;
        if provider.is_some() {
            let propagation = if config.propagate_to_registries {
                Propagation::ToRegistries
            } else {
                Propagation::None
            };
            spans::begin(Sampling::ratio(config.sample_ratio), propagation);
        }
        Ok(Self(provider))
    }

    /// Whether the trace of a call is kept, by its `traceparent` header if it has one: a caller's
    /// decision holds, and of the others a share is kept. Never where traces are off.
    #[must_use]
    pub fn samples(traceparent: Option<&[u8]>) -> bool {
        spans::sampled(|| traceparent, || None).is_some()
    }

    /// Sends the spans that are left.
    pub fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, lost = sending::lost(), "some spans could not be sent");
        }
    }
}

fn interest(metadata: &'static Metadata<'static>) -> Interest {
    match metadata.target() {
        ROOTS => Interest::always(),
        SPANS => Interest::sometimes(),
        _ => Interest::never(),
    }
}

fn provider(service: &'static str, endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Otlp { endpoint: endpoint.to_owned(), source })?;
    let most = std::env::var_os(OTEL_BSP_MAX_QUEUE_SIZE);
    let processor = sending::processor(exporter, sending::most(most));
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        // What is not to be kept is not begun (`spans`).
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(
            Resource::builder()
                .with_service_name(service)
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .build(),
        )
        .build())
}
