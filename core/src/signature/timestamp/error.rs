//! Why a timestamp does not say when something was signed.

use super::super::certificate::{CertificateError, Rule};
use super::super::error::written;
use super::{MAX_TIMESTAMP, MAX_TIMESTAMP_CERTIFICATES};

/// Why a timestamp does not say when something was signed.
#[derive(Debug, thiserror::Error)]
pub enum TimestampError {
    /// There is none.
    #[error(
        "it has none: sign again with a timestamping authority (notation's `--timestamp-url`), or \
         set `\"verifyTimestamp\": \"afterCertExpiry\"` in the statement"
    )]
    Absent,
    /// More bytes than [`MAX_TIMESTAMP`].
    #[error("the token is {length} bytes long, more than the {MAX_TIMESTAMP} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// More certificates than [`MAX_TIMESTAMP_CERTIFICATES`].
    #[error("the token has more than the {MAX_TIMESTAMP_CERTIFICATES} certificates allowed")]
    TooManyCertificates,
    /// Not what RFC 3161 and RFC 5652 demand, in DER.
    #[error("the {0} of the token is not as RFC 3161 has it, in DER")]
    Malformed(&'static str),
    /// A hash algorithm that is none of SHA-256, SHA-384 and SHA-512.
    #[error("the {0} of the token is made with another algorithm than SHA-256, SHA-384 or SHA-512")]
    Hash(&'static str),
    /// Not exactly one signer.
    #[error("the token has {0} signers, and must have one")]
    Signers(usize),
    /// A certificate of the token cannot be read.
    #[error("a certificate of the token cannot be used")]
    Certificate(#[from] CertificateError),
    /// The token is for another signature.
    #[error("the token is not about this signature")]
    Imprint,
    /// A signed attribute is missing, or there is more than one.
    #[error("the token must have the signed attribute `{0}` once")]
    Attribute(&'static str),
    /// What is signed is not the content of the token.
    #[error("what the authority signed is not the content of the token")]
    Content,
    /// The token does not have the certificate of its signer.
    #[error("the token has no certificate that is the one which its signer names and hashes")]
    NoSigner,
    /// The signature is not that of the signer's certificate.
    #[error("the signature of the token does not fit its signer `{subject}`")]
    Signature {
        /// Subject of the signer's certificate.
        subject: String,
    },
    /// Nobody whom the trust policy trusts for it has made it.
    #[error("no chain leads from `{subject}` to a root in a `tsa` trust store of the statement")]
    Untrusted {
        /// Subject of the signer's certificate.
        subject: String,
    },
    /// A certificate of the authority's chain breaks a rule.
    #[error("certificate `{subject}` may not be used for timestamps")]
    Rule {
        /// Its subject.
        subject: String,
        /// The rule.
        #[source]
        rule: Rule,
    },
    /// A certificate was not valid, or may not have been, at the time of the token.
    #[error("certificate `{subject}` was not valid at the time of the token, {}", written(.at))]
    Outside {
        /// Subject of the certificate.
        subject: String,
        /// The time.
        at: time::OffsetDateTime,
    },
}
