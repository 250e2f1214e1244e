//! The bytes of a call, as clients of other makes and attackers send them.

use std::time::Duration;

use portcullis_proto::v1;
use portcullis_server::grpc::MAX_REQUEST;
use portcullis_testkit::registry::{Fault, Route};
use prost::Message as _;
use reqwest::{RequestBuilder, StatusCode};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::gate::Gate;
use crate::world::*;

const CHECK: &str = "/portcullis.v1.DecisionService/Check";

/// A request as any client could make it.
fn post(world: &World, path: &str, body: Vec<u8>) -> RequestBuilder {
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}{path}", world.app.address());
    client.post(url).header("content-type", "application/grpc").header("te", "trailers").body(body)
}

/// A message with the flag and the length before it.
fn frame(flag: u8, length: usize, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend(u32::try_from(length).unwrap().to_be_bytes());
    frame.extend(message);
    frame
}

fn framed(message: &[u8]) -> Vec<u8> {
    frame(0, message.len(), message)
}

/// How a call ended that has no answer.
async fn refused(request: RequestBuilder) -> Status {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    Status::from_header_map(answer.headers()).expect("an answer instead of a refusal")
}

#[tokio::test]
async fn t132_what_is_no_message_is_refused_with_the_code_that_is_owed() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let good = question(&image.name).encode_to_vec();
    let huge = usize::try_from(u32::MAX).unwrap();
    let cut = frame(0, good.len() + 1, &good);
    let cases = [
        ("one byte too long", frame(0, MAX_REQUEST + 1, &good), Code::ResourceExhausted),
        ("4 GiB", frame(0, huge, &good), Code::ResourceExhausted),
        ("cut off", cut, Code::InvalidArgument),
        ("half a header", vec![0, 0, 0], Code::InvalidArgument),
        ("a compressed one", frame(1, good.len(), &good), Code::Internal),
        ("an unknown flag", frame(7, good.len(), &good), Code::Internal),
        ("no protobuf", framed(&[0xff; 20]), Code::InvalidArgument),
        ("no UTF-8", framed(&[0x12, 4, 0x0a, 2, 0xff, 0xfe]), Code::InvalidArgument),
        ("a field within a field", framed(&[0x12, 200, 1]), Code::InvalidArgument),
        ("nothing", Vec::new(), Code::Unimplemented),
        ("two", [framed(&good), framed(&good)].concat(), Code::Unimplemented),
    ];
    for (what, body, code) in cases {
        assert_eq!(refused(post(&world, CHECK, body)).await.code(), code, "{what}");
    }
    assert_eq!(world.requests("/it/"), 0);
    // The same connection and others go on.
    let answer = post(&world, CHECK, framed(&good)).send().await.unwrap();
    let body = answer.bytes().await.unwrap();
    let answer = v1::CheckResponse::decode(body.get(5..).unwrap()).unwrap();
    assert_eq!(answer.action(), Action::Allow);
}

#[tokio::test]
async fn t132_an_unknown_compression_is_unimplemented_and_says_what_is_known() {
    let world = World::new().await;
    for path in [CHECK, "/portcullis.v1.DecisionService/CheckStream"] {
        let request = post(&world, path, frame(1, 1, b"x")).header("grpc-encoding", "gzip");
        let status = refused(request).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        let known = status.metadata().get("grpc-accept-encoding").unwrap();
        assert_eq!(known, "identity", "{path}");
    }
    let image = world.scanned("app", &clean());
    let good = framed(&question(&image.name).encode_to_vec());
    let plain = post(&world, CHECK, good).header("grpc-encoding", "identity");
    assert!(plain.send().await.unwrap().headers().get("grpc-status").is_none());
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so_in_the_words_of_http() {
    let world = World::new().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}{CHECK}", world.app.address());
    for answer in [
        client.post(&url).body("{}").send().await.unwrap(),
        client.post(&url).header("content-type", "application/json").send().await.unwrap(),
    ] {
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn t133_the_callers_time_is_obeyed_exactly() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let good = framed(&question(&image.name).encode_to_vec());
    for header in ["-1m", "1x", "", "1.5S", "123456789S"] {
        let status =
            refused(post(&world, CHECK, good.clone()).header("grpc-timeout", header)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{header:?}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "grpc-timeout", "{header:?}");
    }
    for header in ["0S", "0n"] {
        let status =
            refused(post(&world, CHECK, good.clone()).header("grpc-timeout", header)).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{header:?}");
    }
    // No time is no work.
    assert_eq!(world.requests("/it/"), 0);
    for header in ["99999999H", "20S"] {
        let answer = post(&world, CHECK, good.clone()).header("grpc-timeout", header);
        assert!(answer.send().await.unwrap().headers().get("grpc-status").is_none(), "{header}");
    }
}

/// A caller that begins a request and sends no more holds nothing past its time.
#[tokio::test]
async fn a_question_that_does_not_come_ends_with_its_time() {
    let world = World::new().await;
    let (_more, body) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    let body = reqwest::Body::wrap(StreamBody(body));
    let request = post(&world, CHECK, Vec::new()).body(body).header("grpc-timeout", "50m");
    assert_eq!(refused(request).await.code(), Code::DeadlineExceeded);
}

/// A body of what is sent.
struct StreamBody(tokio::sync::mpsc::Receiver<Result<bytes::Bytes, std::io::Error>>);

impl hyper::body::Body for StreamBody {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| data.map(hyper::body::Frame::data)))
    }
}

#[tokio::test]
async fn t137_a_caller_that_goes_away_gives_back_its_place_and_the_search_goes_on() {
    let mut site = Site::new().await;
    site.config.max_in_flight = 1;
    let gate = Gate::before(&mut site).await;
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    gate.hold("/referrers/");
    let mut client = world.client.clone();
    let asked = question(&image.name);
    let asking = tokio::spawn(async move { client.check(asked).await });
    gate.until_one_waits().await;
    world.until_in_flight(1).await;
    asking.abort();
    // There is one place, and it is free again although the search goes on.
    world.until_in_flight(0).await;
    gate.open();
    assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
    assert_eq!(world.requests(&format!("/referrers/{}", image.digest)), 1);
}

#[tokio::test]
async fn a_stream_ends_with_the_callers_time() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    world.registry.fault(Route::Any, Fault::Hang);
    let asked = v1::CheckStreamRequest { id: 1, check: Some(question(&image.name)), timeout: None };
    let questions = tokio_stream::StreamExt::chain(
        tokio_stream::once(asked),
        tokio_stream::pending::<v1::CheckStreamRequest>(),
    );
    let mut request = tonic::Request::new(questions);
    request.set_timeout(Duration::from_millis(50));
    let mut answers = world.client.clone().check_stream(request).await.unwrap().into_inner();
    let end = answers.message().await.unwrap_err();
    assert!(matches!(end.code(), Code::DeadlineExceeded | Code::Cancelled), "{end}");
}

#[tokio::test]
async fn many_questions_in_one_piece_are_each_answered() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    world.decide(&image.name).await;
    let body: Vec<u8> = (1..=1_000)
        .flat_map(|id| {
            let check = Some(question(&image.name));
            framed(&v1::CheckStreamRequest { id, check, timeout: None }.encode_to_vec())
        })
        .collect();
    let answer = post(&world, "/portcullis.v1.DecisionService/CheckStream", body);
    let mut body = answer.send().await.unwrap().bytes().await.unwrap();
    let mut ids = Vec::new();
    while !body.is_empty() {
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let message = body.split_to(5 + length).split_off(5);
        let answer = v1::CheckStreamResponse::decode(message).unwrap();
        let Some(v1::check_stream_response::Result::Check(check)) = answer.result else {
            panic!("{answer:?}");
        };
        assert_eq!(check.action(), Action::Deny);
        ids.push(answer.id);
    }
    // All are known, and so in order.
    assert_eq!(ids, (1..=1_000).collect::<Vec<_>>());
}
