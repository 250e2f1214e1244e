//! The registries of a configuration file in, which may be asked and how out.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use portcullis_core::image::Reference;
use serde::Deserialize;

use super::{ConfigError, read};
use crate::registry::{Budget, Credentials, HostConfig, Scheme, Secret, Unlisted};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RegistryFile {
    host: String,
    #[serde(default)]
    scheme: SchemeFile,
    endpoint: Option<String>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    trusted_realm_hosts: Vec<String>,
    ca_file: Option<PathBuf>,
    requests_per_second: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
    max_concurrent_requests: Option<NonZeroU32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum SchemeFile {
    #[default]
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

pub(super) fn hosts(
    registries: Vec<RegistryFile>,
    folder: &Path,
) -> Result<BTreeMap<String, HostConfig>, ConfigError> {
    let mut hosts = BTreeMap::new();
    for registry in registries {
        let host = canonical(&registry.host)?;
        let config = registry.into_host(folder)?;
        if hosts.insert(host.clone(), config).is_some() {
            return Err(ConfigError::HostTwice(host));
        }
    }
    Ok(hosts)
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
    fn into_host(self, folder: &Path) -> Result<HostConfig, ConfigError> {
        let Self {
            host,
            scheme,
            endpoint,
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
        let read = |path: PathBuf| read(&folder.join(path));
        let credentials = match (username, password_file) {
            (None, None) => Credentials::Anonymous,
            (Some(username), Some(path)) => {
                let password = String::from_utf8_lossy(&read(path)?).trim_end().to_owned();
                Credentials::Basic { username, password: Secret::new(password) }
            }
            _ => {
                return Err(ConfigError::Credentials(host));
            }
        };
        Ok(HostConfig {
            scheme: match scheme {
                SchemeFile::Https => Scheme::Https,
                SchemeFile::Http => Scheme::Http,
            },
            endpoint,
            credentials,
            trusted_realm_hosts,
            ca: ca_file.map(read).transpose()?.into_iter().collect(),
            budget,
        })
    }
}
