//! Why certificates were not renewed, and what helps.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_tls::TlsError;

use super::issue::EARLY;
use super::objects::{MAX_OBJECT, Object, Verb};

/// Why certificates were not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The file of the token cannot be read.
    #[error("failed to read the token of the service account, `{}`", path.display())]
    Token {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of the token has none.
    #[error("`{}` is no token of a service account: see that the pod has its volume", .0.display())]
    NoToken(PathBuf),
    /// The API server's name cannot be one.
    #[error("the API server cannot be called `{0}`")]
    Host(String),
    /// The API server cannot be connected to.
    #[error(
        "failed to connect to the API server at `{address}`: see that the network lets the shim there, and that \
         the authority of `caFile` is the API server's"
    )]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("failed to {verb} {object}: the connection to the API server broke")]
    Broken {
        /// What was asked.
        verb: Verb,
        /// Of what.
        object: Object,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server did not answer in time.
    #[error("failed to {verb} {object}: the API server did not answer within {within:?}")]
    Late {
        /// What was asked.
        verb: Verb,
        /// Of what.
        object: Object,
        /// For how long it was waited.
        within: Duration,
    },
    /// The API server does not know us.
    #[error("failed to {verb} {object}: the API server does not know the token in `{}`", token.display())]
    Unknown {
        /// What was asked.
        verb: Verb,
        /// Of what.
        object: Object,
        /// Whose token.
        token: PathBuf,
    },
    /// We may not.
    #[error(
        "may not {verb} {object}: give the service account of the shim this right, by the {} of the release \
         ({said})", object.role()
    )]
    Forbidden {
        /// What was asked.
        verb: Verb,
        /// Of what.
        object: Object,
        /// What the API server said.
        said: String,
    },
    /// It is not there.
    #[error("there is no {object}: the chart makes it, and it is made again by `helm upgrade`")]
    Absent {
        /// What.
        object: Object,
    },
    /// Another replica was there first.
    #[error("{object} was changed by another at the same time")]
    Conflict {
        /// What.
        object: Object,
    },
    /// Another answer.
    #[error("failed to {verb} {object}: the API server answered {status} ({said})")]
    Status {
        /// What was asked.
        verb: Verb,
        /// Of what.
        object: Object,
        /// With which status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// A configuration lacks our authority, and trusts what others may show.
    #[error(
        "{0} does not trust the authority of the Secret but one of before, so nothing is shown and this shim is not \
         ready: see why it is not written, or write `caBundle` there as the others have it"
    )]
    Untrusted(Object),
    /// No configuration is to be told of anything.
    #[error("there is no configuration of webhooks that could be told of the authority")]
    Unannounced,
    /// An object is larger than is read.
    #[error("{0} is longer than the {MAX_OBJECT} bytes that are read")]
    TooLarge(Object),
    /// An object is not what it must be.
    #[error("{0} is not such as the API server has them")]
    Malformed(Object),
    /// The clocks are too far apart.
    #[error(
        "our clock is {apart} s from the API server's, and certificates are not made by a clock that is more than \
         {} s off: set the clock of the node", EARLY.as_secs()
    )]
    Clock {
        /// In seconds.
        apart: u64,
    },
    /// The authority cannot be read.
    #[error("the authority that was made cannot be read")]
    Authority,
    /// A certificate cannot be made.
    #[error("failed to make a certificate")]
    Issue(#[source] rcgen::Error),
    /// A certificate cannot be shown.
    #[error("failed to use the certificate of the Secret")]
    Tls(#[from] TlsError),
    /// A task ended early.
    #[error("the look at the files ended early")]
    Ended(#[from] tokio::task::JoinError),
}

impl RenewalError {
    /// The word for it in metrics.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Token { .. } | Self::NoToken(_) | Self::Unknown { .. } => "token",
            Self::Host(_)
            | Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Late { .. }
            | Self::Ended(_) => "connection",
            Self::Forbidden { .. } => "forbidden",
            Self::Absent { .. } | Self::Unannounced => "absent",
            Self::Untrusted(_) => "untrusted",
            Self::Conflict { .. } => "conflict",
            Self::Clock { .. } => "clock",
            Self::Status { .. } | Self::TooLarge(_) | Self::Malformed(_) => "answer",
            Self::Authority | Self::Issue(_) | Self::Tls(_) => "certificate",
        }
    }

    /// Whether what it is about is not there.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// The object, where this is about that one alone and lasts until somebody mends it: the others can be looked
    /// after meanwhile.
    pub(super) const fn missed(&self) -> Option<&Object> {
        match self {
            Self::Forbidden { object, .. }
            | Self::Absent { object }
            | Self::Status { object, .. }
            | Self::TooLarge(object)
            | Self::Malformed(object) => Some(object),
            _ => None,
        }
    }
}
