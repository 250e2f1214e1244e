//! notation with a folder of its own, and the trust that it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::host::{Registry, run};
use super::service::{Answer, ask};

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
        ask(&self.home, registry, &self.trust(store), image)
    }

    /// The section of our configuration that trusts `store`.
    pub(crate) fn trust(&self, store: &str) -> Value {
        let policy = self.home.join("trust.json");
        fs::write(&policy, trust_policy(store)).unwrap();
        // notation calls it `truststore`.
        json!({"policy": policy, "store": self.config().join("truststore")})
    }
}

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
