//! What a review costs besides the connection that it comes on, in instructions and allocations.
//!
//! Not for a clock: `run KIND CONTAINERS REVIEWS` under valgrind with two counts of reviews, and the difference is the
//! cost of so many. Of a KIND, `read` is from the bytes to what is asked, and `whole` to the bytes of the answer, with
//! decisions as the near cache has them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark has no callers, and ends where something is wrong"
)]

use portcullis_shim::review::{
    Action, Asked, Decision, FailPolicy, Known, Outcome, Review, Settings, Source, read, validated,
};
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

fn main() {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [_, kind, containers, reviews] = args.as_slice() else {
        println!("run KIND CONTAINERS REVIEWS, where a KIND is `read` or `whole`");
        return;
    };
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
