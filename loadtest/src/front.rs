//! Services in, a shim before them out, with the certificate that it shows.

use std::any::Any;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::Part;
use crate::bench::UnderTest;
use crate::certificate::{Certificate, FILES};
use crate::clock::{self, SECOND};
use crate::process::{self, Addresses, Cores, Process, Usage};
use crate::scenario::ShimSettings;

/// How long a shim may take until it takes reviews.
const READY: u64 = 60 * SECOND;
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// After which time it is at rest.
const REST: Duration = Duration::from_secs(1);
/// The longest answer of a probe that is read, in bytes.
const MAX_PROBE: u64 = 4_096;

/// A shim that runs.
pub(crate) struct Front {
    folder: TempDir,
    /// None where it runs in this process.
    process: Option<Process>,
    _within: Option<Box<dyn Any + Send + Sync>>,
    addresses: Addresses,
    certificate: Certificate,
    at_rest: Usage,
}

impl Front {
    /// Begins a shim that asks `services`, and waits until it is ready and at rest.
    ///
    /// # Errors
    /// When it cannot be begun, or is not ready in time.
    pub(crate) fn start(
        under_test: &UnderTest,
        cores: Option<&Cores>,
        settings: &ShimSettings,
        services: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-loadtest-shim-").tempdir()?;
        let certificate = Certificate::make(folder.path())?;
        let config = folder.path().join("shim.yaml");
        let text = settings_text(settings, services);
        fs::write(&config, text)
            .with_context(|| format!("failed to write `{}`", config.display()))?;
        let log = log(folder.path());
        let (process, within, addresses) = match under_test {
            UnderTest::Program(program) => {
                let (process, addresses) =
                    process::begin(Part::Shim, program, &config, &log, cores)?;
                (Some(process), None, addresses)
            }
            UnderTest::Within(begin) => {
                let (addresses, held) = begin(Part::Shim, &config)?;
                (None, Some(held), addresses)
            }
            UnderTest::Running(_) => {
                anyhow::bail!("a scenario with a shim begins it itself: give --serve, not --target")
            }
        };
        let at_rest = Usage::default();
        let mut front = Self { folder, process, _within: within, addresses, certificate, at_rest };
        wait_until_ready(
            front.addresses.admin.context("the shim does not say where its probes are")?,
        )?;
        std::thread::sleep(REST);
        front.at_rest = front.usage()?;
        Ok(front)
    }

    /// Where it takes reviews.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.addresses.address
    }

    /// What it shows.
    pub(crate) const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The folder with its certificate and key.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it took of the machine before it was asked anything.
    pub(crate) const fn at_rest(&self) -> Usage {
        self.at_rest
    }

    /// What it takes of the machine.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        process::usage(self.process.as_ref().map_or_else(std::process::id, Process::id))
    }

    /// The last line of its log, if it has one.
    pub(crate) fn last_word(&self) -> Option<String> {
        let said = fs::read_to_string(log(self.folder.path())).ok()?;
        said.lines().last().map(ToOwned::to_owned)
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("shim.log")
}

fn settings_text(settings: &ShimSettings, services: &[SocketAddr]) -> String {
    let ShimSettings { near_cache_bytes, config } = settings;
    let servers: Vec<_> = services.iter().map(|address| format!("\"http://{address}\"")).collect();
    let near =
        near_cache_bytes.map_or_else(String::new, |bytes| format!(", nearCacheBytes: {bytes}"));
    format!(
        "listen: 127.0.0.1:0\n\
         admin: 127.0.0.1:0\n\
         namespace: portcullis\n\
         tls: {{certificateFile: {}, keyFile: {}}}\n\
         service: {{servers: [{}]{near}}}\n\
         context: {{cluster: cluster-000}}\n\
         log: {{format: json}}\n\
         {config}\n",
        FILES.0,
        FILES.1,
        servers.join(", ")
    )
}

fn wait_until_ready(admin: SocketAddr) -> anyhow::Result<()> {
    let give_up = clock::now() + READY;
    while !is_ready(admin) {
        anyhow::ensure!(clock::now() < give_up, "the shim is not ready after a minute");
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Whether it says that it is. One that cannot be asked yet is not.
fn is_ready(admin: SocketAddr) -> bool {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut said = String::new();
        stream.take(MAX_PROBE).read_to_string(&mut said)?;
        Ok(said)
    };
    asked().is_ok_and(|said| said.starts_with("HTTP/1.1 200 "))
}
