//! The sections on registry events and on refreshing of a configuration in, who may tell what out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use portcullis_core::image::Reference;
use serde::Deserialize;
use url::Url;

use super::registries::canonical;
use super::tls::OldestFile;
use super::{Address, ConfigError, Span};
use crate::hooks::config::{GuardConfig, HooksConfig, MAX_SOURCES, SourceConfig};
use crate::hooks::dialect::Dialect;
use crate::hooks::scope::Scope;
use crate::hooks::secret_file::{SecretFile, SecretFileError};
use crate::refresh::RefreshConfig;
use crate::tls::{PairFiles, TlsConfig};

/// The longest name of a source, in bytes.
const MAX_NAME: usize = 63;

/// Why the section on registry events cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HooksConfigError {
    /// The address is not on loopback.
    #[error(
        "`registryEvents.listen` is {0}, which others can reach: without TLS the service listens on \
         loopback only; set `registryEvents.tls`, or use 127.0.0.1 and put a TLS proxy before it"
    )]
    NotLoopback(SocketAddr),
    /// A name cannot be part of a URL, or is there twice.
    #[error(
        "`registryEvents.sources` names `{0}`, which is there twice or is no name: expected lower-case \
         letters, digits and `-`, at most {MAX_NAME}"
    )]
    Name(String),
    /// Too many.
    #[error("`registryEvents.sources` has more than the {MAX_SOURCES} entries allowed")]
    TooMany,
    /// The events say nothing of where the registry is.
    #[error("source `{0}` needs a `registry`: its events do not say at which host they happened")]
    NoRegistry(String),
    /// A repository is none.
    #[error("source `{source_name}` has `{repository}`, which is no repository")]
    Repository {
        /// Which source.
        source_name: String,
        /// As configured.
        repository: String,
    },
    /// A header or a URL cannot be read.
    #[error("source `{source_name}` has `{what}` in its `auth`, which cannot be used")]
    Auth {
        /// Which source.
        source_name: String,
        /// As configured.
        what: String,
    },
    /// A secret cannot be used.
    #[error("the secret of source `{source_name}` cannot be used")]
    Secret {
        /// Which source.
        source_name: String,
        /// Why.
        source: SecretFileError,
    },
}

/// The section on registry events.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HooksFile {
    listen: Option<Address>,
    tls: Option<EventsTlsFile>,
    #[serde(default)]
    sources: Vec<SourceFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventsTlsFile {
    certificate_file: PathBuf,
    key_file: PathBuf,
    /// Registries are others' programs: 1.2 where nothing is said.
    min_version: Option<OldestFile>,
}

impl EventsTlsFile {
    fn into_config(self, folder: &Path) -> TlsConfig {
        let Self { certificate_file, key_file, min_version } = self;
        let (certificate, key) = (folder.join(certificate_file), folder.join(key_file));
        let oldest = min_version.unwrap_or(OldestFile::Tls12).into();
        TlsConfig::of_events(PairFiles { certificate, key }, oldest)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceFile {
    name: String,
    kind: KindFile,
    auth: AuthFile,
    registry: Option<String>,
    #[serde(default)]
    repositories: Vec<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
enum KindFile {
    Acr,
    EventGrid,
    Ecr,
    GooglePubsub,
    Distribution,
    Harbor,
    Zot,
    Quay,
}

#[derive(Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
enum AuthFile {
    Header { header: String, secret_file: PathBuf },
    Bearer { secret_file: PathBuf },
    Basic { username: String, secret_file: PathBuf },
    Query { parameter: String, secret_file: PathBuf },
    Google { audience: String, email: String, keys_url: Option<String> },
}

/// The section on refreshing.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RefreshFile {
    asked_within: Option<Span>,
}

impl RefreshFile {
    pub(super) fn into_config(self, search_timeout: Duration) -> RefreshConfig {
        let defaults = RefreshConfig::default();
        let asked_within = self.asked_within.map_or(defaults.asked_within, |span| span.0);
        RefreshConfig { asked_within, timeout: search_timeout }
    }
}

impl From<KindFile> for Dialect {
    fn from(file: KindFile) -> Self {
        match file {
            KindFile::Acr => Self::Acr,
            KindFile::EventGrid => Self::EventGrid,
            KindFile::Ecr => Self::Ecr,
            KindFile::GooglePubsub => Self::GooglePubsub,
            KindFile::Distribution => Self::Distribution,
            KindFile::Harbor => Self::Harbor,
            KindFile::Zot => Self::Zot,
            KindFile::Quay => Self::Quay,
        }
    }
}

impl HooksFile {
    pub(super) fn into_config(self, folder: &Path) -> Result<HooksConfig, ConfigError> {
        let Self { listen, tls, sources } = self;
        let listen = listen.map_or(HooksConfig::default().listen, |address| address.0);
        if tls.is_none() && !listen.ip().is_loopback() {
            return Err(HooksConfigError::NotLoopback(listen).into());
        }
        if sources.len() > MAX_SOURCES {
            return Err(HooksConfigError::TooMany.into());
        }
        let mut named = BTreeMap::new();
        for source in sources {
            let (name, source) = source.into_source(folder)?;
            if named.insert(name.clone(), source).is_some() {
                return Err(HooksConfigError::Name(name).into());
            }
        }
        let tls = tls.map(|tls| Box::new(tls.into_config(folder)));
        Ok(HooksConfig { listen, tls, sources: named })
    }
}

impl SourceFile {
    fn into_source(self, folder: &Path) -> Result<(String, SourceConfig), ConfigError> {
        let Self { name, kind, auth, registry, repositories } = self;
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
            return Err(HooksConfigError::Name(name).into());
        }
        let dialect = Dialect::from(kind);
        let registry = registry.map(|host| canonical(&host)).transpose()?;
        if registry.is_none() && dialect.names_no_host() {
            return Err(HooksConfigError::NoRegistry(name).into());
        }
        for repository in &repositories {
            let image: Option<Reference> = format!("r.io/{repository}").parse().ok();
            if image.is_none_or(|image| image.repository() != repository) {
                let (source_name, repository) = (name, repository.clone());
                return Err(HooksConfigError::Repository { source_name, repository }.into());
            }
        }
        let guard = auth.into_guard(&name, folder)?;
        let scope = Scope { registry, repositories };
        Ok((name, SourceConfig { dialect, guard, scope }))
    }
}

impl AuthFile {
    fn into_guard(self, name: &str, folder: &Path) -> Result<GuardConfig, HooksConfigError> {
        let secret = |path: PathBuf| {
            SecretFile::open(&folder.join(path))
                .map_err(|source| HooksConfigError::Secret { source_name: name.to_owned(), source })
        };
        let refused = |what: &str| HooksConfigError::Auth {
            source_name: name.to_owned(),
            what: what.to_owned(),
        };
        Ok(match self {
            Self::Header { header, secret_file } => {
                let name = header.parse::<HeaderName>().map_err(|_| refused(&header))?;
                GuardConfig::Header { name, secret: secret(secret_file)? }
            }
            Self::Bearer { secret_file } => GuardConfig::Bearer(secret(secret_file)?),
            Self::Basic { username, secret_file } if username.contains(':') => {
                drop(secret_file);
                return Err(refused(&username));
            }
            Self::Basic { username, secret_file } => {
                GuardConfig::Basic { username, secret: secret(secret_file)? }
            }
            Self::Query { parameter, secret_file } => {
                if parameter.is_empty() {
                    return Err(refused(&parameter));
                }
                GuardConfig::Query { parameter, secret: secret(secret_file)? }
            }
            Self::Google { audience, email, keys_url } => {
                if audience.is_empty() || email.is_empty() {
                    return Err(refused(""));
                }
                let read = |text: String| Url::parse(&text).map_err(|_| refused(&text));
                GuardConfig::Google { audience, email, keys_url: keys_url.map(read).transpose()? }
            }
        })
    }
}
