//! Why there is no answer.

use std::error::Error;
use std::sync::Arc;

use crate::MAX_TARGETS;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address is not one.
    #[error("`{0}` is not a server address: expected `http://host:port`")]
    Address(String),
    /// There is no address, or there are more than [`MAX_TARGETS`].
    #[error("there are {0} server addresses: expected 1 to {MAX_TARGETS}")]
    Targets(usize),
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
