//! Authorities in files in, who verifies the certificates of others out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;

use crate::files::MAX_LIST;
use crate::part::Source;
use crate::{TlsError, files, provider};

/// The most authorities: several times as many as the bundles of systems have.
pub const MAX_AUTHORITIES: usize = 1_000;
/// The most lists of revoked certificates.
pub const MAX_LISTS: usize = 100;

/// What becomes of a client that shows no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strangers {
    /// It is refused in the handshake.
    #[default]
    Refused,
    /// It is let in as nobody, for an answer in words.
    Nobody,
}

/// What is demanded of clients: a certificate of one of these authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The authorities, in PEM.
    pub authorities: PathBuf,
    /// Lists of certificates that were revoked, in PEM, one each. With one, there must be one for each authority,
    /// or its certificates are refused.
    pub revoked: Vec<PathBuf>,
    /// What becomes of who shows none. Who shows another is refused.
    pub strangers: Strangers,
}

impl Source for Demand {
    type Value = Arc<dyn ClientCertVerifier>;
    const NAME: &'static str = "authorities";

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        if self.revoked.len() > MAX_LISTS {
            return Err(TlsError::ManyLists(self.revoked.len()));
        }
        let authorities = std::iter::once(files::read(&self.authorities));
        let lists = self.revoked.iter().map(|path| files::read_to(path, MAX_LIST));
        authorities.chain(lists).collect()
    }

    fn parse(&self, read: &[Vec<u8>]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let (authorities, lists) = read.split_at_checked(1).unwrap_or_default();
        let roots = roots(&self.authorities, authorities)?;
        let lists = self.revoked.iter().zip(lists).map(|(path, bytes)| files::list(path, bytes));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .with_crls(lists);
        let verifier = match self.strangers {
            Strangers::Refused => verifier,
            Strangers::Nobody => verifier.allow_unauthenticated(),
        };
        verifier
            .build()
            .map_err(|source| TlsError::Lists { authorities: self.authorities.clone(), source })
    }
}

/// The authorities of who asks.
pub(crate) struct Authorities(pub(crate) PathBuf);

impl Source for Authorities {
    type Value = Arc<RootCertStore>;
    const NAME: &'static str = "authorities";

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        Ok(vec![files::read(&self.0)?])
    }

    fn parse(&self, read: &[Vec<u8>]) -> Result<Arc<RootCertStore>, TlsError> {
        roots(&self.0, read).map(Arc::new)
    }
}

fn roots(path: &Path, read: &[Vec<u8>]) -> Result<RootCertStore, TlsError> {
    let bytes = read.first().map(Vec::as_slice).unwrap_or_default();
    let certificates = files::certificates(path, bytes)?;
    if certificates.len() > MAX_AUTHORITIES {
        let (path, count) = (path.to_owned(), certificates.len());
        return Err(TlsError::ManyAuthorities { path, count });
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        // One that cannot be used is not passed over: whoever put it there counts on it.
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}
