//! A replica that does what it is told.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_client::{Client, Config, NearCacheConfig};
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_server::{DecisionService, DecisionServiceServer};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::server::HealthReporter;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::network::{Line, Net};

/// How often a replica that has nothing to say says so, as the service does.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How many streams a connection may have, as the service has it.
pub(crate) const MAX_STREAMS: u32 = 128;

/// What a replica does with a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Answer,
    /// Answers after so long.
    After(Duration),
    Hang,
    Unavailable,
    Busy(Duration),
    Invalid,
}

pub(crate) struct State {
    pub(crate) act: Mutex<Act>,
    pub(crate) answer: Mutex<v1::CheckResponse>,
    pub(crate) asked: AtomicUsize,
    /// The last `grpc-timeout`.
    pub(crate) timeout: Mutex<Option<String>>,
    /// The last `traceparent`.
    pub(crate) trace: Mutex<Option<String>>,
    /// Whether `Watch` says anything.
    pub(crate) speaks: watch::Sender<bool>,
    /// Ends the calls to `Watch`.
    pub(crate) hang_up: Notify,
    told: Mutex<Vec<v1::WatchResponse>>,
    news: Notify,
    epoch: AtomicU64,
}

/// A replica on a network.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    pub(crate) health: HealthReporter,
    net: Net,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// The replica number `number`, which serves.
    pub(crate) async fn start(net: &Net, number: u8) -> Self {
        let state = Arc::new(State {
            act: Mutex::new(Act::Answer),
            answer: Mutex::new(answer(number)),
            asked: AtomicUsize::new(0),
            timeout: Mutex::new(None),
            trace: Mutex::new(None),
            speaks: watch::Sender::new(true),
            hang_up: Notify::new(),
            told: Mutex::new(Vec::new()),
            news: Notify::new(),
            epoch: AtomicU64::new(1),
        });
        let address = SocketAddr::from(([10, 0, 0, number], 7443));
        let (health, service) = tonic_health::server::health_reporter();
        health.set_serving::<DecisionServiceServer<Told>>().await;
        let decisions = DecisionServiceServer::new(Told(Arc::clone(&state)));
        let accepted = ReceiverStream::new(net.host(address)).map(Ok::<_, std::io::Error>);
        // As many streams on a connection as the service has.
        let mut server = Server::builder().max_concurrent_streams(MAX_STREAMS);
        let server = server.add_service(service).add_service(decisions);
        let task = tokio::spawn(async move {
            server.serve_with_incoming(accepted).await.unwrap();
        });
        Self { address, state, health, net: net.clone(), task }
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn act(&self, act: Act) {
        *self.state.act.lock() = act;
    }

    pub(crate) fn line(&self, line: Line) {
        self.net.set(self.address, line);
    }

    pub(crate) async fn drain(&self) {
        self.health.set_not_serving::<DecisionServiceServer<Told>>().await;
        self.act(Act::Unavailable);
    }

    /// Says that something else is known of these digests.
    pub(crate) fn tell(&self, digests: &[[u8; 32]]) {
        let digests = digests.iter().map(|digest| digest.to_vec()).collect();
        self.push(v1::WatchResponse { digests, ..v1::WatchResponse::default() });
    }

    /// Decides by another policy from now on, and says so.
    pub(crate) fn policy(&self, revision: &str) {
        self.state.answer.lock().policy_revision = revision.to_owned();
        self.push(v1::WatchResponse { resync: true, ..v1::WatchResponse::default() });
    }

    /// Forgets what it said, as another process would.
    pub(crate) fn restart(&self) {
        self.state.told.lock().clear();
        self.state.epoch.fetch_add(1, Ordering::SeqCst);
    }

    fn push(&self, message: v1::WatchResponse) {
        self.state.told.lock().push(message);
        self.state.news.notify_waiters();
    }
}

/// What replica `number` says of an image; it holds for a minute.
pub(crate) fn answer(number: u8) -> v1::CheckResponse {
    let decision =
        v1::Decision { digest: named([1; 32]), message: number.to_string(), ..Default::default() };
    v1::CheckResponse {
        action: v1::Action::Allow.into(),
        decisions: vec![decision],
        policy_revision: "r1".to_owned(),
        evaluated_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        max_age: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        vary: vec!["namespace".to_owned()],
        ..v1::CheckResponse::default()
    }
}

pub(crate) fn named(digest: [u8; 32]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub(crate) fn question(namespace: &str) -> v1::CheckRequest {
    let context = v1::Context { namespace: namespace.to_owned(), ..v1::Context::default() };
    let container = v1::Container { name: "main".to_owned(), image: "app:v1".to_owned() };
    v1::CheckRequest {
        context: Some(context),
        containers: vec![container],
        ..v1::CheckRequest::default()
    }
}

/// A network with `count` replicas under one name, and a client of them that keeps nothing.
pub(crate) async fn replicas(count: u8) -> (Net, Vec<Fake>, Client) {
    let (net, fakes) = hosts(count).await;
    let client = Client::start(&config(&net)).unwrap();
    until_ready(&client, usize::from(count)).await;
    (net, fakes, client)
}

/// The same with a near cache.
pub(crate) async fn near(count: u8) -> (Net, Vec<Fake>, Client) {
    let (net, fakes) = hosts(count).await;
    let near_cache = Some(NearCacheConfig::default());
    let client = Client::start(&Config { near_cache, ..config(&net) }).unwrap();
    until_ready(&client, usize::from(count)).await;
    // Its first words are heard.
    tokio::time::sleep(Duration::from_millis(10)).await;
    (net, fakes, client)
}

async fn hosts(count: u8) -> (Net, Vec<Fake>) {
    let (net, mut fakes) = (Net::default(), Vec::new());
    for number in 0..count {
        fakes.push(Fake::start(&net, number).await);
    }
    net.name(fakes.iter().map(|fake| fake.address));
    (net, fakes)
}

pub(crate) fn config(net: &Net) -> Config {
    Config { network: Arc::new(net.clone()), ..Config::new(["http://portcullis:7443"]) }
}

/// Waits, in paused time, until so many replicas are asked.
pub(crate) async fn until_ready(client: &Client, count: usize) {
    for _ in 0..100_000 {
        let stats = client.stats();
        let ready =
            stats.replicas.iter().filter(|r| r.standing == portcullis_client::Standing::Ready);
        if ready.count() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not {count} are ready: {:?}", client.stats());
}

pub(crate) struct Told(Arc<State>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl DecisionService for Told {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout");
        *self.0.timeout.lock() = timeout.map(|value| value.to_str().unwrap().to_owned());
        let trace = request.metadata().get("traceparent");
        *self.0.trace.lock() = trace.map(|value| value.to_str().unwrap().to_owned());
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let act = self.0.act.lock().clone();
        match act {
            Act::Answer => {}
            Act::After(span) => tokio::time::sleep(span).await,
            Act::Hang => std::future::pending().await,
            Act::Unavailable => return Err(Status::unavailable("draining")),
            Act::Invalid => return Err(Status::invalid_argument("no")),
            Act::Busy(span) => {
                let details = ErrorDetails::with_retry_info(Some(span));
                let code = tonic::Code::ResourceExhausted;
                return Err(Status::with_error_details(code, "full", details));
            }
        }
        Ok(Response::new(self.0.answer.lock().clone()))
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
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        if *self.0.act.lock() == Act::Unavailable {
            return Err(Status::unavailable("draining"));
        }
        Ok(Response::new(v1::BulkCheckResponse { pending: 7, ..Default::default() }))
    }

    async fn report_answered(
        &self,
        _: Request<v1::ReportAnsweredRequest>,
    ) -> Result<Response<v1::ReportAnsweredResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type WatchStream = ReceiverStream<Result<v1::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let state = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::select! {
                () = tell(Arc::clone(&state), request.into_inner().from, sender) => {}
                () = state.hang_up.notified() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Speaks as the service does, unless it is told to be silent.
async fn tell(
    state: Arc<State>,
    from: Vec<u8>,
    sender: mpsc::Sender<Result<v1::WatchResponse, Status>>,
) {
    let mut speaks = state.speaks.subscribe();
    let position = |at: usize| {
        let epoch = state.epoch.load(Ordering::SeqCst);
        [epoch.to_be_bytes(), (at as u64).to_be_bytes()].concat()
    };
    let length = || state.told.lock().len();
    let known = (0..=length()).find(|at| position(*at) == from);
    let (mut at, mut resync) = (known.unwrap_or_else(length), known.is_none());
    loop {
        let news = state.news.notified();
        let next = state.told.lock().get(at).cloned().filter(|_| !resync);
        at += usize::from(next.is_some());
        let message = v1::WatchResponse {
            position: position(at),
            policy_revision: state.answer.lock().policy_revision.clone(),
            ..next.unwrap_or_default()
        };
        let message = v1::WatchResponse { resync: resync || message.resync, ..message };
        resync = false;
        if speaks.wait_for(|speaks| *speaks).await.is_err()
            || sender.send(Ok(message)).await.is_err()
        {
            return;
        }
        if at == length()
            && tokio::time::timeout(HEARTBEAT, news).await.is_err()
            && sender.is_closed()
        {
            return;
        }
    }
}
