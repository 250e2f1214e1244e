//! docker-registry with its own `notifications`, which tell our service what was pushed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis_server::registry::{HostConfig, Registry, RegistryConfig, Scheme, Target};
use serde_json::{Value, json};

use super::PORTCULLIS;
use super::host::{self, Process, are_there, free_port, run, wait_for};
use super::notary::Notary;

const SECRET: &str = "a-secret-of-events";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// That nothing is attached is remembered for an hour, and still the report counts as soon as it is
/// pushed; `refresh` needs no event.
pub(crate) fn story() {
    if !are_there(&["docker-registry"], "docker-registry and its notifications", true) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (registry, listen, hooks) = (free_port(), free_port(), free_port());
    let _registry = start_registry(folder, registry, hooks);
    let notary = Notary::new(folder);
    let (key, chain) = notary.own_authority("ours");
    let host = format!("localhost:{registry}");
    let _service = serve(folder, &notary, &host, listen, hooks);
    let server = format!("http://127.0.0.1:{listen}");

    let image = format!("{host}/own/app:v1");
    push(&image);
    assert_eq!(status(&server, &image), "missing");

    let report = folder.join("trivy.json");
    fs::write(&report, host::trivy_report()).unwrap();
    let mut attach = Command::new(PORTCULLIS);
    attach.args(["attach", &image, "--plain-http", "--output", "json", "--report"]).arg(&report);
    attach.arg("--key").arg(&key).arg("--cert-chain").arg(&chain).stdin(Stdio::null());
    run(&mut attach);

    let mut looks = 0;
    while status(&server, &image) != "verified" {
        looks += 1;
        assert!(looks < 200, "it was not told: {}", status(&server, &image));
        std::thread::sleep(Duration::from_millis(50));
    }
    let refresh = [image.as_str(), "--server", &server, "--output", "json"];
    let refresh = || {
        let all = host::run_json(PORTCULLIS, &[&["refresh"], refresh.as_slice()].concat());
        let manifest = all["images"][0]["manifests"][0].clone();
        assert_eq!(manifest["after"]["status"], "verified", "{all:#}");
        manifest["outcome"] == "unchanged"
    };
    // The registry tells of every push on the way; while it does, what is known is looked at again.
    assert!((0..20).any(|_| refresh()), "what does not change is said to change");
}

/// What our command answers about the evidence on `image`.
#[track_caller]
fn status(server: &str, image: &str) -> String {
    let mut check = Command::new(PORTCULLIS);
    let output =
        check.args(["check", image, "--output", "json", "--server", server]).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    document["checks"][0]["evidence"]["status"].as_str().unwrap().to_owned()
}

fn start_registry(folder: &Path, port: u16, hooks: u16) -> Process {
    let config = folder.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n\
         http: {{addr: '127.0.0.1:{port}'}}\n\
         notifications:\n  endpoints:\n    - name: portcullis\n\
         \x20     url: http://127.0.0.1:{hooks}/v1/events/builds\n\
         \x20     headers: {{Authorization: ['Bearer {SECRET}']}}\n\
         \x20     timeout: 2s\n      threshold: 5\n      backoff: 100ms\n",
        folder.join("store").display(),
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(&mut command);
    wait_for(port);
    process
}

fn serve(folder: &Path, notary: &Notary, host: &str, listen: u16, hooks: u16) -> Process {
    fs::write(folder.join("events-token"), SECRET).unwrap();
    let config = folder.join("portcullis.yaml");
    let text = json!({
        "listen": format!("127.0.0.1:{listen}"),
        "admin": format!("127.0.0.1:{}", free_port()),
        "trust": notary.trust("ours"),
        "registries": [{"host": host, "scheme": "http"}],
        "registryEvents": {
            "listen": format!("127.0.0.1:{hooks}"),
            "sources": [{
                "name": "builds", "kind": "distribution",
                "auth": {"kind": "bearer", "secretFile": "events-token"},
                "repositories": ["own"],
            }],
        },
        "cache": {"ttl": "1h", "negativeTtl": "1h"},
        "log": {"filter": "warn"},
    });
    fs::write(&config, text.to_string()).unwrap();
    let mut command = Command::new(PORTCULLIS);
    command.arg("serve").arg("--config").arg(&config).stdout(Stdio::null());
    let process = Process::start(&mut command);
    wait_for(listen);
    wait_for(hooks);
    process
}

/// Pushes an image of one small layer.
fn push(image: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let image: portcullis_core::image::Reference = image.parse().unwrap();
    runtime.block_on(async {
        let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
        let hosts = [(image.registry().to_owned(), host)].into();
        let config = RegistryConfig { hosts, ..RegistryConfig::default() };
        let registry = Registry::new(config).unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let blob = async |bytes: &'static [u8]| {
            registry.push_blob(&image, bytes.into(), deadline).await.unwrap()
        };
        let (layer, settings): (&[u8], &[u8]) = (&[0; 1024], b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "size": settings.len(),
                "digest": blob(settings).await.to_string(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "size": layer.len(),
                "digest": blob(layer).await.to_string(),
            }],
        });
        let bytes = manifest.to_string().into();
        let target = Target::Tag("v1");
        registry.push_manifest(&image, bytes, OCI_MANIFEST, target, deadline).await.unwrap();
    });
}
