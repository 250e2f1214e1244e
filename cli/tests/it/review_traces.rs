//! One trace, from the review of an object through the shim and the service to the registry.

use std::net::TcpListener;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use reqwest::Client;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;

use super::shim::{shim, traced_review};
use super::traces::{CALL, TRACE, collector, has, hex, named};
use super::world::{Service, World};

const REVIEW: &str = "POST /validate";

/// A collector, and before it a service and a shim, if these send it their spans.
struct Site {
    runtime: Runtime,
    received: Receiver<ExportTraceServiceRequest>,
    world: World,
    service: Service,
    shim: Service,
    client: Client,
}

/// A span, and of whom it is.
struct Sent {
    service: String,
    span: Span,
}

impl Site {
    /// With these shares of traces that are kept, where any is.
    fn new(service_keeps: Option<f64>, shim_keeps: Option<f64>) -> Self {
        let runtime = Runtime::new().unwrap();
        let (address, received) = runtime.block_on(collector());
        let traces = |keeps: Option<f64>| {
            let to = |ratio| {
                format!("traces: {{otlpEndpoint: 'http://{address}', sampleRatio: {ratio:.1}}}\n")
            };
            keeps.map(to).unwrap_or_default()
        };
        let world = World::new();
        world.configure(&traces(service_keeps));
        let service = world.serve();
        let more = format!("drain: 1ms\n{}", traces(shim_keeps));
        let (shim, client) = shim(&world, &service.url(), &more);
        Self { runtime, received, world, service, shim, client }
    }

    fn review(&self, image: &str, traceparent: Option<&str>) -> Value {
        let image = self.world.image(image);
        let asked = ("/validate", image);
        traced_review(&self.runtime, &self.shim, &self.client, asked, traceparent)
    }

    /// Ends both, and gives all spans.
    fn end(mut self) -> Vec<Sent> {
        for ran in [self.shim.end("TERM"), self.service.end("TERM")] {
            assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        }
        let mut sent = Vec::new();
        while let Ok(export) = self.received.try_recv() {
            for of in export.resource_spans {
                let attributes = of.resource.unwrap().attributes;
                let holder = Span { attributes, ..Span::default() };
                let service = super::traces::attribute(&holder, "service.name");
                let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                sent.extend(spans.map(|span| Sent { service: service.clone(), span }));
            }
        }
        sent
    }
}

/// The spans of one of both.
fn of(sent: &[Sent], service: &str) -> Vec<Span> {
    let of = sent.iter().filter(|sent| sent.service == service);
    of.map(|sent| sent.span.clone()).collect()
}

#[track_caller]
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let named = named(spans, name);
    assert_eq!(named.len(), 1, "{name} in {spans:#?}");
    named[0]
}

#[test]
fn one_trace_goes_from_the_review_to_the_registry() {
    // What begins at the service is not kept, so that nothing but the review can keep it.
    let site = Site::new(Some(0.0), Some(1.0));
    let answer = site.review("clean", None);
    assert_eq!(answer["auditAnnotations"]["source"], "service", "{answer}");
    let port = site.service.address().rsplit_once(':').unwrap().1.to_owned();
    let sent = site.end();
    let (ours, theirs) = (of(&sent, "portcullis-shim"), of(&sent, "portcullis"));
    assert_eq!(ours.len() + theirs.len(), sent.len());
    let review = only(&ours, REVIEW);
    assert!(sent.iter().all(|sent| sent.span.trace_id == review.trace_id));
    assert!(review.parent_span_id.is_empty());
    assert_eq!(review.kind(), SpanKind::Server);
    has(
        review,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/validate"),
            ("url.path", "/validate"),
            ("url.scheme", "https"),
            ("http.response.status_code", "200"),
            ("portcullis.review.images", "1"),
            ("portcullis.review.source", "service"),
            ("portcullis.review.allowed", "BoolValue(true)"),
            ("portcullis.review.cause", ""),
            ("error.type", ""),
        ],
    );
    let asked = only(&ours, CALL);
    assert_eq!(asked.parent_span_id, review.span_id);
    assert_eq!(asked.kind(), SpanKind::Client);
    has(
        asked,
        &[
            ("rpc.system.name", "grpc"),
            ("rpc.method", CALL),
            ("rpc.response.status_code", "OK"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("network.peer.address", "127.0.0.1"),
            ("network.peer.port", &port),
        ],
    );
    assert_eq!(ours.len(), 2, "{ours:#?}");
    let answered = only(&theirs, CALL);
    assert_eq!(answered.parent_span_id, asked.span_id);
    assert_eq!(answered.kind(), SpanKind::Server);
    assert_eq!(only(&theirs, "evidence").parent_span_id, answered.span_id);
    assert_eq!(named(&theirs, "GET /v2/{name}/referrers/{digest}").len(), 2);
    // Nothing of the object is in the shim's spans.
    let text = format!("{ours:?}");
    assert!(!text.contains("shop") && !text.contains("demo/"), "{text}");
}

#[test]
fn what_begins_at_the_api_server_is_kept_as_it_says() {
    let site = Site::new(Some(1.0), Some(1.0));
    site.review("clean", Some(&format!("00-{TRACE}-b7ad6b7169203331-01")));
    let other = "00-11111111111111111111111111111111-b7ad6b7169203331-00";
    site.review("critical", Some(other));
    let sent = site.end();
    assert!(sent.iter().all(|sent| hex(&sent.span.trace_id) == TRACE));
    let ours = of(&sent, "portcullis-shim");
    assert_eq!(hex(&only(&ours, REVIEW).parent_span_id), "b7ad6b7169203331");
    assert_eq!(only(&of(&sent, "portcullis"), CALL).parent_span_id, only(&ours, CALL).span_id);
}

#[test]
fn what_the_shim_does_not_keep_the_service_does_not_either() {
    let site = Site::new(Some(1.0), Some(0.0));
    assert_eq!(site.review("clean", None)["allowed"], true);
    // What is no header of W3C's has no say.
    assert_eq!(site.review("critical", Some("yes"))["allowed"], false);
    let sent = site.end();
    assert!(sent.is_empty(), "{:#?}", of(&sent, "portcullis"));
    // A shim that has no traces leaves it to the service, and to the API server.
    let site = Site::new(Some(1.0), None);
    site.review("clean", None);
    site.review("critical", Some(&format!("00-{TRACE}-b7ad6b7169203331-01")));
    let sent = site.end();
    let theirs = of(&sent, "portcullis");
    let calls = named(&theirs, CALL);
    assert_eq!((calls.len(), theirs.len()), (2, sent.len()));
    assert!(calls[0].parent_span_id.is_empty() && hex(&calls[1].trace_id) == TRACE);
}

#[test]
fn an_answer_without_the_service_says_so() {
    let mut site = Site::new(None, Some(1.0));
    // What is kept near is no call.
    for _ in 0..1_000 {
        if site.review("clean", None)["auditAnnotations"]["source"] == "near_cache" {
            break;
        }
    }
    let gone = std::mem::replace(&mut site.service, site.world.serve());
    assert_eq!(gone.end("TERM").status, Some(0));
    // The API server does not wait for long.
    let asked = ("/validate?timeout=1s", site.world.image("critical"));
    let answer = traced_review(&site.runtime, &site.shim, &site.client, asked, None);
    assert_eq!(answer["auditAnnotations"]["cause"], "unreachable", "{answer}");
    let sent = site.end();
    let ours = of(&sent, "portcullis-shim");
    let from = |source: &str| -> Vec<&Span> {
        let source = format!("{source:?}");
        named(&ours, REVIEW)
            .into_iter()
            .filter(|span| format!("{span:?}").contains(&source))
            .collect()
    };
    let near = from("near_cache");
    assert_eq!(near.len(), 1, "{ours:#?}");
    assert!(!ours.iter().any(|span| span.parent_span_id == near[0].span_id));
    let failed = from("fail_policy");
    has(
        failed[0],
        &[
            ("portcullis.review.cause", "unreachable"),
            ("portcullis.review.allowed", "BoolValue(true)"),
            ("http.response.status_code", "200"),
        ],
    );
    // It is an answer, and no error of the shim's.
    assert_ne!(failed[0].status.clone().unwrap_or_default().code(), StatusCode::Error);
}

#[test]
fn a_collector_that_is_away_or_says_nothing_costs_no_review() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Connections to it stand, and nobody reads what comes on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let cases = [
        (closed, "spans cannot be sent: they are lost until they can"),
        (at, "some spans could not be sent"),
    ];
    for (collector, said) in cases {
        let world = World::new();
        let service = world.serve();
        let runtime = Runtime::new().unwrap();
        let traces = format!("traces: {{otlpEndpoint: 'http://{collector}', sampleRatio: 1.0}}\n");
        let (shim, client) = shim(&world, &service.url(), &format!("drain: 1ms\n{traces}"));
        for _ in 0..100 {
            let asked = ("/validate", world.image("clean"));
            let answer = traced_review(&runtime, &shim, &client, asked, None);
            assert_eq!(answer["allowed"], true, "{answer}");
        }
        let ran = shim.end("TERM");
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        let lines = ran.stderr.lines().filter(|line| line.contains(said));
        assert_eq!(lines.count(), 1, "{}", ran.stderr);
    }
}
