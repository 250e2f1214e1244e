//! Spans over OTLP: the caller's trace goes on through the service to the registry.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_proto::v1::{CheckRequest, Container};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::world::World;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

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

async fn collector() -> (SocketAddr, Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel(100);
    let service = TraceServiceServer::new(Collector(sender));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (address, receiver)
}

async fn check(service: &str, image: &str, traceparent: &str) {
    let mut client = DecisionServiceClient::connect(service.to_owned()).await.unwrap();
    let container = Container { name: "main".to_owned(), image: image.to_owned() };
    let mut request =
        Request::new(CheckRequest { context: None, containers: vec![container], explain: false });
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    client.check(request).await.unwrap();
}

#[test]
fn a_callers_trace_goes_on_to_the_registry() {
    let runtime = Runtime::new().unwrap();
    let (address, mut received) = runtime.block_on(collector());
    let world = World::new();
    // Traces that begin here are not kept, so that only the caller's can arrive.
    let traces = format!("traces: {{otlpEndpoint: 'http://{address}', sampleRatio: 0.0}}\n");
    world.configure(&traces);
    let service = world.serve();
    let image = world.image("clean");
    runtime.block_on(check(&service.url(), image, &format!("00-{TRACE}-b7ad6b7169203331-01")));
    runtime.block_on(check(
        &service.url(),
        image,
        "00-11111111111111111111111111111111-b7ad6b7169203331-00",
    ));
    service.end("TERM").ends_with(0);

    let mut spans = Vec::new();
    while let Ok(export) = received.try_recv() {
        let resources = export.resource_spans.into_iter();
        spans.extend(resources.flat_map(|r| r.scope_spans).flat_map(|scope| scope.spans));
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let named = |name: &str| -> Vec<&Span> { spans.iter().filter(|s| s.name == name).collect() };
    let call = named("portcullis.v1.DecisionService/Check");
    assert_eq!(call.len(), 1);
    assert_eq!(hex(&call[0].parent_span_id), "b7ad6b7169203331");
    let search = named("evidence.search");
    assert_eq!(search.len(), 1);
    assert_eq!(search[0].parent_span_id, call[0].span_id);
    let lists = named("referrers");
    assert_eq!(lists.len(), 2, "of the image and of its report");
    assert!(lists.iter().all(|list| list.parent_span_id == search[0].span_id));
    let status = lists[0].attributes.iter().find(|a| a.key == "http.response.status_code");
    assert!(status.is_some(), "{:#?}", lists[0]);
}
