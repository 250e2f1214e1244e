//! A registry in, a folder with all that a service needs to ask it out: configuration, trust, rules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::registry::Registry;

/// Rules as a company might have them: ten, of which some are about each question. Most images are
/// allowed; those with a critical finding are denied.
const RULES: &str = include_str!("../rules.yaml");

/// The name of the configuration.
const CONFIG: &str = "portcullis.yaml";

/// The folder of one service.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// Makes the folder, which is removed when this is dropped. `more` is YAML that follows the
    /// configuration.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn new(registry: &Registry, more: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-loadtest-").tempdir()?;
        Self::write(folder.path(), registry, more)?;
        Ok(Self { folder })
    }

    /// Writes the files to a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(folder: &Path, registry: &Registry, more: &str) -> anyhow::Result<()> {
        let roots = folder.join("truststore/x509/ca").join(Registry::store());
        fs::create_dir_all(&roots)
            .with_context(|| format!("failed to make `{}`", roots.display()))?;
        let host = registry.address();
        let config = format!(
            "listen: 127.0.0.1:0\n\
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

    /// The configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.path(CONFIG)
    }

    /// A file in the folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}
