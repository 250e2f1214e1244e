//! A registry that others wrote, and that believes a token server of ours elsewhere.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use portcullis_server::registry::{
    Credentials, HostConfig, Registry, RegistryConfig, RegistryError, Scheme, Secret, SecretSource,
};
use portcullis_testkit::cloud::distribution::TokenServer;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::PORTCULLIS;
use super::host::{self, Process, are_there, free_port, run, wait_for};
use super::notary::Notary;
use super::service::{Answer, ask_with};

const USER: &str = "scanner";
const PASSWORD: &str = "open sesame";
const SERVICE: &str = "registry of the team";
const ISSUER: &str = "tokens of the team";

/// docker-registry with the root of a token server, which is at another port.
struct Guarded {
    host: String,
    tokens: TokenServer,
    _registry: Process,
    folder: tempfile::TempDir,
    runtime: Runtime,
}

impl Guarded {
    /// `None` where the programs are not installed.
    fn start() -> Option<Self> {
        if !are_there(&["docker-registry", "crane"], "docker-registry and tokens", true) {
            return None;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let now = time::OffsetDateTime::now_utc();
        let started = TokenServer::start(ISSUER, SERVICE, (USER, PASSWORD), now);
        let tokens = runtime.block_on(started).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = registry(folder.path(), port, &tokens);
        let host = format!("localhost:{port}");
        let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let config = json!({"auths": {&host: {"auth": auth}}});
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Some(Self { host, tokens, _registry: process, folder, runtime })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn push_image(&self, image: &str) {
        let layer = self.path("layer.tar");
        fs::write(&layer, [0; 1024]).unwrap();
        let mut crane = Command::new("crane");
        crane.env("DOCKER_CONFIG", self.folder.path());
        run(crane.args(["append", "--insecure", "-t", image, "-f"]).arg(layer));
    }

    /// `portcullis attach` with the right password, and whether it did.
    fn attach(&self, image: &str, (key, chain): (&Path, &Path), realms: &[&str]) -> bool {
        let report = self.path("trivy.json");
        fs::write(&report, host::trivy_report()).unwrap();
        let mut command = Command::new(PORTCULLIS);
        command.args(["attach", image, "--plain-http", "--username", USER, "--password-stdin"]);
        for realm in realms {
            command.args(["--trusted-realm-host", realm]);
        }
        command.arg("--report").arg(&report).arg("--key").arg(key).arg("--cert-chain").arg(chain);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
        child.wait().unwrap().success()
    }

    /// What a service that has this password says about `image`.
    fn check(&self, trust: &Value, password: &str, realms: &[&str], image: &str) -> Answer {
        let file = self.path("password");
        fs::write(&file, password).unwrap();
        let registry = json!({
            "host": self.host,
            "scheme": "http",
            "username": USER,
            "passwordFile": file,
            "trustedRealmHosts": realms,
        });
        ask_with(self.folder.path(), &registry, trust, image)
    }

    /// A client of ours that is in this process.
    fn client(&self, credentials: Credentials) -> Registry {
        let settings = HostConfig {
            scheme: Scheme::Http,
            credentials,
            trusted_realm_hosts: vec![self.tokens.host()],
            ..HostConfig::default()
        };
        let hosts = [(self.host.clone(), settings)].into();
        Registry::new(RegistryConfig { hosts, ..RegistryConfig::default() }).unwrap()
    }

    fn resolve(&self, client: &Registry, image: &str) -> Result<(), RegistryError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let image = image.parse().unwrap();
        self.runtime.block_on(client.resolve(&image, deadline)).map(drop)
    }
}

fn registry(folder: &Path, port: u16, tokens: &TokenServer) -> Process {
    let root = folder.join("root.pem");
    fs::write(&root, tokens.root_pem()).unwrap();
    let config = folder.join("registry.yml");
    // YAML has JSON in it.
    let text = json!({
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": folder.join("store")}},
        "http": {"addr": format!("127.0.0.1:{port}")},
        "auth": {"token": {
            "realm": tokens.realm(),
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": root,
        }},
    });
    fs::write(&config, text.to_string()).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(&mut command);
    wait_for(port);
    process
}

/// What is pushed and asked for with the password is denied for what is in it; with another password,
/// or where the token server is not trusted with it (CASES T036, T037), nothing is known.
pub(crate) fn story() {
    let Some(guarded) = Guarded::start() else { return };
    let image = format!("{}/own/app:v1", guarded.host);
    guarded.push_image(&image);
    let notary = Notary::new(guarded.folder.path());
    let (key, chain) = notary.own_authority("ours");
    let trust = notary.trust("ours");
    let realm = guarded.tokens.host();
    let asked = || guarded.tokens.service.asked();

    // Nothing at all is asked of a token server that is not trusted.
    let before = asked().len();
    assert!(!guarded.attach(&image, (&key, &chain), &[]));
    guarded.check(&trust, PASSWORD, &[], &image).is_unavailable("token server");
    assert_eq!(asked().len(), before);

    assert!(guarded.attach(&image, (&key, &chain), &[&realm]));
    let denied = guarded.check(&trust, PASSWORD, &[&realm], &image);
    denied.is_denied_for("CVE-2022-37434");
    denied.names_signer("CN=ours");
    assert!(asked().len() > before);

    let refused = guarded.check(&trust, "open barley", &[&realm], &image);
    refused.is_unavailable("401");
}

/// The registry refuses the token of another repository, and we ask for one for each.
pub(crate) fn one_repository() {
    let Some(guarded) = Guarded::start() else { return };
    let [own, other] = ["own/app", "other/app"].map(|name| format!("{}/{name}:v1", guarded.host));
    guarded.push_image(&own);
    guarded.push_image(&other);

    let token = guarded.tokens.token(&["repository:own/app:pull"]).unwrap();
    let alone = guarded.client(Credentials::RegistryToken(SecretSource::Given(Secret::new(token))));
    guarded.resolve(&alone, &own).unwrap();
    let refused = guarded.resolve(&alone, &other).unwrap_err();
    assert!(matches!(refused, RegistryError::Denied { status: 401, .. }), "{refused:?}");

    let before = guarded.tokens.service.asked().len();
    let password = Secret::new(PASSWORD.to_owned());
    let client = guarded.client(Credentials::Basic { username: USER.to_owned(), password });
    guarded.resolve(&client, &own).unwrap();
    guarded.resolve(&client, &other).unwrap();
    let asked = guarded.tokens.service.asked();
    let queries: Vec<_> = asked[before..].iter().map(|asked| asked.query.as_str()).collect();
    let query =
        |name: &str| format!("service=registry+of+the+team&scope=repository%3A{name}%2Fapp%3Apull");
    assert_eq!(queries, [query("own"), query("other")]);
}
