//! Bytes, keys and a time in, `Verified` bytes out.
//!
//! Notary Project signatures (specifications v1.1.0) over the two hops from a signature to an
//! image: the envelope names the report's manifest, and that manifest names the image and the
//! report. Every hop is checked by digest, here, whatever the caller checked before.
//!
//! Stricter than the reference implementation on purpose: authenticity is enforced at every
//! level, level `skip` verifies nothing and so yields nothing, and critical certificate
//! extensions that are not processed are refused. Whether certificates were revoked is the caller's
//! to find out.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::image::Digest;

pub mod cosign;
pub mod envelope;
pub mod revocation;
pub mod sign;
mod algorithm;
mod allowed;
mod artifact;
mod certificate;
mod chain;
mod cose;
mod der;
mod error;
mod examination;
mod identity;
mod judge;
mod jws;
mod question;
mod statement;
mod store;
mod timestamp;
mod trust;

pub use algorithm::Algorithm;
pub use allowed::{Allowed, AllowedError};
pub use certificate::{CertificateError, MAX_CERTIFICATE, Rule};
pub use chain::MAX_CHAIN;
pub use error::{Demanded, Role, SignatureError};
pub use examination::{
    CertificateFacts, Check, CheckName, EnvelopeFacts, Examination, TimestampFacts, Verdict,
};
pub use identity::{IdentityError, MAX_NAME, MAX_NAME_PARTS};
pub use question::{NotAsked, RevocationQuestion, RevocationStatus, Revocations};
pub use statement::{MAX_IDENTITIES, StatementError};
pub use store::{MAX_STORE_CERTIFICATES, MAX_STORE_FILE, StoreError, StoreFile, StoreKind};
pub use timestamp::{MAX_TIMESTAMP, MAX_TIMESTAMP_CERTIFICATES, TimestampError};
pub use trust::{MAX_TRUST_POLICY, Trust, TrustError};

use artifact::TargetArtifact;
use examination::Record;

/// Everything that is needed for the two hops from a signature over a report to an image.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `registry/repository` of the image, as [`crate::image::Reference::name`] gives it.
    pub scope: &'a str,
    /// The image or platform manifest that is asked about.
    pub subject: Digest,
    /// The report.
    pub report: Artifact<'a>,
    /// The signature over the report's manifest.
    pub signature: Artifact<'a>,
}

/// A manifest as it was fetched, with its one layer.
#[derive(Debug, Clone)]
pub struct Artifact<'a> {
    /// The bytes of the manifest.
    pub manifest: &'a [u8],
    /// The media type that was declared for the manifest.
    pub media_type: &'a str,
    /// The bytes of its one layer: the report or the envelope.
    pub blob: &'a bytes::Bytes,
}

/// Verifies that a report is about `request.subject` and signed by somebody whom `trust` trusts
/// for `request.scope`, at the time `now`. Nobody is asked whether certificates were revoked.
///
/// # Errors
/// When anything on the way from the signature to the image is not as it must be;
/// [`SignatureError::reason`] says what kind of fault it is.
pub fn verify(
    request: &Request<'_>,
    trust: &Trust,
    now: OffsetDateTime,
) -> Result<Verified, SignatureError> {
    examine(request, trust, &NotAsked, now).outcome
}

/// Verifies like [`verify`], with what is known of revoked certificates, and tells of every step.
///
/// Where all else has passed and it is not known yet whether a certificate was revoked, the outcome
/// is [`SignatureError::RevocationPending`] with the questions: ask them, and examine again.
#[must_use]
pub fn examine(
    request: &Request<'_>,
    trust: &Trust,
    revocations: &dyn Revocations,
    now: OffsetDateTime,
) -> Examination {
    let mut record = Record::default();
    let outcome = verified(request, trust, revocations, now, &mut record);
    record.end(outcome)
}

fn verified(
    request: &Request<'_>,
    trust: &Trust,
    revocations: &dyn Revocations,
    now: OffsetDateTime,
    record: &mut Record,
) -> Result<Verified, SignatureError> {
    let read = artifact::read(Role::Report, &request.report);
    let (report, layer) = record.step(CheckName::ReportManifest, read)?;
    let about = report.subject.as_ref().map(|subject| subject.digest);
    let subject = if about == Some(request.subject) {
        Ok(request.subject)
    } else {
        Err(SignatureError::ReportSubject { about, asked: request.subject })
    };
    let subject = record.step(CheckName::ReportSubject, subject)?;
    let signed = TargetArtifact {
        media_type: report.media_type.clone(),
        digest: Digest::of(request.report.manifest),
        size: artifact::length(request.report.manifest),
    };
    let envelope = artifact::open(&request.signature, &signed, record)?;

    let statement = trust.demanding(request.scope);
    let (statement, demands) = record.step(CheckName::TrustStatement, statement)?;
    let judgement = judge::judge(&envelope, (statement, demands), revocations, now, record)?;

    let mut annotations = report.annotations;
    annotations.extend(layer.annotations);
    Ok(Verified {
        bytes: request.report.blob.clone(),
        report: signed.digest,
        subject,
        media_type: layer.media_type,
        annotations,
        signer: Arc::new(Signer {
            subject: envelope.subject().to_owned(),
            fingerprint: Digest::of(envelope.chain().leaf().der()).hex(),
            policy: statement.name.clone(),
            signed_at: Some(envelope.signing_time()),
        }),
        notices: judgement.notices,
        valid_until: judgement.valid_until,
    })
}

/// Bytes of a findings report whose signature, signer and subject were checked. Only
/// [`examine`] and [`cosign::examine`] make one.
#[derive(Debug, Clone)]
pub struct Verified {
    bytes: bytes::Bytes,
    report: Digest,
    subject: Digest,
    media_type: String,
    annotations: BTreeMap<String, String>,
    signer: Arc<Signer>,
    notices: Vec<String>,
    valid_until: Option<OffsetDateTime>,
}

impl Verified {
    /// The report itself: the bytes of the artifact's one layer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digest of the report's manifest: its name in the registry.
    #[must_use]
    pub const fn report(&self) -> Digest {
        self.report
    }

    /// Digest of the image (or platform manifest) that the report is about, as its signed manifest
    /// says.
    #[must_use]
    pub const fn subject(&self) -> Digest {
        self.subject
    }

    /// Media type of the layer that holds the report.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Annotations of the report's manifest, over them those of its layer, as far as they are covered
    /// by the signature: all where it signs the manifest's digest, none of a cosign attestation.
    #[must_use]
    pub const fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// Who signed the report.
    #[must_use]
    pub const fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }

    /// Checks that failed and that the trust policy only wants to be told of, one sentence each.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The first instant at which a check that the trust policy enforces could fail although
    /// nothing but the clock has changed: its own expiry, or the end of a certificate. Whoever
    /// keeps a verified report must not use it from then on without verifying it again.
    #[must_use]
    pub const fn valid_until(&self) -> Option<OffsetDateTime> {
        self.valid_until
    }
}

/// Who signed a report, as its verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// Subject of the signing certificate, as RFC 4514 writes it.
    pub subject: String,
    /// SHA-256 of the signing certificate (DER), 64 hexadecimal digits.
    pub fingerprint: String,
    /// Name of the trust policy statement under which the signer is trusted.
    pub policy: String,
    /// When it says that it signed (signed by itself, hence a claim unless the scheme is
    /// `notary.x509.signingAuthority`). `None` where nothing says it: a key of cosign without a log.
    #[serde(skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub signed_at: Option<OffsetDateTime>,
}

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
