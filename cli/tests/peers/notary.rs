//! notation with a folder of its own, and our command with the same trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::PORTCULLIS;
use super::host::{Process, Registry, free_port, run, wait_for};

/// A home folder for notation.
pub(crate) struct Notary {
    home: PathBuf,
}

impl Notary {
    pub(crate) fn new(folder: &Path) -> Self {
        let home = folder.join("home");
        fs::create_dir_all(home.join("config/notation")).unwrap();
        Self { home }
    }

    fn config(&self) -> PathBuf {
        self.home.join("config/notation")
    }

    fn notation(&self, arguments: &[&str]) {
        let mut command = Command::new("notation");
        command.env("HOME", &self.home).env("XDG_CONFIG_HOME", self.home.join("config"));
        run(command.args(arguments));
    }

    /// Makes a key with a self-signed certificate and a trust store of the same name.
    pub(crate) fn generate(&self, name: &str) {
        self.notation(&["cert", "generate-test", name]);
    }

    /// Makes an authority of our own with a certificate that it issued, and its trust store; gives
    /// the files of the key and of the chain.
    pub(crate) fn own_authority(&self, name: &str) -> (PathBuf, PathBuf) {
        let now = time::OffsetDateTime::now_utc();
        let authority = portcullis_testkit::keys::Authority::new("test root", now).unwrap();
        let issued = authority.issue(name).unwrap();
        let store = self.config().join(format!("truststore/x509/ca/{name}"));
        fs::create_dir_all(&store).unwrap();
        fs::write(store.join("root.pem"), authority.root_pem()).unwrap();
        let (key, chain) = (self.home.join("key.pem"), self.home.join("chain.pem"));
        fs::write(&key, &issued.key_pem).unwrap();
        fs::write(&chain, &issued.chain_pem).unwrap();
        (key, chain)
    }

    /// Signs `artifact`. notation writes the fallback tag unless it is told that the registry has the
    /// referrers API; olareg forgets what its API listed when somebody writes that tag.
    pub(crate) fn sign(&self, registry: &Registry, key: &str, format: &str, artifact: &str) {
        let tag = format!("--force-referrers-tag={}", !registry.has_referrers());
        let format = ["--signature-format", format];
        let sign = ["sign", "--insecure-registry", &tag, "--key", key];
        self.notation(&[sign.as_slice(), &format, &[artifact]].concat());
    }

    /// notation must accept the signature of `artifact` under the trust store `store`.
    pub(crate) fn verify(&self, store: &str, artifact: &str) {
        fs::write(self.config().join("trustpolicy.json"), trust_policy(store)).unwrap();
        self.notation(&["verify", "--insecure-registry", artifact]);
    }

    /// Asks a service that has remembered nothing, and trusts `store`, about `image`.
    pub(crate) fn check(&self, registry: &Registry, store: &str, image: &str) -> Answer {
        let (port, admin) = (free_port(), free_port());
        let policy = self.home.join("trust.json");
        fs::write(&policy, trust_policy(store)).unwrap();
        fs::write(self.home.join("rules.yaml"), RULES).unwrap();
        let config = self.home.join("portcullis.yaml");
        let text = json!({
            "listen": format!("127.0.0.1:{port}"),
            "admin": format!("127.0.0.1:{admin}"),
            "rules": ["rules.yaml"],
            // notation calls it `truststore`.
            "trust": {"policy": policy, "store": self.config().join("truststore")},
            "registries": [{"host": registry.host(), "scheme": "http"}],
            "log": {"filter": "warn"},
        });
        fs::write(&config, text.to_string()).unwrap();
        let serve = &mut Command::new(PORTCULLIS);
        let _service =
            Process::start(serve.arg("serve").arg("--config").arg(&config).stdout(Stdio::null()));
        wait_for(port);
        let output = Command::new(PORTCULLIS)
            .args(["check", image, "--output", "json", "--server"])
            .arg(format!("http://127.0.0.1:{port}"))
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

fn trust_policy(store: &str) -> String {
    json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "scanners",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["*"],
        }],
    })
    .to_string()
}

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
        assert!(signer.as_str().unwrap().contains(&format!("CN={name}")), "{signer}");
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
