//! A registry, an authority and a clock in, a running service and what to ask it out.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{AsyncFnMut, Deref};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::findings::Severity;
use portcullis_core::image::Digest;
use portcullis_core::signature::sign::{Format, SigningKey};
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_server::app::App;
use portcullis_server::config::Config;
use portcullis_server::evidence::memory::MemoryConfig;
use portcullis_server::registry::{HostConfig, Patience, RegistryConfig, Scheme};
use portcullis_server::rules::RulesConfig;
use portcullis_server::rules::trust::TrustConfig;
use portcullis_testkit::attach::{attach_report, sign};
use portcullis_testkit::clock::TestClock;
use portcullis_testkit::image::image;
use portcullis_testkit::keys::Authority;
use portcullis_testkit::registry::Registry;
use portcullis_testkit::report::TrivyReport;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub(crate) use portcullis_proto::v1::EvidenceStatus::{
    Missing, Rejected, Unavailable, Verified, Withheld,
};
pub(crate) use portcullis_proto::v1::{Action, EvidenceSource, EvidenceStatus};

/// Where the clock stands at the beginning.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);
/// When all images were scanned and the reports signed.
pub(crate) const SCANNED: OffsetDateTime = datetime!(2026-08-01 11:00 UTC);
const STORE: &str = "it";
/// How often [`eventually`] looks, and how long it rests in between: ten seconds at the most.
const LOOKS: usize = 2_000;
const REST: Duration = Duration::from_millis(5);

/// The rule of most tests: it denies whatever is not known to be good.
pub(crate) const DENY: &str = "\
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - name: good-only
      action: deny
      maxAllowed: {critical: 0, high: 0}
      blockUnscannedImages: true
      onUnavailable: deny
";

/// All that the service stands on, before it is started.
pub(crate) struct Site {
    pub(crate) registry: Registry,
    pub(crate) authority: Authority,
    pub(crate) key: SigningKey,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
}

/// An image in the registry, as [`Site::image`] and [`Site::scanned`] push it.
pub(crate) struct Image {
    /// Its reference by tag.
    pub(crate) name: String,
    pub(crate) repository: String,
    pub(crate) digest: Digest,
}

impl Image {
    /// Its reference by digest.
    pub(crate) fn pinned(&self) -> String {
        format!("{}@{}", self.name.strip_suffix(":v1").unwrap(), self.digest)
    }
}

impl Site {
    /// A registry that is listed, [`DENY`] as the rules, and trust in the authority.
    pub(crate) async fn new() -> Self {
        let registry = Registry::start().await.unwrap();
        let authority = Authority::new("it", NOW).unwrap();
        let key = authority.issue("scanner").unwrap().signing_key().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: "127.0.0.1:0".parse().unwrap(),
            rules: RulesConfig {
                rules: vec![folder.path().join("rules.yaml")],
                trust: TrustConfig::Files {
                    policy: folder.path().join("trustpolicy.json"),
                    store: Some(folder.path().join("truststore")),
                },
                interval: Duration::from_millis(10),
                ..RulesConfig::default()
            },
            registry: RegistryConfig {
                hosts: BTreeMap::from([(registry.host().to_owned(), host)]),
                patience: Patience { backoff: Duration::from_millis(1), ..Patience::default() },
                ..RegistryConfig::default()
            },
            // Lives that no chance makes shorter.
            memory: MemoryConfig { soft: 100, spread: 0, ..MemoryConfig::default() },
            // The machine of the tests may be slow.
            budget: Duration::from_secs(20),
            ..Config::default()
        };
        let site =
            Self { registry, authority, key, clock: Arc::new(TestClock::new(NOW)), folder, config };
        site.write_rules(DENY);
        site.write_trust(&site.authority);
        site
    }

    pub(crate) async fn start(self) -> World {
        let app = App::start(self.config.clone(), self.clock.clone()).await.unwrap();
        let channel = Endpoint::from_shared(format!("http://{}", app.address())).unwrap();
        let channel = channel.connect().await.unwrap();
        let admin = format!("http://{}", app.admin_address());
        World {
            site: self,
            client: DecisionServiceClient::new(channel.clone()),
            channel,
            app,
            admin,
        }
    }

    /// Replaces the rules in one step, as the kubelet does: nobody reads half a file.
    pub(crate) fn write_rules(&self, text: &str) {
        self.write("rules.yaml", text);
    }

    /// Trusts `authority` and nobody else.
    pub(crate) fn write_trust(&self, authority: &Authority) {
        let store = self.folder.path().join("truststore/x509/ca").join(STORE);
        fs::create_dir_all(store).unwrap();
        self.write(&format!("truststore/x509/ca/{STORE}/root.pem"), &authority.root_pem());
        self.write("trustpolicy.json", &authority.trust_policy_json("*", STORE).unwrap());
    }

    fn write(&self, file: &str, text: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.path(file)).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Pushes `it/<name>:v1` without a report.
    pub(crate) fn image(&self, name: &str) -> Image {
        let repository = format!("it/{name}");
        let digest = image(&self.registry, &repository, "v1", name).unwrap();
        let name = format!("{}/{repository}:v1", self.registry.host());
        Image { name, repository, digest }
    }

    /// Pushes `it/<name>:v1` with a report that is signed as it should be.
    pub(crate) fn scanned(&self, name: &str, report: &TrivyReport) -> Image {
        let image = self.image(name);
        self.report(&image.repository, image.digest, report);
        image
    }

    /// Attaches a signed report, and gives its digest.
    pub(crate) fn report(&self, repository: &str, subject: Digest, report: &TrivyReport) -> Digest {
        let report = attach_report(&self.registry, repository, subject, report).unwrap();
        self.sign(repository, report, &self.key);
        report
    }

    pub(crate) fn sign(&self, repository: &str, report: Digest, key: &SigningKey) {
        sign(&self.registry, repository, report, key, Format::Jws, SCANNED).unwrap();
    }

    /// How many requests the registry has received whose path holds `part`.
    pub(crate) fn requests(&self, part: &str) -> usize {
        self.registry.requests().iter().filter(|r| r.path.contains(part)).count()
    }
}

/// A running service.
pub(crate) struct World {
    site: Site,
    pub(crate) client: DecisionServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) app: App,
    pub(crate) admin: String,
}

impl Deref for World {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Site::new().await.start().await
    }

    /// Stops the service and leaves what it stood on.
    pub(crate) async fn stop(self) -> Site {
        let Self { site, client, channel, app, admin: _ } = self;
        drop((client, channel));
        app.stop().await;
        site
    }

    pub(crate) async fn try_ask(
        &self,
        request: v1::CheckRequest,
    ) -> Result<v1::CheckResponse, Status> {
        self.client.clone().check(request).await.map(tonic::Response::into_inner)
    }

    /// The answer to a question about one image.
    pub(crate) async fn ask(&self, image: &str) -> v1::CheckResponse {
        self.try_ask(question(image)).await.unwrap()
    }

    /// The one decision of [`World::ask`].
    pub(crate) async fn decide(&self, image: &str) -> v1::Decision {
        let mut answer = self.ask(image).await;
        assert_eq!(answer.decisions.len(), 1);
        assert_eq!(answer.action, answer.decisions[0].action);
        answer.decisions.remove(0)
    }

    /// The decision that can be had by a deadline that is `timeout` away.
    pub(crate) async fn decide_within(&self, image: &str, timeout: Duration) -> v1::Decision {
        let mut request = tonic::Request::new(question(image));
        request.set_timeout(timeout);
        let answer = self.client.clone().check(request).await.unwrap();
        answer.into_inner().decisions.remove(0)
    }

    /// The text of an admin page and its status.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("{}{path}", self.admin)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The value of a metric, with its labels as the page writes them; 0 where it is not there yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.page("/metrics").await;
        assert_eq!(status, 200);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until `count` questions are being answered.
    pub(crate) async fn until_in_flight(&self, count: u32) {
        eventually("so many questions in flight", async || {
            let now = self.metric("portcullis_checks_in_flight").await;
            (now == f64::from(count)).then_some(())
        })
        .await;
    }
}

/// A question about one image.
pub(crate) fn question(image: &str) -> v1::CheckRequest {
    v1::CheckRequest {
        context: None,
        containers: vec![container("main", image)],
        explain: false,
        purpose: 0,
    }
}

pub(crate) fn container(name: &str, image: &str) -> v1::Container {
    v1::Container { name: name.to_owned(), image: image.to_owned() }
}

pub(crate) fn clean() -> TrivyReport {
    TrivyReport::new(SCANNED)
}

pub(crate) fn critical() -> TrivyReport {
    clean().finding("CVE-2022-37434", Severity::Critical, "zlib", "1.2.11", "1.2.12").score(9.8)
}

/// What is known of the one manifest of the image, and the beginning of why it is not better.
#[track_caller]
pub(crate) fn assert_evidence(decision: &v1::Decision, status: EvidenceStatus, detail: &str) {
    let [evidence] = decision.evidence.as_slice() else {
        panic!("not one manifest: {:?}", decision.evidence);
    };
    assert_eq!(evidence.status(), status, "{}: {}", decision.image, evidence.detail);
    assert!(evidence.detail.starts_with(detail), "{}: {}", decision.image, evidence.detail);
    assert_eq!(evidence.detail.is_empty(), detail.is_empty(), "{}", evidence.detail);
}

/// Looks until there is something, and gives it. The only place where tests wait.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(REST).await;
    }
    panic!("it never came: {what}");
}

/// The lines of a kind in an event file.
#[track_caller]
pub(crate) fn lines_of(path: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["kind"] == kind).collect()
}

/// The events in an event file.
#[track_caller]
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    lines_of(path, "decision")
}
