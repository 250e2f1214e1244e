//! Why a question has no answer.

use std::fmt;
use std::time::Duration;

/// Why there is no answer. A denial is not among these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// More questions wait than may.
    #[error("the service is at its limit of {limit} questions that wait{of}")]
    Overloaded {
        /// Whose limit it is.
        of: Shared,
        /// How many it takes.
        limit: usize,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The work on the question was lost by a fault of ours.
    #[error("the question was lost by a fault of the service")]
    Lost,
    /// The caller's deadline passed.
    #[error("the deadline passed before the question was answered")]
    DeadlineExceeded,
}

/// Among whom places for questions are shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shared {
    /// All who ask.
    Service,
    /// One caller.
    Caller,
    /// Those who ask about images of this registry.
    Registry(String),
}

impl Shared {
    /// The word for a limit of it that was reached, as in metrics.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Service => "overloaded",
            Self::Caller => "overloaded_caller",
            Self::Registry(_) => "overloaded_registry",
        }
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => Ok(()),
            Self::Caller => f.write_str(" for one caller"),
            Self::Registry(registry) => write!(f, " for registry `{registry}`"),
        }
    }
}
