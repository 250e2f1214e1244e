//! Files in, the policy and the trust that are in force out; read again when the files change.
//!
//! A file that cannot be used keeps what was there before, and says so in the log and in
//! `portcullis_reloads_total`.

mod cosign;
pub mod trust;
mod upkeep;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use portcullis_core::image::Digest;
use portcullis_core::policy::{self, Policy, PolicyErrors, Source};
use portcullis_core::ports::Clock;
use portcullis_core::signature::cosign::CosignTrustError;
use portcullis_core::signature::{Trust, TrustError};
use tokio_util::sync::CancellationToken;

pub use self::cosign::CosignConfig;
use self::trust::{TrustConfig, TrustFiles};
use self::upkeep::Upkeep;
use crate::caught::{joined, lasting, survive_now};
use crate::chain::chain;
use crate::changes::Changes;
use crate::metrics::Metrics;

/// The largest rule file or trust policy that is read, in bytes.
pub const MAX_FILE: u64 = 4 * 1024 * 1024;
/// The most files in one folder of rules or certificates.
pub const MAX_FILES: usize = 1_000;

/// Where rules and trust are read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesConfig {
    /// Rule files, or folders with `.yaml` and `.yml` files. None: the default rule.
    pub rules: Vec<PathBuf>,
    /// Whose Notary Project signatures are trusted.
    pub trust: TrustConfig,
    /// Who signs cosign attestations.
    pub cosign: Vec<CosignConfig>,
    /// How often the files are looked at.
    pub interval: Duration,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file or folder cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is called like a rule file in a folder is something else, a folder or a pipe.
    #[error("`{}` is not a file: rename it, or move it elsewhere", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// A file is larger than [`MAX_FILE`].
    #[error("`{}` is {length} bytes long, more than the {MAX_FILE} allowed", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// A folder has more files than [`MAX_FILES`].
    #[error("`{}` has more than {MAX_FILES} files", path.display())]
    TooMany {
        /// Which.
        path: PathBuf,
    },
    /// A rule file is not text.
    #[error("`{}` is not UTF-8 text", path.display())]
    Encoding {
        /// Which.
        path: PathBuf,
    },
    /// A configuration folder of notation without a trust policy.
    #[error("`{}` has neither `trustpolicy.oci.json` nor `trustpolicy.json`", path.display())]
    NoTrustPolicy {
        /// The folder.
        path: PathBuf,
    },
    /// A configuration folder of notation with two trust stores.
    #[error("`{}` has both `truststore` and `trust-store`: keep one of them", path.display())]
    TwoTrustStores {
        /// The folder.
        path: PathBuf,
    },
    /// The rules have faults.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// The trust policy or a certificate has a fault.
    #[error("failed to use the trust policy `{}`", path.display())]
    Trust {
        /// The trust policy.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// An entry of cosign's signers has a fault.
    #[error("failed to use `trust.cosign`")]
    Cosign(#[from] CosignTrustError),
}

/// What is in force.
pub struct Rules {
    policy: ArcSwap<Policy>,
    trust: ArcSwap<Trust>,
}

impl Rules {
    /// Reads all files.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(config: &RulesConfig) -> Result<Self, RulesError> {
        let sources = rule_sources(&config.rules)?;
        let trust = TrustFiles::read(config)?;
        let rules = Self {
            policy: ArcSwap::from_pointee(parse_policy(config, &sources)?),
            trust: ArcSwap::from_pointee(trust.parse()?),
        };
        Ok(rules)
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The trust in force.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.load_full()
    }

    /// Looks at the files every interval until `stop`, and takes over what changed.
    pub async fn follow(
        self: Arc<Self>,
        config: RulesConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        changes: Changes,
        stop: CancellationToken,
    ) {
        // It outlives a look that panics.
        let told = Told { before: Mutex::new((self.policy(), self.trust())), changes };
        let look = || self.look(&config, &clock, &metrics, &told, &stop);
        lasting("rules", Arc::clone(&metrics), stop.clone(), look).await;
    }

    async fn look(
        self: &Arc<Self>,
        config: &RulesConfig,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
        told: &Told,
        stop: &CancellationToken,
    ) {
        let (mut seen, mut upkeep) = ((None, None), Upkeep::default());
        // What is in force may be what panics here: that must not keep the files from being read.
        survive_now("rules", metrics, || self.announce(clock, metrics));
        loop {
            let (rules, seen_before) = (Arc::clone(self), seen);
            let (files, time, counts) = (config.clone(), Arc::clone(clock), Arc::clone(metrics));
            // Files are read where blocking is allowed.
            let look = tokio::task::spawn_blocking(move || {
                let policy = rules.look_at_rules(&files, seen_before.0, &time, &counts);
                (policy, rules.look_at_trust(&files, seen_before.1, &counts))
            });
            let looked = look.await;
            // What was taken over is in force, also where the look panicked after it.
            told.tell((self.policy(), self.trust()));
            seen = joined(looked).unwrap_or(seen);
            upkeep.look(&self.policy(), clock.now(), metrics);
            metrics.looked(clock.now());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(config.interval) => {}
            }
        }
    }

    /// Takes over the rules if their files are not what was `seen` last.
    fn look_at_rules(
        &self,
        config: &RulesConfig,
        seen: Option<Digest>,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Option<Digest> {
        let read = rule_sources(&config.rules);
        let now = fingerprint(read.as_ref().map(|sources| {
            let mut all = Vec::new();
            for source in sources {
                all.extend(Digest::of(source.file.as_bytes()).as_bytes());
                all.extend(Digest::of(source.text.as_bytes()).as_bytes());
            }
            all
        }));
        if seen == Some(now) {
            return seen;
        }
        match read.and_then(|sources| Ok(parse_policy(config, &sources)?)) {
            Ok(policy) if policy.revision() == self.policy().revision() => {}
            Ok(policy) => {
                self.policy.store(Arc::new(policy));
                metrics.reload("rules", "ok");
                self.announce(clock, metrics);
            }
            Err(error) => {
                metrics.reload("rules", "failed");
                tracing::error!(error = %chain(&error), revision = self.policy().revision(),
                    "rules cannot be used; those from before stay in force");
            }
        }
        Some(now)
    }

    /// Takes over the trust if its files are not what was `seen` last.
    fn look_at_trust(
        &self,
        config: &RulesConfig,
        seen: Option<Digest>,
        metrics: &Metrics,
    ) -> Option<Digest> {
        let read = TrustFiles::read(config);
        let now = fingerprint(read.as_ref().map(TrustFiles::bytes));
        if seen == Some(now) {
            return seen;
        }
        match read.and_then(|files| files.parse()) {
            Ok(trust) if trust.revision() == self.trust().revision() => {}
            Ok(trust) => {
                self.trust.store(Arc::new(trust));
                metrics.reload("trust", "ok");
                metrics.trust(self.trust().revision());
                tracing::info!(revision = %self.trust().revision(), "trust is in force");
                self.warn_of_trust();
            }
            Err(error) => {
                metrics.reload("trust", "failed");
                tracing::error!(error = %chain(&error),
                    "trust cannot be used; that from before stays in force");
            }
        }
        Some(now)
    }

    fn announce(&self, clock: &Arc<dyn Clock>, metrics: &Metrics) {
        let policy = self.policy();
        metrics.policy(policy.revision(), policy.rules().len(), clock.now());
        metrics.trust(self.trust().revision());
        tracing::info!(
            revision = policy.revision(),
            rules = policy.rules().len(),
            "policy is in force"
        );
        self.warn_of_trust();
    }

    fn warn_of_trust(&self) {
        for warning in self.trust().warnings() {
            tracing::warn!("{warning}");
        }
    }
}

/// What watchers were told of last.
struct Told {
    before: Mutex<(Arc<Policy>, Arc<Trust>)>,
    changes: Changes,
}

impl Told {
    /// Tells them of what is in force where that is something else.
    fn tell(&self, now: (Arc<Policy>, Arc<Trust>)) {
        let mut before = self.before.lock();
        let is_same = before.0.revision() == now.0.revision();
        if !is_same || before.1.revision() != now.1.revision() {
            self.changes.policy(now.0.revision());
        }
        *before = now;
    }
}

/// The default rule holds where no rules are configured, not where a folder is empty: it may be on its
/// way, and what it denied must not be let through meanwhile.
fn parse_policy(config: &RulesConfig, sources: &[Source]) -> Result<Policy, PolicyErrors> {
    if config.rules.is_empty() { Ok(Policy::default_policy()) } else { policy::parse(sources) }
}

/// Tells one state of the files from another, faults included.
fn fingerprint(read: Result<Vec<u8>, &RulesError>) -> Digest {
    match read {
        Ok(bytes) => Digest::of(&bytes),
        Err(error) => Digest::of(chain(error).as_bytes()),
    }
}

/// The rule files as text: each of `paths`, or for a folder its `.yaml` and `.yml` files by name.
///
/// # Errors
/// When one cannot be read.
pub fn rule_sources(paths: &[PathBuf]) -> Result<Vec<Source>, RulesError> {
    let mut sources = Vec::new();
    for path in paths {
        let is_rules = |p: &Path| p.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let files: Vec<_> = if path.is_dir() {
            files(path)?.into_iter().filter(|p| is_rules(p)).collect()
        } else {
            vec![path.clone()]
        };
        // What is named may be a pipe. In a folder nobody means one, and reading it might never end.
        if path.is_dir()
            && let Some(other) = files.iter().find(|p| p.exists() && !p.is_file())
        {
            return Err(RulesError::NotAFile { path: other.clone() });
        }
        for file in files {
            let text = String::from_utf8(read(&file)?)
                .map_err(|_| RulesError::Encoding { path: file.clone() })?;
            sources.push(Source { file: file.display().to_string(), text });
        }
    }
    Ok(sources)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What is in a folder, by name; hidden entries are the kubelet's own and are left out.
fn files(folder: &Path) -> Result<Vec<PathBuf>, RulesError> {
    let failed = |source| RulesError::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !file_name(&path).starts_with('.') {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            return Err(RulesError::TooMany { path: folder.to_owned() });
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, RulesError> {
    use std::io::Read as _;
    let failed = |source| RulesError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    // The length is counted while reading, because a file may grow.
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    let length = bytes.len() as u64;
    if length > MAX_FILE {
        return Err(RulesError::TooLarge { path: path.to_owned(), length });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
