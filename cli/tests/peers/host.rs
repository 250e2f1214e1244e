//! Registries as processes, and what oras and crane put into them.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// A registry that others wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    DockerRegistry,
    Olareg,
    Zot,
}

impl Peer {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::DockerRegistry => "docker-registry",
            Self::Olareg => "olareg",
            Self::Zot => "zot",
        }
    }
}

/// Whether all `programs` are installed. Says loudly what is not, and fails where peers are required:
/// all but zot, whose module cannot be had everywhere.
pub(crate) fn all_there(programs: &[&str], peer: Peer) -> bool {
    are_there(programs, peer.program(), peer != Peer::Zot)
}

/// As [`all_there`], for another story.
pub(crate) fn are_there(programs: &[&str], story: &str, can_be_required: bool) -> bool {
    let missing: Vec<_> = programs.iter().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return true;
    }
    // Not by `eprintln!`, which the test harness keeps to itself.
    let skipped = format!("SKIPPED: the story with {story}: {missing:?} not installed\n");
    std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    let required = std::env::var_os("PORTCULLIS_PEERS").is_some_and(|v| v == "required");
    assert!(!required || !can_be_required, "{missing:?} are required and not installed");
    false
}

fn installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        Self(command.spawn().unwrap_or_else(|error| panic!("{name}: {error}")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The ports that stories may have: below those that the system gives to whoever asks for any.
const PORTS: Range<u16> = 20_000..32_000;

/// A port that nobody listens on, and that no other story is given while this process lives, of this process or
/// another: two registries on one port would be one registry for two stories. Who has a port holds it for UDP.
pub(crate) fn free_port() -> u16 {
    let count = u32::from(PORTS.end - PORTS.start);
    // Processes begin in different places, most often.
    let first = std::process::id().wrapping_mul(97) % count;
    for number in 0..count {
        let port = PORTS.start + u16::try_from((first + number) % count).unwrap();
        let Ok(hold) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            Box::leak(Box::new(hold));
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// Waits until somebody listens on `port`.
pub(crate) fn wait_for(port: u16) {
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(25));
    }
    panic!("nobody listens on port {port}");
}

/// Looks for what comes within half a minute.
pub(crate) fn eventually(what: &str, look: impl Fn() -> bool) {
    for _ in 0..150 {
        if look() {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("it never came: {what}");
}

/// Runs a program to its end, and gives what it wrote to standard output.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn run_json(program: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(Command::new(program).args(arguments))).unwrap()
}

/// A running registry.
pub(crate) struct Registry {
    peer: Peer,
    host: String,
    _process: Process,
}

impl Registry {
    pub(crate) fn start(peer: Peer, folder: &Path) -> Self {
        let port = free_port();
        let store = folder.join("registry");
        fs::create_dir_all(&store).unwrap();
        let mut command = Command::new(peer.program());
        match peer {
            Peer::DockerRegistry => {
                let config = folder.join("registry.yml");
                let text = format!(
                    "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
                     delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
                    store.display()
                );
                fs::write(&config, text).unwrap();
                command.arg("serve").arg(config);
            }
            Peer::Olareg => {
                command.args([
                    "serve",
                    "--addr",
                    "127.0.0.1",
                    "--api-delete",
                    "--store-type",
                    "mem",
                ]);
                command.arg("--port").arg(port.to_string());
            }
            Peer::Zot => {
                let config = folder.join("zot.json");
                let text = json!({
                    "storage": {"rootDirectory": store},
                    "http": {"address": "127.0.0.1", "port": port.to_string()},
                    "log": {"level": "error"},
                });
                fs::write(&config, text.to_string()).unwrap();
                command.arg("serve").arg(config);
            }
        }
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        wait_for(port);
        Self { peer, host: format!("localhost:{port}"), _process: process }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether it has the referrers API.
    pub(crate) fn has_referrers(&self) -> bool {
        self.peer != Peer::DockerRegistry
    }

    /// Pushes an image of one small layer with crane, and gives its digest.
    pub(crate) fn push_image(&self, folder: &Path, image: &str) -> String {
        // An empty tar archive: two blocks of zeros.
        self.push(folder, image, &[0; 1024])
    }

    /// Pushes an image that is not that of [`Registry::push_image`].
    pub(crate) fn push_other_image(&self, folder: &Path, image: &str) -> String {
        self.push(folder, image, &[0; 1536])
    }

    fn push(&self, folder: &Path, image: &str, archive: &[u8]) -> String {
        let layer = folder.join("layer.tar");
        fs::write(&layer, archive).unwrap();
        run(Command::new("crane").args(["append", "--insecure", "-t", image, "-f"]).arg(layer));
        run(Command::new("crane").args(["digest", "--insecure", image])).trim().to_owned()
    }

    /// Attaches an in-toto statement about `subject` with oras, and gives the digest of its manifest.
    pub(crate) fn attach_statement(&self, folder: &Path, image: &str, subject: &str) -> String {
        fs::write(folder.join("statement.json"), statement(subject)).unwrap();
        let answer = run(Command::new("oras").current_dir(folder).args([
            "attach",
            "--plain-http",
            "--format",
            "json",
            "--artifact-type",
            "application/vnd.in-toto+json",
            "--annotation",
            "in-toto.io/predicate-type=https://in-toto.io/attestation/vulns/v0.2",
            image,
            "statement.json:application/vnd.in-toto+json",
        ]));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["digest"].as_str().unwrap().to_owned()
    }

    /// Deletes what is attached to `artifact`.
    pub(crate) fn delete_referrers(&self, folder: &Path, artifact: &str) {
        let discover = ["discover", "--plain-http", "--format", "json", artifact];
        let found = run(Command::new("oras").current_dir(folder).args(discover));
        let found: Value = serde_json::from_str(&found).unwrap();
        let attached = found["referrers"].as_array().or(found["manifests"].as_array());
        let attached = attached.cloned().unwrap_or_default();
        assert!(!attached.is_empty(), "nothing is attached to {artifact}");
        for entry in attached {
            let name = entry["reference"].as_str().unwrap();
            let delete = ["manifest", "delete", "--plain-http", "--force", name];
            run(Command::new("oras").current_dir(folder).args(delete));
        }
    }
}

/// A statement as a scanner makes it, with one critical finding.
fn statement(subject: &str) -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "team/app", "digest": {"sha256": subject.strip_prefix("sha256:").unwrap()}}],
        "predicateType": "https://in-toto.io/attestation/vulns/v0.2",
        "predicate": {
            "scanner": {
                "uri": "pkg:github/aquasecurity/trivy",
                "version": "0.74.0",
                "db": {"uri": "trivy-db", "lastUpdate": "2026-11-01T00:00:00Z"},
                "result": [{
                    "id": "CVE-2022-37434",
                    "severity": [{"method": "nvd", "score": "critical"}, {"method": "cvss_score", "score": "9.8"}],
                    "annotations": [{"package": "zlib", "installed_version": "1.2.11", "fixed_version": "1.2.12"}],
                }],
            },
            "metadata": {
                "scanStartedOn": "2026-11-01T00:00:00Z",
                "scanFinishedOn": "2026-11-01T00:01:00Z",
            },
        },
    })
    .to_string()
}

/// A report as Trivy writes it, with one critical finding.
pub(crate) fn trivy_report() -> String {
    json!({
        "SchemaVersion": 2,
        "CreatedAt": "2026-11-01T00:01:00Z",
        "ArtifactName": "own/app:v1",
        "ArtifactType": "container_image",
        "Metadata": {"OS": {"Family": "debian", "Name": "12"}},
        "Results": [{
            "Target": "own/app:v1 (debian 12)",
            "Class": "os-pkgs",
            "Type": "debian",
            "Vulnerabilities": [{
                "VulnerabilityID": "CVE-2022-37434",
                "PkgName": "zlib1g",
                "InstalledVersion": "1:1.2.11",
                "FixedVersion": "1:1.2.12",
                "Status": "fixed",
                "Severity": "CRITICAL",
            }],
        }],
    })
    .to_string()
}
