//! A configuration file in, checked values out. Unknown fields are errors, with line and column.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_config::{Malformed, parse};
use portcullis_telemetry::TelemetryConfig;
use portcullis_tls::PairFiles;
use serde::Deserialize;

use self::file::File;
use crate::renewal::RenewalConfig;
use crate::reports::ReportsConfig;
use crate::review::{FailPolicy, Settings};

mod file;
mod tls;
mod telemetry;

pub use self::tls::MAX_OWN_NAMES;

/// The largest configuration file that is read, in bytes.
pub const MAX_CONFIG: usize = 1024 * 1024;
/// The most namespaces that may be named in one list.
pub const MAX_NAMESPACES: usize = 1_000;
/// The longest that a review may be configured to take: the API server waits for 30 s at the most.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// The most platforms of nodes: as many as the service takes in one question.
pub const MAX_PLATFORMS: usize = 16;
/// Where Kubernetes says to a container in which namespace it runs.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// All about one shim.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API server sends reviews to, over TLS.
    pub listen: SocketAddr,
    /// Where `/metrics`, `/livez` and `/readyz` are served, in plain HTTP.
    pub admin: SocketAddr,
    /// Who we are to the API server, and whether it must say who it is.
    pub tls: TlsConfig,
    /// Where the decision service is.
    pub service: ServiceConfig,
    /// What is said of the cluster in every question.
    pub place: Place,
    /// The shim's own namespace, as configured or as Kubernetes says. Without it the shim's own pods are
    /// asked about, by themselves.
    pub namespace: Option<String>,
    /// Namespaces that nothing is asked about, the own one among them.
    pub exempt: BTreeSet<String>,
    /// What happens where nobody can say.
    pub fail: FailPolicies,
    /// What is known when the service is away.
    pub known: KnownConfig,
    /// What is told of answers that were given without the service.
    pub reports: ReportsConfig,
    /// Which objects a denial stops, and where they have images.
    pub reviews: Settings,
    /// The longest that a review may take.
    pub timeout: Duration,
    /// How much earlier than the API server gives up we answer.
    pub margin: Duration,
    /// For how long a shim that is told to stop answers on.
    pub drain: Duration,
    /// How connections are bounded.
    pub bounds: Bounds,
    /// What is logged and traced.
    pub telemetry: TelemetryConfig,
}

/// Who we are to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate with what it was signed by, and its key. None, where there is `renewal`.
    pub pair: Option<PairFiles>,
    /// How we make them ourselves, in place of files.
    pub renewal: Option<RenewalConfig>,
    /// Who signs the certificate that the API server must show. None: it need not show one.
    pub client_authorities: Option<PathBuf>,
}

/// Where the decision service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Its addresses, `http://host:port`, or `https://host:port` with [`ServiceConfig::tls`].
    pub servers: Vec<String>,
    /// By whom it is known, and who we are to it. None: it is asked in plain text.
    pub tls: Option<ServiceTls>,
    /// How much is kept of its answers, in bytes; 0 for nothing.
    pub near_bytes: usize,
}

/// How the decision service is asked over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTls {
    /// Who signs its certificate, in PEM.
    pub authorities: PathBuf,
    /// Our certificate and its key, in PEM, which say for which cluster we ask.
    pub pair: Option<(PathBuf, PathBuf)>,
    /// The name in its certificate, where that is not the name in its address.
    pub server_name: Option<String>,
}

/// What is said of the cluster in every question. Where the service knows its callers by their
/// certificates, those decide about the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Place {
    /// The cluster's name.
    pub cluster: String,
    /// The cloud: `azure`, `aws` or `gcp`.
    pub provider: String,
    /// The subscription, account or project.
    pub account: String,
    /// The region.
    pub region: String,
    /// The platforms of the nodes, as `os/architecture`.
    pub platforms: Vec<String>,
}

/// The fail policy of each namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailPolicies {
    default: FailPolicy,
    by_namespace: BTreeMap<String, FailPolicy>,
}

impl FailPolicies {
    /// `default`, but for those namespaces that have one of their own.
    #[must_use]
    pub const fn new(default: FailPolicy, by_namespace: BTreeMap<String, FailPolicy>) -> Self {
        Self { default, by_namespace }
    }

    /// The policy of a namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> FailPolicy {
        self.by_namespace.get(namespace).copied().unwrap_or(self.default)
    }
}

/// What is known when the service is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownConfig {
    /// Where it is kept over a restart. None: in memory alone.
    pub file: Option<PathBuf>,
    /// For how long after the service gave it an answer counts.
    pub limit: Duration,
    /// Whether an allow counts that was given to a tag, which may mean another image by now.
    pub tags: bool,
    /// How much is kept, in bytes.
    pub max_bytes: usize,
}

/// How connections are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most connections at a time.
    pub connections: usize,
    /// The most connections at a time from one address.
    pub connections_per_peer: usize,
    /// The most reviews at a time.
    pub reviews: usize,
    /// The most reviews at a time from one address.
    pub reviews_per_peer: usize,
    /// How long the body of a review may take to come.
    pub body_timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1_000,
            connections_per_peer: 250,
            reviews: 1_024,
            reviews_per_peer: 512,
            body_timeout: Duration::from_secs(5),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than [`MAX_CONFIG`].
    #[error("`{}` is longer than the {MAX_CONFIG} bytes allowed", .0.display())]
    TooLarge(PathBuf),
    /// The file is not YAML of the right shape. The source says where and what.
    #[error("`{}` is not a configuration", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and what.
        source: Malformed,
    },
    /// A namespace cannot be one.
    #[error(
        "`{field}` names `{name}`, which no namespace can be called: expected its exact name, of at \
         most 63 lower case letters, digits and `-`; there are no patterns"
    )]
    Namespace {
        /// Which list.
        field: &'static str,
        /// As configured.
        name: String,
    },
    /// A platform cannot be one.
    #[error(
        "`context.platforms` has `{0}`, which is no platform: expected such as `linux/amd64` or \
         `linux/arm/v7`"
    )]
    Platform(String),
    /// A list is too long.
    #[error("`{field}` has more than the {MAX_NAMESPACES} entries allowed")]
    TooMany {
        /// Which.
        field: &'static str,
    },
    /// A value is out of its range.
    #[error("`{field}` is out of range: expected {expected}")]
    Range {
        /// Which field.
        field: &'static str,
        /// What is allowed.
        expected: &'static str,
    },
    /// It is not said where the certificate is from.
    #[error("`tls` needs either `certificateFile` and `keyFile`, or `self`")]
    Source,
    /// It is not known where the Secret of the certificate is.
    #[error("`tls.self` needs `namespace`: its Secret is there")]
    NoNamespace,
    /// A certificate would be for nobody, or nobody would know it.
    #[error(
        "`tls.self` needs `names`, and one of `validatingWebhooks` and `mutatingWebhooks`: who is told by whom to \
         know us"
    )]
    NoWebhooks,
    /// The API server's address cannot be one.
    #[error(
        "`tls.self.apiServer` is `{0}`: expected an address such as `https://kubernetes.default.svc`"
    )]
    ApiServer(String),
    /// An object cannot be called so.
    #[error(
        "`{field}` has `{name}`, which cannot be a name: expected lower case letters, digits, `-` and `.`"
    )]
    Name {
        /// Which field.
        field: &'static str,
        /// As configured.
        name: String,
    },
    /// Half of a pair is configured.
    #[error("`service.tls` has one of `certificateFile` and `keyFile`: give both or neither")]
    HalfPair,
    /// Something is kept in a file that belongs to no cluster.
    #[error("`{0}` needs `context.cluster`, so that nothing of another cluster's is used")]
    NoCluster(&'static str),
}

impl Config {
    /// Reads the YAML file `path`. Relative paths in it start at its folder.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it cannot be used; the error names it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_in(path, Path::new(ACCOUNT))
    }

    /// The same, where Kubernetes says in the file `account` which namespace it is.
    fn read_in(path: &Path, account: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(failed)?;
        file.take(MAX_CONFIG as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MAX_CONFIG {
            return Err(ConfigError::TooLarge(path.to_owned()));
        }
        let malformed = |source| ConfigError::Malformed { path: path.to_owned(), source };
        let file: File = parse(&bytes).map_err(malformed)?;
        file.into_config(path.parent().unwrap_or(Path::new("")), account)
    }
}

#[cfg(test)]
mod tests;
