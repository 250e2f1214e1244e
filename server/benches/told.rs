//! How long it takes from an event of a registry to an answer that knows of it, in round trips to the
//! registry.
//!
//! `cargo bench -p portcullis-server --bench told`, and with `-- --json` as one JSON document. A registry
//! on loopback answers each request a round-trip time late; a service in this process remembers of an image
//! that nothing is attached to it, a signed report is pushed, an event is sent, and the service is asked
//! over gRPC until its answer has the report. Connections are open before. Figures are medians.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark has no callers, measures real time, and ends where something is wrong"
)]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::image::Digest;
use portcullis_core::signature::sign::{Format, SigningKey};
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use portcullis_server::hooks::config::{GuardConfig, HooksConfig, SourceConfig};
use portcullis_server::hooks::dialect::Dialect;
use portcullis_server::hooks::scope::Scope;
use portcullis_server::hooks::secret_file::SecretFile;
use portcullis_server::registry::{Budget, HostConfig, RegistryConfig, Scheme};
use portcullis_server::rules::RulesConfig;
use portcullis_server::rules::trust::TrustConfig;
use portcullis_testkit::attach::{attach_report, sign};
use portcullis_testkit::image::image;
use portcullis_testkit::keys::Authority;
use portcullis_testkit::registry::Registry;
use portcullis_testkit::report::TrivyReport;
use serde_json::json;
use time::OffsetDateTime;
use tonic::transport::Channel;

/// Round-trip times to the registry, in milliseconds.
const ROUND_TRIPS: [u64; 3] = [0, 10, 50];
/// How many images one figure is of.
const IMAGES: usize = 21;
const REPOSITORY: &str = "bench/app";
/// How long is waited before the service is asked again.
const REST: Duration = Duration::from_micros(100);

/// What the event is about.
#[derive(Clone, Copy)]
enum About {
    Image,
    Report,
    Signature,
}

impl About {
    const ALL: [(Self, &str); 3] = [
        (Self::Image, "a scan of the image"),
        (Self::Report, "a push of the report"),
        (Self::Signature, "a push of the report's signature"),
    ];
}

struct World {
    registry: Registry,
    key: SigningKey,
    client: DecisionServiceClient<Channel>,
    sender: reqwest::Client,
    now: OffsetDateTime,
    made: usize,
    app: App,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
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
        fs::write(path("secret"), "secret").unwrap();
        let plenty = NonZeroU32::MAX;
        let budget = Budget { requests_per_second: plenty, burst: plenty, ..Budget::default() };
        let host = HostConfig { scheme: Scheme::Http, budget, ..HostConfig::default() };
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: "127.0.0.1:0".parse().unwrap(),
            rules: RulesConfig {
                trust: TrustConfig::Files {
                    policy: path("trustpolicy.json"),
                    store: Some(path("truststore")),
                },
                ..Config::default().rules
            },
            registry: RegistryConfig {
                hosts: BTreeMap::from([(registry.host().to_owned(), host)]),
                ..RegistryConfig::default()
            },
            budget: Duration::from_secs(20),
            hooks: HooksConfig {
                tls: None,
                listen: "127.0.0.1:0".parse().unwrap(),
                sources: BTreeMap::from([(
                    "bench".to_owned(),
                    SourceConfig {
                        dialect: Dialect::Harbor,
                        guard: GuardConfig::Bearer(SecretFile::open(&path("secret")).unwrap()),
                        scope: Scope::default(),
                    },
                )]),
            },
            ..Config::default()
        };
        // What is not told of stays as it is for as long as this runs.
        config.memory.negative_ttl = Duration::from_secs(3_600);
        config.resolve.tag_ttl = Duration::from_secs(3_600);
        let app = App::start(config, Arc::new(SystemClock)).await.unwrap();
        let address = format!("http://{}", app.address());
        let client = DecisionServiceClient::connect(address).await.unwrap();
        let sender = reqwest::Client::new();
        Self { registry, key, client, sender, now, made: 0, app, _folder: folder }
    }

    /// The reports that the service knows of an image.
    async fn reports(&mut self, image: &str) -> usize {
        let container = v1::Container { name: "main".to_owned(), image: image.to_owned() };
        let request = v1::CheckRequest { containers: vec![container], ..Default::default() };
        let answer = self.client.check(request).await.unwrap().into_inner();
        answer.decisions.first().unwrap().evidence.iter().map(|e| e.reports.len()).sum()
    }

    async fn tell(&self, about: Digest, kind: &str) {
        let (host, digest) = (self.registry.host(), about.to_string());
        let event = json!({"type": kind, "event_data": {
            "resources": [{"digest": digest, "resource_url": format!("{host}/{REPOSITORY}@{digest}")}],
            "repository": {"repo_full_name": REPOSITORY},
        }});
        let url = format!("http://{}/v1/events/bench", self.app.hooks_address().unwrap());
        let sent = self.sender.post(url).bearer_auth("secret").body(event.to_string());
        assert_eq!(sent.send().await.unwrap().status(), 202);
    }

    /// How long it takes from an event to an answer that knows of it, and how many requests.
    async fn told(&mut self, about: About, round_trip: u64) -> (Duration, usize) {
        self.made += 1;
        let tag = format!("v{}", self.made);
        let digest = image(&self.registry, REPOSITORY, &tag, &tag).unwrap();
        let name = format!("{}/{REPOSITORY}:{tag}", self.registry.host());
        self.registry.set_latency(Duration::ZERO);
        assert_eq!(self.reports(&name).await, 0);
        let report = TrivyReport::new(self.now - time::Duration::hours(1));
        let report = attach_report(&self.registry, REPOSITORY, digest, &report).unwrap();
        sign(&self.registry, REPOSITORY, report, &self.key, Format::Cose, self.now).unwrap();
        let signature = self.registry.referrers(REPOSITORY, report).first().copied().unwrap();
        self.registry.set_latency(Duration::from_millis(round_trip));
        self.registry.clear_requests();
        let (about, kind) = match about {
            About::Image => (digest, "SCANNING_COMPLETED"),
            About::Report => (report, "PUSH_ARTIFACT"),
            About::Signature => (signature, "PUSH_ARTIFACT"),
        };
        let told = Instant::now();
        self.tell(about, kind).await;
        while self.reports(&name).await == 0 {
            tokio::time::sleep(REST).await;
        }
        (told.elapsed(), self.registry.requests().len())
    }
}

#[tokio::main]
async fn main() {
    let as_json = std::env::args().any(|argument| argument == "--json");
    let mut rows = Vec::new();
    for (about, name) in About::ALL {
        let mut world = World::new().await;
        for _ in 0..3 {
            world.told(about, 0).await;
        }
        let (mut medians, mut requests) = (Vec::new(), 0);
        for round_trip in ROUND_TRIPS {
            let mut took = Vec::new();
            for _ in 0..IMAGES {
                let (time, count) = world.told(about, round_trip).await;
                took.push(time);
                requests = count;
            }
            took.sort();
            medians.push(ms(*took.get(IMAGES / 2).unwrap()));
        }
        rows.push((name, medians, requests));
    }
    if as_json {
        let row = |(name, medians, requests): &(&str, Vec<f64>, usize)| json!({"event": name, "median_ms": medians, "requests": requests});
        let rows: Vec<_> = rows.iter().map(row).collect();
        println!("{:#}", json!({"round_trips_ms": ROUND_TRIPS, "events": rows}));
        return;
    }
    println!("| event | at 0 ms | at 10 ms | at 50 ms | rounds | beside them | requests |");
    println!("|---|---|---|---|---|---|---|");
    for (name, medians, requests) in rows {
        let cells: Vec<_> = medians.iter().map(|m| format!("{m:.1} ms")).collect();
        let (rounds, beside) = rounds(&medians);
        println!("| {name} | {} | {rounds} | {beside:.1} ms | {requests} |", cells.join(" | "));
    }
}

/// How many round trips one after the other the longest time has room for, and what it has beside them.
fn rounds(medians: &[f64]) -> (f64, f64) {
    let (trip, longest) = (*ROUND_TRIPS.last().unwrap() as f64, *medians.last().unwrap());
    let rounds = (longest / trip).floor();
    (rounds, longest - rounds * trip)
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}
