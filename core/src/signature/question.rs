//! Certificates in, questions whether they were revoked out, and what may be answered.
//!
//! Nothing here asks anybody: a [`Revocations`] answers from what is known already, and what it
//! does not know yet it calls pending, so that the caller may find out and examine again.

use time::OffsetDateTime;

use super::certificate::Certificate;
use super::error::SignatureError;

/// One certificate of a trusted chain, of which it matters whether it was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RevocationQuestion {
    /// Its subject, for messages.
    pub subject: String,
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// The certificate that issued it, in DER.
    pub issuer: Vec<u8>,
    /// URLs of its OCSP responders (RFC 5280, section 4.2.2.1), as it has them.
    pub ocsp: Vec<String>,
    /// URLs of CRLs (RFC 5280, section 4.2.1.13), as it has them.
    pub crl: Vec<String>,
    /// URLs of delta CRLs (RFC 5280, section 4.2.1.15), as it has them.
    pub freshest_crl: Vec<String>,
}

/// What is known of one certificate's revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationStatus {
    /// It is not revoked, as somebody entitled says.
    Good,
    /// It is revoked.
    Revoked {
        /// Since when.
        at: OffsetDateTime,
        /// Why, in the words of RFC 5280, section 5.3.1, if it is stated.
        reason: Option<String>,
        /// Since when the key is suspected (RFC 5280, section 5.3.2), if it is stated: what a
        /// trusted authority signed before is still good.
        invalid_since: Option<OffsetDateTime>,
    },
    /// It was tried, and could not be found out.
    Unknown {
        /// Why not.
        detail: String,
    },
    /// It was not asked yet.
    Pending,
}

/// Who knows whether certificates were revoked, without asking anybody for it.
pub trait Revocations: Send + Sync {
    /// What is known now. Only asked of certificates of chains that the trust policy trusts.
    fn status(&self, question: &RevocationQuestion) -> RevocationStatus;
}

/// Knows of no certificate whether it was revoked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotAsked;

impl Revocations for NotAsked {
    fn status(&self, _: &RevocationQuestion) -> RevocationStatus {
        RevocationStatus::Unknown { detail: "OCSP and CRLs are not asked".to_owned() }
    }
}

impl RevocationQuestion {
    fn about(certificate: &Certificate, issuer: &Certificate) -> Self {
        let sources = certificate.revocation();
        Self {
            subject: certificate.subject().to_owned(),
            certificate: certificate.der().to_vec(),
            issuer: issuer.der().to_vec(),
            ocsp: sources.ocsp.clone(),
            crl: sources.crl.clone(),
            freshest_crl: sources.freshest_crl.clone(),
        }
    }
}

/// That no certificate of `chain` (leaf first, root last) was revoked. One that names nobody to
/// ask cannot be. `signed_at` is when the chain was used, if somebody trusted says so, and `name`
/// that of the check in a trust policy.
///
/// # Errors
/// [`SignatureError::Revoked`] before [`SignatureError::RevocationPending`], and that before
/// [`SignatureError::RevocationUnknown`].
pub(super) fn check<'a>(
    chain: impl Iterator<Item = &'a Certificate> + Clone,
    revocations: &dyn Revocations,
    signed_at: Option<OffsetDateTime>,
    name: &'static str,
) -> Result<(), SignatureError> {
    let (mut pending, mut unknown) = (Vec::new(), None);
    for (certificate, issuer) in chain.clone().zip(chain.skip(1)) {
        if !certificate.revocation().named {
            continue;
        }
        let question = RevocationQuestion::about(certificate, issuer);
        let subject = || certificate.subject().to_owned();
        match revocations.status(&question) {
            RevocationStatus::Good => {}
            RevocationStatus::Revoked { at, reason, invalid_since } => {
                let before = |since| signed_at.is_some_and(|signed_at| signed_at < since);
                if !invalid_since.is_some_and(before) {
                    return Err(SignatureError::Revoked { subject: subject(), at, reason });
                }
            }
            RevocationStatus::Unknown { detail } => {
                unknown.get_or_insert_with(|| SignatureError::RevocationUnknown {
                    subject: subject(),
                    detail,
                    check: name,
                });
            }
            RevocationStatus::Pending => pending.push(question),
        }
    }
    match unknown {
        _ if !pending.is_empty() => Err(SignatureError::RevocationPending { questions: pending }),
        Some(error) => Err(error),
        None => Ok(()),
    }
}
