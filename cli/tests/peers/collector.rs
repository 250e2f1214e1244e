//! Our service before an OpenTelemetry collector: what it takes of us, and writes to a file.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::host::{Peer, Process, Registry, are_there, eventually, free_port, wait_for};
use super::service::Running;

const CALL: &str = "portcullis.v1.DecisionService/Check";

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
    let answer = service.check(&image);
    answer.has_no_report();

    let spans = || {
        let text = fs::read_to_string(&written).unwrap_or_default();
        // The last line may be under way.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.flat_map(|line| all(&line)).collect()
    };
    let named = |name: &str| -> Option<Span> {
        let spans: Vec<Span> = spans();
        spans.into_iter().find(|span| span.fields["name"] == name)
    };
    eventually("the span of the call", || named(CALL).is_some());
    eventually("that of the search", || named("evidence.search").is_some());
    let (call, search) = (named(CALL).unwrap(), named("evidence.search").unwrap());
    assert_eq!(call.resource("service.name"), "portcullis");
    assert_eq!(call.resource("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(call.resource("telemetry.sdk.language"), "rust");
    // SPAN_KIND_SERVER.
    assert_eq!(call.fields["kind"], 2);
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
    let list = named("GET /v2/{name}/referrers/{digest}").unwrap();
    assert!(list.is_in(&search));
    // SPAN_KIND_CLIENT.
    assert_eq!(list.fields["kind"], 3);
    assert_eq!(list.attribute("http.response.status_code"), "200");
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
