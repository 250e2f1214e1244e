//! The sections on TLS, clusters' names and operators in, who may connect and what they may do out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::clusters::Speakers;
use crate::identity::{Identities, MAX_NAMES, MAX_OPERATORS, Name, NameError, Role, Twice};
use crate::tls::{Demand, Oldest, PairFiles, Strangers, TlsConfig};

/// The section on TLS.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TlsFile {
    certificate_file: PathBuf,
    key_file: PathBuf,
    client_ca_file: Option<PathBuf>,
    #[serde(default)]
    client_crl_files: Vec<PathBuf>,
    #[serde(default)]
    min_version: OldestFile,
}

#[derive(Deserialize, Clone, Copy, Default)]
pub(super) enum OldestFile {
    #[serde(rename = "1.2")]
    Tls12,
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

impl From<OldestFile> for Oldest {
    fn from(file: OldestFile) -> Self {
        match file {
            OldestFile::Tls12 => Self::Tls12,
            OldestFile::Tls13 => Self::Tls13,
        }
    }
}

/// Somebody who looks at what is known, or changes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OperatorFile {
    identities: Vec<String>,
    role: RoleFile,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
enum RoleFile {
    Reader,
    Writer,
}

/// Why the sections on TLS and who asks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// A listening address is not on loopback, and there is no TLS.
    #[error(
        "`listen` is {0}, which others can reach: without TLS the service listens on loopback only; configure \
         `tls` with `clientCaFile`, or use 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    /// The same, where nobody has to say who they are.
    #[error(
        "`listen` is {0}, which others can reach, and `tls` demands no certificate of them: set `tls.clientCaFile`, \
         or use 127.0.0.1"
    )]
    Anybody(SocketAddr),
    /// Revoked certificates of nobody.
    #[error(
        "`tls.clientCrlFiles` says which certificates were revoked, and none is demanded: set `tls.clientCaFile`"
    )]
    NoAuthorities,
    /// Names of which no certificate can be.
    #[error(
        "`{0}` has `identities`, and no certificate is demanded of anybody: set `tls.clientCaFile`"
    )]
    NoDemand(&'static str),
    /// Certificates are demanded, and nobody is known.
    #[error(
        "`tls.clientCaFile` demands certificates, and nobody is known by one: add `identities` to `clusters`"
    )]
    Nobody,
    /// Somebody has no name.
    #[error("`{0}` has somebody without `identities`: give at least one")]
    Nameless(&'static str),
    /// Somebody has too many names, or there are too many of them.
    #[error("`{field}` has more than the {limit} allowed")]
    Many {
        /// Which field.
        field: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A name is not one.
    #[error("`{field}` cannot be used")]
    Name {
        /// Which field.
        field: &'static str,
        /// Why.
        source: NameError,
    },
    /// A name is there twice.
    #[error("`identities` cannot be used")]
    Twice(#[from] Twice),
}

/// The names in `field`.
pub(super) fn names(field: &'static str, texts: &[String]) -> Result<Vec<Name>, TlsConfigError> {
    if texts.len() > MAX_NAMES {
        return Err(TlsConfigError::Many { field, limit: MAX_NAMES });
    }
    let name =
        |text: &String| text.parse().map_err(|source| TlsConfigError::Name { field, source });
    texts.iter().map(name).collect()
}

/// How gRPC is served at `listen`, and to whom.
pub(super) fn tls(
    listen: SocketAddr,
    file: Option<TlsFile>,
    clusters: Speakers,
    operators: Vec<OperatorFile>,
    folder: &Path,
) -> Result<Option<TlsConfig>, TlsConfigError> {
    if operators.len() > MAX_OPERATORS {
        return Err(TlsConfigError::Many { field: "operators", limit: MAX_OPERATORS });
    }
    let is_demanded = file.as_ref().is_some_and(|file| file.client_ca_file.is_some());
    if !is_demanded && !clusters.is_empty() {
        return Err(TlsConfigError::NoDemand("clusters"));
    }
    if !is_demanded && !operators.is_empty() {
        return Err(TlsConfigError::NoDemand("operators"));
    }
    let mut all = clusters;
    for OperatorFile { identities, role } in operators {
        let names = names("operators.identities", &identities)?;
        if names.is_empty() {
            return Err(TlsConfigError::Nameless("operators"));
        }
        all.push((
            names,
            match role {
                RoleFile::Reader => Role::Reader,
                RoleFile::Writer => Role::Writer,
            },
        ));
    }
    let identities = Identities::new(all)?;
    let Some(file) = file else {
        let local = listen.ip().is_loopback();
        return if local { Ok(None) } else { Err(TlsConfigError::NotLoopback(listen)) };
    };
    let TlsFile { certificate_file, key_file, client_ca_file, client_crl_files, min_version } =
        file;
    if client_ca_file.is_none() && !listen.ip().is_loopback() {
        return Err(TlsConfigError::Anybody(listen));
    }
    if client_ca_file.is_none() && !client_crl_files.is_empty() {
        return Err(TlsConfigError::NoAuthorities);
    }
    if client_ca_file.is_some() && identities.is_empty() {
        return Err(TlsConfigError::Nobody);
    }
    let pair = PairFiles { certificate: folder.join(certificate_file), key: folder.join(key_file) };
    let clients = client_ca_file.map(|authorities| Demand {
        authorities: folder.join(authorities),
        revoked: client_crl_files.iter().map(|path| folder.join(path)).collect(),
        strangers: Strangers::Refused,
    });
    let oldest = min_version.into();
    Ok(Some(TlsConfig { clients, oldest, identities, ..TlsConfig::new(pair) }))
}
