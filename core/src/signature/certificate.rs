//! One DER certificate in, its facts and the rules that it fulfils out.
//!
//! The rules are those of the Notary Project signature specification ("Certificate
//! Requirements"). Where the specification is stricter than the reference implementation it is
//! followed, and two things that neither processes are refused rather than passed over: unknown
//! critical extensions and name constraints.

mod extensions;

use std::fmt::{self, Write as _};

use time::OffsetDateTime;
use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use self::extensions::{Extensions, Sources};
use super::algorithm::{Issuance, PublicKey};
use super::chain::MAX_CHAIN;
use super::der;
use super::identity::{self, IdentityError};

/// The largest certificate that is read, in bytes of DER. Real ones have one to four thousand.
pub const MAX_CERTIFICATE: usize = 16 * 1024;

/// Why certificates are not a chain that may sign.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// More bytes than [`MAX_CERTIFICATE`].
    #[error("a certificate is {length} bytes long, more than the {MAX_CERTIFICATE} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not a certificate.
    #[error("bytes are not an X.509 certificate in DER")]
    Malformed(#[source] X509Error),
    /// Its frame has another spelling than the one of DER.
    #[error("the frame of a certificate is not DER")]
    Frame,
    /// Bytes after the certificate.
    #[error("there are {length} bytes after the end of a certificate")]
    Trailing {
        /// How many.
        length: usize,
    },
    /// Its subject is too large.
    #[error("the subject of a certificate cannot be read")]
    Subject(#[source] IdentityError),
    /// Its issuer's name is too large.
    #[error("the issuer of a certificate cannot be read")]
    Issuer(#[source] IdentityError),
    /// Its validity is out of the range of times.
    #[error("the validity of a certificate cannot be read")]
    Validity(#[from] time::error::ComponentRange),
    /// There is no certificate.
    #[error("the certificate chain is empty")]
    Empty,
    /// More certificates than [`MAX_CHAIN`].
    #[error("the chain has {count} certificates, more than the {MAX_CHAIN} allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// It breaks a rule.
    #[error("certificate `{subject}` may not be used for signing")]
    Rule {
        /// Its subject.
        subject: String,
        /// The rule.
        #[source]
        rule: Rule,
    },
    /// It was not issued by the next certificate of the chain.
    #[error("certificate `{subject}` is not issued by the next one, `{issuer}`")]
    NotIssued {
        /// Its subject.
        subject: String,
        /// Subject of the next certificate.
        issuer: String,
    },
    /// The chain does not end in a root.
    #[error("certificate `{subject}` ends the chain and is not self-signed")]
    NoRoot {
        /// Its subject.
        subject: String,
    },
    /// A self-signed certificate before the end of the chain.
    #[error("certificate `{subject}` is self-signed and does not end the chain")]
    EarlyRoot {
        /// Its subject.
        subject: String,
    },
}

/// The rules for certificates of a signing chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// An extension twice.
    #[error("an extension appears twice")]
    DuplicateExtension,
    /// An extension that decides something cannot be read.
    #[error("extension `{0}` cannot be read")]
    UnreadableExtension(String),
    /// A critical extension that is not processed here.
    #[error("critical extension `{0}` is not known here")]
    CriticalExtension(String),
    /// Name constraints are not processed here.
    #[error("name constraints are not supported")]
    NameConstraints,
    /// The algorithms inside and outside the signed part differ.
    #[error("its two statements of the signature algorithm differ")]
    AlgorithmMismatch,
    /// A CA without critical basic constraints that say so.
    #[error("an issuer needs critical basic constraints with `CA` true")]
    NotCa,
    /// A CA below which there are more CAs than it permits.
    #[error("its path length {limit} permits fewer than the {count} issuers below it")]
    PathLength {
        /// What it permits.
        limit: u32,
        /// How many there are.
        count: usize,
    },
    /// Key usage missing or not critical.
    #[error(
        "a critical key usage extension is needed: `keyCertSign` for an issuer, `digitalSignature` for \
         the certificate that signs"
    )]
    KeyUsage,
    /// A CA that may not sign certificates.
    #[error("the key usage of an issuer must have `keyCertSign`")]
    KeyCertSign,
    /// A leaf that may do more, or less, than sign.
    #[error(
        "the key usage of a signing certificate must have `digitalSignature` and, beside \
         `contentCommitment`, nothing else"
    )]
    LeafKeyUsage,
    /// An extended key usage that a signing certificate must not have.
    #[error("the extended key usage of a signing certificate must not have `{0}`")]
    ExtendedKeyUsage(&'static str),
    /// A leaf that is a CA.
    #[error("a signing certificate must not be a CA")]
    LeafIsCa,
    /// Key usage missing.
    #[error(
        "a key usage extension is needed: `keyCertSign` for an issuer, `digitalSignature` for the \
         certificate that signs"
    )]
    NoKeyUsage,
    /// A timestamping certificate that may do more, or does not say that it may do that.
    #[error(
        "a timestamping certificate needs a critical extended key usage that is `timeStamping` alone"
    )]
    TimestampPurpose,
    /// Its key is of no supported type and size.
    #[error("its key is none of RSA 2048, 3072 or 4096 and P-256, P-384 or P-521")]
    Key,
}

/// The facts of one certificate.
#[derive(Clone)]
pub(super) struct Certificate {
    der: Vec<u8>,
    signed: Vec<u8>,
    signature: Vec<u8>,
    issuance: Issuance,
    key: PublicKey,
    subject: String,
    issuer: String,
    serial: String,
    raw_subject: Vec<u8>,
    raw_issuer: Vec<u8>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    extensions: Extensions,
    broken: Option<Rule>,
}

impl Certificate {
    /// Reads one certificate, and does not yet judge it: a trust store may hold what no chain may.
    pub(super) fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLarge { length: der.len() });
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|e| match e {
            x509_parser::nom::Err::Error(e) | x509_parser::nom::Err::Failure(e) => {
                CertificateError::Malformed(e)
            }
            x509_parser::nom::Err::Incomplete(_) => {
                CertificateError::Malformed(X509Error::InvalidCertificate)
            }
        })?;
        if !rest.is_empty() {
            return Err(CertificateError::Trailing { length: rest.len() });
        }
        let parts = der::split(der).ok_or(CertificateError::Frame)?;
        let subject = identity::print(certificate.subject()).map_err(CertificateError::Subject)?;
        let issuer = identity::print(certificate.issuer()).map_err(CertificateError::Issuer)?;
        let read = if parts.inner_algorithm == parts.outer_algorithm {
            Extensions::read(&certificate)
        } else {
            Err(Rule::AlgorithmMismatch)
        };
        let (extensions, broken) = match read {
            Ok(extensions) => (extensions, None),
            Err(rule) => (Extensions::default(), Some(rule)),
        };
        Ok(Self {
            der: der.to_vec(),
            signed: parts.signed.to_vec(),
            signature: parts.signature.to_vec(),
            issuance: Issuance::of(&certificate.signature_algorithm),
            key: PublicKey::of(certificate.public_key()),
            subject,
            issuer,
            serial: hexadecimal(certificate.raw_serial()),
            raw_subject: certificate.subject().as_raw().to_vec(),
            raw_issuer: certificate.issuer().as_raw().to_vec(),
            not_before: since_1970(certificate.validity().not_before)?,
            not_after: since_1970(certificate.validity().not_after)?,
            extensions,
            broken,
        })
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its subject as RFC 4514 text.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Its issuer as RFC 4514 text.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its serial number in hexadecimal digits.
    pub(super) fn serial(&self) -> &str {
        &self.serial
    }

    pub(super) const fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    pub(super) const fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Its subject in DER.
    pub(super) fn raw_subject(&self) -> &[u8] {
        &self.raw_subject
    }

    pub(super) const fn is_ca(&self) -> bool {
        self.extensions.ca
    }

    /// Whether it may sign revocation lists (RFC 5280, section 4.2.1.3).
    pub(super) fn may_sign_crls(&self) -> bool {
        const CRL_SIGN: u16 = 1 << 6;
        self.broken.is_none() && self.extensions.key_usage.is_some_and(|u| u & CRL_SIGN != 0)
    }

    /// Whether it may answer OCSP for its issuer (RFC 6960, section 4.2.2.2).
    pub(super) const fn may_sign_ocsp(&self) -> bool {
        self.broken.is_none() && self.extensions.ocsp_signing
    }

    /// Whether it has signed `message`, with an algorithm of which this is the identifier in DER.
    pub(super) fn has_signed(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let issuance = Issuance::parse(algorithm);
        self.key.verify_issued(issuance, message, signature).is_ok()
    }

    pub(super) const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether it may issue certificates, or vouches for itself: what a trust store may hold.
    pub(super) fn is_anchor(&self) -> bool {
        self.extensions.ca || self.is_signed_by(self)
    }

    /// Who can say whether it was revoked.
    pub(super) const fn revocation(&self) -> &Sources {
        &self.extensions.revocation
    }

    /// Whether `time` is in its validity, both ends included.
    pub(super) const fn is_valid_at(&self, time: OffsetDateTime) -> bool {
        self.not_before.unix_timestamp() <= time.unix_timestamp() && !self.is_expired_at(time)
    }

    pub(super) const fn is_expired_at(&self, time: OffsetDateTime) -> bool {
        self.not_after.unix_timestamp() < time.unix_timestamp()
    }

    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        self.raw_issuer == issuer.raw_subject
            && issuer.key.verify_issued(self.issuance, &self.signed, &self.signature).is_ok()
    }

    /// Whether it is the one that this issuer (DER) gave this serial number.
    pub(super) fn is_issued_as(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.raw_issuer == issuer && self.serial == hexadecimal(serial)
    }

    /// The rules for the certificate that signs.
    pub(super) fn check_leaf(&self) -> Result<(), Rule> {
        self.check_readable()?;
        if self.extensions.ca {
            return Err(Rule::LeafIsCa);
        }
        check_signing_usage(self.extensions.key_usage.ok_or(Rule::KeyUsage)?)?;
        if let Some(purpose) = self.extensions.forbidden_purpose {
            return Err(Rule::ExtendedKeyUsage(purpose));
        }
        self.key.algorithm().map(drop).ok_or(Rule::Key)
    }

    /// The rules for the others. `below` is the number of issuers between this one and the leaf.
    pub(super) fn check_issuer(&self, below: usize) -> Result<(), Rule> {
        self.check_authority(below, self.extensions.key_usage.ok_or(Rule::KeyUsage))
    }

    fn check_authority(&self, below: usize, usage: Result<u16, Rule>) -> Result<(), Rule> {
        const KEY_CERT_SIGN: u16 = 1 << 5;
        self.check_readable()?;
        if !self.extensions.ca || !self.extensions.basic_constraints_critical {
            return Err(Rule::NotCa);
        }
        if let Some(limit) = self.extensions.path_length
            && usize::try_from(limit).is_ok_and(|limit| limit < below)
        {
            return Err(Rule::PathLength { limit, count: below });
        }
        if usage? & KEY_CERT_SIGN == 0 {
            return Err(Rule::KeyCertSign);
        }
        Ok(())
    }

    /// The rules for the certificate that signs timestamps (RFC 3161, section 2.3). Unlike others
    /// its key usage need not be critical, as in the reference implementation.
    pub(super) fn check_timestamper(&self) -> Result<(), Rule> {
        self.check_readable()?;
        if self.extensions.ca {
            return Err(Rule::LeafIsCa);
        }
        check_signing_usage(self.extensions.any_key_usage.ok_or(Rule::NoKeyUsage)?)?;
        if !self.extensions.timestamps_only {
            return Err(Rule::TimestampPurpose);
        }
        self.key.algorithm().map(drop).ok_or(Rule::Key)
    }

    /// The rules for the others of its chain, as [`Certificate::check_issuer`].
    pub(super) fn check_timestamp_issuer(&self, below: usize) -> Result<(), Rule> {
        self.check_authority(below, self.extensions.any_key_usage.ok_or(Rule::NoKeyUsage))
    }

    fn check_readable(&self) -> Result<(), Rule> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.subject).finish()
    }
}

/// The rule for the key usage of whatever signs something other than certificates.
const fn check_signing_usage(usage: u16) -> Result<(), Rule> {
    const DIGITAL_SIGNATURE: u16 = 1;
    const CONTENT_COMMITMENT: u16 = 1 << 1;
    if usage & !CONTENT_COMMITMENT == DIGITAL_SIGNATURE { Ok(()) } else { Err(Rule::LeafKeyUsage) }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn since_1970(time: ASN1Time) -> Result<OffsetDateTime, time::error::ComponentRange> {
    OffsetDateTime::from_unix_timestamp(time.timestamp())
}

#[cfg(test)]
mod tests;
