//! Why a review cannot be read. It is never read as one without images.

use super::text::printable;
use super::tree::Tree;

/// The longest name of a field in a message, in bytes.
const MAX_FIELD: usize = 256;

/// Why a review cannot be read, and which one it is.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ReviewError {
    /// The uid that the answer has to repeat, if it could be read.
    pub uid: Option<String>,
    /// What it says of its object, as far as it could be read.
    pub seen: Box<Seen>,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// What a review that cannot be read says of its object, as far as it could be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The namespace of the request.
    pub namespace: Option<String>,
    /// The kind of the object.
    pub kind: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Whether nothing comes of the answer.
    pub dry_run: bool,
}

/// What is wrong with a review.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is longer than is read.
    #[error("the review is longer than the {limit} bytes allowed: make the object smaller")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Too many large ones come at a time.
    #[error("too many large reviews come at a time: try again, or make the object smaller")]
    Crowded,
    /// The shim failed while it looked at it.
    #[error(
        "the shim failed while it looked at the review: its log says how, and please report it"
    )]
    Lost,
    /// There is more of something than is read.
    #[error("the review has more {what} than the {limit} allowed: make the object smaller")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A text is longer than is read.
    #[error("the {what} at `{field}` is {length} bytes long, more than the {limit} allowed")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Where.
        field: String,
        /// Its length.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// It is no JSON, or an object in it has a name twice.
    #[error("the review is not JSON that can be read in one way")]
    Json(#[source] serde_json::Error),
    /// A field is missing or is not what it should be.
    #[error("`{field}` is {found}: expected {expected}")]
    Field {
        /// Where.
        field: String,
        /// What is there.
        found: &'static str,
        /// What should be.
        expected: &'static str,
    },
    /// Its version is not read.
    #[error(
        "`{0}` is not read, only `admission.k8s.io/v1 AdmissionReview` is: let \
         `admissionReviewVersions` of the webhook be `[v1]`"
    )]
    Version(String),
    /// It is not known where its kind has images.
    #[error(
        "it is not known where `{0}` has images: add the kind to `customKinds`, or take its resource \
         out of the rules of the webhook"
    )]
    Kind(String),
}

impl Fault {
    /// For a field that is not what it should be.
    pub(super) fn shape(field: &str, found: Tree<'_>, expected: &'static str) -> Self {
        let field = printable(field, MAX_FIELD);
        Self::Field { field, found: found.noun(), expected }
    }

    /// In one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Crowded => "crowded",
            Self::Lost => "lost",
            Self::TooMany { .. } | Self::TooLong { .. } => "too_many",
            Self::Json(_) | Self::Field { .. } => "malformed",
            Self::Version(_) => "unsupported_version",
            Self::Kind(_) => "unsupported_kind",
        }
    }
}
