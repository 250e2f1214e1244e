//! Our service before a Prometheus: what is scraped, the traces of exemplars, and the alert rules.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::PORTCULLIS;
use super::host::{Process, are_there, eventually, free_port, wait_for};

pub(crate) fn story() {
    if !are_there(&["prometheus"], "Prometheus", true) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (port, admin, own) = (free_port(), free_port(), free_port());
    let _service = serve(folder.path(), port, admin);
    let _prometheus = scrape(folder.path(), admin, own);
    let check = || {
        let server = format!("http://127.0.0.1:{port}");
        let image = "registry.example/app:v1";
        let check = &mut Command::new(PORTCULLIS);
        let check = check.args(["check", image, "--server", &server]).stdout(Stdio::null());
        assert!(check.status().unwrap().code().is_some());
    };
    check();

    let query = |what: &str| get(own, &format!("/api/v1/{what}"))["data"].clone();
    eventually("the decision", || {
        let found = query("query?query=sum(portcullis_decisions_total)");
        found["result"][0]["value"][1] == "1"
    });
    // Exemplars begin with the second scrape of a series.
    check();
    eventually("its trace", || {
        let found = query(
            "query_exemplars?query=portcullis_check_duration_seconds_bucket&start=0&end=4102444800",
        );
        let trace = &found[0]["exemplars"][0]["labels"]["trace_id"];
        trace.as_str().is_some_and(|trace| trace.len() == 32)
    });
    let target = &query("targets")["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&json!("up"), &json!("")), "{target:#}");
    eventually("the rules", || {
        let groups = query("rules")["groups"].clone();
        let groups = groups.as_array().map(Vec::as_slice).unwrap_or_default();
        let rules: Vec<&Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok")
    });
    // What every program has is found under its usual name.
    let memory = query("query?query=process_resident_memory_bytes");
    assert_eq!(memory["result"].as_array().map(Vec::len), Some(1), "{memory:#}");
}

/// A service that keeps every trace, though nobody takes them.
fn serve(folder: &Path, port: u16, admin: u16) -> Process {
    let text = json!({
        "listen": format!("127.0.0.1:{port}"),
        "admin": format!("127.0.0.1:{admin}"),
        "unlistedRegistries": "refused",
        "traces": {"otlpEndpoint": format!("http://127.0.0.1:{}", free_port()), "sampleRatio": 1.0},
        "log": {"filter": "error,opentelemetry=off,opentelemetry_sdk=off"},
    });
    let config = folder.join("portcullis.yaml");
    fs::write(&config, text.to_string()).unwrap();
    let serve = &mut Command::new(PORTCULLIS);
    let service =
        Process::start(serve.arg("serve").arg("--config").arg(&config).stdout(Stdio::null()));
    wait_for(port);
    service
}

fn scrape(folder: &Path, admin: u16, own: u16) -> Process {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../observability/alerts.yaml");
    let text = json!({
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [rules],
        "scrape_configs": [{
            "job_name": "portcullis",
            "static_configs": [{"targets": [format!("127.0.0.1:{admin}")]}],
        }],
    });
    let config = folder.join("prometheus.yml");
    fs::write(&config, text.to_string()).unwrap();
    let prometheus = &mut Command::new("prometheus");
    let prometheus = prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{own}"))
        .args(["--enable-feature=exemplar-storage", "--log.level=error"]);
    let prometheus = Process::start(prometheus.stdout(Stdio::null()));
    wait_for(own);
    prometheus
}

fn get(port: u16, path: &str) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // By version 1.0 nothing comes in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1;
    // It says so while it starts, and not as JSON.
    serde_json::from_str(body).unwrap_or(Value::Null)
}
