//! Why a report is not verified, and what kind of fault that is.

use super::cosign::CosignError;
use super::envelope::EnvelopeError;
use super::identity::IdentityError;
use super::question::RevocationQuestion;
use super::timestamp::TimestampError;
use crate::evidence::Reason;
use crate::findings::MAX_REPORT;
use crate::image::Digest;
use crate::json::JsonError;
use crate::referrers::ReferrersError;

/// Which of the two artifacts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The report.
    Report,
    /// The signature over its manifest.
    Signature,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Report => "report",
            Self::Signature => "signature",
        })
    }
}

/// Why a report is not verified.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// A manifest cannot be read.
    #[error("the manifest of the {role} cannot be used")]
    Manifest {
        /// Whose manifest.
        role: Role,
        /// Why.
        #[source]
        source: ReferrersError,
    },
    /// An index where a manifest was expected.
    #[error("the {role} is an index, not a manifest with one layer")]
    Index {
        /// Which artifact.
        role: Role,
    },
    /// Not exactly one layer.
    #[error("the manifest of the {role} has {count} layers, and must have one")]
    Layers {
        /// Whose manifest.
        role: Role,
        /// How many layers.
        count: usize,
    },
    /// A report that is larger than its bound.
    #[error("the report is {length} bytes long, more than the {MAX_REPORT} allowed")]
    ReportTooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// The blob is not the one that its manifest names.
    #[error("the {role} itself is not what its manifest says: expected `{expected}`")]
    Blob {
        /// Which artifact.
        role: Role,
        /// The digest of the layer.
        expected: Digest,
    },
    /// The report is about another image.
    #[error("the report is about {}, not about `{asked}`", subject(.about))]
    ReportSubject {
        /// What its manifest names as subject.
        about: Option<Digest>,
        /// The image that was asked about.
        asked: Digest,
    },
    /// The signature artifact is attached to something else.
    #[error("the signature is attached to {}, not to the report `{report}`", subject(.about))]
    SignatureSubject {
        /// What its manifest names as subject.
        about: Option<Digest>,
        /// The report.
        report: Digest,
    },
    /// The subject's type or size is not that of the report's manifest.
    #[error("the signature is attached to `{report}` with another media type or size than it has")]
    SignatureDescriptor {
        /// The report.
        report: Digest,
    },
    /// The artifact is not a Notary Project signature.
    #[error("artifact type `{0}` is not that of a Notary Project signature")]
    ArtifactType(String),
    /// The envelope is not a good signature.
    #[error("the signature envelope is not good")]
    Envelope(#[from] EnvelopeError),
    /// The payload is not a Notary Project payload.
    #[error("the signed payload cannot be read")]
    Payload(#[source] JsonError),
    /// The payload names something else.
    #[error("the signature is over `{signed}`, not over the report `{report}`")]
    Target {
        /// What is signed.
        signed: Digest,
        /// The report.
        report: Digest,
    },
    /// The payload names the report with another type or size.
    #[error("the signature is over `{report}` with another media type or size than it has")]
    TargetDescriptor {
        /// The report.
        report: Digest,
    },
    /// Nothing is trusted for this repository.
    #[error("no statement of the trust policy has `{scope}` or `*` in its registry scopes")]
    NoStatement {
        /// `registry/repository`.
        scope: String,
    },
    /// The trust policy asks not to verify.
    #[error(
        "trust policy statement `{policy}` has level `skip`, and what is not verified is not \
         evaluated: give it a level, trust stores and trusted identities"
    )]
    Skipped {
        /// Name of the statement.
        policy: String,
    },
    /// No certificate of the chain is trusted.
    #[error(
        "no certificate of the signature's chain is in the `{store}` trust stores of trust policy \
         statement `{policy}`{}", logged(.demanded)
    )]
    UntrustedChain {
        /// Name of the statement.
        policy: String,
        /// Kind of the stores that count for the signing scheme.
        store: &'static str,
        /// Whether the statement demands authenticity, which is enforced anyway.
        demanded: Demanded,
    },
    /// The signer is not among the trusted identities.
    #[error(
        "signer `{subject}` is none of the trusted identities of trust policy statement \
         `{policy}`{}", logged(.demanded)
    )]
    UntrustedIdentity {
        /// Subject of the signing certificate.
        subject: String,
        /// Name of the statement.
        policy: String,
        /// Whether the statement demands authenticity, which is enforced anyway.
        demanded: Demanded,
    },
    /// The signer's name cannot be compared with identities.
    #[error(
        "signer `{subject}` cannot be compared with the trusted identities of trust policy \
         statement `{policy}`: only `*` could trust it"
    )]
    Identity {
        /// Subject of the signing certificate.
        subject: String,
        /// Name of the statement.
        policy: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// The signer's own expiry is past.
    #[error("the signature expired at {}", written(.at))]
    Expired {
        /// When.
        at: time::OffsetDateTime,
    },
    /// A certificate is not valid at the time that counts.
    #[error("certificate `{subject}` is not valid at {}", written(.at))]
    NotValid {
        /// Subject of the certificate.
        subject: String,
        /// Now, or the authority's signing time.
        at: time::OffsetDateTime,
    },
    /// The trust policy demands an RFC 3161 timestamp, and it is not good.
    #[error(
        "the trust policy demands an RFC 3161 timestamp, and that of the signature is not good"
    )]
    Timestamp(#[from] TimestampError),
    /// A certificate was revoked.
    #[error("certificate `{subject}` was revoked at {}{}", written(.at), because(.reason))]
    Revoked {
        /// Subject of the certificate.
        subject: String,
        /// Since when.
        at: time::OffsetDateTime,
        /// Why, if it is stated.
        reason: Option<String>,
    },
    /// It could not be found out whether a certificate was revoked. Who signed is trusted, and the
    /// answer may be another one later.
    #[error(
        "it is not known whether certificate `{subject}` was revoked ({detail}): set \
         `\"override\": {{\"{check}\": \"log\"}}` in the statement if that is no reason to refuse"
    )]
    RevocationUnknown {
        /// Subject of the certificate.
        subject: String,
        /// Why not.
        detail: String,
        /// The check of the trust policy that it belongs to: `revocation`, or `authenticTimestamp`
        /// for a certificate of a timestamping authority.
        check: &'static str,
    },
    /// It was not asked yet whether certificates were revoked; everything else has passed.
    #[error("it was not asked yet whether the certificates of the signature were revoked")]
    RevocationPending {
        /// What to ask before the report is examined again.
        questions: Vec<RevocationQuestion>,
    },
    /// A cosign attestation is not verified.
    #[error(transparent)]
    Cosign(#[from] CosignError),
}

/// What a statement says of authenticity. It is enforced whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demanded {
    /// To enforce it.
    Enforce,
    /// To log failures only.
    Log,
}

impl SignatureError {
    /// Whether the report is not refused, and only something that must be asked is not known: the
    /// same bytes may be verified later.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        matches!(self, Self::RevocationUnknown { .. } | Self::RevocationPending { .. })
    }

    /// The kind of fault.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Cosign(source) => source.reason(),
            Self::Manifest { source, .. } => match source {
                ReferrersError::TooLarge { .. } => Reason::TooLarge,
                ReferrersError::TooMany { .. } => Reason::TooMany,
                ReferrersError::Malformed(_)
                | ReferrersError::Platform
                | ReferrersError::NoList
                | ReferrersError::Entry(_)
                | ReferrersError::Ambiguous(_)
                | ReferrersError::MediaType(_) => Reason::Malformed,
            },
            Self::ReportTooLarge { .. } | Self::Envelope(EnvelopeError::TooLarge { .. }) => {
                Reason::TooLarge
            }
            Self::Index { .. } | Self::Layers { .. } | Self::ArtifactType(_) => Reason::Malformed,
            Self::ReportSubject { .. }
            | Self::SignatureSubject { .. }
            | Self::SignatureDescriptor { .. }
            | Self::Target { .. }
            | Self::TargetDescriptor { .. } => Reason::WrongSubject,
            Self::Blob { .. }
            | Self::Envelope(_)
            | Self::Payload(_)
            | Self::Expired { .. }
            | Self::NotValid { .. }
            | Self::Timestamp(_)
            | Self::Revoked { .. }
            | Self::RevocationUnknown { .. }
            | Self::RevocationPending { .. } => Reason::BadSignature,
            Self::NoStatement { .. }
            | Self::Skipped { .. }
            | Self::UntrustedChain { .. }
            | Self::UntrustedIdentity { .. }
            | Self::Identity { .. } => Reason::UntrustedSigner,
        }
    }
}

pub(super) fn written(at: &time::OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_else(|_| at.to_string())
}

fn because(reason: &Option<String>) -> String {
    reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
}

fn subject(about: &Option<Digest>) -> String {
    about.map_or_else(|| "nothing".to_owned(), |digest| format!("`{digest}`"))
}

const fn logged(demanded: &Demanded) -> &'static str {
    match demanded {
        Demanded::Enforce => "",
        Demanded::Log => {
            " (it asks to log that only; authenticity is always enforced here: add the signer to \
             the statement)"
        }
    }
}
