//! Each scenario, small, against a service in this process: that what is counted is right. How long it
//! took is not asserted.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use clap::Parser as _;
use portcullis_core::ports::Clock as _;
use portcullis_loadtest::{Addresses, Args, Begin, Begun, Part, execute_within};
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use serde_json::Value;
use tokio::runtime::Runtime;

/// Figures that depend on the machine, and memory: here it is that of the harness and the service too.
const OF_TIME: [&str; 7] =
    ["_us", "ratio", "throughput", "ready_ms", "last_failure", "share", "rss_bytes"];

#[test]
fn warm() {
    let document = run("warm", 0.02, &["--baseline", "echo", "--check"]);
    check(&document);
    let phase = &document["phases"][0];
    assert_eq!(phase["seen"]["evidence"]["verified"], phase["checks"], "{phase}");
    assert!(phase["echo"]["throughput_per_s"].as_f64().unwrap() > 0.0);
    assert!(document["ratio_to_echo"].as_f64().unwrap() > 0.0);
    let echo = phase["segments"].as_array().unwrap().iter().filter(|s| s["who"] == "echo").count();
    assert_eq!(echo, 2, "as many as of the service");
}

#[test]
fn cold_start() {
    let document = run("cold-start", 0.05, &[]);
    check(&document);
    assert_eq!(document["figures"]["cold.registry_searches"], 100.0);
    assert_eq!(document["phases"][0]["registry_kinds"]["blob"], 200, "{}", document["phases"][0]);
}

#[test]
fn stampede() {
    let document = run("stampede", 0.1, &[]);
    check(&document);
    assert_eq!(document["figures"]["one.registry_searches"], 1.0);
    assert_eq!(document["figures"]["one.checks"], 1_000.0);
    assert_eq!(document["figures"]["two-thousand.checks"], 300.0);
}

#[test]
fn rollout() {
    let document = run("rollout", 0.1, &[]);
    check(&document);
    assert_eq!(document["figures"]["rollout.registry_images"], 3.0);
}

#[test]
fn slow_registry() {
    let document = run("slow-registry", 0.02, &[]);
    check(&document);
    assert!(document["figures"]["slow.beside.answered"].as_f64().unwrap() > 0.0);
}

#[test]
fn failing_registry() {
    let document = run("failing-registry", 0.02, &[]);
    check(&document);
    for phase in ["throttled", "broken", "black-hole"] {
        assert!(document["figures"][format!("{phase}.beside.answered")].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn overload() {
    let document = run("overload", 0.03, &[]);
    check(&document);
    let figures = &document["figures"];
    assert!(figures["overload.answered"].as_f64().unwrap() > 0.0, "{figures}");
}

#[test]
fn mix() {
    let document = run("mix", 0.03, &["--check"]);
    check(&document);
    assert!(document["figures"]["both.beside.checks"].as_f64().unwrap() > 0.0);
}

#[test]
fn refresh_storm() {
    let document = run("refresh-storm", 0.02, &[]);
    check(&document);
    assert!(document["figures"]["storm.registry_images"].as_f64().unwrap() > 0.0);
}

#[test]
fn news() {
    let document = run("news", 0.1, &[]);
    check(&document);
    // Each was looked at again, and had another report.
    assert_eq!(document["figures"]["refresh.registry_searches"], 20.0);
    assert_eq!(document["phases"][0]["registry_kinds"]["blob"], 40, "{}", document["phases"][0]);
}

#[test]
fn bulk() {
    let document = run("bulk", 0.02, &["--baseline", "echo"]);
    check(&document);
    assert_eq!(document["figures"]["read.seen.verified"], 4.0 * 64.0);
}

#[test]
fn replica_restart() {
    let document = run("replica-restart", 0.03, &[]);
    check(&document);
    assert!(document["figures"]["rolling.answered"].as_f64().unwrap() > 100.0);
}

#[test]
fn warm_restart() {
    // Without a store that outlives the service, the registry is asked again: that is told.
    let document = run("warm-restart", 0.001, &[]);
    assert_eq!(document["errors"], 0, "{}", document["phases"]);
    assert!(document["figures"]["restart.ready_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn shim_near() {
    let document = run("shim-near", 0.02, &["--baseline", "echo"]);
    check(&document);
    let phases = document["phases"].as_array().unwrap();
    for (phase, containers) in phases.iter().zip([1, 5, 20]) {
        let load = phase["load"].as_str().unwrap();
        assert!(load.starts_with("AdmissionReview"), "{load}");
        assert!(containers == 1 || load.contains(&format!("of {containers} images")), "{load}");
        assert!(phase["ratio_to_echo"].as_f64().unwrap() > 0.0, "{phase}");
        assert!(phase["echo"]["reply_bytes"].as_u64().unwrap() > 200, "{phase}");
        let kinds = phase["seen"]["sources"].as_object().unwrap();
        assert_eq!(kinds.keys().collect::<Vec<_>>(), ["near_cache"], "{phase}");
    }
    assert!(document["rest_rss_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn shim_service() {
    let document = run("shim-service", 0.02, &["--baseline", "echo"]);
    check(&document);
    for phase in document["phases"].as_array().unwrap() {
        assert_eq!(phase["seen"]["sources"]["service"], phase["checks"], "{phase}");
        assert_eq!(phase["registry_requests"], 0, "{phase}");
    }
}

#[test]
fn shim_miss() {
    let document = run("shim-miss", 0.05, &["--baseline", "echo"]);
    check(&document);
    // A slow machine asks less often in its time; each question is about images that nobody asked about before.
    for (phase, containers) in [("one", 1.0), ("five", 5.0), ("twenty", 20.0)] {
        let figure = |name| document["figures"][format!("{phase}.{name}")].as_f64().unwrap();
        assert!(figure("checks") > 0.0, "{phase}: {}", document["figures"]);
        let expected = containers * figure("checks");
        assert_eq!(figure("registry_images"), expected, "{phase}: {}", document["figures"]);
    }
    assert!(document["figures"]["twenty.ratio_to_echo"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_missed_objective_is_told_by_name_and_status() {
    let scenario = tempfile::NamedTempFile::new().unwrap();
    let text = "name = 'own'\nabout = 'x'\nregistry = { digests = 5, findings = 3 }\n\
                [[phases]]\nname = 'p'\nload = { questions = 20, duration = '20s' }\n\
                [[objectives]]\nfigure = 'p.checks'\nmin = 21\n";
    std::fs::write(scenario.path(), text).unwrap();
    let name = scenario.path().to_str().unwrap();
    let (document, status) = run_with_status(name, 1.0, &[]);
    assert_eq!(document["objectives"][0]["met"], false, "{document}");
    assert_eq!(document["checks"], 20);
    assert_eq!(status, format!("{:?}", std::process::ExitCode::from(2)));
}

/// All objectives that count something are met.
#[cfg(test)]
#[track_caller]
fn check(document: &Value) {
    let objectives = document["objectives"].as_array().unwrap();
    let figure = |objective: &Value| objective["figure"].as_str().unwrap().to_owned();
    let counts = objectives.iter().filter(|o| !OF_TIME.iter().any(|word| figure(o).contains(word)));
    let missed: Vec<_> = counts.filter(|objective| objective["met"] != true).collect();
    let phases = document["phases"].as_array().unwrap();
    let failures: Vec<_> =
        phases.iter().map(|p| (&p["phase"], &p["failures"], &p["seen"])).collect();
    assert!(missed.is_empty(), "{missed:#?} {failures:#?}");
}

#[cfg(test)]
#[track_caller]
fn run(scenario: &str, scale: f64, more: &[&str]) -> Value {
    run_with_status(scenario, scale, more).0
}

#[cfg(test)]
#[track_caller]
fn run_with_status(scenario: &str, scale: f64, more: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json");
    let page = folder.path().join("run.html");
    let (scale, echo) = (scale.to_string(), env!("CARGO_BIN_EXE_portcullis-loadtest"));
    let mut line = vec!["portcullis-loadtest", "run", scenario, "--scale", &scale, "--quiet"];
    line.extend(["--json", json.to_str().unwrap(), "--html", page.to_str().unwrap()]);
    line.extend(["--echo-program", echo]);
    if !more.contains(&"--baseline") {
        line.extend(["--baseline", "none"]);
    }
    line.extend(more);
    let args = Args::try_parse_from(line).unwrap();
    let status = execute_within(args, begin()).unwrap();
    assert!(std::fs::read_to_string(page).unwrap().contains("<!DOCTYPE html>"));
    let document = std::fs::read(json).unwrap();
    (serde_json::from_slice(&document).unwrap(), format!("{status:?}"))
}

/// Begins the service that `portcullis serve` would run.
#[cfg(test)]
fn begin() -> Box<Begin> {
    Box::new(|part: Part, config: &Path| {
        let runtime = Runtime::new()?;
        match part {
            Part::Service => service(runtime, config),
            Part::Shim => shim(runtime, config),
        }
    })
}

#[cfg(test)]
fn service(runtime: Runtime, config: &Path) -> anyhow::Result<Begun> {
    let config = Config::from_file(config)?;
    let app = runtime.block_on(App::start(config, Arc::new(SystemClock)))?;
    let addresses = Addresses { address: app.address(), admin: Some(app.admin_address()) };
    let held: Box<dyn Any + Send + Sync> = Box::new(Held { app: Some(app), runtime });
    Ok((addresses, held))
}

/// The shim that `portcullis shim` would run. It is not stopped in order: it would wait until the harness closes its
/// connections.
#[cfg(test)]
fn shim(runtime: Runtime, config: &Path) -> anyhow::Result<Begun> {
    let config = portcullis_shim::config::Config::read(config)?;
    let clock = Arc::new(|| SystemClock.now().into());
    let app = runtime.block_on(portcullis_shim::app::App::start(config, clock))?;
    let addresses = Addresses { address: app.address(), admin: Some(app.admin_address()) };
    let held: Box<dyn Any + Send + Sync> = Box::new((app, runtime));
    Ok((addresses, held))
}

/// Stops the service in order when it is dropped.
struct Held {
    app: Option<App>,
    runtime: Runtime,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            self.runtime.block_on(app.stop());
        }
    }
}
