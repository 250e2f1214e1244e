//! What did not violate a rule and should not pass in silence.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::evidence::Cause;
use crate::image::{Digest, Platform};

/// Something that did not violate a rule and should not pass in silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Name of the rule that let it pass; `None` where it is about the evidence alone.
    pub rule: Option<Arc<str>>,
    /// The manifest; `None` where it is about the whole image.
    pub subject: Option<Digest>,
    /// Its platform, for a manifest of an index.
    pub platform: Option<Platform>,
    /// What it is.
    pub kind: NoticeKind,
}

/// What a notice is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeKind {
    /// No report is attached, and the rule does not block such images.
    Unscanned,
    /// The registry is not one that is asked, and the rule does not block unscanned images.
    Unsupported,
    /// It could not be found out whether there are reports, and the rule lets that pass.
    Unavailable(Cause),
    /// No rule is about the image in this context.
    OutOfScope,
    /// The image is in a registry that the rule leaves alone.
    UnsupportedRegistry,
    /// The image fits a pattern of those that the rule, or every rule, leaves alone.
    AllowedImage {
        /// The pattern as it was written.
        pattern: String,
    },
    /// Findings are not counted, because a VEX document or the report itself says that the image is
    /// not affected, or was cured.
    Cleared {
        /// Digest of the document's manifest; `None` for the report itself.
        by: Option<Digest>,
        /// Their identifiers, at most [`crate::decide::TOP_FINDINGS`].
        ids: Vec<String>,
        /// How many there are.
        total: usize,
    },
    /// A reason was given why the image must run, and it lifts nothing.
    BreakGlassRefused(Refusal),
    /// One of several reports is older than the rule allows and was not considered.
    OldReport {
        /// Digest of its manifest.
        report: Digest,
        /// When its scan finished.
        scanned_at: OffsetDateTime,
    },
    /// One of several reports says that it will be made, and was not considered.
    EarlyReport {
        /// Digest of its manifest.
        report: Digest,
        /// When its scan will have finished.
        scanned_at: OffsetDateTime,
    },
    /// A check of a report's signature failed that the trust policy only wants to be told of.
    Signature {
        /// Digest of the report's manifest.
        report: Digest,
        /// What exactly is wrong, for people.
        detail: String,
    },
}

/// Why break-glass lifts nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No entry of the policy permits it here.
    NotPermitted,
    /// It is permitted, and not on record: it is advice, or the record failed.
    NotRecorded,
}

impl NoticeKind {
    /// The word for it, as in the contract, metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unscanned => "unscanned",
            Self::Unsupported => "unsupported",
            Self::Unavailable(_) => "unavailable",
            Self::OutOfScope => "out_of_scope",
            Self::UnsupportedRegistry => "unsupported_registry",
            Self::AllowedImage { .. } => "allowed_image",
            Self::Cleared { .. } => "cleared",
            Self::BreakGlassRefused(_) => "break_glass_refused",
            Self::OldReport { .. } => "old_report",
            Self::EarlyReport { .. } => "early_report",
            Self::Signature { .. } => "signature",
        }
    }
}
