//! Envelope bytes in, a payload that its own certificate chain signed out.
//!
//! This is the integrity stage of Notary Project verification: that the headers are understood,
//! the chain obeys the rules and the signature fits. Whether anybody trusts the chain is the trust
//! policy's to say.

use time::OffsetDateTime;

use super::algorithm::Algorithm;
use super::certificate::CertificateError;
use super::chain::Chain;
use super::examination::{CertificateFacts, CheckName, EnvelopeFacts, Record};
use super::{cose, jws};
use crate::json::JsonError;

/// The largest envelope that is read, in bytes. Real ones have 1.5 to 10 thousand; a chain of
/// [`super::MAX_CHAIN`] certificates of [`super::MAX_CERTIFICATE`] bytes in base64 has 220
/// thousand. Everybody who may push to a repository can make us read envelopes, so the bound is
/// far below the 32 MiB of notation-go.
pub const MAX_ENVELOPE: usize = 1024 * 1024;

/// Media type of a JWS envelope.
pub const JOSE: &str = "application/jose+json";
/// Media type of a COSE envelope.
pub const COSE: &str = "application/cose";
/// Content type of the payload.
pub const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";

pub(super) const SCHEME: &str = "io.cncf.notary.signingScheme";
pub(super) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
pub(super) const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
pub(super) const EXPIRY: &str = "io.cncf.notary.expiry";
pub(super) const PLUGIN: &str = "io.cncf.notary.verificationPlugin";
pub(super) const PLUGIN_MIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";
pub(super) const TIMESTAMP: &str = "io.cncf.notary.timestampSignature";
pub(super) const AGENT: &str = "io.cncf.notary.signingAgent";

/// Why an envelope is not a good signature of its payload.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// More bytes than [`MAX_ENVELOPE`].
    #[error("the envelope is {length} bytes long, more than the {MAX_ENVELOPE} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Neither JWS nor COSE.
    #[error("envelope media type `{0}` is neither `{JOSE}` nor `{COSE}`")]
    MediaType(String),
    /// Not JSON, or not of the shape of a flattened JWS.
    #[error("the {part} of the JWS envelope cannot be read")]
    Json {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// Not base64 as that part of the envelope must have it.
    #[error("the {part} of the JWS envelope is not base64 in the one form allowed for it")]
    Base64 {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: base64::DecodeError,
    },
    /// Not a tagged `COSE_Sign1`.
    #[error("the COSE envelope cannot be read")]
    Cbor(#[source] coset::CoseError),
    /// A header is missing, of the wrong type, or where it must not be.
    #[error("header `{name}` {problem}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The algorithm is not one of the specification.
    #[error("signature algorithm `{0}` is not supported")]
    Algorithm(String),
    /// The algorithm does not follow from the key.
    #[error("signature algorithm `{stated}` is stated, and the signing key demands another")]
    AlgorithmMismatch {
        /// The algorithm that the envelope states.
        stated: &'static str,
    },
    /// A critical header that is not understood here.
    #[error("header `{0}` is critical and not understood here")]
    UnknownCritical(String),
    /// A critical header that is not there.
    #[error("header `{0}` is listed as critical and is not there")]
    CriticalAbsent(String),
    /// A header that must be listed as critical.
    #[error("header `{0}` is not listed as critical, which it must be")]
    NotCritical(&'static str),
    /// A plugin would have to verify it.
    #[error("the signature can only be verified by the plugin `{0}`, and plugins are not run here")]
    Plugin(String),
    /// The signing scheme is none of the two.
    #[error("signing scheme `{0}` is not supported")]
    Scheme(String),
    /// The payload is not a Notary Project payload.
    #[error("content type `{0}` is not `{PAYLOAD}`")]
    ContentType(String),
    /// It would expire before it was made.
    #[error("the signature's expiry is not after its signing time")]
    Expiry,
    /// The certificate chain breaks the rules.
    #[error("the certificate chain of the signature cannot be used")]
    Chain(#[from] CertificateError),
    /// The signature is not that of the payload by the leaf's key.
    #[error("the signature does not fit the signed bytes and the signing certificate")]
    Signature,
}

/// Who vouches for the signing time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `notary.x509`: the signer, so that it is a claim.
    X509,
    /// `notary.x509.signingAuthority`: a trusted authority that signs for its users.
    SigningAuthority,
}

impl Scheme {
    /// Its name, as envelopes have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "notary.x509",
            Self::SigningAuthority => "notary.x509.signingAuthority",
        }
    }
}

/// An envelope whose integrity was verified. Only [`Envelope::open`] makes one.
#[derive(Debug, Clone)]
pub struct Envelope {
    payload: Vec<u8>,
    scheme: Scheme,
    signing_time: OffsetDateTime,
    expiry: Option<OffsetDateTime>,
    chain: Chain,
    signature: Vec<u8>,
    timestamp: Option<Vec<u8>>,
}

impl Envelope {
    /// Opens an envelope of `media_type` (`application/jose+json` or `application/cose`) and
    /// verifies its headers, its certificate chain (all but time and trust) and its signature.
    ///
    /// # Errors
    /// When any of these is not as the specification has it.
    pub fn open(bytes: &[u8], media_type: &str) -> Result<Self, EnvelopeError> {
        Self::examine(bytes, media_type, &mut Record::default())
    }

    /// Opens it, and writes down every step.
    pub(super) fn examine(
        bytes: &[u8],
        media_type: &str,
        record: &mut Record,
    ) -> Result<Self, EnvelopeError> {
        let read =
            Parts::read(bytes, media_type).and_then(|parts| Ok((parts.headers.check()?, parts)));
        let ((scheme, signing_time), parts) = record.step(CheckName::Envelope, read)?;
        let Headers { algorithm, expiry, .. } = parts.headers;
        record.envelope = Some(EnvelopeFacts {
            media_type: media_type.to_owned(),
            algorithm,
            scheme,
            signing_time,
            expiry,
        });
        let chain = Chain::parse(&parts.chain).and_then(|chain| {
            record.certificates = chain.certificates().map(CertificateFacts::of).collect();
            chain.check_rules().map(|()| chain)
        });
        let chain = record.step(CheckName::CertificateChain, chain)?;
        let key = chain.leaf().key();
        let signed = if key.algorithm() == Some(algorithm) {
            key.verify(algorithm, &parts.signed, &parts.signature)
                .map_err(|_| EnvelopeError::Signature)
        } else {
            Err(EnvelopeError::AlgorithmMismatch { stated: algorithm.name() })
        };
        record.step(CheckName::Integrity, signed)?;
        let Parts { payload, signature, timestamp, .. } = parts;
        Ok(Self { payload, scheme, signing_time, expiry, chain, signature, timestamp })
    }

    /// The signed payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Who vouches for the signing time.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// When it was signed, to the second.
    #[must_use]
    pub const fn signing_time(&self) -> OffsetDateTime {
        self.signing_time
    }

    /// From when on it is no longer good, if the signer said so.
    #[must_use]
    pub const fn expiry(&self) -> Option<OffsetDateTime> {
        self.expiry
    }

    /// Subject of the signing certificate, as RFC 4514 writes it.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.chain.leaf().subject()
    }

    /// The signature itself.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The RFC 3161 token, if there is one. It is not covered by the signature.
    pub(super) fn timestamp(&self) -> Option<&[u8]> {
        self.timestamp.as_deref()
    }

    pub(super) const fn chain(&self) -> &Chain {
        &self.chain
    }
}

/// The time `seconds` after 1970, or `None` for one that no certificate could cover and RFC 3339
/// could not write.
pub(super) fn since_1970(seconds: i64) -> Option<OffsetDateTime> {
    (seconds >= 0).then(|| OffsetDateTime::from_unix_timestamp(seconds).ok()).flatten()
}

/// What both forms of an envelope hold, as read and not yet believed.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) payload: Vec<u8>,
    /// The bytes that the signature covers.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// DER, leaf first.
    pub(super) chain: Vec<Vec<u8>>,
    /// The RFC 3161 token.
    pub(super) timestamp: Option<Vec<u8>>,
    pub(super) headers: Headers,
}

/// The protected headers that are understood.
#[derive(Debug)]
pub(super) struct Headers {
    pub(super) algorithm: Algorithm,
    pub(super) content_type: String,
    pub(super) critical: Vec<String>,
    pub(super) scheme: String,
    pub(super) signing_time: Option<OffsetDateTime>,
    pub(super) authentic_signing_time: Option<OffsetDateTime>,
    pub(super) expiry: Option<OffsetDateTime>,
    pub(super) plugin: Option<String>,
    pub(super) plugin_min_version: Option<String>,
}

impl Parts {
    fn read(bytes: &[u8], media_type: &str) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLarge { length: bytes.len() });
        }
        match media_type {
            JOSE => jws::read(bytes),
            COSE => cose::read(bytes),
            _ => Err(EnvelopeError::MediaType(media_type.to_owned())),
        }
    }
}

impl Headers {
    fn check(&self) -> Result<(Scheme, OffsetDateTime), EnvelopeError> {
        // Before the critical headers, some of which only the plugin would understand.
        if let Some(plugin) = self.plugin.as_ref().or(self.plugin_min_version.as_ref()) {
            return Err(EnvelopeError::Plugin(plugin.clone()));
        }
        self.check_critical()?;
        if self.content_type != PAYLOAD {
            return Err(EnvelopeError::ContentType(self.content_type.clone()));
        }
        let header = |name: &str, problem| EnvelopeError::Header { name: name.to_owned(), problem };
        let (scheme, (needed, time), (forbidden, other)) = match self.scheme.as_str() {
            "notary.x509" => (
                Scheme::X509,
                (SIGNING_TIME, self.signing_time),
                (AUTHENTIC_SIGNING_TIME, self.authentic_signing_time),
            ),
            "notary.x509.signingAuthority" => (
                Scheme::SigningAuthority,
                (AUTHENTIC_SIGNING_TIME, self.authentic_signing_time),
                (SIGNING_TIME, self.signing_time),
            ),
            _ => return Err(EnvelopeError::Scheme(self.scheme.clone())),
        };
        if other.is_some() {
            return Err(header(forbidden, "must not be there under this signing scheme"));
        }
        let time = time.ok_or_else(|| header(needed, "is needed under this signing scheme"))?;
        if self.expiry.is_some_and(|expiry| expiry <= time) {
            return Err(EnvelopeError::Expiry);
        }
        Ok((scheme, time))
    }

    /// That the critical headers are exactly those that are there and must be critical.
    fn check_critical(&self) -> Result<(), EnvelopeError> {
        let known = [
            (SCHEME, true),
            (AUTHENTIC_SIGNING_TIME, self.authentic_signing_time.is_some()),
            (EXPIRY, self.expiry.is_some()),
        ];
        for listed in &self.critical {
            match known.iter().find(|(name, _)| name == listed) {
                None => return Err(EnvelopeError::UnknownCritical(listed.clone())),
                Some((_, false)) => return Err(EnvelopeError::CriticalAbsent(listed.clone())),
                Some((_, true)) => {}
            }
        }
        for (name, present) in known {
            match self.critical.iter().filter(|listed| *listed == name).count() {
                0 if present => return Err(EnvelopeError::NotCritical(name)),
                0 | 1 => {}
                _ => {
                    return Err(EnvelopeError::Header {
                        name: name.to_owned(),
                        problem: "is listed as critical twice",
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
