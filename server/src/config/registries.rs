//! The registries of a configuration file in, which may be asked and how out.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use portcullis_core::image::Reference;
use serde::Deserialize;

use super::credentials::{CredentialsFile, Place};
use super::{ConfigError, read_of};
use crate::registry::{
    Authorities, Budget, Credentials, HostConfig, HostPattern, MirrorConfig, Proxy, Scheme, Secret,
    Unlisted,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RegistryFile {
    host: String,
    scheme: Option<SchemeFile>,
    endpoint: Option<String>,
    credentials: Option<CredentialsFile>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    trusted_realm_hosts: Vec<String>,
    ca_file: Option<PathBuf>,
    requests_per_second: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
    max_concurrent_requests: Option<NonZeroU32>,
    #[serde(default)]
    mirrors: Vec<MirrorFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SchemeFile {
    Https,
    Http,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnlistedFile {
    Public,
    Refused,
}

impl From<UnlistedFile> for Unlisted {
    fn from(file: UnlistedFile) -> Self {
        match file {
            UnlistedFile::Public => Self::Public,
            UnlistedFile::Refused => Self::Refused,
        }
    }
}

/// Registries by name, and who asks those that match a pattern.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) hosts: BTreeMap<String, HostConfig>,
    pub(super) patterns: BTreeMap<HostPattern, Credentials>,
}

pub(super) fn listed(
    registries: Vec<RegistryFile>,
    place: Place<'_>,
) -> Result<Listed, ConfigError> {
    let Listed { mut hosts, mut patterns } = Listed::default();
    for registry in registries {
        let name = registry.host.clone();
        let place = Place { registry: &name, ..place };
        if registry.host.contains(['*', '?']) {
            let host = registry.host.clone();
            let (pattern, credentials) = registry.into_pattern(place)?;
            if patterns.insert(pattern, credentials).is_some() {
                return Err(ConfigError::HostTwice(host));
            }
            continue;
        }
        let host = canonical(&registry.host)?;
        let config = registry.into_host(place)?;
        if hosts.insert(host.clone(), config).is_some() {
            return Err(ConfigError::HostTwice(host));
        }
    }
    Ok(Listed { hosts, patterns })
}

/// The host as image references have it: `index.docker.io` is `docker.io`.
pub(super) fn canonical(host: &str) -> Result<String, ConfigError> {
    let malformed = |source| ConfigError::Host { host: host.to_owned(), source };
    // What is behind it would be read as a digest.
    if host.contains('@') {
        return Err(malformed(None));
    }
    let image: Reference =
        format!("{host}/a/b").parse().map_err(|source| malformed(Some(source)))?;
    // `team` alone would be read as a part of a repository on Docker Hub.
    if image.repository() == "a/b" { Ok(image.registry().to_owned()) } else { Err(malformed(None)) }
}

impl From<SchemeFile> for Scheme {
    fn from(file: SchemeFile) -> Self {
        match file {
            SchemeFile::Https => Self::Https,
            SchemeFile::Http => Self::Http,
        }
    }
}

impl RegistryFile {
    /// A pattern says who asks, and nothing of how: of what it matches the operator knows no more
    /// than the name.
    fn into_pattern(self, place: Place<'_>) -> Result<(HostPattern, Credentials), ConfigError> {
        let Self {
            host,
            scheme: None,
            endpoint: None,
            credentials: Some(credentials),
            username: None,
            password_file: None,
            trusted_realm_hosts,
            ca_file: None,
            requests_per_second: None,
            burst: None,
            max_concurrent_requests: None,
            mirrors,
        } = self
        else {
            return Err(ConfigError::Pattern(self.host));
        };
        let plain = trusted_realm_hosts.is_empty() && mirrors.is_empty() && !host.contains(':');
        match HostPattern::parse(&host).filter(|_| plain) {
            Some(pattern) => Ok((pattern, credentials.into_credentials(place)?)),
            None => Err(ConfigError::Pattern(host)),
        }
    }

    fn into_host(self, place: Place<'_>) -> Result<HostConfig, ConfigError> {
        let Self {
            host,
            scheme,
            endpoint,
            credentials,
            username,
            password_file,
            trusted_realm_hosts,
            ca_file,
            requests_per_second,
            burst,
            max_concurrent_requests,
            mirrors,
        } = self;
        let unsaid = Budget::default();
        let budget = Budget {
            requests_per_second: requests_per_second.unwrap_or(unsaid.requests_per_second),
            burst: burst.unwrap_or(unsaid.burst),
            concurrent: max_concurrent_requests.unwrap_or(unsaid.concurrent),
        };
        let read = |path: PathBuf| place.read("caFile", &path);
        let file = match (credentials, username, password_file) {
            (Some(file), None, None) => file,
            (None, None, None) => CredentialsFile::Anonymous {},
            (None, Some(username), Some(password_file)) => {
                CredentialsFile::Basic { username, password_file }
            }
            (None, ..) => return Err(ConfigError::Credentials(host)),
            (Some(_), ..) => return Err(ConfigError::CredentialsTwice(host)),
        };
        let credentials = file.into_credentials(place)?;
        Ok(HostConfig {
            scheme: scheme.map_or(Scheme::Https, Scheme::from),
            endpoint,
            credentials,
            trusted_realm_hosts,
            ca: ca_file.map(read).transpose()?.into_iter().collect(),
            budget,
            mirrors: mirrors
                .into_iter()
                .map(|mirror| mirror.into_mirror(place))
                .collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MirrorFile {
    endpoint: String,
    scheme: Option<SchemeFile>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    trusted_realm_hosts: Vec<String>,
    ca_file: Option<PathBuf>,
}

impl MirrorFile {
    fn into_mirror(self, place: Place<'_>) -> Result<MirrorConfig, ConfigError> {
        let Self { endpoint, scheme, username, password_file, trusted_realm_hosts, ca_file } = self;
        let credentials = match (username, password_file) {
            (None, None) => CredentialsFile::Anonymous {},
            (Some(username), Some(password_file)) => {
                CredentialsFile::Basic { username, password_file }
            }
            _ => return Err(ConfigError::Credentials(endpoint)),
        };
        let credentials = credentials.into_credentials(place)?;
        let ca = ca_file.map(|path| place.read("caFile", &path)).transpose()?;
        Ok(MirrorConfig {
            endpoint,
            scheme: scheme.map_or(Scheme::Https, Scheme::from),
            credentials,
            trusted_realm_hosts,
            ca: ca.into_iter().collect(),
        })
    }
}

/// The section on the proxy.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ProxyFile {
    url: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    no_proxy: Vec<String>,
}

impl ProxyFile {
    pub(super) fn into_proxy(self, folder: &Path) -> Result<Proxy, ConfigError> {
        let Self { url, username, password_file, no_proxy } = self;
        let credentials = match (username, password_file) {
            (None, None) => None,
            (Some(username), Some(path)) => {
                let bytes = read_of("`passwordFile` of `proxy`", &folder.join(path))?;
                let password = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                Some((username, Secret::new(password)))
            }
            _ => return Err(ConfigError::Credentials(url)),
        };
        let credentials = credentials.as_ref().map(|(name, password)| (name.as_str(), password));
        Proxy::new(&url, credentials, &no_proxy).map_err(ConfigError::Way)
    }
}

/// The authorities of a field's file in PEM.
pub(super) fn authorities(field: &str, path: &Path) -> Result<Authorities, ConfigError> {
    Authorities::new(&read_of(field, path)?).map_err(ConfigError::Way)
}
