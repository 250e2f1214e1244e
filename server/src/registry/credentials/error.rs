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
            Self::Read { .. }
            | Self::TooLarge { .. }
            | Self::Content { .. }
            | Self::Expired { .. } => CauseKind::Denied,
        }
    }
}
