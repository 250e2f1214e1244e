//! A shim that makes its own certificate, before an API server that does what it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use portcullis_shim::app::App;
use portcullis_shim::config::Config;
use portcullis_shim::renewal::MAX_OBJECT;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::world::{Shim, Site, eventually};

const SECRET: &str = "/api/v1/namespaces/portcullis/secrets/own";
const HOOKS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gate.portcullis";

/// What the API server has, and what it does.
struct Cluster {
    objects: BTreeMap<String, Value>,
    version: usize,
    token: &'static str,
    /// What it answers in place of what it has, by the way that is asked for.
    instead: BTreeMap<&'static str, (StatusCode, String)>,
    asked: Vec<(Method, String)>,
}

impl Cluster {
    fn set(&mut self, path: &str, mut value: Value) {
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), value);
    }

    fn answer(&mut self, head: &http::request::Parts, body: &[u8]) -> (StatusCode, String) {
        let path = head.uri.path();
        self.asked.push((head.method.clone(), path.to_owned()));
        let status = |text: &str| json!({"kind": "Status", "message": text}).to_string();
        if head.headers["authorization"] != format!("Bearer {}", self.token) {
            return (StatusCode::UNAUTHORIZED, status("Unauthorized"));
        }
        if let Some(instead) = self.instead.get(path) {
            return instead.clone();
        }
        let Some(there) = self.objects.get(path).cloned() else {
            return (StatusCode::NOT_FOUND, status("not found"));
        };
        if head.method == Method::GET {
            return (StatusCode::OK, there.to_string());
        }
        let change: Value = serde_json::from_slice(body).unwrap();
        let version = |value: &Value| value["metadata"]["resourceVersion"].clone();
        if version(&change) != version(&there) {
            return (StatusCode::CONFLICT, status("the object has been modified"));
        }
        let kind = head.headers["content-type"].to_str().unwrap();
        let value = if head.method == Method::PUT {
            assert_eq!(kind, "application/json");
            change
        } else {
            assert_eq!(
                (&head.method, kind),
                (&Method::PATCH, "application/strategic-merge-patch+json")
            );
            let mut value = there;
            for (hook, change) in value["webhooks"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .zip(change["webhooks"].as_array().unwrap())
            {
                assert_eq!(hook["name"], change["name"]);
                hook["clientConfig"]["caBundle"] = change["clientConfig"]["caBundle"].clone();
            }
            value
        };
        self.set(path, value.clone());
        (StatusCode::OK, value.to_string())
    }
}

/// An API server in TLS.
struct Api {
    address: SocketAddr,
    cluster: Arc<Mutex<Cluster>>,
}

impl Api {
    async fn start(site: &Site) -> Self {
        let hook = |name: &str| json!({"name": name, "clientConfig": {}});
        let mut cluster = Cluster {
            objects: BTreeMap::new(),
            version: 0,
            token: "first",
            instead: BTreeMap::new(),
            asked: Vec::new(),
        };
        cluster.set(SECRET, json!({"type": "Opaque", "metadata": {"name": "own"}}));
        cluster.set(HOOKS, json!({"metadata": {}, "webhooks": [hook("pods"), hook("workloads")]}));
        let cluster = Arc::new(Mutex::new(cluster));
        let pair = site.authority.issue("localhost");
        let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let had = Arc::clone(&cluster);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, cluster) = (acceptor.clone(), Arc::clone(&had));
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await?;
                    let answer = service_fn(move |request| answer(Arc::clone(&cluster), request));
                    let http = hyper::server::conn::http1::Builder::new();
                    // Who is asked may go away at any time.
                    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
                    Ok::<_, std::io::Error>(())
                });
            }
        });
        site.write("token", "first\n");
        Self { address, cluster }
    }

    /// The configuration of a shim that makes its own certificate here.
    fn config(&self, site: &Site, more: &str) -> PathBuf {
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nnamespace: portcullis\n\
             service: {{servers: [\"http://{}\"]}}\n\
             tls: {{self: {{secret: own, names: [localhost], validatingWebhooks: [gate.portcullis], \
             apiServer: \"https://localhost:{}\", tokenFile: token, caFile: ca.crt{more}}}}}\n",
            site.fake.address,
            self.address.port()
        );
        site.write("own.yaml", &text)
    }

    /// A shim that may not be ready yet.
    async fn shim(&self, site: &Site) -> Shim {
        let lives = ", certificateLife: 20s, authorityLife: 60s";
        let config = Config::read(&self.config(site, lives)).unwrap();
        let app = App::start(config, Arc::new(super::world::now)).await.unwrap();
        Shim { app, client: site.client().build().unwrap() }
    }

    /// By whom it knows the shim.
    fn bundle(&self) -> String {
        let cluster = self.cluster.lock();
        let bundle = &cluster.objects[HOOKS]["webhooks"][1]["clientConfig"]["caBundle"];
        String::from_utf8(decode(bundle.as_str().unwrap_or_default())).unwrap()
    }
}

#[cfg(test)]
fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap()
}

#[cfg(test)]
async fn answer(
    cluster: Arc<Mutex<Cluster>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (status, text) = cluster.lock().answer(&head, &body);
    let date = httpdate();
    Ok(Response::builder().status(status).header("date", date).body(text.into()).unwrap())
}

/// Now, as answers say it.
#[cfg(test)]
fn httpdate() -> String {
    let now = time::OffsetDateTime::from(super::world::now());
    let text = now.format(&time::format_description::well_known::Rfc2822).unwrap();
    text.replace("+0000", "GMT")
}

/// How many looks failed for this cause.
#[cfg(test)]
async fn failed(shim: &Shim, cause: &str) -> u64 {
    shim.metric(&format!("portcullis_shim_renewal_failures_total{{cause=\"{cause}\"}} ")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn t152_a_shim_is_ready_when_the_api_server_knows_it_and_renews_what_it_shows() {
    let site = Site::new().await;
    let api = Api::start(&site).await;
    let forbidden = (StatusCode::FORBIDDEN, json!({"message": "no\nright"}).to_string());
    api.cluster.lock().instead.insert(HOOKS, forbidden);
    let shim = api.shim(&site).await;
    eventually(async || failed(&shim, "forbidden").await >= 2).await;
    assert_eq!(shim.get("/readyz").await.0, 503);
    api.cluster.lock().instead.clear();
    eventually(async || shim.get("/readyz").await.0 == 200).await;
    let known = api.bundle();
    assert_eq!(known.matches("BEGIN").count(), 1);
    let root = reqwest::Certificate::from_pem(known.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    let asked = client.get(shim.url("/livez")).send().await.unwrap();
    assert_eq!(asked.status(), 200);
    // Another replica takes what is there.
    let other = api.shim(&site).await;
    eventually(async || other.get("/readyz").await.0 == 200).await;
    assert_eq!(other.metric("portcullis_shim_renewals_total{what=\"authority\"} ").await, 0);
    client.get(other.url("/livez")).send().await.unwrap();
    // One of them renews the certificate; the authority stays.
    eventually(async || {
        let taken = "portcullis_shim_certificate_changes_total{result=\"taken\"} ";
        shim.metric(taken).await >= 2 && other.metric(taken).await >= 2
    })
    .await;
    assert_eq!(api.bundle(), known);
    // Nothing but these objects was asked for.
    let asked = std::mem::take(&mut api.cluster.lock().asked);
    let allowed = |(method, path): &(Method, String)| match path.as_str() {
        SECRET => [Method::GET, Method::PUT].contains(method),
        HOOKS => [Method::GET, Method::PATCH].contains(method),
        _ => false,
    };
    assert!(asked.iter().all(allowed), "{asked:?}");
    shim.app.stop().await;
    other.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_is_used_and_what_is_wrong_is_counted_by_its_cause() {
    let site = Site::new().await;
    let api = Api::start(&site).await;
    let shim = api.shim(&site).await;
    eventually(async || shim.get("/readyz").await.0 == 200).await;
    assert_eq!(failed(&shim, "token").await, 0);
    api.cluster.lock().token = "second";
    eventually(async || failed(&shim, "token").await >= 1).await;
    site.write("token", "second");
    let asked = || api.cluster.lock().asked.len();
    let well = async || {
        let (before, failures) = (asked(), failed(&shim, "token").await);
        eventually(async || asked() >= before + 4).await;
        failed(&shim, "token").await == failures
    };
    eventually(well).await;
    for (cause, status, text) in [
        ("answer", StatusCode::OK, "x".to_owned()),
        ("answer", StatusCode::OK, format!("\"{}\"", "x".repeat(MAX_OBJECT - 1))),
        ("answer", StatusCode::INTERNAL_SERVER_ERROR, "{}".to_owned()),
        ("absent", StatusCode::NOT_FOUND, String::new()),
    ] {
        let before = failed(&shim, cause).await;
        api.cluster.lock().instead.insert(SECRET, (status, text));
        eventually(async || failed(&shim, cause).await > before).await;
        api.cluster.lock().instead.clear();
    }
    // What it shows it shows on.
    assert_eq!(shim.get("/readyz").await.0, 200);
    shim.app.stop().await;
}

#[tokio::test]
async fn a_file_that_is_not_there_stops_the_start() {
    let site = Site::new().await;
    let api = Api::start(&site).await;
    std::fs::remove_file(site.path("ca.crt")).unwrap();
    let config = Config::read(&api.config(&site, "")).unwrap();
    let error = App::start(config, Arc::new(super::world::now)).await.err().unwrap();
    assert!(error.to_string().contains("`tls.self`"), "{error}");
}
