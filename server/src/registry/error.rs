//! What went wrong with a registry in, one error enum out: absence is never among its causes.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::evidence::{Cause, CauseKind, Reason};
use portcullis_core::image::ImageError;

use super::credentials::CredentialError;
pub use super::fault::Fault;
use crate::chain::detail;

/// The longest piece of a registry's answer that is repeated in an error, in characters.
const MAX_QUOTE: usize = 100;

/// Why a question to a registry has no answer. It is `Clone`, so that all who wait for one flight
/// can be told; it never holds a credential, a token or the query of a URL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The registry is not listed, and only listed registries are asked. Nothing was sent. This is
    /// the one error that means that the registry is unsupported.
    #[error("registry `{0}` is not one of those that are configured")]
    NotConfigured(String),
    /// The host is not listed and has no public address. Nothing was sent.
    #[error("`{0}` is not a listed registry and its address is not public")]
    NotPublic(String),
    /// No connection, a TLS failure, a broken connection, or a time-out of the host.
    #[error("no answer from `{host}`")]
    Unreachable {
        /// Which host was asked.
        host: String,
        /// What the HTTP client says, without the URL.
        source: Arc<reqwest::Error>,
    },
    /// The host answered 5xx, and again when it was asked again.
    #[error("`{host}` failed with status {status}")]
    Failed {
        /// Which host was asked.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// 401 or 403, also with a fresh token.
    #[error("`{host}` denies access to `{repository}` with status {status}")]
    Denied {
        /// Which host was asked.
        host: String,
        /// The repository that was asked for.
        repository: String,
        /// The HTTP status.
        status: u16,
    },
    /// There is no credential to answer the host's challenge with. Nothing was sent to it.
    #[error("there is no credential for `{host}`")]
    Credential {
        /// Which host asked who we are.
        host: String,
        /// Why there is none.
        source: CredentialError,
    },
    /// 429, or 503 with `Retry-After`, now or earlier: the host is not asked again before that.
    #[error("`{host}` wants to be left alone for {} s", .retry_after.as_secs())]
    Throttled {
        /// Which host was asked.
        host: String,
        /// How long it is not asked.
        retry_after: Duration,
    },
    /// The host did not answer several requests in a row. Nothing was sent.
    #[error("`{host}` did not answer lately, and is left alone for {} s", .retry_after.as_secs())]
    Silent {
        /// Which host was not asked.
        host: String,
        /// How long it is not asked.
        retry_after: Duration,
    },
    /// The host was asked as much as its budget allows, until after the caller's deadline. Nothing
    /// was sent.
    #[error(
        "`{host}` is asked as much as its budget allows; raise `requestsPerSecond`, `burst` or \
         `maxConcurrentRequests` if it can bear more"
    )]
    OverBudget {
        /// Which host was not asked.
        host: String,
    },
    /// The registry says, in its protocol's words, that it is not there.
    #[error("`{host}` has no {what}")]
    NotFound {
        /// Which host was asked.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// The registry answered something that is not its protocol, or not what was asked.
    #[error("the answer of `{host}` cannot be used")]
    Protocol {
        /// Which host was asked.
        host: String,
        /// What is wrong with the answer.
        source: Fault,
    },
    /// What the registry holds under what was asked for is not what it should be: whoever pushed it
    /// is to blame, and the registry is not.
    #[error("what `{host}` holds cannot be used")]
    Malformed {
        /// Which host was asked.
        host: String,
        /// What is wrong with it.
        source: Fault,
    },
    /// The answer is longer than its bound; the rest was not read.
    #[error("the {what} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// The bound in bytes.
        limit: usize,
    },
    /// The list is longer than its bound; the rest was not asked for.
    #[error("the list of attached artifacts has more than the {limit} {what} allowed")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The caller's time was up first.
    #[error("the registry did not answer before the deadline")]
    Deadline,
    /// A search is repeated from what was stored, and this was not. Nothing was sent.
    #[error("it was not stored when the registry was asked")]
    NotKept,
}

impl RegistryError {
    /// The failure as evidence of not knowing: its kind, and the whole chain of errors in words.
    #[must_use]
    pub fn cause(&self) -> Cause {
        let kind = match self {
            Self::NotConfigured(_)
            | Self::NotPublic(_)
            | Self::Unreachable { .. }
            | Self::Failed { .. }
            | Self::Silent { .. }
            | Self::NotKept => CauseKind::Unreachable,
            Self::Denied { .. } => CauseKind::Denied,
            Self::Credential { source, .. } => source.kind(),
            Self::Throttled { .. } | Self::OverBudget { .. } => CauseKind::Throttled,
            Self::NotFound { .. } => CauseKind::NotFound,
            Self::Protocol { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. } => CauseKind::Protocol,
            Self::Deadline => CauseKind::Deadline,
        };
        Cause { kind, detail: detail(self) }
    }

    /// For what a pusher can cause: the reason for which this one artifact, or this one list of
    /// artifacts, is rejected. `None` for every failure to find out, which is the registry's or the
    /// network's.
    ///
    /// Bytes that have the digest that was asked for are what was pushed, so their pusher answers
    /// for their length, their type and what they say. Bytes with another digest are the registry's
    /// fault, and so is a referrers API that cannot be read. A fallback tag is written by pushers.
    /// `None` too for [`Self::NotFound`]: whether that is a fault depends on who named it.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::TooLarge { .. } => Some(Reason::TooLarge),
            Self::TooMany { .. } => Some(Reason::TooMany),
            Self::Malformed { .. } => Some(Reason::Malformed),
            Self::NotConfigured(_)
            | Self::NotPublic(_)
            | Self::Unreachable { .. }
            | Self::Failed { .. }
            | Self::Denied { .. }
            | Self::Credential { .. }
            | Self::Throttled { .. }
            | Self::OverBudget { .. }
            | Self::NotFound { .. }
            | Self::Protocol { .. }
            | Self::Deadline
            | Self::Silent { .. }
            | Self::NotKept => None,
        }
    }

    /// Whether the registry says with authority that what was asked for is not there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the registry, or who vouches for us to it, was asked and said no: the image is not for
    /// us, or is not there. Faults of our own files are none.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. }
                | Self::NotFound { .. }
                | Self::Credential { source: CredentialError::Refused { .. }, .. }
        )
    }

    /// Whether the registry is not one that may be asked at all: `Evidence::Unsupported`.
    #[must_use]
    pub const fn is_not_configured(&self) -> bool {
        matches!(self, Self::NotConfigured(_))
    }

    /// Whether it says only that the time of whoever asked was up: to another it is no answer.
    pub(super) const fn is_the_askers(&self) -> bool {
        matches!(self, Self::Deadline | Self::OverBudget { .. })
    }

    pub(super) fn protocol(host: &str, source: Fault) -> Self {
        Self::Protocol { host: host.to_owned(), source }
    }

    pub(super) fn malformed(host: &str, source: Fault) -> Self {
        Self::Malformed { host: host.to_owned(), source }
    }
}

/// Why a registry configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum RegistryConfigError {
    /// A key of `hosts` is not a registry host as image references name it.
    #[error("`{}` is not a registry host", without_user(.0))]
    Host(String),
    /// A key of `hosts` is not a registry host as image references name it, for this reason.
    #[error("`{}` is not a registry host", without_user(.host))]
    HostSyntax {
        /// The key.
        host: String,
        /// What is wrong with it.
        source: ImageError,
    },
    /// Two keys of `hosts` are spellings of one registry.
    #[error("`{0}` is listed twice")]
    Twice(String),
    /// An endpoint or a trusted realm host is not a host with an optional port.
    #[error("`{}` is not a host with an optional port", without_user(.0))]
    Authority(String),
    /// The credentials of a host cannot be used.
    #[error("the credentials for `{host}` cannot be used")]
    Credential {
        /// The host or the pattern.
        host: String,
        /// What is wrong.
        source: CredentialError,
    },
    /// The proxy is not `http://` or `https://` with a host, an optional port and nothing else.
    #[error(
        "`{}` is not a proxy: expected `http://` or `https://`, a host and an optional port; a user \
         name and a password have fields of their own",
        without_user(.0)
    )]
    Proxy(String),
    /// What is given as certificate authorities has no certificate in PEM.
    #[error("the certificate authorities of `{0}` have no certificate")]
    NoCertificate(String),
    /// A certificate authority cannot be read, or the HTTP client cannot be made.
    #[error("cannot make an HTTP client for `{host}`")]
    Client {
        /// The host that it is for.
        host: String,
        /// What is wrong.
        source: reqwest::Error,
    },
}

/// An address without what stands before its `@`: people write passwords there.
pub(crate) fn without_user(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => address.to_owned(),
    }
}

/// A piece of an answer, short enough to be repeated in an error.
pub(super) fn quote(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_QUOTE).collect()
}
