//! Spans over OTLP: the caller's trace goes on through the service to the registry, as far as it is kept.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_proto::v1::{CheckRequest, Container};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::world::{Service, World};

pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A collector that keeps what it is sent.
struct Collector(Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

pub(crate) async fn collector() -> (SocketAddr, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel(10_000);
    let service = TraceServiceServer::new(Collector(sender));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (address, receiver)
}

/// Asks about an image once, in somebody's trace or in none.
async fn check(service: &str, image: &str, traceparent: Option<&str>) {
    let mut client = DecisionServiceClient::connect(service.to_owned()).await.unwrap();
    ask(&mut client, image, traceparent).await;
}

async fn ask(client: &mut DecisionServiceClient<Channel>, image: &str, parent: Option<&str>) {
    let container = Container { name: "main".to_owned(), image: image.to_owned() };
    let mut request = Request::new(CheckRequest {
        context: None,
        containers: vec![container],
        explain: false,
        purpose: 0,
    });
    if let Some(parent) = parent {
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    }
    client.check(request).await.unwrap();
}

/// A service that sends its traces to a collector of ours.
struct Traced {
    runtime: Runtime,
    received: Receiver<ExportTraceServiceRequest>,
    world: World,
    service: Service,
}

impl Traced {
    /// With these settings under `traces`.
    fn new(settings: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let (address, received) = runtime.block_on(collector());
        let world = World::new();
        world.configure(&format!("traces: {{otlpEndpoint: 'http://{address}', {settings}}}\n"));
        let service = world.serve();
        Self { runtime, received, world, service }
    }

    fn check(&self, image: &str, parent: Option<&str>) {
        self.runtime.block_on(check(&self.service.url(), self.world.image(image), parent));
    }

    /// Ends the service, and gives all its spans and what it wrote to its log.
    fn end(mut self) -> (Vec<Span>, String) {
        let ran = self.service.end("TERM");
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        let mut spans = Vec::new();
        while let Ok(export) = self.received.try_recv() {
            let resources = export.resource_spans.into_iter();
            spans.extend(resources.flat_map(|r| r.scope_spans).flat_map(|scope| scope.spans));
        }
        (spans, ran.stderr)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// An attribute as text; empty where it is not there.
pub(crate) fn attribute(span: &Span, key: &str) -> String {
    let value = span.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone());
    match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => other.map_or_else(String::new, |other| format!("{other:?}")),
    }
}

#[track_caller]
pub(crate) fn has(span: &Span, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(attribute(span, key), *value, "{key} of {span:#?}");
    }
}

pub(crate) const CALL: &str = "portcullis.v1.DecisionService/Check";

#[test]
fn a_callers_trace_goes_on_to_the_registry() {
    // Traces that begin here are not kept, so that only the caller's can arrive.
    let traced = Traced::new("sampleRatio: 0.0");
    traced.check("clean", Some(&format!("00-{TRACE}-b7ad6b7169203331-01")));
    let other = "00-11111111111111111111111111111111-b7ad6b7169203331-00";
    traced.check("clean", Some(other));
    traced.check("clean", None);
    let host = traced.world.registry.host().to_owned();
    let requests = traced.world.registry.requests();
    let (spans, _) = traced.end();

    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let calls = named(&spans, CALL);
    assert_eq!(calls.len(), 1);
    let call = calls[0];
    assert_eq!(hex(&call.parent_span_id), "b7ad6b7169203331");
    assert_eq!(call.kind(), SpanKind::Server);
    has(
        call,
        &[("rpc.system.name", "grpc"), ("rpc.method", CALL), ("rpc.response.status_code", "OK")],
    );
    for child in ["resolve", "evidence"] {
        let spans = named(&spans, child);
        assert_eq!(spans.len(), 1, "{child}");
        assert_eq!(spans[0].parent_span_id, call.span_id, "{child}");
    }
    let evidence = named(&spans, "evidence")[0];
    has(
        evidence,
        &[
            ("portcullis.cache.outcome", "fetched"),
            ("portcullis.evidence.status", "verified"),
            ("portcullis.evidence.source", "registry"),
        ],
    );
    assert!(attribute(evidence, "oci.manifest.digest").starts_with("sha256:"));
    let search = named(&spans, "evidence.search");
    assert_eq!(search.len(), 1);
    assert_eq!(search[0].parent_span_id, evidence.span_id);
    let lists = named(&spans, "GET /v2/{name}/referrers/{digest}");
    assert_eq!(lists.len(), 2, "of the image and of its report");
    let (name, port) = host.rsplit_once(':').unwrap();
    for list in lists {
        assert_eq!(list.parent_span_id, search[0].span_id);
        assert_eq!(list.kind(), SpanKind::Client);
        has(
            list,
            &[
                ("http.request.method", "GET"),
                ("url.template", "/v2/{name}/referrers/{digest}"),
                ("server.address", name),
                ("server.port", port),
                ("http.response.status_code", "200"),
            ],
        );
    }
    let verified = named(&spans, "verify");
    assert_eq!(verified.len(), 1);
    assert_eq!(verified[0].parent_span_id, search[0].span_id);
    assert!(attribute(verified[0], "portcullis.report.digest").starts_with("sha256:"));
    // Nothing of it is told to others.
    assert!(requests.iter().all(|request| !request.headers.contains_key("traceparent")));
}

#[test]
fn registries_are_told_of_a_trace_only_where_that_is_wanted() {
    let traced = Traced::new("sampleRatio: 0.0, propagateToRegistries: true");
    traced.check("clean", Some(&format!("00-{TRACE}-b7ad6b7169203331-01")));
    let requests = traced.world.registry.requests();
    let (spans, _) = traced.end();
    let told: Vec<_> = requests
        .iter()
        .filter_map(|request| {
            Some(request.headers.get("traceparent")?.to_str().unwrap().to_owned())
        })
        .collect();
    assert!(!told.is_empty());
    for parent in told {
        let parts: Vec<_> = parent.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, "01"));
        let request = spans.iter().find(|span| hex(&span.span_id) == parts[2]).unwrap();
        assert_eq!(request.kind(), SpanKind::Client, "{request:#?}");
    }
}

#[test]
fn a_share_of_the_traces_that_begin_here_is_kept() {
    const CALLS: usize = 400;
    for (ratio, kept) in [("0.0", 0..=0), ("0.5", 120..=280), ("1.0", CALLS..=CALLS)] {
        let traced = Traced::new(&format!("sampleRatio: {ratio}"));
        let image = traced.world.image("clean");
        traced.runtime.block_on(async {
            let url = traced.service.url();
            let mut client = DecisionServiceClient::connect(url).await.unwrap();
            for _ in 0..CALLS {
                ask(&mut client, image, None).await;
            }
        });
        let (spans, _) = traced.end();
        let calls = named(&spans, CALL);
        assert!(kept.contains(&calls.len()), "{} of {CALLS} by {ratio}", calls.len());
        // Each is whole or not there at all: no span is without its call.
        let calls: std::collections::BTreeSet<_> = calls.iter().map(|c| &c.trace_id).collect();
        assert!(spans.iter().all(|span| calls.contains(&span.trace_id)));
        // Each is a trace of its own.
        assert_eq!(calls.len(), named(&spans, CALL).len());
    }
}

#[test]
fn a_log_line_has_its_trace_and_an_error_of_a_registry_is_one() {
    let traced = Traced::new("sampleRatio: 0.0");
    let unknown = format!("{}/demo/nothing:v1", traced.world.registry.host());
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    traced.runtime.block_on(check(&traced.service.url(), &unknown, Some(&parent)));
    traced.runtime.block_on(check(&traced.service.url(), &unknown, None));
    let (spans, log) = traced.end();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let decisions: Vec<_> = lines.filter(|line| line["message"] == "decision").collect();
    assert_eq!(decisions.len(), 2, "{log}");
    assert_eq!(decisions[0]["trace_id"], TRACE);
    assert_eq!(decisions[1]["trace_id"], Value::Null);
    let request = named(&spans, "GET /v2/{name}/manifests/{reference}")[0];
    has(request, &[("http.response.status_code", "404"), ("error.type", "404")]);
    assert_eq!(request.status.as_ref().unwrap().code(), StatusCode::Error);
}
