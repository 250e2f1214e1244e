//! A registry, an authority and a folder of files in, a service that runs on them out.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use portcullis_testkit::keys::Authority;
use portcullis_testkit::registry::Registry;
use portcullis_testkit::samples::{self, Sample};
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use super::command::{Ran, portcullis, run};

/// What a service is configured with, in this process and in one folder.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) authority: Authority,
    pub(crate) samples: Vec<Sample>,
    folder: TempDir,
    runtime: Runtime,
}

impl World {
    /// The registry holds the samples, and the folder a rule file, the trust that fits them, and
    /// `portcullis.yaml`, which names them all.
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let registry = runtime.block_on(Registry::start()).unwrap();
        let now = OffsetDateTime::now_utc();
        let authority = Authority::new("it", now).unwrap();
        let samples = samples::samples(&registry, &authority, now).unwrap();
        let world =
            Self { registry, authority, samples, folder: tempfile::tempdir().unwrap(), runtime };
        world.write("rules.yaml", samples::rules());
        world.write("trustpolicy.json", world.authority.trust_policy_json("*", "it").unwrap());
        world.write("truststore/x509/ca/it/root.pem", world.authority.root_pem());
        world.write("portcullis.yaml", world.config());
        world
    }

    fn config(&self) -> String {
        format!(
            "{FREE_PORTS}rules: [rules.yaml]\n\
             trust: {{policy: trustpolicy.json, store: truststore}}\n\
             registries: [{{host: \"{}\", scheme: http}}]\n",
            self.registry.host()
        )
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(self.folder.path(), name, content)
    }

    /// The reference of a sample.
    pub(crate) fn image(&self, name: &str) -> &str {
        &self.samples.iter().find(|sample| sample.name == name).unwrap().reference
    }

    /// Where a file of the folder is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A service that has at most so many file handles.
    pub(crate) fn serve_with_handles(&self, handles: usize) -> Service {
        let config = self.folder.path().join("portcullis.yaml");
        let limited = format!("ulimit -n {handles}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_portcullis"), "serve", "--config"]);
        Service::run(command.arg(config)).unwrap()
    }

    pub(crate) fn serve(&self) -> Service {
        Service::start(&self.folder.path().join("portcullis.yaml")).unwrap()
    }

    /// Adds lines to the configuration of the service.
    pub(crate) fn configure(&self, more: &str) {
        self.write("portcullis.yaml", self.config() + more);
    }

    /// Cuts the registry off, and gives its host.
    pub(crate) fn without_registry(self) -> (String, TempDir) {
        let host = self.registry.host().to_owned();
        self.runtime.block_on(self.registry.stop());
        (host, self.folder)
    }
}

/// The beginning of a configuration that a test can run: ports that are free, lines that it can read.
pub(crate) const FREE_PORTS: &str =
    "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nlog: {format: json}\n";

/// Writes a file, and the folders above it.
pub(crate) fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// It is killed when it is dropped.
struct Process(Child);

impl Process {
    /// Waits for the end.
    fn end(mut self) -> (Option<i32>, String) {
        let mut stdout = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        (self.0.wait().unwrap().code(), stdout)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `portcullis serve`.
pub(crate) struct Service {
    process: Process,
    listening: Value,
    before: String,
    rest: JoinHandle<String>,
}

impl Service {
    /// Starts it, and waits until it listens; or what it left if it ended before.
    pub(crate) fn start(config: &Path) -> Result<Self, Ran> {
        Self::run(&mut portcullis(&["serve", "--config", config.to_str().unwrap()]))
    }

    /// Starts a shim, and waits until it listens.
    pub(crate) fn shim(config: &Path) -> Self {
        Self::run(&mut portcullis(&["shim", "--config", config.to_str().unwrap()])).unwrap()
    }

    fn run(command: &mut Command) -> Result<Self, Ran> {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let mut lines = BufReader::new(process.0.stderr.take().unwrap());
        let mut stderr = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 {
                let (status, stdout) = process.end();
                return Err(Ran { status, stdout, stderr });
            }
            stderr.push_str(&line);
            let logged: Value = serde_json::from_str(&line).unwrap_or_default();
            if logged["message"] == "listening" {
                // Somebody must read on, or the service would wait for it.
                let rest = std::thread::spawn(move || {
                    let mut rest = String::new();
                    lines.read_to_string(&mut rest).unwrap();
                    rest
                });
                return Ok(Self { process, listening: logged, before: stderr, rest });
            }
        }
    }

    /// What it wrote until it listened.
    pub(crate) fn before(&self) -> &str {
        &self.before
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The same without the scheme.
    pub(crate) fn address(&self) -> &str {
        self.listening["address"].as_str().unwrap()
    }

    /// Its threads: their names, and how nice they are to others.
    pub(crate) fn threads(&self) -> Vec<(String, i32)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.0.id())).unwrap();
        let stat = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
        stat.map(|stat| {
            let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
            (name.to_owned(), fields.split(' ').nth(16).unwrap().parse().unwrap())
        })
        .collect()
    }

    /// How many file handles it has.
    pub(crate) fn handles(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.0.id())).unwrap().count()
    }

    /// The memory that it takes, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.0.id());
        let status = fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Where metrics are.
    pub(crate) fn admin(&self) -> &str {
        self.listening["admin"].as_str().unwrap()
    }

    /// `portcullis check` of an image at this service.
    #[track_caller]
    pub(crate) fn check(&self, image: &str, more: &[&str]) -> Ran {
        let url = self.url();
        run(&[&["check", image, "--server", &url, "--timeout", "20000"], more].concat())
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.process.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Sends a signal, by its name, and waits for the end; `stderr` is what came after it listened.
    pub(crate) fn end(self, signal: &str) -> Ran {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(self) -> Ran {
        let (status, stdout) = self.process.end();
        Ran { status, stdout, stderr: self.rest.join().unwrap() }
    }
}
