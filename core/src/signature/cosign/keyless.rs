//! A bundle with a certificate and a trusted root in, who signed it and when out.
//!
//! `sigstore-verify` checks the chain of the certificate to an authority of the root, its SCT, the
//! log's inclusion proof, checkpoint and promise, the timestamps, the signature, and that the log's
//! entry is of this very signature (CASES T010). What it leaves to its caller is checked here: that
//! each entry of a log is proven, not one of them; that the key of its log made the proof, and was
//! valid whenever it was signed (T011); that no such time is after that of the question, as it knows
//! the machine's clock alone; and identities by a pattern.

mod certified;

use std::error::Error;

use regex::{Regex, RegexBuilder};
use sigstore_verify::crypto::VerificationKey;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Bundle, Sha256Hash, TransparencyLogEntry};
use sigstore_verify::{
    CertificateError, Error as BundleError, SubjectAltName, TransparencyLogError,
    VerificationPolicy, VerificationResult, Verifier,
};
use time::OffsetDateTime;

pub(super) use certified::Certified;
pub use certified::{MAX_KEYLESS_BUNDLE, MAX_KEYLESS_PAYLOAD, MAX_KEYLESS_VALUES};

use super::CosignEntry;
use crate::decide::MAX_SKEW;
use crate::evidence::Reason;
use crate::image::Digest;

/// The longest `identityRegex`, in bytes.
pub const MAX_IDENTITY_REGEX: usize = 1024;
/// The most memory that a compiled `identityRegex` may take, in bytes.
const MAX_COMPILED: usize = 1024 * 1024;

/// Why an entry cannot trust certificates.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Not one way to name the signer.
    #[error("it needs one of `identity` and `identityRegex`")]
    Identity,
    /// No issuer.
    #[error("it needs `issuer`, who vouches for the identity")]
    Issuer,
    /// No root.
    #[error("it needs `trustRoot`, a file such as `cosign trusted-root create` writes")]
    NoRoot,
    /// The root is none.
    #[error("its `trustRoot` cannot be used")]
    Root(#[source] Box<dyn Error + Send + Sync>),
    /// A pattern that could match a part of an identity.
    #[error("`identityRegex` `{0}` must begin with `^` and end with `$`")]
    NotAnchored(String),
    /// A pattern longer than [`MAX_IDENTITY_REGEX`].
    #[error("`identityRegex` is longer than the {MAX_IDENTITY_REGEX} bytes allowed")]
    TooLong,
    /// Not a pattern, or one that needs too much memory.
    #[error("`identityRegex` `{text}` cannot be used")]
    Regex {
        /// As configured.
        text: String,
        /// Why.
        #[source]
        source: Box<regex::Error>,
    },
}

/// Why a certificate's signature is not believed.
#[derive(Debug, thiserror::Error)]
pub enum KeylessError {
    /// Not a bundle, or more values than [`MAX_KEYLESS_VALUES`].
    #[error("the bundle cannot be read")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
    /// More than what is read of an attestation that is signed by a certificate.
    #[error("the {what} is {length} bytes long, more than the {limit} that certificates may sign")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The bound in bytes.
        limit: usize,
    },
    /// What would be verified is not what was read.
    #[error("the bundle signs something else than the statement that it holds")]
    Content,
    /// Something in it is not as it must be.
    #[error("the bundle is not good")]
    Bundle(#[source] Box<BundleError>),
    /// Somebody else signed.
    #[error("`{}` is not the identity that is trusted", identity.as_deref().unwrap_or("nobody"))]
    Identity {
        /// Who.
        identity: Option<String>,
    },
    /// Somebody else vouches for who signed.
    #[error("`{}` is not the issuer that is trusted", issuer.as_deref().unwrap_or("nobody"))]
    Issuer {
        /// Who.
        issuer: Option<String>,
    },
    /// An entry of a log without a proof.
    #[error("an entry of a transparency log has neither a proof nor a promise")]
    NotProven,
    /// Another log proves the entry than the one that it names.
    #[error("the proof of an entry is not signed by transparency log `{log}`, which it names")]
    OtherLog {
        /// The log.
        log: String,
    },
    /// The log's key was not valid then.
    #[error("no key of transparency log `{log}` was valid when the attestation was signed")]
    LogKey {
        /// The log.
        log: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Signed in the future.
    #[error("it was signed at {at}, which is in the future")]
    Future {
        /// When.
        at: OffsetDateTime,
    },
    /// No time.
    #[error("nothing says when it was signed")]
    NoTime,
}

impl KeylessError {
    /// The kind of fault.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreadable(_) | Self::Content => Reason::Malformed,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::Identity { .. } | Self::Issuer { .. } => Reason::UntrustedSigner,
            Self::Bundle(source) => match source.as_ref() {
                BundleError::IdentityMismatch { .. }
                | BundleError::IssuerMismatch { .. }
                | BundleError::Certificate(
                    CertificateError::ChainInvalid(_) | CertificateError::NoValidAuthority { .. },
                )
                | BundleError::TransparencyLog(TransparencyLogError::UnknownLog { .. }) => {
                    Reason::UntrustedSigner
                }
                _ => Reason::BadSignature,
            },
            Self::NotProven
            | Self::OtherLog { .. }
            | Self::LogKey { .. }
            | Self::Future { .. }
            | Self::NoTime => Reason::BadSignature,
        }
    }
}

/// Who signs, and who vouches for them.
pub(super) struct Authority {
    root: TrustedRoot,
    verifier: Verifier,
    policy: VerificationPolicy,
    pattern: Option<Regex>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Who signed, and when.
pub(super) struct Signed {
    pub(super) identity: String,
    pub(super) issuer: String,
    pub(super) fingerprint: Digest,
    pub(super) at: OffsetDateTime,
}

impl Authority {
    pub(super) fn parse(entry: &CosignEntry) -> Result<Self, AuthorityError> {
        let issuer =
            entry.issuer.as_ref().filter(|i| !i.is_empty()).ok_or(AuthorityError::Issuer)?;
        let mut policy = VerificationPolicy::any_identity().require_issuer(issuer);
        let pattern = match (&entry.identity, &entry.identity_regex) {
            (Some(identity), None) if !identity.is_empty() => {
                policy = policy.require_identity(identity);
                None
            }
            (None, Some(text)) => Some(pattern(text)?),
            _ => return Err(AuthorityError::Identity),
        };
        if entry.require_log == Some(false) {
            policy = policy.skip_tlog_unsafe();
        }
        if entry.require_sct == Some(false) {
            policy = policy.skip_sct();
        }
        let unusable = |source: Box<dyn Error + Send + Sync>| AuthorityError::Root(source);
        let root = entry.trust_root.as_deref().ok_or(AuthorityError::NoRoot)?;
        let root = std::str::from_utf8(root).map_err(|error| unusable(error.into()))?;
        let root = TrustedRoot::from_json(root).map_err(|error| unusable(error.into()))?;
        let verifier = Verifier::new(&root).map_err(|error| unusable(error.into()))?;
        Ok(Self { root, verifier, policy, pattern })
    }

    /// Verifies a bundle whose statement is about `image`.
    pub(super) fn verify(
        &self,
        certified: &Certified,
        image: Digest,
        now: OffsetDateTime,
    ) -> Result<Signed, KeylessError> {
        // First what costs nothing: the payload is read before anything of the certificate is.
        let identity = self.check_names(certified)?;
        let bundle = certified.bundle();
        let result = self
            .verifier
            .verify(Sha256Hash::new(*image.as_bytes()), bundle, &self.policy)
            .map_err(|error| KeylessError::Bundle(Box::new(error)))?;
        self.check_logs(bundle, &result)?;
        Ok(Signed {
            identity,
            issuer: result.issuer().unwrap_or_default().to_owned(),
            fingerprint: certified.fingerprint(),
            at: signed_at(&result, now)?,
        })
    }

    /// That the certificate names whom this trusts. Whether it may is not checked here.
    fn check_names(&self, certified: &Certified) -> Result<String, KeylessError> {
        let (identity, issuer) = (certified.identity(), certified.issuer());
        if issuer != self.policy.issuer() {
            return Err(KeylessError::Issuer { issuer: issuer.map(str::to_owned) });
        }
        let is_trusted = |identity: &&SubjectAltName| {
            self.policy.identity().is_none_or(|expected| expected.matches(identity))
                && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(identity.as_str()))
        };
        match identity.filter(is_trusted) {
            Some(identity) => Ok(identity.as_str().to_owned()),
            None => {
                Err(KeylessError::Identity { identity: identity.map(|i| i.as_str().to_owned()) })
            }
        }
    }

    /// That each entry of a log is proven by a log whose key was valid at each time of signing.
    fn check_logs(&self, bundle: &Bundle, result: &VerificationResult) -> Result<(), KeylessError> {
        if !self.policy.verifies_tlog() {
            return Ok(());
        }
        for entry in &bundle.verification_material.tlog_entries {
            if entry.inclusion_proof.is_none() && entry.inclusion_promise.is_none() {
                return Err(KeylessError::NotProven);
            }
            let log = &entry.log_id.key_id;
            let unknown = |source: Box<dyn Error + Send + Sync>| KeylessError::LogKey {
                log: log.to_string(),
                source,
            };
            let mut key = None;
            for time in result.verified_timestamps() {
                let valid = self.root.rekor_key_for_log_at(log, *time);
                key = Some(valid.map_err(|error| unknown(error.into()))?);
            }
            // No log has two keys: `Verifier::new` refuses such a root.
            let key = VerificationKey::from_spki(&key.ok_or(KeylessError::NoTime)?)
                .map_err(|error| unknown(error.into()))?;
            if !is_proven_by(entry, &key) {
                return Err(KeylessError::OtherLog { log: log.to_string() });
            }
        }
        Ok(())
    }
}

/// Whether the checkpoint of a proof is signed by the log that the entry names. A promise is over that
/// name; a proof is not, and `sigstore-verify` takes one by any log of the root.
fn is_proven_by(entry: &TransparencyLogEntry, key: &VerificationKey) -> bool {
    let Some(proof) = &entry.inclusion_proof else {
        return entry.inclusion_promise.is_some();
    };
    let hint = entry.log_id.key_id.as_bytes().get(..4);
    proof.checkpoint.checkpoint().is_some_and(|checkpoint| {
        checkpoint.signatures().iter().any(|signature| {
            hint == Some(signature.key_id.as_bytes())
                && key.verify(checkpoint.signed_data(), &signature.signature).is_ok()
        })
    })
}

/// The earliest of the times that somebody trusted states. None may be in the future.
fn signed_at(
    result: &VerificationResult,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, KeylessError> {
    let mut earliest: Option<OffsetDateTime> = None;
    for time in result.verified_timestamps() {
        let at = OffsetDateTime::from_unix_timestamp(time.as_second())
            .map_err(|_range| KeylessError::NoTime)?;
        if at > now + MAX_SKEW {
            return Err(KeylessError::Future { at });
        }
        earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
    }
    earliest.ok_or(KeylessError::NoTime)
}

/// A pattern that matches whole identities. What it is written with must say so too, because an
/// identity that is trusted by a part of it is anybody's to make (CASES T009).
fn pattern(text: &str) -> Result<Regex, AuthorityError> {
    if text.len() > MAX_IDENTITY_REGEX {
        return Err(AuthorityError::TooLong);
    }
    if !text.starts_with('^') || !text.ends_with('$') {
        return Err(AuthorityError::NotAnchored(text.to_owned()));
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
    // By itself first, so that its parentheses are its own; then whole, as `^a|b$` is not anchored.
    build(text)
        .and_then(|_own| build(&format!(r"\A(?:{text})\z")))
        .map_err(|source| AuthorityError::Regex { text: text.to_owned(), source: Box::new(source) })
}
