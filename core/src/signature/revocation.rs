//! A certificate with its issuer in, a question for OCSP out; what OCSP or a CRL says of it in,
//! whether it was revoked out.
//!
//! OCSP is RFC 6960, CRLs are RFC 5280, section 5, each as far as certificates of signing chains
//! need them. Whatever comes from outside is believed only if the issuer signed it, or for OCSP
//! somebody to whom the issuer gave that right; and nothing behind the signature is read before the
//! signature was checked. The time is the caller's.

mod crl;
mod ocsp;

use bytes::Bytes;
use time::{Duration, OffsetDateTime};

pub use crl::{CrlError, RevocationList};
pub use ocsp::{OcspError, Refusal};

use super::certificate::{Certificate, CertificateError};
use super::der;
use super::question::{RevocationQuestion, RevocationStatus};

/// The largest OCSP response that is read, in bytes. Real ones have two to four thousand; what makes
/// some larger is the chain of the responder, which is not needed.
pub const MAX_OCSP_RESPONSE: usize = 64 * 1024;
/// The largest revocation list that is read, in bytes: as much as the reference implementation
/// reads. It is walked and not kept.
pub const MAX_CRL: usize = 32 * 1024 * 1024;
/// The most URLs of one kind that are tried for one certificate. Real ones have one or two.
pub const MAX_SOURCES: usize = 4;
/// How far the clock of whoever answers may be ahead of ours.
pub const MAX_SKEW: Duration = Duration::minutes(5);

/// What one source says of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Good, revoked, or that the source does not know it. Never pending.
    pub status: RevocationStatus,
    /// Until when the source stands by it.
    pub next_update: OffsetDateTime,
}

/// One certificate that is asked about.
#[derive(Debug, Clone)]
pub struct Inquiry {
    issuer: Certificate,
    serial: Vec<u8>,
    is_ca: bool,
    points: Vec<String>,
}

impl Inquiry {
    /// About the certificate of `question`.
    ///
    /// # Errors
    /// When one of its two certificates cannot be read, or the one did not issue the other.
    pub fn new(question: &RevocationQuestion) -> Result<Self, CertificateError> {
        let issuer = Certificate::parse(&question.issuer)?;
        let certificate = Certificate::parse(&question.certificate)?;
        if !certificate.is_signed_by(&issuer) {
            return Err(CertificateError::NotIssued {
                subject: certificate.subject().to_owned(),
                issuer: issuer.subject().to_owned(),
            });
        }
        let parts = der::split(certificate.der()).ok_or(CertificateError::Frame)?;
        Ok(Self {
            issuer,
            serial: parts.serial.to_vec(),
            is_ca: certificate.is_ca(),
            points: question.crl.clone(),
        })
    }

    /// The OCSP request for it, in DER. It names the issuer by SHA-1, as the reference
    /// implementation does, because many responders know no other name; nothing rests on that hash.
    /// It has no nonce, so that responders may answer with what they have signed before.
    #[must_use]
    pub fn ocsp_request(&self) -> Vec<u8> {
        ocsp::request(&self.issuer, &self.serial)
    }

    /// Reads the response to [`Inquiry::ocsp_request`].
    ///
    /// # Errors
    /// When it is not a current response about this certificate by somebody entitled to it.
    pub fn ocsp(&self, response: &[u8], now: OffsetDateTime) -> Result<Answer, OcspError> {
        ocsp::read(response, &self.issuer, &self.serial, now)
    }

    /// Reads a complete revocation list, and keeps what it says of this certificate.
    ///
    /// # Errors
    /// When it is not a current list of the issuer that has this certificate in its scope.
    pub fn list(&self, bytes: &Bytes, now: OffsetDateTime) -> Result<RevocationList, CrlError> {
        crl::read(bytes, self, now)?.complete()
    }

    /// Reads a list of changes since `complete`.
    ///
    /// # Errors
    /// As [`Inquiry::list`], and when it is about changes since another list.
    pub fn delta(
        &self,
        complete: &RevocationList,
        bytes: &Bytes,
        now: OffsetDateTime,
    ) -> Result<RevocationList, CrlError> {
        crl::read(bytes, self, now)?.changes(complete)
    }
}

/// Reads a response as it is, and as if its signature were good.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz_ocsp(bytes: &[u8], issuer: Certificate) {
    let inquiry = Inquiry { issuer, serial: vec![7], is_ca: false, points: Vec::new() };
    let _ = inquiry.ocsp(bytes, OffsetDateTime::UNIX_EPOCH);
    ocsp::fuzz(bytes, &inquiry.issuer, &inquiry.serial);
}

/// Reads a list as it is, and as if its signature were good.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz_crl(bytes: &[u8], issuer: Certificate) {
    let inquiry = Inquiry { issuer, serial: vec![7], is_ca: false, points: Vec::new() };
    let _ = inquiry.list(&Bytes::copy_from_slice(bytes), OffsetDateTime::UNIX_EPOCH);
    crl::fuzz(bytes, &inquiry);
}

/// Why a certificate was revoked (RFC 5280, section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reason(u8);

impl Reason {
    const UNSPECIFIED: Self = Self(0);
    const HOLD: Self = Self(6);
    const REMOVE: Self = Self(8);

    /// Reads the content of an `ENUMERATED`.
    fn read(content: &[u8]) -> Option<Self> {
        match *content {
            [code @ (0..=6 | 8..=10)] => Some(Self(code)),
            _ => None,
        }
    }

    /// The word for it, unless it says nothing.
    const fn word(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "keyCompromise",
            2 => "cACompromise",
            3 => "affiliationChanged",
            4 => "superseded",
            5 => "cessationOfOperation",
            6 => "certificateHold",
            8 => "removeFromCRL",
            9 => "privilegeWithdrawn",
            10 => "aACompromise",
            _ => return None,
        })
    }
}

/// One entry: that a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Revoked {
    at: OffsetDateTime,
    reason: Reason,
    invalid_since: Option<OffsetDateTime>,
}

impl Revoked {
    fn status(self) -> RevocationStatus {
        RevocationStatus::Revoked {
            at: self.at,
            reason: self.reason.word().map(str::to_owned),
            invalid_since: self.invalid_since,
        }
    }
}

/// A serial number without bytes that its sign does not need: issuers have written some.
fn shortest(mut serial: &[u8]) -> &[u8] {
    while let [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] = serial {
        serial = serial.get(1..).unwrap_or_default();
    }
    serial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_the_same_however_it_is_padded() {
        assert_eq!(shortest(&[0, 0, 5]), [5]);
        assert_eq!(shortest(&[0, 0x85]), [0, 0x85]);
        assert_eq!(shortest(&[0xff, 0xff, 0x85]), [0x85]);
        assert_eq!(shortest(&[0xff, 5]), [0xff, 5]);
        assert_eq!(shortest(&[0]), [0]);
        assert_eq!(shortest(&[]), [0; 0]);
    }

    #[test]
    fn reasons_are_those_of_the_specification() {
        let words: Vec<_> = (0..=11).map(|code| Reason::read(&[code]).map(Reason::word)).collect();
        assert_eq!(words[0], Some(None));
        assert_eq!(words[1], Some(Some("keyCompromise")));
        assert_eq!(words[6], Some(Some("certificateHold")));
        assert_eq!((words[7], words[11]), (None, None));
        assert_eq!(words[10], Some(Some("aACompromise")));
        assert_eq!(Reason::read(&[0, 1]), None);
        assert_eq!(Reason::read(&[]), None);
    }
}
