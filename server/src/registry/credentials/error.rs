//! What went wrong with a credential in, one error out that never holds a secret.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::evidence::CauseKind;

/// Why there is no credential for a registry. Nothing that a file or a service said is in it but a
/// short word, since either may hold a secret where none is expected.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A file is larger than its bound.
    #[error("`{}` is larger than the {limit} bytes allowed", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The bound in bytes.
        limit: usize,
    },
    /// What is in a file is not what it should be.
    #[error("`{}` cannot be used: {why}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A token service cannot be reached.
    #[error("no answer from {service}")]
    Unreachable {
        /// Which.
        service: &'static str,
        /// What the HTTP client says, without the URL.
        source: Arc<reqwest::Error>,
    },
    /// A token service fails, or wants to be left alone.
    #[error("{service} failed with status {status}")]
    Failed {
        /// Which.
        service: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// A token service does not take us for whom we say that we are.
    #[error("{service} refuses with status {status}: {code}")]
    Refused {
        /// Which.
        service: &'static str,
        /// The HTTP status.
        status: u16,
        /// The service's own word for it, if it is a word.
        code: String,
    },
    /// A token service's answer cannot be used.
    #[error("the answer of {service} cannot be used: {why}")]
    Answer {
        /// Which.
        service: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The credentials of a cloud are for registries of that cloud alone, where their names say.
    #[error("`{host}` is not a registry for credentials of kind `{kind}`, at its own address")]
    Host {
        /// Which.
        host: String,
        /// Whose credentials.
        kind: &'static str,
    },
    /// Nothing is sent to this address.
    #[error(
        "`{0}` is not the cloud's own address; one of your own must be `https://host/`, or \
         `http://` on this machine"
    )]
    Endpoint(String),
    /// This cannot be the name of a tenant, a client or an account.
    #[error("`{0}` is not an identifier")]
    Identifier(String),
    /// What was in a file has expired, and the file cannot be read again.
    #[error("the token in `{}` has expired", path.display())]
    Expired {
        /// Which.
        path: PathBuf,
    },
}

impl CredentialError {
    /// What it means for the question that needed the credential.
    #[must_use]
    pub const fn kind(&self) -> CauseKind {
        match self {
            Self::Unreachable { .. } => CauseKind::Unreachable,
            Self::Failed { status: 429, .. } => CauseKind::Throttled,
            Self::Failed { .. } => CauseKind::Unreachable,
            Self::Answer { .. } => CauseKind::Protocol,
            Self::Refused { .. }
            | Self::Host { .. }
            | Self::Endpoint(_)
            | Self::Identifier(_)
            | Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Content { .. }
            | Self::Expired { .. } => CauseKind::Denied,
        }
    }
}
