//! The credentials of a registry in a configuration file in, who asks it out.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, read};
use crate::registry::{Credentials, SecretSource};

/// Who asks. What is in the files is read again when it changes; here it is only seen to that they
/// are there.
#[derive(Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(super) enum CredentialsFile {
    Anonymous {},
    Basic { username: String, password_file: PathBuf },
    IdentityToken { token_file: PathBuf },
    RegistryToken { token_file: PathBuf },
    DockerConfig { path: PathBuf },
}

impl CredentialsFile {
    pub(super) fn into_credentials(self, folder: &Path) -> Result<Credentials, ConfigError> {
        let there = |path: PathBuf| {
            let path = folder.join(path);
            read(&path).map(|_| path)
        };
        Ok(match self {
            Self::Anonymous {} => Credentials::Anonymous,
            Self::Basic { username, password_file } => {
                Credentials::PasswordFile { username, path: there(password_file)? }
            }
            Self::IdentityToken { token_file } => {
                Credentials::IdentityToken(SecretSource::File(there(token_file)?))
            }
            Self::RegistryToken { token_file } => {
                Credentials::RegistryToken(SecretSource::File(there(token_file)?))
            }
            Self::DockerConfig { path } => Credentials::DockerConfig(there(path)?),
        })
    }
}
