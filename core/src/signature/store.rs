//! Certificate files in, trust stores out.
//!
//! A store is what notation keeps under `trust-store/x509/<kind>/<store>/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::certificate::{Certificate, CertificateError};

/// The largest certificate file that is read, in bytes.
pub const MAX_STORE_FILE: usize = 1024 * 1024;
/// The most certificates that all stores together may hold.
pub const MAX_STORE_CERTIFICATES: usize = 4096;

/// What the certificates of a store are trusted for. The names are those of notation's folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKind {
    /// `ca`: to issue signing certificates (scheme `notary.x509`).
    Ca,
    /// `signingAuthority`: to sign for others and to state the time (scheme
    /// `notary.x509.signingAuthority`).
    SigningAuthority,
    /// `tsa`: to state the time in RFC 3161 tokens.
    Tsa,
}

impl StoreKind {
    /// Its name as a folder and in a trust policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::SigningAuthority => "signingAuthority",
            Self::Tsa => "tsa",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StoreKind {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        [Self::Ca, Self::SigningAuthority, Self::Tsa]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| StoreError::Kind(text.to_owned()))
    }
}

/// One file of a trust store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFile {
    /// Kind of the store.
    pub kind: StoreKind,
    /// Name of the store.
    pub store: String,
    /// Name of the file, for messages.
    pub file: String,
    /// PEM (one or several certificates) or DER (one).
    pub bytes: Vec<u8>,
}

/// Why certificate files are not trust stores.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No kind of store.
    #[error("`{0}` is no kind of trust store: expected `ca`, `signingAuthority` or `tsa`")]
    Kind(String),
    /// No name of a store.
    #[error("`{0}` is not the name of a trust store: expected letters, digits, `_`, `.` and `-`")]
    Name(String),
    /// A file larger than [`MAX_STORE_FILE`].
    #[error("{origin} is {length} bytes long, more than the {MAX_STORE_FILE} allowed")]
    TooLarge {
        /// Which file.
        origin: String,
        /// Its length in bytes.
        length: usize,
    },
    /// More certificates than [`MAX_STORE_CERTIFICATES`].
    #[error("the trust stores have more than the {MAX_STORE_CERTIFICATES} certificates allowed")]
    TooMany,
    /// A file is not PEM.
    #[error("{origin} is not PEM")]
    Pem {
        /// Which file.
        origin: String,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A file without a certificate.
    #[error("{origin} has no certificate")]
    Empty {
        /// Which file.
        origin: String,
    },
    /// A file with something that is not a certificate.
    #[error("{origin} cannot be read as certificates")]
    Certificate {
        /// Which file.
        origin: String,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// A certificate that can vouch for nothing.
    #[error("{origin} has `{subject}`, which is neither a CA nor self-signed")]
    NotAnchor {
        /// Which file.
        origin: String,
        /// Subject of the certificate.
        subject: String,
    },
}

/// All stores: the certificates, in DER, by kind and name.
#[derive(Debug, Clone, Default)]
pub(super) struct Stores(BTreeMap<(StoreKind, String), BTreeSet<Vec<u8>>>);

impl Stores {
    pub(super) fn parse(files: &[StoreFile]) -> Result<Self, StoreError> {
        let mut stores = Self::default();
        let mut count = 0;
        for file in files {
            let name = checked_name(&file.store)?;
            let store = stores.0.entry((file.kind, name.to_owned())).or_default();
            for der in certificates(file)? {
                count += 1;
                if count > MAX_STORE_CERTIFICATES {
                    return Err(StoreError::TooMany);
                }
                store.insert(der);
            }
        }
        Ok(stores)
    }

    /// The certificates of a store; none if there is no such store.
    pub(super) fn get(&self, kind: StoreKind, name: &str) -> Option<&BTreeSet<Vec<u8>>> {
        self.0.get(&(kind, name.to_owned())).filter(|store| !store.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StoreKind, &str, &BTreeSet<Vec<u8>>)> {
        self.0.iter().map(|((kind, name), certificates)| (*kind, name.as_str(), certificates))
    }
}

/// The rule of notation for the names of stores.
pub(super) fn checked_name(name: &str) -> Result<&str, StoreError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if name.is_empty() || !name.bytes().all(good) {
        return Err(StoreError::Name(name.to_owned()));
    }
    Ok(name)
}

fn certificates(file: &StoreFile) -> Result<Vec<Vec<u8>>, StoreError> {
    let origin = || format!("`{}` of trust store `{}:{}`", file.file, file.kind, file.store);
    if file.bytes.len() > MAX_STORE_FILE {
        return Err(StoreError::TooLarge { origin: origin(), length: file.bytes.len() });
    }
    let marker = b"-----BEGIN";
    let ders = if file.bytes.windows(marker.len()).any(|w| w == marker) {
        CertificateDer::pem_slice_iter(&file.bytes)
            .map(|der| der.map(|der| der.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| StoreError::Pem { origin: origin(), source })?
    } else {
        vec![file.bytes.clone()]
    };
    if ders.is_empty() {
        return Err(StoreError::Empty { origin: origin() });
    }
    for der in &ders {
        let certificate = Certificate::parse(der)
            .map_err(|source| StoreError::Certificate { origin: origin(), source })?;
        if !certificate.is_anchor() {
            let subject = certificate.subject().to_owned();
            return Err(StoreError::NotAnchor { origin: origin(), subject });
        }
    }
    Ok(ders)
}
