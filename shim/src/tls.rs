//! Files in, what the API server's connections are protected with out, anew whenever the files change.
//!
//! The files are read again every second or two, whatever replaces them and however: a symbolic link that the
//! kubelet turns, a rename, a write in place. A certificate that does not fit its key, or half a file, is never
//! used: what was there stays until there is a whole pair, and connections keep what they began with.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::sleep;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::config::TlsConfig;
use crate::metrics::Metrics;

/// The largest certificate, key or authority file that is read, in bytes.
pub const MAX_PEM: usize = 256 * 1024;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than [`MAX_PEM`].
    #[error("`{}` is longer than the {MAX_PEM} bytes allowed", .0.display())]
    TooLarge(PathBuf),
    /// A file is not PEM of the right kind.
    #[error("`{}` is not PEM, or not all of it is there", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file has no certificate.
    #[error("`{}` has no certificate: expected PEM that begins with our own", .0.display())]
    Empty(PathBuf),
    /// A certificate cannot be read.
    #[error("the first certificate of `{}` cannot be read", .0.display())]
    Certificate(PathBuf),
    /// The certificate and the key cannot be used together.
    #[error("the certificate of `{}` and the key of `{}` do not go together", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: Box<rustls::Error>,
    },
    /// The authorities of the API server cannot be used.
    #[error("the authorities of `{}` cannot be used", path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What protects connections now, and the files that it is from.
pub(crate) struct Certificates {
    files: TlsConfig,
    current: ArcSwap<Current>,
    /// Of what was read last, whether it could be used or not.
    seen: Mutex<Seen>,
}

/// What protects a connection.
pub(crate) struct Current {
    pub(crate) server: Arc<ServerConfig>,
    /// When our certificate ends, in seconds since 1970.
    pub(crate) expires: i64,
}

/// What was last said of files, so that it is said once.
#[derive(PartialEq, Eq)]
enum Seen {
    Read(Content),
    Unread(String),
}

/// The files as they are.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(files: &TlsConfig) -> Result<Self, TlsError> {
        let content = Content::read(files)?;
        let current = content.current(files)?;
        Ok(Self {
            files: files.clone(),
            current: ArcSwap::from_pointee(current),
            seen: Mutex::new(Seen::Read(content)),
        })
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Whether a client must show a certificate.
    pub(crate) const fn demands(&self) -> bool {
        self.files.client_authorities.is_some()
    }

    /// Takes what changed in the files, until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, metrics: Arc<Metrics>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let (this, metrics) = (Arc::clone(&self), Arc::clone(&metrics));
            let looked = tokio::task::spawn_blocking(move || this.look(&metrics)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "the look at the certificate ended early");
            }
        }
    }

    /// Looks at the files once.
    fn look(&self, metrics: &Metrics) {
        let content = match Content::read(&self.files) {
            Ok(content) => content,
            Err(error) => {
                let text = crate::chain(&error);
                if self.is_news(Seen::Unread(text.clone())) {
                    metrics.certificate_kept();
                    tracing::error!(error = text, "the certificate from before is used on");
                }
                return;
            }
        };
        if !self.is_news(Seen::Read(content.clone())) {
            return;
        }
        match content.current(&self.files) {
            Ok(current) => {
                metrics.certificate_taken(current.expires);
                tracing::info!(expires = current.expires, "a new certificate is used");
                self.current.store(Arc::new(current));
            }
            Err(error) => {
                metrics.certificate_kept();
                let error = crate::chain(&error);
                tracing::error!(error, "the certificate from before is used on");
            }
        }
    }

    fn is_news(&self, seen: Seen) -> bool {
        let mut last = self.seen.lock();
        let is_news = *last != seen;
        *last = seen;
        is_news
    }
}

impl Content {
    fn read(files: &TlsConfig) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            authorities: files.client_authorities.as_deref().map(read).transpose()?,
        })
    }

    /// What these files protect connections with.
    fn current(&self, files: &TlsConfig) -> Result<Current, TlsError> {
        let path = &files.certificate;
        let chain = certificates(path, &self.certificate)?;
        let first = chain.first().ok_or_else(|| TlsError::Empty(path.clone()))?;
        let (_, own) = x509_parser::parse_x509_certificate(first)
            .map_err(|_| TlsError::Certificate(path.clone()))?;
        let expires = own.validity().not_after.timestamp();
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| TlsError::Pem { path: files.key.clone(), source })?;
        let pair = |source| TlsError::Pair {
            certificate: path.clone(),
            key: files.key.clone(),
            source: Box::new(source),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(pair)?;
        let builder = match (&files.client_authorities, &self.authorities) {
            (Some(path), Some(text)) => {
                let roots = Arc::new(roots(path, text)?);
                // Who shows none gets an answer that says so; who shows one that is not signed by
                // these gets none.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|source: VerifierBuilderError| TlsError::Authorities {
                        path: path.clone(),
                        source: source.into(),
                    })?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        // It fails where the key is not the certificate's.
        let mut server = builder.with_single_cert(chain, key).map_err(pair)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Current { server: Arc::new(server), expires })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_PEM as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_PEM { Err(TlsError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })
}

fn roots(path: &Path, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, text)? {
        roots.add(certificate).map_err(|source| TlsError::Authorities {
            path: path.to_owned(),
            source: source.into(),
        })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
