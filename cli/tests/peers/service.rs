//! Our service with somebody's trust, and what our command answers.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::PORTCULLIS;
use super::host::{Process, Registry, free_port, wait_for};

/// Asks a service that has remembered nothing, and has this `trust`, about `image`.
pub(crate) fn ask(folder: &Path, registry: &Registry, trust: &Value, image: &str) -> Answer {
    ask_with(folder, &json!({"host": registry.host(), "scheme": "http"}), trust, image)
}

/// As [`ask`], with these settings for the registry.
pub(crate) fn ask_with(folder: &Path, registry: &Value, trust: &Value, image: &str) -> Answer {
    Running::start(folder, registry, &json!({"trust": trust})).check(image)
}

/// A service that runs; it ends with its owner.
pub(crate) struct Running {
    address: String,
    _process: Process,
}

impl Running {
    /// That trusts nobody, and asks this registry.
    pub(crate) fn before(folder: &Path, registry: &Registry) -> Self {
        Self::with(folder, registry, &json!({}))
    }

    /// The same with more settings.
    pub(crate) fn with(folder: &Path, registry: &Registry, more: &Value) -> Self {
        Self::start(folder, &json!({"host": registry.host(), "scheme": "http"}), more)
    }

    fn start(folder: &Path, registry: &Value, more: &Value) -> Self {
        let (port, admin) = (free_port(), free_port());
        fs::write(folder.join("rules.yaml"), RULES).unwrap();
        let config = folder.join("portcullis.yaml");
        let mut document = json!({
            "listen": format!("127.0.0.1:{port}"),
            "admin": format!("127.0.0.1:{admin}"),
            "rules": ["rules.yaml"],
            "registries": [registry],
            "log": {"filter": "warn"},
        });
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        fs::write(&config, document.to_string()).unwrap();
        let serve = &mut Command::new(PORTCULLIS);
        let serve = serve.arg("serve").arg("--config").arg(&config).stdout(Stdio::null());
        let process = Process::start(serve);
        wait_for(port);
        Self { address: format!("127.0.0.1:{port}"), _process: process }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What our command answers.
    pub(crate) fn check(&self, image: &str) -> Answer {
        let output = Command::new(PORTCULLIS)
            .args(["check", image, "--output", "json", "--server"])
            .arg(format!("http://{}", self.address))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let document = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        Answer { code: output.status.code(), document }
    }
}

const RULES: &str = "\
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
  - name: no-critical
    action: deny
    maxAllowed: {critical: 0}
    blockUnscannedImages: true
    onUnavailable: deny
";

/// What the command answered.
pub(crate) struct Answer {
    code: Option<i32>,
    document: Value,
}

impl Answer {
    #[track_caller]
    fn check(&self) -> &Value {
        let checks = self.document["checks"].as_array().unwrap();
        assert_eq!(checks.len(), 1);
        &checks[0]
    }

    #[track_caller]
    pub(crate) fn is_denied_for(&self, id: &str) {
        let check = self.check();
        assert_eq!(self.code, Some(2), "{check:#}");
        assert_eq!(check["action"], "deny");
        assert_eq!(check["rule"], "no-critical");
        let finding = &check["violations"][0]["findings"][0];
        assert_eq!(finding["id"], id, "{check:#}");
        assert_eq!(check["evidence"]["status"], "verified");
    }

    #[track_caller]
    pub(crate) fn names_signer(&self, name: &str) {
        let signer = &self.check()["evidence"]["subjects"][0]["reports"][0]["signer"];
        assert!(signer.as_str().unwrap().contains(name), "{signer}");
    }

    #[track_caller]
    pub(crate) fn has_no_report(&self) {
        let check = self.check();
        assert_eq!(self.code, Some(2), "{check:#}");
        assert_eq!(check["evidence"]["status"], "missing", "{check:#}");
    }

    /// What the registry would not show, and why in words that hold `detail`.
    #[track_caller]
    pub(crate) fn is_unavailable(&self, detail: &str) {
        let check = self.check();
        assert_eq!(self.code, Some(2), "{check:#}");
        assert_eq!(check["evidence"]["status"], "unavailable", "{check:#}");
        assert!(check.to_string().contains(detail), "{check:#}");
    }

    #[track_caller]
    pub(crate) fn is_rejected(&self, reason: &str) {
        let check = self.check();
        assert_eq!(self.code, Some(2), "{check:#}");
        assert_eq!(check["evidence"]["status"], "rejected", "{check:#}");
        let detail = check["evidence"]["subjects"][0]["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("{reason}: ")), "{detail}");
    }
}
