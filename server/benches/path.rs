//! What an answer from memory costs, in instructions and allocations, beside a bare echo of tonic.
//!
//! Not for a clock: `.ci/instructions` runs it under valgrind with two counts of calls, and the difference
//! is the cost of one, which repeats exactly. `run KIND CALLS [RULES]` serves in this process, on one thread, by
//! the default rule or those files, and makes the calls from another; a KIND is one of [`KINDS`]. One `check-stream` is one message, one
//! `bulk-check` a call about [`BULK`] digests.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no callers, and ends where something is wrong"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_core::findings::Severity;
use portcullis_core::image::Digest;
use portcullis_core::signature::sign::{Format, SigningKey};
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use portcullis_server::events::spool::SpoolConfig;
use portcullis_server::listen::ListenConfig;
use portcullis_server::registry::{HostConfig, RegistryConfig, Scheme};
use portcullis_server::rules::RulesConfig;
use portcullis_server::rules::trust::TrustConfig;
use portcullis_testkit::attach::{attach_report, sign};
use portcullis_testkit::image::image;
use portcullis_testkit::keys::Authority;
use portcullis_testkit::registry::Registry;
use portcullis_testkit::report::TrivyReport;
use prost::Message as _;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::transport::{Channel, Server};
use tonic_prost::ProstCodec;

const KINDS: [&str; 4] = ["echo", "check", "check-stream", "bulk-check"];
/// How many images there are.
const IMAGES: usize = 16;
/// How many digests a question about many has.
const BULK: usize = 256;
/// How many findings each has.
const FINDINGS: usize = 100;
/// Questions of a stream that are under way.
const IN_FLIGHT: usize = 64;
const REPOSITORY: &str = "bench/app";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A question of the echo: as many bytes as a `CheckRequest`, in six texts.
#[derive(Clone, PartialEq, prost::Message)]
struct Ask {
    #[prost(string, repeated, tag = "1")]
    texts: Vec<String>,
}

/// Its answer: as many bytes as a `CheckResponse`, in three texts.
#[derive(Clone, PartialEq, prost::Message)]
struct Told {
    #[prost(string, repeated, tag = "1")]
    texts: Vec<String>,
}

fn texts(count: usize, bytes: usize) -> Vec<String> {
    vec!["x".repeat(bytes / count); count]
}

/// A service as tonic's generated code has it.
#[derive(Clone)]
struct Echo {
    told: usize,
}

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl tonic::server::UnaryService<Ask> for Echo {
    type Response = Told;
    type Future = tonic::codegen::BoxFuture<tonic::Response<Told>, tonic::Status>;

    fn call(&mut self, _: tonic::Request<Ask>) -> Self::Future {
        let told = Told { texts: texts(3, self.told) };
        Box::pin(async move { Ok(tonic::Response::new(told)) })
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Told, Ask>::default());
            Ok(grpc.unary(echo, request).await)
        })
    }
}

/// What is asked about, as a child process reads it from its arguments.
struct Asked {
    host: String,
    digests: Vec<Digest>,
}

impl Asked {
    fn check(&self, number: usize) -> v1::CheckRequest {
        let digest = self.digests.get(number % self.digests.len()).unwrap();
        let image = format!("{}/{REPOSITORY}@{digest}", self.host);
        v1::CheckRequest {
            context: Some(context()),
            containers: vec![v1::Container { name: "main".to_owned(), image }],
            purpose: v1::Purpose::Admission.into(),
            explain: false,
        }
    }

    fn bulk(&self) -> v1::BulkCheckRequest {
        let digests = self.digests.iter().cycle().take(BULK);
        let digests = digests.flat_map(|digest| *digest.as_bytes()).collect();
        let repository = format!("{}/{REPOSITORY}", self.host);
        let images = vec![v1::BulkImages { repository, digests }];
        v1::BulkCheckRequest { context: Some(context()), container: "main".to_owned(), images }
    }
}

fn context() -> v1::Context {
    let owned = str::to_owned;
    v1::Context {
        cluster: owned("prod-eu-1"),
        cloud: Some(v1::Cloud {
            provider: owned("azure"),
            account: owned("7f0b3c1e-0000-4000-8000-000000000000"),
            region: owned("westeurope"),
        }),
        namespace: owned("payments"),
        workload: Some(v1::Workload { kind: owned("Deployment"), name: owned("api") }),
        pod: owned("api-6d4cf56db6-x2x7k"),
        service_account: owned("api"),
        ..v1::Context::default()
    }
}

/// The service on one thread, over images that it knows, with its events written.
struct World {
    app: App,
    asked: Asked,
    _registry: Registry,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(rules: &[&str]) -> Self {
        let now = OffsetDateTime::now_utc();
        let registry = Registry::start().await.unwrap();
        let authority = Authority::new("bench", now).unwrap();
        let key = authority.issue("scanner").unwrap().signing_key().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file);
        let store = path("truststore/x509/ca/bench");
        fs::create_dir_all(&store).unwrap();
        fs::write(store.join("root.pem"), authority.root_pem()).unwrap();
        let policy = authority.trust_policy_json("*", "bench").unwrap();
        fs::write(path("trustpolicy.json"), policy).unwrap();
        let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: "127.0.0.1:0".parse().unwrap(),
            spool: SpoolConfig { folder: Some(path("spool")), ..SpoolConfig::default() },
            serving: ListenConfig { workers: NonZeroUsize::MIN, ..ListenConfig::default() },
            rules: RulesConfig {
                rules: rules.iter().map(Into::into).collect(),
                trust: TrustConfig::Files {
                    policy: path("trustpolicy.json"),
                    store: Some(path("truststore")),
                },
                interval: DAY,
                ..Config::default().rules
            },
            registry: RegistryConfig {
                hosts: BTreeMap::from([(registry.host().to_owned(), host)]),
                ..RegistryConfig::default()
            },
            budget: Duration::from_secs(20),
            ..Config::default()
        };
        config.memory.ttl = DAY;
        config.resolve.access_ttl = DAY;
        let digests = (0..IMAGES).map(|n| scanned(&registry, &key, n, now)).collect();
        let asked = Asked { host: registry.host().to_owned(), digests };
        let app = App::start(config, Arc::new(SystemClock)).await.unwrap();
        Self { app, asked, _registry: registry, _folder: folder }
    }
}

/// Pushes an image with a report whose findings no rule minds.
fn scanned(registry: &Registry, key: &SigningKey, number: usize, now: OffsetDateTime) -> Digest {
    let tag = format!("v{number}");
    let digest = image(registry, REPOSITORY, &tag, &tag).unwrap();
    let mut report = TrivyReport::new(now - time::Duration::hours(1));
    for finding in 0..FINDINGS {
        let (id, package) = (format!("CVE-2024-{finding}"), format!("package-{number}-{finding}"));
        report = report.finding(&id, Severity::Low, &package, "1.2.11", "1.2.12");
    }
    let report = attach_report(registry, REPOSITORY, digest, &report).unwrap();
    sign(registry, REPOSITORY, report, key, Format::Cose, now).unwrap();
    digest
}

/// Serves, and has a child process make the calls.
async fn run(kind: &str, calls: &str, rules: &[&str]) {
    let world = World::new(rules).await;
    let (question, answer) = warm(&world).await;
    let address = if kind == "echo" {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = Server::builder().add_service(Echo { told: answer });
        tokio::spawn(serving.serve_with_incoming(incoming));
        address
    } else {
        world.app.address()
    };
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["drive", kind, calls, &address.to_string(), &question.to_string()]);
    child.arg(&world.asked.host).args(world.asked.digests.iter().map(ToString::to_string));
    let ended = tokio::task::spawn_blocking(move || child.status().unwrap()).await.unwrap();
    assert!(ended.success(), "{ended}");
    // All reports are written into the record once, and belong to no call: however few there were, they are now.
    world.app.stop().await;
}

/// Asks once about each image, and gives the bytes of a question and its answer.
async fn warm(world: &World) -> (usize, usize) {
    let mut client = client(world.app.address()).await;
    let mut bytes = (0, 0);
    for number in 0..IMAGES {
        let question = world.asked.check(number);
        let answer = client.check(question.clone()).await.unwrap().into_inner();
        assert_eq!(answer.action(), v1::Action::Allow, "{answer:?}");
        bytes = (question.encoded_len(), answer.encoded_len());
    }
    bytes
}

async fn client(address: SocketAddr) -> DecisionServiceClient<Channel> {
    DecisionServiceClient::connect(format!("http://{address}")).await.unwrap()
}

/// Makes the calls, one after the other; those of a stream beside each other.
async fn drive(kind: &str, calls: usize, address: SocketAddr, question: usize, asked: Asked) {
    let mut client = client(address).await;
    match kind {
        "echo" => {
            let channel = Channel::from_shared(format!("http://{address}")).unwrap();
            let mut grpc = tonic::client::Grpc::new(channel.connect().await.unwrap());
            for _ in 0..calls {
                grpc.ready().await.unwrap();
                let ask = tonic::Request::new(Ask { texts: texts(6, question) });
                let path = http::uri::PathAndQuery::from_static("/bench.Echo/Echo");
                let codec = ProstCodec::<Ask, Told>::default();
                let _: tonic::Response<Told> = grpc.unary(ask, path, codec).await.unwrap();
            }
        }
        "check" => {
            for number in 0..calls {
                let answer = client.check(asked.check(number)).await.unwrap().into_inner();
                assert_eq!(answer.action(), v1::Action::Allow);
            }
        }
        "check-stream" => stream(&mut client, calls, asked).await,
        _ => {
            for _ in 0..calls {
                let answer = client.bulk_check(asked.bulk()).await.unwrap().into_inner();
                assert_eq!((answer.actions.len(), answer.pending), (BULK, 0));
            }
        }
    }
}

async fn stream(client: &mut DecisionServiceClient<Channel>, calls: usize, asked: Asked) {
    let (ask, questions) = tokio::sync::mpsc::channel(IN_FLIGHT);
    let questions = tokio_stream::wrappers::ReceiverStream::new(questions);
    let mut answers = client.check_stream(questions).await.unwrap().into_inner();
    let mut next = 0;
    let mut question = || {
        next += 1;
        let check = Some(asked.check(next));
        v1::CheckStreamRequest { id: next as u64, check, timeout: None }
    };
    for _ in 0..IN_FLIGHT.min(calls) {
        ask.send(question()).await.unwrap();
    }
    for answered in 0..calls {
        let answer = answers.next().await.unwrap().unwrap();
        assert!(matches!(answer.result, Some(v1::check_stream_response::Result::Check(_))));
        if answered + IN_FLIGHT < calls {
            ask.send(question()).await.unwrap();
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match words.as_slice() {
        ["run", kind, calls, rules @ ..] if KINDS.contains(kind) => {
            runtime.block_on(run(kind, calls, rules));
        }
        ["drive", kind, calls, address, question, host, digests @ ..] => {
            let digests = digests.iter().map(|digest| digest.parse().unwrap()).collect();
            let asked = Asked { host: (*host).to_owned(), digests };
            let (calls, address) = (calls.parse().unwrap(), address.parse().unwrap());
            runtime.block_on(drive(kind, calls, address, question.parse().unwrap(), asked));
        }
        _ => println!("this is for valgrind: see `.ci/instructions`"),
    }
}
