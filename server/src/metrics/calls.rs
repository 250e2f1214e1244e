//! Calls over gRPC, by method and code.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

use super::Metrics;
use super::durations::{Durations, Ticks};

/// The buckets of OpenTelemetry's `rpc.server.call.duration`, and below them what hits need.
const BOUNDS: &[f64] = &[
    0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0,
];
/// The label of what is none of the methods that are served: callers choose its name.
const OTHER: &str = "other";
const CODES: usize = 17;

/// A method that is served, or another that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    index: usize,
    /// Whether it answers with one message or with many.
    pub kind: MethodKind,
}

/// How many messages a method answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// One.
    Unary,
    /// Many, for as long as the call lives.
    Stream,
}

pub(super) struct CallMetrics(Arc<Table>);

/// A histogram of each method and code that was seen.
#[derive(Debug)]
struct Table {
    methods: Vec<Row>,
    other: [OnceLock<Durations>; CODES],
}

#[derive(Debug)]
struct Row {
    /// As traces name it: `portcullis.v1.DecisionService/Check`.
    name: String,
    kind: MethodKind,
    codes: [OnceLock<Durations>; CODES],
}

#[derive(Debug)]
struct Encoded(Arc<Table>);

impl CallMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let sets = [
            portcullis_proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ];
        let methods = sets.into_iter().flat_map(rows).collect();
        let table = Arc::new(Table { methods, other: [const { OnceLock::new() }; CODES] });
        r.register_with_unit(
            "rpc_duration",
            "Time from a call over gRPC to its end, by method and code",
            Unit::Seconds,
            Encoded(Arc::clone(&table)),
        );
        Self(table)
    }
}

/// The methods of all services in a set of descriptors; none where it is malformed, which ours are
/// not.
fn rows(descriptors: &[u8]) -> Vec<Row> {
    let files = FileDescriptorSet::decode(descriptors).unwrap_or_default().file;
    let mut rows = Vec::new();
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                rows.push(Row {
                    name: format!("{}.{}/{}", file.package(), service.name(), method.name()),
                    kind: if method.server_streaming() {
                        MethodKind::Stream
                    } else {
                        MethodKind::Unary
                    },
                    codes: [const { OnceLock::new() }; CODES],
                });
            }
        }
    }
    rows
}

impl Metrics {
    /// The method that the path of a call names. Where it is not one that is served, its kind is
    /// unary: the answer is an error.
    #[must_use]
    pub fn method(&self, path: &str) -> Method {
        let table = &self.calls.0;
        let name = path.strip_prefix('/').unwrap_or(path);
        let row = table.methods.iter().enumerate().find(|(_, row)| row.name == name);
        row.map_or(Method { index: usize::MAX, kind: MethodKind::Unary }, |(index, row)| Method {
            index,
            kind: row.kind,
        })
    }

    /// A call ended.
    pub fn call_ended(&self, method: Method, code: Code, took: Duration) {
        let table = &self.calls.0;
        let codes = table.methods.get(method.index).map_or(&table.other, |row| &row.codes);
        // A code is one of the 17.
        if let Ok(code) = usize::try_from(i32::from(code))
            && let Some(durations) = codes.get(code)
        {
            durations.get_or_init(|| Durations::new(BOUNDS, Ticks::Nanoseconds)).observe(took);
        }
    }
}

impl EncodeMetric for Encoded {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let rows = self.0.methods.iter().map(|row| (row.name.as_str(), &row.codes));
        for (method, codes) in rows.chain(std::iter::once((OTHER, &self.0.other))) {
            for (code, durations) in (0..).zip(codes) {
                if let Some(durations) = durations.get() {
                    let labels = [("method", method), ("code", code_name(Code::from_i32(code)))];
                    durations.encode(encoder.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A code as the specification of gRPC and OpenTelemetry's conventions write it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
