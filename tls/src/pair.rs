//! A certificate and its key, in two files.

use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::part::Source;
use crate::{TlsError, files, provider};

/// The most certificates that one presents.
pub const MAX_CHAIN: usize = 16;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate, and after it those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// A certificate with its key.
pub(crate) struct Pair {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) validity: Validity,
}

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: OffsetDateTime,
    pub(crate) until: OffsetDateTime,
}

impl Validity {
    fn of(certificate: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let validity = read.validity();
        Some(Self {
            from: validity.not_before.to_datetime(),
            until: validity.not_after.to_datetime(),
        })
    }
}

impl Source for PairFiles {
    type Value = Pair;
    const NAME: &'static str = "certificate";

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        Ok(vec![files::read(&self.certificate)?, files::read(&self.key)?])
    }

    fn parse(&self, read: &[Vec<u8>]) -> Result<Pair, TlsError> {
        let [certificate, key] = read else {
            return Err(TlsError::NoCertificate { path: self.certificate.clone() });
        };
        let chain = files::certificates(&self.certificate, certificate)?;
        if chain.len() > MAX_CHAIN {
            return Err(TlsError::LongChain { path: self.certificate.clone(), count: chain.len() });
        }
        let own = chain.first().and_then(|own| Validity::of(own));
        let validity =
            own.ok_or_else(|| TlsError::Certificate { path: self.certificate.clone() })?;
        let key = files::key(&self.key, key)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|source| {
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            TlsError::Pair { certificate, key, source }
        })?;
        Ok(Pair { key: Arc::new(key), validity })
    }
}
