//! A decision service that does what it is told, on a port of its own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_server::{DecisionService, DecisionServiceServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What every image has for a digest.
pub(crate) const DIGEST: &str =
    "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// What it does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Denies images that are called `bad`, and says for a minute so.
    Answer,
    Hang,
    Refuse,
    /// Says that whoever asks may not.
    Forbid,
}

pub(crate) struct State {
    pub(crate) act: Mutex<Act>,
    pub(crate) asked: Mutex<Vec<v1::CheckRequest>>,
    /// The `traceparent` of each question.
    pub(crate) traces: Mutex<Vec<Option<String>>>,
    pub(crate) told: Mutex<Vec<v1::Answered>>,
    /// How many calls with reports there were.
    pub(crate) calls: Mutex<usize>,
}

/// It ends when it is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    task: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(State {
            act: Mutex::new(Act::Answer),
            asked: Mutex::default(),
            traces: Mutex::default(),
            told: Mutex::default(),
            calls: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = DecisionServiceServer::new(Told(Arc::clone(&state)));
        let incoming = TcpListenerStream::new(listener);
        let server = Server::builder().add_service(service).serve_with_incoming(incoming);
        let task = tokio::spawn(async move { server.await.unwrap() });
        Self { address, state, task }
    }

    pub(crate) fn act(&self, act: Act) {
        *self.state.act.lock() = act;
    }

    /// What was reported: by what each answer was given, and its image.
    pub(crate) fn told(&self) -> Vec<(v1::AnsweredBy, String)> {
        let told = self.state.told.lock();
        let of = |one: &v1::Answered| (one.answered_by(), one.containers[0].image.clone());
        told.iter().map(of).collect()
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.asked.lock().len()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Told(Arc<State>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl DecisionService for Told {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let trace = request.metadata().get("traceparent");
        self.0.traces.lock().push(trace.map(|trace| trace.to_str().unwrap().to_owned()));
        let request = request.into_inner();
        self.0.asked.lock().push(request.clone());
        let act = *self.0.act.lock();
        match act {
            Act::Answer => Ok(Response::new(answer(&request))),
            Act::Hang => std::future::pending().await,
            Act::Forbid => Err(Status::permission_denied("your certificate speaks for `prod`")),
            Act::Refuse => {
                let text = "`image` is no reference";
                let details = ErrorDetails::with_bad_request_violation("containers[0].image", text);
                Err(Status::with_error_details(Code::InvalidArgument, text, details))
            }
        }
    }

    type CheckStreamStream = Answers<v1::CheckStreamResponse>;

    async fn check_stream(
        &self,
        _: Request<Streaming<v1::CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn bulk_check(
        &self,
        _: Request<v1::BulkCheckRequest>,
    ) -> Result<Response<v1::BulkCheckResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn report_answered(
        &self,
        request: Request<v1::ReportAnsweredRequest>,
    ) -> Result<Response<v1::ReportAnsweredResponse>, Status> {
        let act = *self.0.act.lock();
        *self.0.calls.lock() += 1;
        let answered = request.into_inner().answered;
        match act {
            Act::Answer => {
                self.0.told.lock().extend(answered);
                Ok(Response::new(v1::ReportAnsweredResponse {}))
            }
            Act::Hang => std::future::pending().await,
            Act::Forbid => Err(Status::permission_denied("your certificate speaks for `prod`")),
            // One of them.
            Act::Refuse if answered.iter().any(|one| one.containers[0].image.contains("odd")) => {
                Err(Status::invalid_argument("`answered` is malformed"))
            }
            Act::Refuse => {
                self.0.told.lock().extend(answered);
                Ok(Response::new(v1::ReportAnsweredResponse {}))
            }
        }
    }

    type WatchStream = ReceiverStream<Result<v1::WatchResponse, Status>>;

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let message = |resync| v1::WatchResponse {
                position: vec![7; 16],
                policy_revision: "r1".to_owned(),
                resync,
                ..v1::WatchResponse::default()
            };
            let mut resync = true;
            while sender.send(Ok(message(resync))).await.is_ok() {
                resync = false;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn answer(request: &v1::CheckRequest) -> v1::CheckResponse {
    let decisions: Vec<_> = request
        .containers
        .iter()
        .map(|container| {
            let is_bad = container.image.contains("bad");
            let action = if is_bad { v1::Action::Deny } else { v1::Action::Allow };
            v1::Decision {
                container: container.name.clone(),
                image: container.image.clone(),
                digest: DIGEST.to_owned(),
                action: action.into(),
                rule: if is_bad { "good-only".to_owned() } else { String::new() },
                message: if is_bad { "it is bad".to_owned() } else { String::new() },
                ..v1::Decision::default()
            }
        })
        .collect();
    let worst = decisions.iter().map(v1::Decision::action).max().unwrap();
    v1::CheckResponse {
        action: worst.into(),
        decisions,
        policy_revision: "r1".to_owned(),
        evaluated_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        max_age: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        vary: vec!["namespace".to_owned(), "image".to_owned()],
        advice: request.purpose() == v1::Purpose::Advice,
        changes_at: None,
    }
}
