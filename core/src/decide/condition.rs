//! What a rule can be violated by.

use std::time::Duration;

use time::OffsetDateTime;

use crate::evidence::{Cause, Rejection};
use crate::findings::Severity;
use crate::policy::Population;

/// A condition that was fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// More findings at a level or higher than the rule allows. For [`Severity::Unknown`], more
    /// findings of unknown severity.
    MaxAllowed {
        /// Which findings are counted.
        population: Population,
        /// The level.
        level: Severity,
        /// How many are allowed.
        limit: u32,
        /// How many there are.
        count: usize,
    },
    /// A forbidden vulnerability is present.
    Forbidden {
        /// Its identifier as the rule has it.
        id: String,
    },
    /// The image is none of those that may be used.
    UntrustedImage,
    /// No report is attached.
    Unscanned,
    /// What is attached cannot be believed.
    Rejected(Rejection),
    /// All reports are older than the rule allows. What they found still counts.
    Stale {
        /// When the newest scan finished.
        scanned_at: OffsetDateTime,
        /// The greatest age that the rule allows.
        max_age: Duration,
    },
    /// The reports could not be confirmed with the registry for too long.
    Unconfirmed {
        /// For how long.
        age: Duration,
    },
    /// Reports were seen before and are gone now.
    Withheld,
    /// It could not be found out whether there are reports.
    Unavailable(Cause),
    /// The registry is not one that is asked for reports.
    Unsupported,
}

impl Condition {
    /// The word for it, as in the contract, metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::MaxAllowed { population: Population::All, .. } => "max_allowed",
            Self::MaxAllowed { population: Population::Fixable, .. } => "max_allowed_fixable",
            Self::MaxAllowed { population: Population::Unfixable, .. } => "max_allowed_unfixable",
            Self::UntrustedImage => "untrusted_image",
            Self::Forbidden { .. } => "forbidden",
            Self::Unscanned => "unscanned",
            Self::Rejected(_) => "rejected",
            Self::Stale { .. } => "stale",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Withheld => "withheld",
            Self::Unavailable(_) => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }
}
