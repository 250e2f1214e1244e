//! What is wrong with files of certificates.

use std::io;
use std::path::PathBuf;

use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem;
use tokio_rustls::rustls::server::VerifierBuilderError;

use crate::demand::{MAX_AUTHORITIES, MAX_LISTS};
#[cfg(doc)]
use crate::files::{MAX_FILE, MAX_LIST};
use crate::pair::MAX_CHAIN;

/// Why files cannot be used.
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
    /// A file is larger than [`MAX_FILE`], or a list of revoked certificates than [`MAX_LIST`].
    #[error("`{}` is longer than the {max} bytes allowed", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How long it may be.
        max: usize,
    },
    /// A file has not just one list of revoked certificates.
    #[error(
        "`{}` has {count} lists of revoked certificates, and one is expected: put each in a file of its own",
        path.display()
    )]
    OneList {
        /// Which.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A file is not PEM.
    #[error("`{}` is not PEM, or only a part of it is there", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file has no certificate.
    #[error("`{}` has no certificate: expected PEM with `BEGIN CERTIFICATE`", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// A file has more certificates than a chain may have.
    #[error(
        "`{}` has {count} certificates, more than the {MAX_CHAIN} allowed: keep the own one and those between \
         it and its authority",
        path.display()
    )]
    LongChain {
        /// Which.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A file has more certificates than there may be authorities.
    #[error("`{}` has {count} certificates, more than the {MAX_AUTHORITIES} authorities allowed", path.display())]
    ManyAuthorities {
        /// Which.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// There are more lists of revoked certificates than [`MAX_LISTS`].
    #[error("there are {0} lists of revoked certificates, more than the {MAX_LISTS} allowed")]
    ManyLists(usize),
    /// A certificate is malformed.
    #[error("`{}` has a certificate that cannot be read", path.display())]
    Certificate {
        /// Where.
        path: PathBuf,
    },
    /// A certificate cannot be an authority.
    #[error("`{}` has a certificate that cannot be an authority", path.display())]
    Authority {
        /// Where.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The key is not that of the certificate, or of a kind that is not known.
    #[error(
        "the key `{}` does not go with the certificate `{}`: put the pair there that belongs together",
        key.display(), certificate.display()
    )]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Lists of revoked certificates cannot be used.
    #[error("the lists of revoked certificates cannot be used with `{}`", authorities.display())]
    Lists {
        /// The authorities.
        authorities: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
    /// The settings do not go together.
    #[error("TLS cannot be set up")]
    Setting(#[source] rustls::Error),
}
