//! Why a report gives no findings, and what kind of fault that is.

use crate::evidence::Reason;
use crate::image::Digest;
use crate::json::JsonError;

/// The formats that are read, for messages.
const EXPECTED: &str = "an in-toto statement with predicate vulns v0.1 or v0.2, cosign's vuln v1 or \
                        OpenVEX, a Trivy JSON report of schema version 2, a Grype JSON report, SARIF \
                        of Trivy or Grype, CycloneDX with vulnerabilities, or an OpenVEX document";

/// Why a report gives no findings.
#[derive(Debug, thiserror::Error)]
pub enum FindingsError {
    /// More bytes, entries or characters than the bound.
    #[error("the report has more {what} than the {limit} allowed")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Not JSON within its bounds, or not of the shape of its format.
    #[error("the report cannot be read")]
    Malformed(#[source] JsonError),
    /// A format that is not read, whatever it holds.
    #[error("`{0}` is not a findings format that is read: expected {EXPECTED}")]
    Format(String),
    /// A document that is no scanner's report, and does not claim to be one: a bill of materials, or
    /// what a tool of another kind found.
    #[error("the document is not a findings report, {0}: expected {EXPECTED}")]
    NotAReport(String),
    /// A VEX document that cannot be used. Nothing is cleared by it.
    #[error("the VEX document cannot be used")]
    Vex(#[source] Box<Self>),
    /// A signed envelope where the report itself is expected.
    #[error("the report is a DSSE envelope: expected the statement itself, signed by its manifest")]
    Envelope,
    /// The predicate type that the manifest announces is not the one of the statement.
    #[error(
        "the statement has predicate type `{stated}`, but its manifest announces `{annotated}`"
    )]
    Announced {
        /// What the annotation says.
        annotated: String,
        /// What the statement says.
        stated: String,
    },
    /// The report is about something else than what it is attached to.
    #[error("the statement has no subject with sha256 digest `{}`", .subject.hex())]
    WrongSubject {
        /// What it is attached to.
        subject: Digest,
    },
    /// A field without which a report has no meaning.
    #[error("the report does not state `{0}`")]
    Missing(&'static str),
    /// An identifier with characters that no identifier has.
    #[error("`{}` is not a vulnerability identifier", .0.escape_debug())]
    Id(String),
    /// A time that is not one.
    #[error("`{field}` is `{value}`: expected a time of RFC 3339")]
    Time {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        source: time::error::Parse,
    },
    /// A time at which nothing was scanned.
    #[error("`{field}` is `{value}`: expected a time between the years 1970 and 9999")]
    Age {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// The scanner could not look, or not at everything, so that what it did not find says nothing.
    #[error("the image is not covered by the scan: {0}")]
    NotCovered(&'static str),
}

impl FindingsError {
    /// The kind of fault that it is in evidence.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Vex(source) => source.reason(),
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::WrongSubject { .. } => Reason::WrongSubject,
            Self::Malformed(_)
            | Self::Format(_)
            | Self::NotAReport(_)
            | Self::Envelope
            | Self::Announced { .. }
            | Self::Missing(_)
            | Self::Id(_)
            | Self::Time { .. }
            | Self::Age { .. }
            | Self::NotCovered(_) => Reason::Malformed,
        }
    }
}
