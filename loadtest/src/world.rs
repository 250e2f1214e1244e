//! A registry in, a folder with all that a service needs to ask it out: configuration, trust, rules.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::registry::Registry;

/// Rules as a company might have them: ten, of which some are about each question. Most images are
/// allowed; those with a critical finding are denied.
const RULES: &str = include_str!("../rules.yaml");

/// The name of the configuration.
const CONFIG: &str = "portcullis.yaml";

/// The folder that a scenario may name as `dataDir`.
const DATA: &str = "data";

/// The folder of one service.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// Makes a folder for each replica, which are removed when this is dropped. `more` is YAML that
    /// follows the configuration.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn new(registry: &Registry, more: &str, replicas: u32) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-loadtest-").tempdir()?;
        let world = Self { folder };
        for replica in 0..replicas {
            Self::write(&world.replica(replica), registry, more, listen_on(replicas)?)?;
        }
        Ok(world)
    }

    /// Writes the files to a folder, for a service that listens on `listen`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(
        folder: &Path,
        registry: &Registry,
        more: &str,
        listen: SocketAddr,
    ) -> anyhow::Result<()> {
        let roots = folder.join("truststore/x509/ca").join(Registry::store());
        // A service does not make the folder of its data itself.
        for made in [&roots, &folder.join(DATA)] {
            fs::create_dir_all(made)
                .with_context(|| format!("failed to make `{}`", made.display()))?;
        }
        let host = registry.address();
        let config = format!(
            "listen: {listen}\n\
             admin: 127.0.0.1:0\n\
             rules: [rules.yaml]\n\
             trust: {{policy: trustpolicy.json, store: truststore}}\n\
             log: {{format: json}}\n\
             registries:\n\
             \x20 - host: {host}\n\
             \x20   scheme: http\n\
             \x20   requestsPerSecond: 1000000\n\
             \x20   burst: 1000000\n\
             {more}\n"
        );
        let files = [
            (roots.join("root.pem"), registry.root_pem()),
            (folder.join("trustpolicy.json"), registry.trust_policy()?),
            (folder.join("rules.yaml"), RULES.to_owned()),
            (folder.join(CONFIG), config),
        ];
        for (path, text) in files {
            fs::write(&path, text)
                .with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        Ok(())
    }

    /// The configuration of a replica.
    pub(crate) fn config(&self, replica: u32) -> PathBuf {
        self.replica(replica).join(CONFIG)
    }

    /// Where a replica's log goes.
    pub(crate) fn log(&self, replica: u32) -> PathBuf {
        self.replica(replica).join("service.log")
    }

    fn replica(&self, replica: u32) -> PathBuf {
        self.folder.path().join(replica.to_string())
    }
}

/// One service may listen on any port. One of several is found again where it was: its port is one that
/// was free a moment ago.
fn listen_on(replicas: u32) -> anyhow::Result<SocketAddr> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if replicas == 1 {
        return Ok(any);
    }
    Ok(TcpListener::bind(any).and_then(|listener| listener.local_addr())?)
}
