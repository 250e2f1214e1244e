//! What a review costs besides the connection that it comes on, in instructions and allocations.
//!
//! Not for a clock: `run KIND CONTAINERS REVIEWS` under valgrind with two counts of reviews, and the difference is the
//! cost of so many. Of a KIND, `read` is from the bytes to what is asked, and `whole` to the bytes of the answer, with
//! decisions as the near cache has them. `untraced`, `left` and `kept` are what traces cost a review beside that: where
//! there are none, where this one is not kept, and where it is, with a call; CONTAINERS say nothing there.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no callers, and ends where something is wrong"
)]

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use portcullis_shim::review::{
    Action, Asked, Decision, FailPolicy, Known, Outcome, Review, Settings, Source, read, validated,
};
use portcullis_shim::traced::{Calls, Traced, answered};
use portcullis_telemetry::{Telemetry, TelemetryConfig, spans};
use serde_json::{Value, json};

/// A container as controllers write it.
fn container(at: usize) -> Value {
    json!({
        "name": format!("main-{at}"),
        "image": format!("registry.example.com/team/service-{at}@sha256:{}", "5e".repeat(32)),
        "args": ["--listen=:8080", "--metrics=:9090"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [
            {"name": "POD_NAME",
             "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            {"name": "LOG_LEVEL", "value": "info"},
            {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}},
        ],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"},
                      "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/service"},
            {"name": "kube-api-access-x7k2p", "readOnly": true,
             "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
        ],
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "http", "scheme": "HTTP"},
                          "timeoutSeconds": 1, "periodSeconds": 10, "failureThreshold": 3},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": false},
    })
}

/// What the API server notes of who wrote which field of a container.
fn managed(at: usize) -> (String, Value) {
    let port = "k:{\"containerPort\":8080,\"protocol\":\"TCP\"}";
    let fields = json!({
        ".": {}, "f:args": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {},
        "f:env": {".": {}, "k:{\"name\":\"LOG_LEVEL\"}": {".": {}, "f:name": {}, "f:value": {}}},
        "f:livenessProbe": {".": {}, "f:httpGet": {".": {}, "f:path": {}, "f:port": {}}},
        "f:ports": {".": {}, port: {".": {}, "f:containerPort": {}, "f:name": {}}},
        "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}, "f:memory": {}}},
        "f:securityContext": {".": {}, "f:capabilities": {".": {}, "f:drop": {}}},
    });
    (format!("k:{{\"name\":\"main-{at}\"}}"), fields)
}

/// The review of a pod with so many containers, as the API server sends it.
fn review(containers: usize) -> Vec<u8> {
    let fields: serde_json::Map<_, _> = (0..containers).map(managed).collect();
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller",
                         "groups": ["system:serviceaccounts", "system:authenticated"]},
            "object": {
                "kind": "Pod",
                "apiVersion": "v1",
                "metadata": {
                    "generateName": "web-7d4b9c6f5-",
                    "namespace": "shop",
                    "labels": {"app.kubernetes.io/name": "web", "pod-template-hash": "7d4b9c6f5"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                                         "name": "web-7d4b9c6f5", "controller": true}],
                    "managedFields": [{"manager": "kube-controller-manager", "operation": "Update",
                                       "fieldsV1": {"f:spec": {"f:containers": fields}}}],
                },
                "spec": {
                    "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
                    "containers": (0..containers).map(container).collect::<Value>(),
                    "restartPolicy": "Always",
                    "serviceAccountName": "service",
                    "tolerations": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}],
                },
                "status": {"phase": "Pending"},
            },
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    });
    serde_json::to_vec(&review).unwrap()
}

fn decided(image: &str) -> Known<'_> {
    Known::Decided(Decision {
        action: Action::Audit,
        image: image.into(),
        digest: format!("sha256:{}", "5e".repeat(32)).into(),
        rule: "default".into(),
        message: format!("{image}: CVE-2026-0001 (critical) is 1 more than the 0 allowed").into(),
        notices: Vec::new().into(),
        source: Source::NearCache,
    })
}

fn outcome(review: &Review) -> Outcome<'_> {
    let images = match &review.asked {
        Asked::Images(question) => question.images.iter().map(|i| decided(&i.image)).collect(),
        Asked::Nothing(_) => Vec::new(),
    };
    Outcome { images, fail_policy: FailPolicy::Deny, policy_revision: "r1".into() }
}

/// The headers that API servers send.
fn headers() -> HeaderMap {
    let headers = [
        (header::HOST, "portcullis-shim.portcullis.svc:443"),
        (header::USER_AGENT, "kube-apiserver-admission"),
        (header::ACCEPT, "application/json, */*"),
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_LENGTH, "8192"),
        (header::ACCEPT_ENCODING, "gzip"),
    ];
    headers.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect()
}

/// What a review says of itself, and asks.
async fn reviewed(calls: bool) -> StatusCode {
    spans::record("portcullis.review.images", 1_i64);
    if calls {
        let call = portcullis_client::Call {
            method: "portcullis.v1.DecisionService/Check",
            server: "portcullis.portcullis.svc",
            port: 7443,
            replica: std::net::IpAddr::from([10, 0, 0, 1]),
        };
        let mut span = portcullis_client::Tracer::begin(&Calls, &call);
        std::hint::black_box(span.context());
        span.end("OK");
    }
    spans::record("portcullis.review.source", "service");
    spans::record("portcullis.review.allowed", true);
    StatusCode::OK
}

/// Goes through what traces add to so many reviews.
async fn traced(kind: &str, reviews: usize) {
    let config = TelemetryConfig {
        filter: "off".to_owned(),
        // Nobody is there.
        otlp_endpoint: (kind != "untraced").then(|| "http://127.0.0.1:1".to_owned()),
        sample_ratio: if kind == "kept" { 1.0 } else { 0.0 },
        ..TelemetryConfig::default()
    };
    let _telemetry = Telemetry::begin("bench", &config).unwrap();
    let headers = headers();
    for _ in 0..reviews {
        let status = match std::hint::black_box(Traced::of(&headers)) {
            Traced::No => reviewed(false).await,
            Traced::Told(trace) => trace.around(reviewed(false)).await,
            Traced::Kept(beginning) => {
                let at = ("/validate", Version::HTTP_2);
                let answer = Box::pin(reviewed(true));
                answered(beginning, at, answer, |status| *status).await
            }
        };
        std::hint::black_box(status);
    }
}

fn main() {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [_, kind, containers, reviews] = args.as_slice() else {
        println!(
            "run KIND CONTAINERS REVIEWS, where a KIND is `read`, `whole`, `untraced`, `left` or `kept`"
        );
        return;
    };
    if matches!(kind.as_str(), "untraced" | "left" | "kept") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(traced(kind, reviews.parse().unwrap()));
        // The exporter's thread is left behind: what it does is no cost of a review.
        runtime.shutdown_timeout(Duration::ZERO);
        std::process::exit(0);
    }
    let bytes = review(containers.parse().unwrap());
    let settings = Settings::default();
    let first = read(&bytes, &settings).unwrap();
    let outcome = outcome(&first);
    let mut length = 0;
    for _ in 0..reviews.parse::<usize>().unwrap() {
        let review = read(&bytes, &settings).unwrap();
        if kind == "whole" {
            length = validated(&review, &outcome, &settings).to_json().unwrap().len();
        }
    }
    println!("{} bytes in, {length} out", bytes.len());
}
