//! A cosign attestation and a time in, `Verified` bytes out.
//!
//! An attestation is a DSSE envelope around an in-toto statement: by itself (as `cosign attest` of
//! version 2 pushes it), or within a sigstore bundle (version 3). It has one hop where a signature of
//! the Notary Project has two: the statement names the image, and nothing but the statement is
//! signed. So the manifest that attaches it is believed in nothing, and its annotations are not
//! handed on.
//!
//! An entry of [`CosignTrust`] trusts a scanner, never the signer of an image: only statements whose
//! predicate is a report or a VEX document are of use to `findings::read`, whoever signed them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::examination::Record;
use super::{CheckName, Examination, SignatureError, Signer, Trust, Verdict, Verified};
use crate::findings::{MAX_REPORT, StatementHead};
use crate::image::Digest;
use crate::referrers::IN_TOTO;

mod dsse;
mod bundle;
mod key;
mod entry;
mod error;
#[cfg(feature = "keyless")]
mod keyless;

pub use bundle::{BUNDLE, MAX_LOG_ENTRIES, MAX_TIMESTAMPS};
pub use dsse::{DSSE, MAX_DSSE_SIGNATURES};
pub use entry::{CosignEntry, CosignTrust, CosignTrustError, MAX_COSIGN_ENTRIES, MAX_COSIGN_FILE};
pub use error::CosignError;
pub use key::KeyError;
#[cfg(feature = "keyless")]
pub use keyless::{
    AuthorityError, KeylessError, MAX_IDENTITY_REGEX, MAX_KEYLESS_BUNDLE, MAX_KEYLESS_PAYLOAD,
    MAX_KEYLESS_VALUES,
};

use bundle::{Bundle, Material};
use dsse::Envelope;
use entry::{Checked, Entry};
use key::Key;
#[cfg(feature = "keyless")]
use keyless::Certified;

/// The largest attestation that is read, in bytes, as it is in the registry.
pub const MAX_ATTESTATION: usize = MAX_REPORT;

/// Whether a layer of this media type holds an attestation.
#[must_use]
pub fn is_attestation(media_type: &str) -> bool {
    media_type == DSSE || bundle::is_bundle(media_type)
}

/// An attestation as it was read, within all bounds, and not verified.
#[derive(Debug, Clone)]
pub struct Attestation {
    envelope: Envelope,
    head: Arc<StatementHead>,
    material: Material,
}

impl Attestation {
    /// Reads the layer of an artifact: a DSSE envelope, or a bundle that holds one.
    ///
    /// # Errors
    /// When it is neither, is past a bound, or what it signs is not a statement.
    pub fn parse(bytes: &Bytes, media_type: &str) -> Result<Self, CosignError> {
        if bytes.len() > MAX_ATTESTATION {
            return Err(CosignError::TooLarge { length: bytes.len() });
        }
        let (envelope, material) = if media_type == DSSE {
            (Envelope::parse(bytes)?, Material::None)
        } else if bundle::is_bundle(media_type) {
            let Bundle { envelope, material } = Bundle::parse(bytes)?;
            (envelope, material)
        } else {
            return Err(CosignError::MediaType(media_type.to_owned()));
        };
        let head = StatementHead::parse(envelope.payload()).map_err(CosignError::Statement)?;
        Ok(Self { envelope, head: Arc::new(head), material })
    }

    /// Whether it says that it is signed by a certificate. To verify that takes far more memory than
    /// its bytes.
    #[must_use]
    pub const fn has_certificate(&self) -> bool {
        matches!(self.material, Material::Certificate(_))
    }

    /// What its statement says that it states, which is to be believed once it is verified.
    #[must_use]
    pub fn predicate_type(&self) -> &str {
        self.head.predicate_type()
    }
}

/// Everything that is needed for the hop from an attestation to an image.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `registry/repository` of the image, as [`crate::image::Reference::name`] gives it.
    pub scope: &'a str,
    /// The image or platform manifest that is asked about.
    pub subject: Digest,
    /// The attestation's name in the registry: the digest of its manifest, or of its layer where one
    /// manifest has several attestations.
    pub report: Digest,
    /// The attestation.
    pub attestation: &'a Attestation,
}

/// Verifies that an attestation is about `request.subject` and signed by somebody whom an entry of
/// `trust` trusts for `request.scope`, and tells of every step. `now` is the time of the question.
#[must_use]
pub fn examine(request: &Request<'_>, trust: &Trust, now: OffsetDateTime) -> Examination {
    let mut record = Record::default();
    record.put(CheckName::Envelope, Verdict::Passed, Some(request.attestation.predicate_type()));
    let outcome = verified(request, trust, now, &mut record);
    record.end(outcome.map_err(SignatureError::Cosign))
}

/// What is told of an attestation that cannot be read.
#[must_use]
pub fn unreadable(error: CosignError) -> Examination {
    let mut record = Record::default();
    let outcome: Result<Verified, _> = record.step(CheckName::Envelope, Err(error));
    record.end(outcome.map_err(SignatureError::Cosign))
}

fn verified(
    request: &Request<'_>,
    trust: &Trust,
    now: OffsetDateTime,
    record: &mut Record,
) -> Result<Verified, CosignError> {
    let attestation = request.attestation;
    let about = attestation.head.check_subject(request.subject).map_err(CosignError::Statement);
    record.step(CheckName::SignedTarget, about)?;
    let entries = trust.cosign().entries(request.scope);
    let covered = if entries.is_empty() {
        Err(CosignError::NoEntry { scope: request.scope.to_owned() })
    } else {
        Ok(())
    };
    record.step(CheckName::TrustStatement, covered)?;
    // Whose a signature is and whether it is good are one question to a key.
    let signer = signer(attestation, &entries, request.subject, now);
    let signer = record.step(CheckName::Authenticity, signer)?;
    record.put(CheckName::Identity, Verdict::Passed, Some(&signer.subject));
    if let Some(at) = signer.signed_at {
        let at = at.format(&Rfc3339).unwrap_or_else(|_| at.to_string());
        record.put(CheckName::AuthenticTimestamp, Verdict::Passed, Some(&at));
    }
    Ok(Verified {
        bytes: attestation.envelope.payload().clone(),
        report: request.report,
        subject: request.subject,
        media_type: IN_TOTO.to_owned(),
        annotations: BTreeMap::new(),
        signer: Arc::new(signer),
        notices: Vec::new(),
        valid_until: None,
    })
}

/// Who signed it, if one of `entries` trusts them.
#[cfg_attr(
    not(feature = "keyless"),
    expect(unused_variables, reason = "only certificates need the image and the time")
)]
fn signer(
    attestation: &Attestation,
    entries: &[&Entry],
    image: Digest,
    now: OffsetDateTime,
) -> Result<Signer, CosignError> {
    let message = attestation.envelope.message();
    let mut told = None;
    for entry in entries {
        match entry.checked() {
            Checked::Key(key) => {
                let mut signatures = attestation.envelope.signatures();
                if signatures.any(|signature| key.signed(&message, signature)) {
                    return Ok(key_signer(entry, key));
                }
                if attestation.material.claims(key) {
                    let entry = entry.name().to_owned();
                    told.get_or_insert(CosignError::Changed { entry });
                }
            }
            #[cfg(feature = "keyless")]
            Checked::Identity(_) => {}
        }
    }
    #[cfg(feature = "keyless")]
    if let Material::Certificate(bundle) = &attestation.material {
        return certified(bundle, attestation.envelope.payload(), entries, image, now);
    }
    Err(told.unwrap_or_else(|| unknown(entries)))
}

/// Who signed it, if one of `entries` trusts the certificate. The bundle is read once for all of them.
#[cfg(feature = "keyless")]
fn certified(
    bundle: &[u8],
    payload: &[u8],
    entries: &[&Entry],
    image: Digest,
    now: OffsetDateTime,
) -> Result<Signer, CosignError> {
    let refused = |entry: &Entry, source: KeylessError| {
        let (entry, reason) = (entry.name().to_owned(), source.reason());
        CosignError::Keyless { entry, reason, source: source.into() }
    };
    let (mut certified, mut told) = (None, None);
    for entry in entries {
        let Checked::Identity(authority) = entry.checked() else { continue };
        let certified = match &certified {
            Some(certified) => certified,
            None => {
                let read = Certified::read(bundle, payload);
                certified.insert(read.map_err(|error| refused(entry, error))?)
            }
        };
        match authority.verify(certified, image, now) {
            Ok(signed) => return Ok(certificate_signer(entry, &signed)),
            Err(source) => {
                told.get_or_insert_with(|| refused(entry, source));
            }
        }
    }
    Err(told.unwrap_or_else(|| unknown(entries)))
}

fn unknown(entries: &[&Entry]) -> CosignError {
    let names: Vec<_> = entries.iter().map(|entry| format!("`{}`", entry.name())).collect();
    CosignError::Unknown { entries: names.join(", ") }
}

/// The certificate is made for one signature: what is compared is its identity, with its issuer.
#[cfg(feature = "keyless")]
fn certificate_signer(entry: &Entry, signed: &keyless::Signed) -> Signer {
    Signer {
        subject: format!("{} (issuer {})", signed.identity, signed.issuer),
        fingerprint: signed.fingerprint.hex(),
        policy: entry.name().to_owned(),
        signed_at: Some(signed.at),
    }
}

/// A key has no name of its own, and nothing says when it signed.
fn key_signer(entry: &Entry, key: &Key) -> Signer {
    Signer {
        subject: format!("key:{}", entry.name()),
        fingerprint: key.fingerprint().hex(),
        policy: entry.name().to_owned(),
        signed_at: None,
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
