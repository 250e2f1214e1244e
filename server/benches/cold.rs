//! What a question costs that finds nothing in memory, in round trips to the registry.
//!
//! `cargo bench -p portcullis-server --bench cold`, and with `-- --json` as one JSON document. A registry
//! on loopback answers each request a round-trip time late; a service in this process is asked over gRPC
//! about images that it has never seen, one after the other. Connections are open before. Figures are
//! medians; docs/performance.md says how to read them.
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

use portcullis_core::findings::Severity;
use portcullis_core::image::Digest;
use portcullis_core::signature::sign::{Format, SigningKey};
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use portcullis_server::registry::{Budget, HostConfig, RegistryConfig, Scheme};
use portcullis_server::rules::RulesConfig;
use portcullis_server::rules::trust::TrustConfig;
use portcullis_testkit::attach::{attach_report, sign};
use portcullis_testkit::image::{image, index, platform_image};
use portcullis_testkit::keys::Authority;
use portcullis_testkit::registry::{Referrers, Registry};
use portcullis_testkit::report::TrivyReport;
use time::OffsetDateTime;
use tonic::transport::Channel;

/// Round-trip times to the registry, in milliseconds.
const ROUND_TRIPS: [u64; 3] = [0, 10, 50];
/// How many images are asked about for one figure.
const IMAGES: usize = 21;
const REPOSITORY: &str = "bench/app";

/// What is asked about.
#[derive(Clone, Copy)]
enum Scenario {
    /// An image of one platform, by its tag.
    Tag,
    /// The same by its digest.
    Digest,
    /// An index of two platforms, each with a report, by its tag.
    Index,
    /// By tag, with reports of four scanners.
    FourReports,
    /// By tag, where the registry has no referrers API.
    Fallback,
}

impl Scenario {
    const ALL: [(Self, &str); 5] = [
        (Self::Tag, "by tag"),
        (Self::Digest, "by digest"),
        (Self::Index, "index of two platforms, by tag"),
        (Self::FourReports, "four reports, by tag"),
        (Self::Fallback, "no referrers API, by tag"),
    ];
}

struct World {
    registry: Registry,
    key: SigningKey,
    client: DecisionServiceClient<Channel>,
    now: OffsetDateTime,
    made: usize,
    _app: App,
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
        // One question after another asks more of the registry than a service should.
        let plenty = NonZeroU32::MAX;
        let budget = Budget { requests_per_second: plenty, burst: plenty, ..Budget::default() };
        let host = HostConfig { scheme: Scheme::Http, budget, ..HostConfig::default() };
        let config = Config {
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
            ..Config::default()
        };
        let app = App::start(config, Arc::new(SystemClock)).await.unwrap();
        let address = format!("http://{}", app.address());
        let client = DecisionServiceClient::connect(address).await.unwrap();
        Self { registry, key, client, now, made: 0, _app: app, _folder: folder }
    }

    /// Pushes an image that nobody has asked about, and gives its reference.
    fn image(&mut self, scenario: Scenario) -> String {
        self.made += 1;
        let (registry, tag) = (&self.registry, format!("v{}", self.made));
        let digest = match scenario {
            Scenario::Index => {
                let platform = |name: &str| {
                    let (platform, seed) = (name.parse().unwrap(), format!("{tag} {name}"));
                    let pushed = platform_image(registry, REPOSITORY, "", &platform, &seed);
                    (platform, pushed.unwrap())
                };
                let platforms = [platform("linux/amd64"), platform("linux/arm64")];
                platforms.iter().for_each(|(_, digest)| self.report(*digest, "one"));
                index(registry, REPOSITORY, &tag, &platforms).unwrap()
            }
            _ => image(registry, REPOSITORY, &tag, &tag).unwrap(),
        };
        let packages: &[&str] = match scenario {
            Scenario::Index => &[],
            Scenario::FourReports => &["one", "two", "three", "four"],
            Scenario::Tag | Scenario::Fallback | Scenario::Digest => &["one"],
        };
        packages.iter().for_each(|package| self.report(digest, package));
        let host = registry.host();
        match scenario {
            Scenario::Digest => format!("{host}/{REPOSITORY}@{digest}"),
            _ => format!("{host}/{REPOSITORY}:{tag}"),
        }
    }

    /// Attaches a signed report with one finding in `package`: two such reports are unlike.
    fn report(&self, subject: Digest, package: &str) {
        let report = TrivyReport::new(self.now - time::Duration::hours(1)).finding(
            "CVE-2022-37434",
            Severity::Low,
            package,
            "1.2.11",
            "1.2.12",
        );
        let report = attach_report(&self.registry, REPOSITORY, subject, &report).unwrap();
        sign(&self.registry, REPOSITORY, report, &self.key, Format::Cose, self.now).unwrap();
    }

    /// How long one answer took, which must be from verified evidence of the registry.
    async fn ask(&mut self, image: String) -> Duration {
        let container = v1::Container { name: "main".to_owned(), image };
        let request = v1::CheckRequest { containers: vec![container], ..Default::default() };
        let asked = Instant::now();
        let answer = self.client.check(request).await.unwrap().into_inner();
        let took = asked.elapsed();
        let decision = answer.decisions.first().unwrap();
        let verified = |e: &v1::Evidence| e.status() == v1::EvidenceStatus::Verified;
        let reports: usize = decision.evidence.iter().map(|e| e.reports.len()).sum();
        assert!(decision.evidence.iter().any(verified) && reports > 0, "{decision:?}");
        took
    }

    async fn median(&mut self, scenario: Scenario, round_trip: u64) -> Duration {
        self.registry.set_latency(Duration::ZERO);
        let images: Vec<_> = (0..IMAGES).map(|_| self.image(scenario)).collect();
        self.registry.set_latency(Duration::from_millis(round_trip));
        let mut took = Vec::new();
        for image in images {
            took.push(self.ask(image).await);
        }
        took.sort();
        *took.get(IMAGES / 2).unwrap()
    }
}

#[tokio::main]
async fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut rows = Vec::new();
    for (scenario, name) in Scenario::ALL {
        let mut world = World::new().await;
        if matches!(scenario, Scenario::Fallback) {
            world.registry.set_referrers(Referrers::Absent);
        }
        // Opens the connections, and shows what the registry can do.
        for _ in 0..3 {
            let image = world.image(scenario);
            world.ask(image).await;
        }
        world.registry.clear_requests();
        let mut medians = Vec::new();
        for round_trip in ROUND_TRIPS {
            medians.push(world.median(scenario, round_trip).await);
        }
        let requests = world.registry.requests().len() / (IMAGES * ROUND_TRIPS.len());
        rows.push((name, medians, requests));
    }
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, medians, requests)| as_json(name, medians, *requests))
            .collect();
        println!("{:#}", serde_json::json!({"round_trips_ms": ROUND_TRIPS, "scenarios": rows}));
        return;
    }
    println!(
        "| image | at 0 ms | at 10 ms | at 50 ms | round trips at 10 ms | at 50 ms | requests |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, medians, requests) in rows {
        let cells: Vec<_> = medians.iter().map(|m| format!("{:.1} ms", ms(*m))).collect();
        let trips: Vec<_> = trips(&medians).iter().map(|trips| format!("{trips:.2}")).collect();
        println!("| {name} | {} | {} | {requests} |", cells.join(" | "), trips.join(" | "));
    }
}

fn as_json(name: &str, medians: &[Duration], requests: usize) -> serde_json::Value {
    let medians_ms: Vec<_> = medians.iter().map(|median| ms(*median)).collect();
    serde_json::json!({
        "image": name, "median_ms": medians_ms, "latency_by_round_trip": trips(medians),
        "requests": requests,
    })
}

/// The whole latency divided by the round-trip time, where there is one.
fn trips(medians: &[Duration]) -> Vec<f64> {
    let timed = ROUND_TRIPS.iter().zip(medians).filter(|(round_trip, _)| **round_trip > 0);
    timed.map(|(round_trip, median)| ms(*median) / *round_trip as f64).collect()
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}
