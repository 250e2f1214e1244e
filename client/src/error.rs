//! Why there is no answer.

use std::error::Error;
use std::sync::Arc;

use portcullis_tls::TlsError;

use crate::MAX_TARGETS;
use crate::secure::Told;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address is not one.
    #[error("`{0}` is not a server address: expected `http://host:port` or `https://host:port`")]
    Address(String),
    /// There is no address, or there are more than [`MAX_TARGETS`].
    #[error("there are {0} server addresses: expected 1 to {MAX_TARGETS}")]
    Targets(usize),
    /// TLS is asked for, and nothing says by whom the service is known.
    #[error(
        "`{0}` is asked in TLS, and no authority of the service is given: give its file (`--tls-ca`)"
    )]
    NoAuthorities(String),
    /// TLS is configured, and not asked for.
    #[error(
        "`{0}` is asked in plain text, and TLS is configured: write `https://`, or leave out the files of TLS"
    )]
    Plain(String),
    /// A name that a certificate should have is not one.
    #[error(
        "`{0}` is not a name that the certificate of a server can have: expected a DNS name or an address"
    )]
    ServerName(String),
    /// The files of TLS cannot be used.
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
    /// No replica can be reached.
    #[error("failed to reach the decision service at `{url}`")]
    Unreachable {
        /// The addresses, as given.
        url: String,
        /// Why the last attempt failed.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The service has no answer.
    #[error("the decision service has no answer")]
    NoAnswer(#[source] Box<tonic::Status>),
}

/// Why a replica is not called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    /// It cannot be connected to.
    #[error("failed to connect")]
    Connect(#[source] tonic::transport::Error),
    /// The two do not come to terms on TLS.
    #[error("failed to connect in TLS")]
    Tls(#[source] Told),
    /// It does not say how it is.
    #[error("failed to ask for its health")]
    Health(#[source] Box<tonic::Status>),
    /// It says nothing.
    #[error("it does not answer")]
    Silent,
    /// It says that it does not serve.
    #[error("it says that it does not serve")]
    NotServing,
    /// A name has no address.
    #[error("failed to look up `{host}`")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}
