//! A configuration file in, checked values out. Unknown fields are errors, with line and column.

mod clusters;
mod credentials;
mod environment;
mod registries;
mod telemetry;
mod trust;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_config::{Address, Malformed, Span, parse};
use portcullis_core::image::ImageError;
use portcullis_core::referrers::Profiles;
use portcullis_telemetry::TelemetryConfig;
use serde::Deserialize;

pub use self::environment::Environment;

use self::clusters::{ClusterFile, PlatformText};
use self::credentials::Place;
use self::registries::{Listed, ProxyFile, RegistryFile, UnlistedFile, authorities, listed};
use self::telemetry::{LogFile, TracesFile, telemetry};
use self::trust::TrustFile;
use crate::clusters::Clusters;
use crate::events::spool::SpoolConfig;
use crate::evidence::marks::MarksConfig;
use crate::evidence::memory::MemoryConfig;
use crate::evidence::store::StoreConfig;
use crate::hooks::config::HooksConfig;
use crate::limit::{LimitConfig, MAX_IN_FLIGHT};
use crate::listen::ListenConfig;
use crate::refresh::RefreshConfig;
use crate::registry::{
    CredentialError, RegistryConfig, RegistryConfigError, Unlisted, without_user,
};
use crate::resolve::ResolveConfig;
use crate::revocation::RevocationConfig;
use crate::rules::RulesConfig;
use crate::tls::TlsConfig;

mod events;
mod evidence;
mod file;
mod limits;
mod hooks;
mod tls;

pub use hooks::HooksConfigError;
pub use tls::TlsConfigError;

use events::SpoolFile;
use evidence::{CacheFile, MarksFile};
use file::{read, read_of};
use hooks::{HooksFile, RefreshFile};
use limits::{LimitsFile, at_least_one};
use tls::{OperatorFile, TlsFile};

/// The largest configuration, password or certificate file that is read, in bytes.
pub const MAX_CONFIG: usize = 1024 * 1024;

/// All about one decision service.
#[derive(Clone)]
pub struct Config {
    /// Where gRPC is served: a loopback address, or any with TLS that demands certificates.
    pub listen: SocketAddr,
    /// How it is served in TLS, if it is.
    pub tls: Option<TlsConfig>,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub admin: SocketAddr,
    /// Rules and trust.
    pub rules: RulesConfig,
    /// Whom to ask which certificates were revoked.
    pub revocation: RevocationConfig,
    /// Registries.
    pub registry: RegistryConfig,
    /// Which artifacts count as reports.
    pub profiles: Profiles,
    /// Which platforms the nodes of clusters have.
    pub clusters: Clusters,
    /// What is remembered of digests whatever else is forgotten.
    pub marks: MarksConfig,
    /// What is remembered of digests.
    pub memory: MemoryConfig,
    /// What of that is kept on disk.
    pub store: StoreConfig,
    /// What is remembered of references.
    pub resolve: ResolveConfig,
    /// How connections are served.
    pub serving: ListenConfig,
    /// How long a question may take where its caller gives no deadline.
    pub budget: Duration,
    /// The most questions that wait at a time.
    pub max_in_flight: usize,
    /// Whose share of what waits has which bound.
    pub limits: LimitConfig,
    /// A file that events are appended to as JSON lines.
    pub events: Option<PathBuf>,
    /// The record of decisions under the data directory.
    pub spool: SpoolConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Who may tell that something changed in a registry.
    pub hooks: HooksConfig,
    /// What is kept fresh.
    pub refresh: RefreshConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
            tls: None,
            admin: SocketAddr::from(([127, 0, 0, 1], 7080)),
            rules: RulesConfig { interval: Duration::from_secs(2), ..RulesConfig::default() },
            revocation: RevocationConfig::default(),
            registry: RegistryConfig::default(),
            profiles: Profiles::default(),
            clusters: Clusters::default(),
            marks: MarksConfig::default(),
            memory: MemoryConfig::default(),
            store: StoreConfig::default(),
            resolve: ResolveConfig::default(),
            serving: ListenConfig::default(),
            budget: Duration::from_secs(1),
            max_in_flight: MAX_IN_FLIGHT,
            limits: LimitConfig::default(),
            events: None,
            spool: SpoolConfig::default(),
            telemetry: TelemetryConfig::default(),
            hooks: HooksConfig::default(),
            refresh: RefreshConfig::default(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than [`MAX_CONFIG`].
    #[error("`{}` is {length} bytes long, more than the {MAX_CONFIG} allowed", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// The file is not YAML of the right shape. The source says where and what.
    #[error("`{}` is not a configuration", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and what.
        source: Malformed,
    },
    /// A file that something in the configuration names cannot be used.
    #[error("{field} cannot be used")]
    File {
        /// Which field, and of what.
        field: String,
        /// Why.
        source: Box<Self>,
    },
    /// A registry host is malformed.
    #[error("`registries` names `{}`, which is not a registry host", without_user(.host))]
    Host {
        /// As configured.
        host: String,
        /// Why.
        source: Option<ImageError>,
    },
    /// A registry has a user name without a password, or the reverse.
    #[error(
        "`{}` has one of `username` and `passwordFile`: give both or neither", without_user(.0)
    )]
    Credentials(String),
    /// A registry has two ways to say who asks.
    #[error("registry `{0}` has `credentials` and also `username` or `passwordFile`: keep one")]
    CredentialsTwice(String),
    /// What a cloud's credentials need is not said.
    #[error("credentials of kind `{kind}` need {what}")]
    Missing {
        /// Which.
        kind: &'static str,
        /// What.
        what: &'static str,
    },
    /// A cloud's credentials cannot be used.
    #[error("credentials of kind `{kind}` cannot be used")]
    Cloud {
        /// Which.
        kind: &'static str,
        /// Why.
        source: CredentialError,
    },
    /// A pattern of registry hosts is malformed, or has more than credentials.
    #[error(
        "`registries` names the pattern `{}`: expected a host without a port, of which labels may \
         hold `*`, with `credentials` and nothing else; list one registry by its name for the rest",
        without_user(.0)
    )]
    Pattern(String),
    /// The proxy or the authorities of all registries cannot be used.
    #[error("`proxy` or `registryCaFile` cannot be used")]
    Way(#[source] RegistryConfigError),
    /// A registry host is listed twice.
    #[error("`registries` names `{0}` twice; keep one entry")]
    HostTwice(String),
    /// A cluster is listed twice.
    #[error("`clusters` names `{0}` twice; keep one entry")]
    ClusterTwice(String),
    /// The sections on TLS and who asks cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// Trust is read from files that do not go together.
    #[error("`trust` has {0}")]
    Trust(&'static str),
    /// The section on registry events cannot be used.
    #[error(transparent)]
    Hooks(#[from] HooksConfigError),
    /// A number is out of its range.
    #[error("`{field}` is out of range: expected {expected}")]
    Range {
        /// Which field.
        field: &'static str,
        /// What is allowed.
        expected: &'static str,
    },
}

impl Config {
    /// As [`Self::read`], where no cloud says anything.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it cannot be used; the error names it.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        Self::read(path, &Environment::default())
    }

    /// Reads the YAML file `path`. Relative paths in it start at its folder. What it does not say of
    /// credentials of a cloud is what the cloud says in `environment`.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it cannot be used; the error names it.
    pub fn read(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let bytes = read(path)?;
        let malformed = |source| ConfigError::Malformed { path: path.to_owned(), source };
        let file: File = parse(&bytes).map_err(malformed)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.into_config(Place { folder, environment, registry: "" })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    listen: Option<Address>,
    tls: Option<TlsFile>,
    admin: Option<Address>,
    #[serde(default)]
    rules: Vec<PathBuf>,
    #[serde(default)]
    trust: TrustFile,
    #[serde(default)]
    registries: Vec<RegistryFile>,
    unlisted_registries: Option<UnlistedFile>,
    proxy: Option<ProxyFile>,
    registry_ca_file: Option<PathBuf>,
    profiles: Option<Profiles>,
    #[serde(default)]
    platforms: Vec<PlatformText>,
    #[serde(default)]
    clusters: Vec<ClusterFile>,
    #[serde(default)]
    operators: Vec<OperatorFile>,
    data_dir: Option<PathBuf>,
    #[serde(default)]
    marks: MarksFile,
    #[serde(default)]
    cache: CacheFile,
    budget: Option<Span>,
    max_in_flight: Option<usize>,
    #[serde(default)]
    limits: LimitsFile,
    events: Option<PathBuf>,
    #[serde(default)]
    spool: SpoolFile,
    #[serde(default)]
    log: LogFile,
    #[serde(default)]
    traces: TracesFile,
    #[serde(default)]
    registry_events: HooksFile,
    #[serde(default)]
    refresh: RefreshFile,
}

impl File {
    fn into_config(self, place: Place<'_>) -> Result<Config, ConfigError> {
        let folder = place.folder;
        let Self {
            listen,
            tls,
            admin,
            rules,
            trust,
            registries,
            unlisted_registries,
            proxy,
            registry_ca_file,
            profiles,
            platforms,
            clusters,
            operators,
            data_dir,
            marks,
            cache,
            budget,
            max_in_flight,
            limits,
            events,
            spool,
            log,
            traces,
            registry_events,
            refresh,
        } = self;
        let defaults = Config::default();
        let data_dir = data_dir.map(|path| folder.join(path));
        let listen = listen.map_or(defaults.listen, |address| address.0);
        let (clusters, speakers) = self::clusters::clusters(platforms, clusters)?;
        let tls = tls::tls(listen, tls, speakers, operators, folder)?;
        let revocation = trust.revocation();
        let unlisted = unlisted_registries.map_or(defaults.registry.unlisted, Unlisted::from);
        let Listed { hosts, patterns } = listed(registries, place)?;
        let proxy = proxy.map(|proxy| proxy.into_proxy(folder)).transpose()?;
        let authorities = registry_ca_file
            .map(|path| authorities("`registryCaFile`", &folder.join(path)))
            .transpose()?;
        let content_bytes = cache.content_bytes.unwrap_or(defaults.registry.content_bytes);
        let store = cache.store(data_dir.clone())?;
        let (memory, resolve) = cache.into_configs(&defaults);
        Ok(Config {
            hooks: registry_events.into_config(folder)?,
            refresh: refresh.into_config(memory.search_timeout),
            listen,
            tls,
            admin: admin.map_or(defaults.admin, |address| address.0),
            rules: RulesConfig {
                rules: rules.iter().map(|path| folder.join(path)).collect(),
                cosign: trust.cosign(folder),
                trust: trust.into_config(folder)?,
                interval: defaults.rules.interval,
            },
            revocation,
            registry: RegistryConfig {
                hosts,
                patterns,
                unlisted,
                content_bytes,
                proxy,
                authorities: authorities.unwrap_or_default(),
                ..defaults.registry
            },
            profiles: profiles.unwrap_or(defaults.profiles),
            clusters,
            spool: spool.into_config(data_dir.as_deref())?,
            marks: marks.into_config(data_dir)?,
            memory,
            store,
            resolve,
            budget: budget.map_or(defaults.budget, |span| span.0),
            max_in_flight: at_least_one("maxInFlight", max_in_flight, defaults.max_in_flight)?,
            limits: limits.limits(&defaults.limits)?,
            serving: limits.serving(&defaults.serving)?,
            events: events.map(|path| folder.join(path)),
            telemetry: telemetry(log, traces, defaults.telemetry)?,
        })
    }
}

#[cfg(test)]
mod tests;
