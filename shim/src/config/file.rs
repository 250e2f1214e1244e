//! The fields of the file in, checked values out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_config::{Address, Span};
use serde::Deserialize;

use super::telemetry::{LogFile, TracesFile, telemetry};
use super::tls::TlsFile;
use super::{
    Bounds, Config, ConfigError, FailPolicies, KnownConfig, MAX_NAMESPACES, MAX_PLATFORMS,
    MAX_TIMEOUT, Place, ServiceConfig, ServiceTls,
};
use crate::reports::ReportsConfig;
use crate::review::{FailPolicy, Settings};

/// What is never asked about, whatever is configured: without it no cluster can start.
const KUBE_SYSTEM: &str = "kube-system";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    listen: Option<Address>,
    admin: Option<Address>,
    tls: TlsFile,
    service: ServiceFile,
    #[serde(default)]
    context: Place,
    /// The shim's own namespace.
    namespace: Option<String>,
    #[serde(default)]
    exempt_namespaces: Vec<String>,
    #[serde(default)]
    fail_policy: FailFile,
    #[serde(default)]
    last_known: KnownFile,
    #[serde(default)]
    reports: ReportsFile,
    #[serde(default)]
    reviews: Settings,
    timeout: Option<Span<30>>,
    margin: Option<Span<30>>,
    drain: Option<Span<30>>,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    log: LogFile,
    #[serde(default)]
    traces: TracesFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceFile {
    servers: Vec<String>,
    tls: Option<ServiceTlsFile>,
    near_cache_bytes: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceTlsFile {
    ca_file: PathBuf,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct FailFile {
    default: Option<FailPolicy>,
    namespaces: BTreeMap<String, FailPolicy>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct KnownFile {
    file: Option<PathBuf>,
    max_age: Option<Span<30>>,
    tags: bool,
    max_bytes: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ReportsFile {
    file: Option<PathBuf>,
    max_bytes: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LimitsFile {
    connections: Option<usize>,
    connections_per_peer: Option<usize>,
    reviews: Option<usize>,
    reviews_per_peer: Option<usize>,
    body_timeout: Option<Span<30>>,
}

impl File {
    pub(super) fn into_config(self, folder: &Path, account: &Path) -> Result<Config, ConfigError> {
        let Self {
            listen,
            admin,
            tls,
            service,
            context,
            namespace,
            exempt_namespaces,
            fail_policy,
            last_known,
            reports,
            reviews,
            timeout,
            margin,
            drain,
            limits,
            log,
            traces,
        } = self;
        let timeout = timeout.map_or(Duration::from_millis(2_500), |span| span.0);
        if timeout > MAX_TIMEOUT {
            return Err(ConfigError::Range { field: "timeout", expected: "at most 30s" });
        }
        let known = last_known.into_config(folder)?;
        let reports = reports.into_config(folder)?;
        let files = [("lastKnown.file", &known.file), ("reports.file", &reports.file)];
        if let Some((field, _)) = files.into_iter().find(|(_, file)| file.is_some())
            && context.cluster.is_empty()
        {
            return Err(ConfigError::NoCluster(field));
        }
        let mut exempt = checked("exemptNamespaces", exempt_namespaces)?;
        let namespace = namespace.map_or_else(|| own_namespace(account), |name| Ok(Some(name)))?;
        exempt.extend(checked("namespace", namespace.clone())?);
        exempt.insert(KUBE_SYSTEM.to_owned());
        checked("failPolicy.namespaces", fail_policy.namespaces.keys().cloned())?;
        Ok(Config {
            listen: listen.map_or(SocketAddr::from(([0, 0, 0, 0], 8443)), |address| address.0),
            admin: admin.map_or(SocketAddr::from(([127, 0, 0, 1], 8080)), |address| address.0),
            tls: tls.into_tls(folder, namespace.as_deref())?,
            service: ServiceConfig {
                servers: service.servers,
                tls: service.tls.map(|tls| tls.into_tls(folder)).transpose()?,
                near_bytes: service.near_cache_bytes.unwrap_or(16 * 1024 * 1024),
            },
            place: checked_place(context)?,
            namespace,
            exempt,
            fail: FailPolicies::new(
                fail_policy.default.unwrap_or(FailPolicy::Allow),
                fail_policy.namespaces,
            ),
            known,
            reports,
            reviews,
            timeout,
            margin: margin.map_or(Duration::from_millis(250), |span| span.0),
            drain: drain.map_or(Duration::from_secs(30), |span| span.0),
            bounds: limits.into_bounds()?,
            telemetry: telemetry(log, traces)?,
        })
    }
}

impl ServiceTlsFile {
    fn into_tls(self, folder: &Path) -> Result<ServiceTls, ConfigError> {
        let Self { ca_file, certificate_file, key_file, server_name } = self;
        let pair = match (certificate_file, key_file) {
            (Some(certificate), Some(key)) => Some((folder.join(certificate), folder.join(key))),
            (None, None) => None,
            _ => return Err(ConfigError::HalfPair),
        };
        Ok(ServiceTls { authorities: folder.join(ca_file), pair, server_name })
    }
}

impl KnownFile {
    fn into_config(self, folder: &Path) -> Result<KnownConfig, ConfigError> {
        let Self { file, max_age, tags, max_bytes } = self;
        let max_bytes = max_bytes.unwrap_or(8 * 1024 * 1024);
        if max_bytes > crate::known::MAX_BYTES {
            let expected = "at most 67108864";
            return Err(ConfigError::Range { field: "lastKnown.maxBytes", expected });
        }
        let limit = max_age.map_or(Duration::from_secs(3_600), |span| span.0);
        Ok(KnownConfig { file: file.map(|path| folder.join(path)), limit, tags, max_bytes })
    }
}

impl ReportsFile {
    fn into_config(self, folder: &Path) -> Result<ReportsConfig, ConfigError> {
        let max_bytes = self.max_bytes.unwrap_or(8 * 1024 * 1024);
        if max_bytes > crate::reports::MAX_BYTES {
            let expected = "at most 67108864";
            return Err(ConfigError::Range { field: "reports.maxBytes", expected });
        }
        Ok(ReportsConfig { file: self.file.map(|path| folder.join(path)), max_bytes })
    }
}

impl LimitsFile {
    fn into_bounds(self) -> Result<Bounds, ConfigError> {
        let Self { connections, connections_per_peer, reviews, reviews_per_peer, body_timeout } =
            self;
        let defaults = Bounds::default();
        let one = |field, given: Option<usize>, default| match given {
            Some(0) => Err(ConfigError::Range { field, expected: "at least 1" }),
            given => Ok(given.unwrap_or(default)),
        };
        Ok(Bounds {
            connections: one("limits.connections", connections, defaults.connections)?,
            connections_per_peer: one(
                "limits.connectionsPerPeer",
                connections_per_peer,
                defaults.connections_per_peer,
            )?,
            reviews: one("limits.reviews", reviews, defaults.reviews)?,
            reviews_per_peer: one(
                "limits.reviewsPerPeer",
                reviews_per_peer,
                defaults.reviews_per_peer,
            )?,
            body_timeout: body_timeout.map_or(defaults.body_timeout, |span| span.0),
        })
    }
}

/// What `account` says of the namespace; none outside of Kubernetes, where there is no such file.
fn own_namespace(account: &Path) -> Result<Option<String>, ConfigError> {
    /// Above the longest name, so that what is longer is refused for its length.
    const MAX_NAME: u64 = 64;
    let failed = |source| ConfigError::Read { path: account.to_owned(), source };
    let file = match fs::File::open(account) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut name = String::new();
    file.take(MAX_NAME).read_to_string(&mut name).map_err(failed)?;
    Ok(Some(name.trim_end().to_owned()))
}

/// Where the cluster is, with platforms that the service takes: it would refuse every question.
fn checked_place(place: Place) -> Result<Place, ConfigError> {
    if place.platforms.len() > MAX_PLATFORMS {
        let expected = "at most 16 platforms";
        return Err(ConfigError::Range { field: "context.platforms", expected });
    }
    let is_part = |part: &str| {
        (1..=32).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let is_platform =
        |text: &str| matches!(text.split('/').count(), 2 | 3) && text.split('/').all(is_part);
    match place.platforms.iter().find(|platform| !is_platform(platform)) {
        Some(platform) => Err(ConfigError::Platform(platform.clone())),
        None => Ok(place),
    }
}

/// Exact names of namespaces.
fn checked(
    field: &'static str,
    names: impl IntoIterator<Item = String>,
) -> Result<BTreeSet<String>, ConfigError> {
    let is_namespace = |name: &str| {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let ends = |c: u8| c != b'-';
        (1..=63).contains(&name.len())
            && name.bytes().all(inner)
            && name.bytes().next().is_some_and(ends)
            && name.bytes().last().is_some_and(ends)
    };
    let mut checked = BTreeSet::new();
    for name in names {
        if !is_namespace(&name) {
            return Err(ConfigError::Namespace { field, name });
        }
        checked.insert(name);
        if checked.len() > MAX_NAMESPACES {
            return Err(ConfigError::TooMany { field });
        }
    }
    Ok(checked)
}
