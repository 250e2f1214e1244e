//! cosign with keys of its own, and the trust that they have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::host::{Registry, run, trivy_report};
use super::service::{Answer, ask};

/// A home folder for cosign.
pub(crate) struct Cosign {
    home: PathBuf,
}

/// Which cosign attests, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Version {
    /// 3, which attaches bundles.
    Bundle,
    /// 2, which keeps envelopes under a tag.
    Legacy,
}

impl Cosign {
    /// With the keys `scanner` and `stranger`, and nothing that it would ask the internet for.
    pub(crate) fn new(folder: &Path) -> Self {
        let home = folder.join("home");
        fs::create_dir_all(&home).unwrap();
        let cosign = Self { home };
        let report: Value = serde_json::from_str(&trivy_report()).unwrap();
        let predicate = json!({
            "invocation": {},
            "scanner": {"uri": "pkg:github/aquasecurity/trivy", "version": "0.74.0", "result": report},
            "metadata": {
                "scanStartedOn": "2026-11-01T00:00:00Z",
                "scanFinishedOn": "2026-11-01T00:01:00Z",
            },
        });
        let no_services = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "rekorTlogConfig": {},
            "tsaConfig": {},
        });
        let nobody = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [],
            "certificateAuthorities": [],
            "ctlogs": [],
            "timestampAuthorities": [],
        });
        for (file, content) in
            [("predicate.json", predicate), ("services.json", no_services), ("root.json", nobody)]
        {
            fs::write(cosign.home.join(file), content.to_string()).unwrap();
        }
        for key in ["scanner", "stranger"] {
            cosign.run("cosign", &["generate-key-pair", "--output-key-prefix", key]);
        }
        cosign
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.current_dir(&self.home).env("HOME", &self.home).env("COSIGN_PASSWORD", "");
        run(command.args(arguments));
    }

    /// Attests the report about `image`, which is named by its digest, with a key.
    pub(crate) fn attest(&self, version: Version, key: &str, image: &str) {
        let key = format!("{key}.key");
        let attest = ["attest", "--yes", "--type", "vuln", "--predicate", "predicate.json"];
        let with_key = ["--key", &key, "--allow-http-registry"];
        let (program, alone): (_, &[&str]) = match version {
            Version::Bundle => ("cosign", &OFFLINE),
            Version::Legacy => ("cosign2", &["--tlog-upload=false"]),
        };
        self.run(program, &[attest.as_slice(), &with_key, alone, &[image]].concat());
    }

    /// Signs `image` itself.
    pub(crate) fn sign(&self, key: &str, image: &str) {
        let key = format!("{key}.key");
        let sign = ["sign", "--yes", "--key", &key, "--allow-http-registry"];
        self.run("cosign", &[sign.as_slice(), &OFFLINE, &[image]].concat());
    }

    /// Asks a service that trusts `key` about `image`.
    pub(crate) fn check(&self, registry: &Registry, key: &str, image: &str) -> Answer {
        let file = self.home.join(format!("{key}.pub"));
        let trust = json!({"cosign": [{"name": key, "scopes": ["*"], "key": file}]});
        ask(&self.home, registry, &trust, image)
    }
}

/// Without a log, an authority or a list of either.
const OFFLINE: [&str; 4] = ["--signing-config", "services.json", "--trusted-root", "root.json"];
