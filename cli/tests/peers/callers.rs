//! Our service before callers of gRPC that others wrote, which know of it what reflection tells.

use std::process::Command;

use serde_json::{Value, json};

use super::host::{Peer, Registry, are_there, run};
use super::service::Running;

/// How often ghz asks, and over how many calls at a time.
const CALLS: u64 = 2_000;
const AT_A_TIME: u64 = 50;

/// What somebody asks by hand, who has read nothing but the README.
pub(crate) fn grpcurl() {
    if !are_there(&["crane", "grpcurl", Peer::Olareg.program()], "grpcurl", true) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Peer::Olareg, folder.path());
    let image = format!("{}/team/app:v1", registry.host());
    let digest = registry.push_image(folder.path(), &image);
    let service = Running::before(folder.path(), &registry);
    let call = |data: &Value, method: &str| {
        let mut command = Command::new("grpcurl");
        command.args(["-plaintext", "-d", &data.to_string(), service.address(), method]);
        command
    };

    let listed = run(Command::new("grpcurl").args(["-plaintext", service.address(), "list"]));
    for name in ["portcullis.v1.DecisionService", "portcullis.v1.EvidenceService"] {
        assert!(listed.lines().any(|line| line == name), "{listed}");
    }
    let question = json!({"containers": [{"name": "main", "image": image}]});
    let answer = run(&mut call(&question, "portcullis.v1.DecisionService/Check"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["action"], "ACTION_DENY", "{answer:#}");
    let decision = &answer["decisions"][0];
    assert_eq!((&decision["rule"], &decision["digest"]), (&json!("no-critical"), &json!(digest)));
    assert_eq!(decision["evidence"][0]["status"], "EVIDENCE_STATUS_MISSING", "{answer:#}");

    // A stream, whose answers are told apart by their ids.
    let stream = json!({"id": 7, "check": question});
    let answer = run(&mut call(&stream, "portcullis.v1.DecisionService/CheckStream"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["id"], &answer["check"]["action"]), (&json!("7"), &json!("ACTION_DENY")));

    let health = json!({"service": "portcullis.v1.DecisionService"});
    let health = run(&mut call(&health, "grpc.health.v1.Health/Check"));
    assert!(health.contains("SERVING") && !health.contains("NOT_SERVING"), "{health}");

    // What is wrong is told by its field, in messages that reflection knows.
    let wrong = json!({"containers": [{"name": "main", "image": "Team/App"}]});
    let refused = call(&wrong, "portcullis.v1.DecisionService/Check").output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && told.contains("InvalidArgument"), "{told}");
    assert!(told.contains("\"field\": \"containers[0].image\""), "{told}");
}

/// Many calls at a time on one connection of another implementation: each has its answer.
pub(crate) fn ghz() {
    if !are_there(&["crane", "ghz", Peer::Olareg.program()], "ghz", true) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Peer::Olareg, folder.path());
    let image = format!("{}/team/app:v1", registry.host());
    registry.push_image(folder.path(), &image);
    let service = Running::before(folder.path(), &registry);
    let question = json!({"containers": [{"name": "main", "image": image}]});
    let report = run(Command::new("ghz")
        .args(["--insecure", "--call", "portcullis.v1.DecisionService.Check"])
        .args(["--data", &question.to_string(), "--format", "json"])
        .args(["--total", &CALLS.to_string(), "--concurrency", &AT_A_TIME.to_string()])
        .arg(service.address()));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["count"], CALLS, "{report:#}");
    assert_eq!(report["statusCodeDistribution"], json!({"OK": CALLS}), "{report:#}");
    assert_eq!(report["errorDistribution"], json!({}), "{report:#}");
}
