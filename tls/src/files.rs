//! Paths in, the certificates and keys in their files out.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};

use crate::TlsError;

/// The most bytes of one file: some hundred certificates.
pub const MAX_FILE: usize = 1024 * 1024;

/// The most bytes of a list of revoked certificates: some 300,000 entries.
pub const MAX_LIST: usize = 16 * 1024 * 1024;

/// Reads a file of at most [`MAX_FILE`] bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_to(path, MAX_FILE)
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read_to(path: &Path, max: usize) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    // Counted while it is read, because it may grow.
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > max {
        return Err(TlsError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// The certificates of a file, at least one.
pub(crate) fn certificates(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let read = read.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if read.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(read)
}

/// The first key of a file.
pub(crate) fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })
}

/// The list of revoked certificates of a file.
pub(crate) fn list(
    path: &Path,
    bytes: &[u8],
) -> Result<CertificateRevocationListDer<'static>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let mut read = read.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    // The second would be passed over, and what it revokes would be let in or kept out.
    match (read.pop(), read.len()) {
        (Some(list), 0) => Ok(list),
        (_, others) => Err(TlsError::OneList { path: path.to_owned(), count: others + 1 }),
    }
}
