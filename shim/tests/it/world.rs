//! Certificates, a fake service and a running shim in one; reviews in, answers out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use portcullis_shim::app::App;
use portcullis_shim::config::Config;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake::Fake;

/// Who signs certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, name: &str) -> Pair {
        self.signed(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// One that ends then, in seconds since 1970.
    pub(crate) fn issue_until(&self, name: &str, until: u64) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(until)).into();
        self.signed(&params)
    }

    fn signed(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// What a shim stands on, before it is started and after.
pub(crate) struct Site {
    pub(crate) fake: Fake,
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
    /// By how much its clock is ahead; with the most, it panics once.
    pub(crate) ahead: Arc<Mutex<Duration>>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let site = Self { fake: Fake::start().await, authority, folder, ahead: Arc::default() };
        site.install(&site.authority.issue("localhost"));
        site.write("ca.crt", &site.authority.pem);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn install(&self, pair: &Pair) {
        self.write("tls.key", &pair.key);
        self.write("tls.crt", &pair.certificate);
    }

    /// A shim with these lines more in its configuration, which has reached the service.
    pub(crate) async fn start(&self, more: &str) -> Shim {
        self.configured("tls: {certificateFile: tls.crt, keyFile: tls.key}", "", more).await
    }

    /// The same, which keeps no answers to give them again.
    pub(crate) async fn start_without_near(&self, more: &str) -> Shim {
        let near = ", nearCacheBytes: 0";
        self.configured("tls: {certificateFile: tls.crt, keyFile: tls.key}", near, more).await
    }

    /// The same, which demands a certificate of the authority from the API server.
    pub(crate) async fn start_demanding(&self) -> Shim {
        let tls = "tls: {certificateFile: tls.crt, keyFile: tls.key, clientCaFile: ca.crt}";
        self.configured(tls, "", "").await
    }

    /// The same, which asks a service that is not there in TLS, with `client.crt`. It may not be ready yet.
    pub(crate) async fn start_in_tls(&self) -> Shim {
        let tls = "tls: {caFile: ca.crt, certificateFile: client.crt, keyFile: client.key}";
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nnamespace: portcullis\n\
             tls: {{certificateFile: tls.crt, keyFile: tls.key}}\n\
             service: {{servers: [\"https://127.0.0.1:1\"], {tls}}}\n"
        );
        self.launch(&self.write("shim.yaml", &text)).await
    }

    async fn configured(&self, tls: &str, near: &str, more: &str) -> Shim {
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nnamespace: portcullis\n{tls}\n\
             service: {{servers: [\"http://{}\"]{near}}}\n{more}",
            self.fake.address
        );
        self.run(&self.write("shim.yaml", &text)).await
    }

    async fn run(&self, config: &Path) -> Shim {
        let shim = self.launch(config).await;
        shim.until_ready().await;
        shim
    }

    async fn launch(&self, config: &Path) -> Shim {
        let ahead = Arc::clone(&self.ahead);
        let clock = Arc::new(move || {
            let by = *ahead.lock();
            if by == Duration::MAX {
                *ahead.lock() = Duration::ZERO;
                panic!("a fault that was put here, once");
            }
            now() + by
        });
        let app = App::start(Config::read(config).unwrap(), clock).await.unwrap();
        let client = self.client().build().unwrap();
        Shim { app, client }
    }

    /// A client that trusts the authority.
    pub(crate) fn client(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.authority.pem.as_bytes()).unwrap();
        Client::builder().tls_certs_only([root]).no_proxy()
    }

    /// The same with a certificate of its own.
    pub(crate) fn client_as(&self, pair: &Pair) -> ClientBuilder {
        let pem = format!("{}{}", pair.certificate, pair.key);
        self.client().identity(Identity::from_pem(pem.as_bytes()).unwrap())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the shim is handed the system's clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A running shim.
pub(crate) struct Shim {
    pub(crate) app: App,
    pub(crate) client: Client,
}

impl Shim {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.app.address().port())
    }

    /// The answer to a review of `path`.
    pub(crate) async fn post(&self, path: &str, review: &Value) -> Answer {
        self.post_by(&self.client, path, review).await
    }

    pub(crate) async fn post_by(&self, client: &Client, path: &str, review: &Value) -> Answer {
        let body = review.to_string();
        let sent = client.post(self.url(path)).body(body).send().await.unwrap();
        assert_eq!(sent.status(), 200, "{}", sent.text().await.unwrap());
        Answer::read(&sent.text().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.app.admin_address());
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The value of a line of the metrics.
    pub(crate) async fn metric(&self, line: &str) -> u64 {
        let (_, text) = self.get("/metrics").await;
        let value = text.lines().find_map(|l| l.strip_prefix(line)).map(str::trim);
        value.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{line}: {value}")))
    }

    /// Waits until the near cache answers: it hears of changes a little after the service is reached. Leaves out
    /// what was asked and told until then.
    pub(crate) async fn until_near(&self, fake: &Fake) {
        let review = pod("warm", "registry.example/warm@sha256:0");
        eventually(async || {
            self.post("/validate", &review).await;
            self.metric("portcullis_shim_near_hits_total").await > 0
        })
        .await;
        eventually(async || self.metric("portcullis_shim_reports_waiting").await == 0).await;
        fake.state.asked.lock().clear();
        fake.state.told.lock().clear();
    }

    async fn until_ready(&self) {
        eventually(async || self.get("/readyz").await.0 == 200).await;
    }
}

/// Waits until it holds: a minute at the most.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..6_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never holds");
}

/// The answer to a review.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Value);

impl Answer {
    pub(crate) fn read(text: &str) -> Self {
        let read: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read["kind"], "AdmissionReview");
        assert_eq!(read["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(read["response"]["uid"], UID, "{read}");
        Self(read["response"].clone())
    }

    pub(crate) fn allowed(&self) -> bool {
        self.0["allowed"].as_bool().unwrap()
    }

    pub(crate) fn message(&self) -> &str {
        self.0["status"]["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn warnings(&self) -> String {
        self.0["warnings"].to_string()
    }

    pub(crate) fn annotation(&self, key: &str) -> &str {
        self.0["auditAnnotations"][key].as_str().unwrap_or_default()
    }
}

/// What every review is called.
pub(crate) const UID: &str = "0df28fbd-5f5f-11e8-bc74-36e6bb280816";

/// The review of a pod that is made in `namespace` with one image.
pub(crate) fn pod(namespace: &str, image: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": UID,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "web",
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "tester"},
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "namespace": namespace, "labels": {"app": "web"}},
                "spec": {
                    "serviceAccountName": "runner",
                    "containers": [{"name": "main", "image": image}],
                },
            },
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}
