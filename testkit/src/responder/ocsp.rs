//! An OCSP request and what is to be said in, a signed response out (RFC 6960).

use rcgen::{KeyPair, SigningKey as _};
use time::{Duration, OffsetDateTime};

use crate::TestkitError;
use crate::der;
use crate::keys::Authority;

/// `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// `id-ce-invalidityDate`.
pub(super) const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];

/// What is said of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not revoked.
    Good,
    /// It is.
    Revoked {
        /// Since when.
        at: OffsetDateTime,
        /// Why, as RFC 5280 numbers it.
        reason: Option<u8>,
        /// Since when the key is suspected.
        invalid_since: Option<OffsetDateTime>,
    },
    /// It is not known.
    Unknown,
}

/// A response, to be changed as a test needs it.
#[derive(Debug, Clone)]
pub struct OcspAnswer {
    /// What it says.
    pub standing: Standing,
    /// Since when that holds.
    pub this_update: OffsetDateTime,
    /// Until when.
    pub next_update: Option<OffsetDateTime>,
    /// A serial number to answer about in place of the one that was asked about.
    pub serial: Option<Vec<u8>>,
    /// The identifier of a critical extension that the response has.
    pub critical: Option<Vec<u8>>,
}

impl OcspAnswer {
    /// One that holds from an hour before `now` until a day after.
    #[must_use]
    pub fn new(standing: Standing, now: OffsetDateTime) -> Self {
        Self {
            standing,
            this_update: now - Duration::HOUR,
            next_update: Some(now + Duration::DAY),
            serial: None,
            critical: None,
        }
    }
}

/// Somebody who answers for an authority, with a certificate for that.
#[derive(Debug)]
pub struct Delegate {
    pub(crate) key: KeyPair,
    /// In DER.
    pub(crate) certificate: Vec<u8>,
}

impl Authority {
    /// The response to `request` (in DER), signed by the authority itself, which it calls by its
    /// key.
    ///
    /// # Errors
    /// When `request` is none, or a time has no form.
    pub fn ocsp(&self, request: &[u8], answer: &OcspAnswer) -> Result<Vec<u8>, TestkitError> {
        let key_hash = der::inside(request, &[0, 0, 0, 0, 0, 2]).ok_or(TestkitError::Der)?;
        let responder = der::tagged(2, &[&der::write(der::OCTET_STRING, &[key_hash])]);
        let data = data(request, answer, &responder)?;
        Ok(response(&data, &self.sign(&data)?, &[]))
    }
}

impl Delegate {
    /// The response to `request` (in DER), signed by the delegate, who is called by name.
    ///
    /// # Errors
    /// As [`Authority::ocsp`].
    pub fn ocsp(&self, request: &[u8], answer: &OcspAnswer) -> Result<Vec<u8>, TestkitError> {
        let certificate = der::inside(&self.certificate, &[0, 0]).ok_or(TestkitError::Der)?;
        // Version, serial number, algorithm, issuer and validity come first.
        let subject = (0..5).try_fold(certificate, |rest, _| der::first(rest).map(|f| f.2));
        let (subject, _, _) = subject.and_then(der::first).ok_or(TestkitError::Der)?;
        let data = data(request, answer, &der::tagged(1, &[subject]))?;
        let certificates = der::tagged(0, &[&der::write(der::SEQUENCE, &[&self.certificate])]);
        Ok(response(&data, &self.key.sign(&data)?, &certificates))
    }
}

fn response(data: &[u8], signature: &[u8], certificates: &[u8]) -> Vec<u8> {
    let basic = der::signed(data, signature, certificates);
    let id = der::write(der::OID, &[BASIC]);
    let bytes = der::write(der::SEQUENCE, &[&id, &der::write(der::OCTET_STRING, &[&basic])]);
    let status = der::write(der::ENUMERATED, &[&[0]]);
    der::write(der::SEQUENCE, &[&status, &der::tagged(0, &[&bytes])])
}

/// `ResponseData`.
fn data(request: &[u8], answer: &OcspAnswer, responder: &[u8]) -> Result<Vec<u8>, TestkitError> {
    let asked = der::inside(request, &[0, 0, 0, 0, 0]).ok_or(TestkitError::Der)?;
    let id = match &answer.serial {
        None => der::write(der::SEQUENCE, &[asked]),
        Some(other) => {
            // Algorithm and two hashes come before the serial number.
            let serial = (0..3).try_fold(asked, |rest, _| der::first(rest).map(|f| f.2));
            let serial = serial.ok_or(TestkitError::Der)?.len();
            let kept = asked.get(..asked.len() - serial).unwrap_or_default();
            der::write(der::SEQUENCE, &[kept, &der::write(der::INTEGER, &[other])])
        }
    };
    let mut extensions = Vec::new();
    let status = match answer.standing {
        Standing::Good => der::write(0x80, &[]),
        Standing::Unknown => der::write(0x82, &[]),
        Standing::Revoked { at, reason, invalid_since } => {
            if let Some(since) = invalid_since {
                let since = der::generalized(since)?;
                extensions.extend(der::extension(INVALIDITY_DATE, false, &since));
            }
            let reason = reason.map(|code| der::write(der::ENUMERATED, &[&[code]]));
            let reason = reason.map_or(Vec::new(), |reason| der::tagged(0, &[&reason]));
            der::tagged(1, &[&der::generalized(at)?, &reason])
        }
    };
    if let Some(id) = &answer.critical {
        extensions.extend(der::extension(id, true, &[0x05, 0x00]));
    }
    let next = answer.next_update.map(der::generalized).transpose()?;
    let next = next.map_or(Vec::new(), |next| der::tagged(0, &[&next]));
    let extensions = if extensions.is_empty() {
        Vec::new()
    } else {
        der::tagged(1, &[&der::write(der::SEQUENCE, &[&extensions])])
    };
    let this = der::generalized(answer.this_update)?;
    let single = der::write(der::SEQUENCE, &[&id, &status, &this, &next, &extensions]);
    let singles = der::write(der::SEQUENCE, &[&single]);
    Ok(der::write(der::SEQUENCE, &[responder, &this, &singles]))
}
