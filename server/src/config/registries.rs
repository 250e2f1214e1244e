//! The registries of a configuration file in, which may be asked and how out.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use portcullis_core::image::Reference;
use serde::Deserialize;

use super::credentials::{CredentialsFile, Place};
use super::{ConfigError, read};
use crate::registry::{Budget, Credentials, HostConfig, HostPattern, Scheme, Unlisted};

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
fn canonical(host: &str) -> Result<String, ConfigError> {
    let malformed = |source| ConfigError::Host { host: host.to_owned(), source };
    let image: Reference =
        format!("{host}/a/b").parse().map_err(|source| malformed(Some(source)))?;
    // `team` alone would be read as a part of a repository on Docker Hub.
    if image.repository() == "a/b" { Ok(image.registry().to_owned()) } else { Err(malformed(None)) }
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
        } = self
        else {
            return Err(ConfigError::Pattern(self.host));
        };
        let plain = trusted_realm_hosts.is_empty() && !host.contains(':');
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
        } = self;
        let unsaid = Budget::default();
        let budget = Budget {
            requests_per_second: requests_per_second.unwrap_or(unsaid.requests_per_second),
            burst: burst.unwrap_or(unsaid.burst),
            concurrent: max_concurrent_requests.unwrap_or(unsaid.concurrent),
        };
        let read = |path: PathBuf| read(&place.folder.join(path));
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
            scheme: match scheme {
                Some(SchemeFile::Https) | None => Scheme::Https,
                Some(SchemeFile::Http) => Scheme::Http,
            },
            endpoint,
            credentials,
            trusted_realm_hosts,
            ca: ca_file.map(read).transpose()?.into_iter().collect(),
            budget,
        })
    }
}
