//! Bytes, keys and a time in, `Verified` bytes out.
//!
//! Notary Project signatures (specifications v1.1.0) over the two hops from a signature to an
//! image: the envelope names the report's manifest, and that manifest names the image and the
//! report. Every hop is checked by digest, here, whatever the caller checked before.
//!
//! Stricter than the reference implementation on purpose: authenticity is enforced at every
//! level, level `skip` verifies nothing and so yields nothing, and critical certificate
//! extensions that are not processed are refused. RFC 3161 tokens, OCSP and CRLs are not read:
//! where a trust policy demands them, the signature is refused with the cure in the message.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::image::Digest;

pub mod envelope;
pub mod sign;
mod algorithm;
mod artifact;
mod certificate;
mod chain;
mod cose;
mod der;
mod error;
mod identity;
mod jws;
mod statement;
mod store;
mod trust;

pub use algorithm::Algorithm;
pub use certificate::{CertificateError, MAX_CERTIFICATE, Rule};
pub use chain::MAX_CHAIN;
pub use error::{Demanded, Role, SignatureError};
pub use identity::{IdentityError, MAX_NAME, MAX_NAME_PARTS};
pub use statement::{MAX_IDENTITIES, StatementError};
pub use store::{MAX_STORE_CERTIFICATES, MAX_STORE_FILE, StoreError, StoreFile, StoreKind};
pub use trust::{MAX_TRUST_POLICY, Trust, TrustError};

use artifact::TargetArtifact;
use envelope::{Envelope, Scheme};
use statement::{Action, Demands, Statement, Tokens};

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
/// for `request.scope`, at the time `now`.
///
/// # Errors
/// When anything on the way from the signature to the image is not as it must be;
/// [`SignatureError::reason`] says what kind of fault it is.
pub fn verify(
    request: &Request<'_>,
    trust: &Trust,
    now: OffsetDateTime,
) -> Result<Verified, SignatureError> {
    let statement = trust
        .statement(request.scope)
        .ok_or_else(|| SignatureError::NoStatement { scope: request.scope.to_owned() })?;
    let policy = || statement.name.clone();
    let demands =
        statement.demands.as_ref().ok_or_else(|| SignatureError::Skipped { policy: policy() })?;

    let (report, layer) = artifact::read(Role::Report, &request.report)?;
    let about = report.subject.as_ref().map(|subject| subject.digest);
    if about != Some(request.subject) {
        return Err(SignatureError::ReportSubject { about, asked: request.subject });
    }
    let signed = TargetArtifact {
        media_type: report.media_type.clone(),
        digest: Digest::of(request.report.manifest),
        size: artifact::length(request.report.manifest),
    };
    let envelope = artifact::open(&request.signature, &signed)?;

    let mut notices = Vec::new();
    check_authenticity(&envelope, statement, demands)?;
    let checks = [
        (demands.expiry, check_expiry(&envelope, now)),
        (demands.timestamp, check_time(&envelope, demands.tokens, now)),
        (demands.revocation, check_revocation(&envelope)),
    ];
    for (action, checked) in checks {
        match (action, checked) {
            (_, Ok(())) | (Action::Skip, Err(_)) => {}
            (Action::Log, Err(error)) => notices.push(error.to_string()),
            (Action::Enforce, Err(error)) => return Err(error),
        }
    }

    let mut annotations = report.annotations;
    annotations.extend(layer.annotations);
    Ok(Verified {
        bytes: request.report.blob.clone(),
        report: signed.digest,
        subject: request.subject,
        media_type: layer.media_type,
        annotations,
        signer: Arc::new(Signer {
            subject: envelope.subject().to_owned(),
            fingerprint: Digest::of(envelope.chain().leaf().der()).hex(),
            policy: policy(),
            signed_at: envelope.signing_time(),
        }),
        notices,
    })
}

/// Bytes of a findings report whose signature, signer and subject were checked. Only
/// [`verify`] makes one.
#[derive(Debug, Clone)]
pub struct Verified {
    bytes: bytes::Bytes,
    report: Digest,
    subject: Digest,
    media_type: String,
    annotations: BTreeMap<String, String>,
    signer: Arc<Signer>,
    notices: Vec<String>,
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

    /// Annotations of the report's manifest, over them those of its layer. They are covered by the
    /// signature, because it signs the manifest's digest.
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
    /// `notary.x509.signingAuthority`).
    #[serde(with = "time::serde::rfc3339")]
    pub signed_at: OffsetDateTime,
}

/// Enforced whatever the statement says: a report that anybody may have signed says nothing.
fn check_authenticity(
    envelope: &Envelope,
    statement: &Statement,
    demands: &Demands,
) -> Result<(), SignatureError> {
    let policy = || statement.name.clone();
    let demanded = match demands.authenticity {
        Action::Enforce => Demanded::Enforce,
        Action::Log | Action::Skip => Demanded::Log,
    };
    if !demands.trusts_chain(envelope.scheme(), envelope.chain()) {
        let store = match envelope.scheme() {
            Scheme::X509 => StoreKind::Ca,
            Scheme::SigningAuthority => StoreKind::SigningAuthority,
        };
        let store = store.as_str();
        return Err(SignatureError::UntrustedChain { policy: policy(), store, demanded });
    }
    let subject = || envelope.subject().to_owned();
    match demands.trusts_subject(envelope.subject()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SignatureError::UntrustedIdentity {
            subject: subject(),
            policy: policy(),
            demanded,
        }),
        Err(source) => {
            Err(SignatureError::Identity { subject: subject(), policy: policy(), source })
        }
    }
}

fn check_expiry(envelope: &Envelope, now: OffsetDateTime) -> Result<(), SignatureError> {
    match envelope.expiry() {
        Some(at) if at <= now => Err(SignatureError::Expired { at }),
        Some(_) | None => Ok(()),
    }
}

/// That every certificate was valid when it was used, as far as somebody trusted says when.
fn check_time(
    envelope: &Envelope,
    tokens: Tokens,
    now: OffsetDateTime,
) -> Result<(), SignatureError> {
    let mut chain = envelope.chain().certificates();
    let at = match envelope.scheme() {
        Scheme::SigningAuthority => envelope.signing_time(),
        Scheme::X509 => {
            let demanded = match tokens {
                Tokens::Never => false,
                Tokens::Always => true,
                Tokens::AfterCertificateExpiry => {
                    envelope.chain().certificates().any(|c| c.is_expired_at(now))
                }
            };
            if demanded {
                return Err(SignatureError::Timestamp);
            }
            now
        }
    };
    match chain.find(|certificate| !certificate.is_valid_at(at)) {
        Some(bad) => Err(SignatureError::NotValid { subject: bad.subject().to_owned(), at }),
        None => Ok(()),
    }
}

/// A certificate that names nobody to ask cannot be revoked; of another it is not known.
fn check_revocation(envelope: &Envelope) -> Result<(), SignatureError> {
    match envelope.chain().below_root().find(|certificate| certificate.names_revocation()) {
        Some(unknown) => Err(SignatureError::Revocation { subject: unknown.subject().to_owned() }),
        None => Ok(()),
    }
}

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
