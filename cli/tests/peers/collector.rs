//! Our service and our shim before an OpenTelemetry collector: what it takes of us, and writes to a file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::PORTCULLIS;
use super::host::{Peer, Process, Registry, are_there, eventually, free_port, wait_for};
use super::service::Running;

const CALL: &str = "portcullis.v1.DecisionService/Check";
/// Kinds of spans, as OTLP numbers them.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

pub(crate) fn story() {
    if !are_there(&["crane", "otelcol", Peer::Olareg.program()], "otelcol", true) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (port, written) = (free_port(), folder.path().join("spans.jsonl"));
    let config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": format!("127.0.0.1:{port}")}}}},
        "exporters": {"file": {"path": written}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    });
    // JSON is YAML.
    fs::write(folder.path().join("collector.yaml"), config.to_string()).unwrap();
    let collector = &mut Command::new("otelcol");
    let collector = collector.arg("--config").arg(folder.path().join("collector.yaml"));
    let _collector = Process::start(collector.stdout(Stdio::null()));
    wait_for(port);

    let registry = Registry::start(Peer::Olareg, folder.path());
    let image = format!("{}/team/app:v1", registry.host());
    let digest = registry.push_image(folder.path(), &image);
    let traces = json!({"otlpEndpoint": format!("http://127.0.0.1:{port}"), "sampleRatio": 1.0});
    let service = Running::with(folder.path(), &registry, &json!({"traces": traces}));
    let _shim = review(folder.path(), &service, &traces, &image);

    let spans = || {
        let text = fs::read_to_string(&written).unwrap_or_default();
        // The last line may be under way.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.flat_map(|line| all(&line)).collect()
    };
    let of = |kind: u8, name: &str| -> Option<Span> {
        let spans: Vec<Span> = spans();
        let is_it = |span: &Span| span.fields["name"] == name && span.fields["kind"] == kind;
        spans.into_iter().find(is_it)
    };
    let named = |name: &str| of(INTERNAL, name);
    eventually("the span of the call", || of(SERVER, CALL).is_some());
    eventually("that of the search", || named("evidence.search").is_some());
    eventually("that of the review", || of(SERVER, "POST /validate").is_some());
    eventually("that of the shim's call", || of(CLIENT, CALL).is_some());
    let (call, search) = (of(SERVER, CALL).unwrap(), named("evidence.search").unwrap());
    let (review, asked) = (of(SERVER, "POST /validate").unwrap(), of(CLIENT, CALL).unwrap());
    assert_eq!(review.resource("service.name"), "portcullis-shim");
    assert_eq!(review.attribute("http.response.status_code"), "200");
    assert_eq!(review.attribute("portcullis.review.source"), "service");
    assert_eq!(review.attribute("portcullis.review.images"), "1");
    assert!(asked.is_in(&review) && call.is_in(&asked), "{:#} {:#}", asked.fields, call.fields);
    assert_eq!(call.resource("service.name"), "portcullis");
    assert_eq!(call.resource("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(call.resource("telemetry.sdk.language"), "rust");
    assert_eq!(call.attribute("rpc.method"), CALL);
    assert_eq!(call.attribute("rpc.response.status_code"), "OK");
    for child in ["resolve", "evidence"] {
        let child = named(child).unwrap_or_else(|| panic!("no {child}"));
        assert!(child.is_in(&call), "{:#}", child.fields);
    }
    let evidence = named("evidence").unwrap();
    assert_eq!(evidence.attribute("oci.manifest.digest"), digest);
    assert_eq!(evidence.attribute("portcullis.evidence.status"), "missing");
    assert!(search.is_in(&evidence));
    let list = of(CLIENT, "GET /v2/{name}/referrers/{digest}").unwrap();
    assert!(list.is_in(&search));
    assert_eq!(list.attribute("http.response.status_code"), "200");
}

/// Has a shim before the service answer the review of a pod, and gives the shim.
fn review(folder: &Path, service: &Running, traces: &Value, image: &str) -> Process {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    fs::write(folder.join("tls.crt"), &certificate).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    let port = free_port();
    let config = json!({
        "listen": format!("127.0.0.1:{port}"),
        "admin": format!("127.0.0.1:{}", free_port()),
        "tls": {"certificateFile": "tls.crt", "keyFile": "tls.key"},
        "service": {"servers": [format!("http://{}", service.address())]},
        "log": {"filter": "warn"},
        "timeout": "20s",
        "traces": traces,
    });
    fs::write(folder.join("shim.yaml"), config.to_string()).unwrap();
    let shim = &mut Command::new(PORTCULLIS);
    let shim = shim.arg("shim").arg("--config").arg(folder.join("shim.yaml"));
    let shim = Process::start(shim.stdout(Stdio::null()));
    wait_for(port);
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u1", "operation": "CREATE", "namespace": "shop", "name": "web",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {},
            "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    });
    let root = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    let text = Runtime::new().unwrap().block_on(async {
        let post = client.post(format!("https://localhost:{port}/validate"));
        post.body(review.to_string()).send().await.unwrap().text().await.unwrap()
    });
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    // Nothing is attached to it.
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    assert_eq!(answer["response"]["auditAnnotations"]["source"], "service", "{answer}");
    shim
}

/// A span, and the attributes of whose it is.
struct Span {
    fields: Value,
    resource: Value,
}

/// The spans of one line that the collector writes.
fn all(line: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for of in list(&line["resourceSpans"]) {
        for scope in list(&of["scopeSpans"]) {
            for fields in list(&scope["spans"]) {
                let resource = of["resource"]["attributes"].clone();
                spans.push(Span { fields: fields.clone(), resource });
            }
        }
    }
    spans
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl Span {
    fn is_in(&self, parent: &Self) -> bool {
        self.fields["parentSpanId"] == parent.fields["spanId"]
            && self.fields["traceId"] == parent.fields["traceId"]
    }

    fn attribute(&self, key: &str) -> &str {
        value(&self.fields["attributes"], key)
    }

    fn resource(&self, key: &str) -> &str {
        value(&self.resource, key)
    }
}

/// An attribute as text; empty where it is not there. Whole numbers are texts in OTLP's JSON.
fn value<'a>(attributes: &'a Value, key: &str) -> &'a str {
    let found = list(attributes).iter().find(|attribute| attribute["key"] == key);
    let value = found.map(|found| &found["value"]);
    let text = value.and_then(|value| value["stringValue"].as_str().or(value["intValue"].as_str()));
    text.unwrap_or_default()
}
