//! Why an attestation is not verified, and what kind of fault that is.

use super::bundle::BUNDLE;
use super::{DSSE, MAX_ATTESTATION};
use crate::evidence::Reason;
use crate::findings::FindingsError;
use crate::json::JsonError;
use crate::referrers::IN_TOTO;

/// Why an attestation is not verified.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// More bytes than [`MAX_ATTESTATION`].
    #[error("the attestation is {length} bytes long, more than the {MAX_ATTESTATION} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Neither an envelope nor a bundle.
    #[error("`{0}` is not an attestation: expected `{DSSE}` or `{BUNDLE}`")]
    MediaType(String),
    /// Not JSON, or not of the shape of an envelope or a bundle.
    #[error("the attestation cannot be read")]
    Malformed(#[source] JsonError),
    /// More than the bound of something.
    #[error("the attestation has more {what} than the {limit} allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// A bundle without a certificate and without a key, or with more than one of them.
    #[error("the bundle must have either a certificate or the hint of a public key")]
    Material,
    /// A bundle of a signature alone.
    #[error("the bundle signs something, and states nothing: it has no DSSE envelope")]
    NoEnvelope,
    /// A bundle that could be verified as one thing and read as another.
    #[error("the bundle has both a DSSE envelope and a message signature, and must have one")]
    TwoContents,
    /// An envelope without signatures.
    #[error("the envelope has no signature")]
    Unsigned,
    /// A bundle must have one signature.
    #[error("the bundle's envelope has {count} signatures, and must have one")]
    Signatures {
        /// How many.
        count: usize,
    },
    /// The envelope holds something else.
    #[error("the payload is `{0}`: expected `{IN_TOTO}`")]
    PayloadType(String),
    /// Not base64.
    #[error("`{field}` of the envelope is not base64")]
    Encoding {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: base64::DecodeError,
    },
    /// The payload is not a statement about the image.
    #[error("the attested statement cannot be used")]
    Statement(#[source] FindingsError),
    /// Nobody is trusted for this repository.
    #[error("no cosign entry of the trust configuration has `{scope}` or `*` in its scopes")]
    NoEntry {
        /// `registry/repository`.
        scope: String,
    },
    /// Signed by nobody who is trusted.
    #[error(
        "none of the cosign entries {entries} trusts who signed the attestation: it was signed by \
         another, or changed since"
    )]
    Unknown {
        /// The entries that were tried.
        entries: String,
    },
    /// The certificate, its log or its signature is not as an entry demands.
    #[error("cosign entry `{entry}` does not trust the attestation")]
    Keyless {
        /// The entry.
        entry: String,
        /// The kind of fault.
        reason: Reason,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It names a trusted key that did not sign this.
    #[error(
        "the attestation names the key of cosign entry `{entry}`, which did not sign it: it was \
         changed since, or the signature is another's"
    )]
    Changed {
        /// The entry.
        entry: String,
    },
}

impl CosignError {
    /// The kind of fault.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::TooMany { .. } => Reason::TooMany,
            Self::Statement(source) => source.reason(),
            Self::Keyless { reason, .. } => *reason,
            Self::MediaType(_)
            | Self::Malformed(_)
            | Self::Material
            | Self::NoEnvelope
            | Self::TwoContents
            | Self::Signatures { .. }
            | Self::PayloadType(_)
            | Self::Encoding { .. } => Reason::Malformed,
            Self::Unsigned => Reason::Unsigned,
            Self::NoEntry { .. } | Self::Unknown { .. } => Reason::UntrustedSigner,
            Self::Changed { .. } => Reason::BadSignature,
        }
    }
}
