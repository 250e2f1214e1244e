//! A serial number and its issuer in, an OCSP request out; the response in, what it says out.
//!
//! RFC 6960. Other than the reference implementation, a responder that is not the issuer itself
//! must have a certificate of the issuer's with the extended key usage `OCSPSigning`, and the
//! response must name the issuer's key, not the serial number alone. Like there, whether the
//! responder's own certificate was revoked is not asked.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY as SHA1, SHA256};
use time::OffsetDateTime;

use super::super::certificate::{Certificate, CertificateError};
use super::super::der::{self, Element, Reader, Signed};
use super::super::question::RevocationStatus;
use super::{Answer, MAX_OCSP_RESPONSE, MAX_SKEW, Reason, Revoked, shortest};

/// `id-pkix-ocsp-basic`, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// `id-sha1`, 1.3.14.3.2.26.
const ID_SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
/// `id-sha256`, 2.16.840.1.101.3.4.2.1.
const ID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// `id-ce-invalidityDate`, 2.5.29.24.
pub(super) const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];

/// Why an OCSP response says nothing.
#[derive(Debug, thiserror::Error)]
pub enum OcspError {
    /// More bytes than [`MAX_OCSP_RESPONSE`].
    #[error("the OCSP response is {length} bytes long, more than the {MAX_OCSP_RESPONSE} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// The responder does not answer the question.
    #[error("the OCSP responder refuses to answer: {}", .0.as_str())]
    Refused(Refusal),
    /// Not the DER of an OCSP response.
    #[error("the bytes are not a basic OCSP response in DER")]
    Malformed,
    /// Who signed is neither the issuer nor has a certificate in the response.
    #[error(
        "the OCSP response names a responder that is neither the issuer of the certificate nor has \
         a certificate in the response"
    )]
    NoResponder,
    /// The responder's certificate cannot be read.
    #[error("the certificate of the OCSP responder cannot be read")]
    Responder(#[source] CertificateError),
    /// The issuer did not give the responder the right to answer.
    #[error(
        "the OCSP responder `{subject}` may not answer for the issuer: its certificate must be \
         issued by that issuer, valid now, and have the extended key usage `OCSPSigning`"
    )]
    NotEntitled {
        /// Subject of its certificate.
        subject: String,
    },
    /// The signature is not that of the responder.
    #[error("the signature of the OCSP response is not that of its responder")]
    Signature,
    /// It has a critical extension that is not known here.
    #[error("the OCSP response has a critical extension that is not known here")]
    CriticalExtension,
    /// It is about other certificates.
    #[error("the OCSP response is not about the certificate that was asked about")]
    NotAbout,
    /// It does not say until when it holds.
    #[error("the OCSP response does not say when the next one is due")]
    NoNextUpdate,
    /// Its time is over, or has not come.
    #[error("the OCSP response holds from {from} until {until}, which is not now")]
    NotCurrent {
        /// Since when it holds.
        from: OffsetDateTime,
        /// Until when.
        until: OffsetDateTime,
    },
}

/// What a responder says in place of an answer (RFC 6960, section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `malformedRequest`.
    Malformed,
    /// `internalError`.
    Internal,
    /// `tryLater`.
    TryLater,
    /// `sigRequired`.
    SignatureRequired,
    /// `unauthorized`: it does not know the issuer, mostly.
    Unauthorized,
}

impl Refusal {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformedRequest",
            Self::Internal => "internalError",
            Self::TryLater => "tryLater",
            Self::SignatureRequired => "sigRequired",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// `OCSPRequest` with one `CertID` (RFC 6960, section 4.1.1).
pub(super) fn request(issuer: &Certificate, serial: &[u8]) -> Vec<u8> {
    let algorithm = der::write(der::SEQUENCE, &[&der::write(der::OID, &[ID_SHA1]), &[0x05, 0x00]]);
    let hash = |bytes| der::write(der::OCTET_STRING, &[digest::digest(&SHA1, bytes).as_ref()]);
    let (name, key) = (hash(issuer.raw_subject()), hash(issuer.key().bytes()));
    let serial = der::write(der::INTEGER, &[serial]);
    let id = der::write(der::SEQUENCE, &[&algorithm, &name, &key, &serial]);
    // The four sequences: Request, requestList, TBSRequest, OCSPRequest.
    (0..4).fold(id, |inner, _| der::write(der::SEQUENCE, &[&inner]))
}

/// Reads a response about the certificate of `issuer` with this serial number.
pub(super) fn read(
    response: &[u8],
    issuer: &Certificate,
    serial: &[u8],
    now: OffsetDateTime,
) -> Result<Answer, OcspError> {
    if response.len() > MAX_OCSP_RESPONSE {
        return Err(OcspError::TooLarge { length: response.len() });
    }
    let basic = successful(response)?.ok_or(OcspError::Malformed)?;
    let signed = Signed::with_rest(basic).ok_or(OcspError::Malformed)?;
    let head = Head::read(&signed).ok_or(OcspError::Malformed)?;
    if head.responder.is(issuer) {
        verify(issuer, &signed)?;
    } else {
        let responder = delegate(&head, signed.rest)?;
        if !(responder.is_signed_by(issuer)
            && responder.may_sign_ocsp()
            && responder.is_valid_at(now))
        {
            let subject = responder.subject().to_owned();
            return Err(OcspError::NotEntitled { subject });
        }
        verify(&responder, &signed)?;
    }
    about(head, issuer, serial, now)
}

/// The bytes of the basic response in an `OCSPResponse`, where it has one.
fn successful(response: &[u8]) -> Result<Option<&[u8]>, OcspError> {
    let status = |bytes| {
        let mut fields = Reader::only(bytes, der::SEQUENCE)?;
        let status = fields.take(der::ENUMERATED)?;
        Some((status, fields))
    };
    let (status, mut fields) = status(response).ok_or(OcspError::Malformed)?;
    let refusal = match *status {
        [0] => {
            let mut basic = || {
                let mut bytes = fields.enter(der::tagged(0))?.enter(der::SEQUENCE)?;
                fields.end()?;
                let is_basic = bytes.take(der::OID)? == BASIC;
                let basic = bytes.take(der::OCTET_STRING)?;
                (is_basic && bytes.is_empty()).then_some(basic)
            };
            return Ok(basic());
        }
        [1] => Refusal::Malformed,
        [2] => Refusal::Internal,
        [3] => Refusal::TryLater,
        [5] => Refusal::SignatureRequired,
        [6] => Refusal::Unauthorized,
        _ => return Err(OcspError::Malformed),
    };
    Err(OcspError::Refused(refusal))
}

/// Who answered.
#[derive(Debug, Clone, Copy)]
enum Responder<'a> {
    /// Its distinguished name.
    Name(&'a [u8]),
    /// The SHA-1 of its key.
    Key(&'a [u8]),
}

impl Responder<'_> {
    fn is(&self, certificate: &Certificate) -> bool {
        match *self {
            Self::Name(name) => certificate.raw_subject() == name,
            Self::Key(hash) => digest::digest(&SHA1, certificate.key().bytes()).as_ref() == hash,
        }
    }
}

/// `ResponseData` (RFC 6960, section 4.2.1).
struct Head<'a> {
    responder: Responder<'a>,
    responses: Reader<'a>,
    extensions: Option<Reader<'a>>,
}

impl<'a> Head<'a> {
    fn read(signed: &Signed<'a>) -> Option<Self> {
        let mut fields = Reader::new(signed.content);
        // Version 1 is not written, and some write it.
        if let Some(version) = fields.optional(der::tagged(0))? {
            (Reader::new(version).take(der::INTEGER)? == [0]).then_some(())?;
        }
        let responder = fields.any()?;
        let mut inner = Reader::new(responder.content);
        let responder = if responder.tag == der::tagged(1) {
            Responder::Name(inner.element(der::SEQUENCE)?.all)
        } else if responder.tag == der::tagged(2) {
            Responder::Key(inner.take(der::OCTET_STRING)?)
        } else {
            return None;
        };
        inner.end()?;
        let _produced_at = fields.time()?;
        let responses = fields.enter(der::SEQUENCE)?;
        let extensions = extensions(&mut fields, 1)?;
        fields.end()?;
        Some(Self { responder, responses, extensions })
    }
}

/// `[number] EXPLICIT Extensions OPTIONAL`.
fn extensions<'a>(fields: &mut Reader<'a>, number: u8) -> Option<Option<Reader<'a>>> {
    match fields.optional(der::tagged(number))? {
        None => Some(None),
        Some(content) => Reader::only(content, der::SEQUENCE).map(Some),
    }
}

/// The certificate of the responder, from those after the signature.
fn delegate(head: &Head<'_>, mut rest: Reader<'_>) -> Result<Certificate, OcspError> {
    let certificates = extensions(&mut rest, 0).filter(|_| rest.is_empty());
    let mut certificates =
        certificates.ok_or(OcspError::Malformed)?.ok_or(OcspError::NoResponder)?;
    let mut unreadable = None;
    while !certificates.is_empty() {
        let certificate = certificates.element(der::SEQUENCE).ok_or(OcspError::Malformed)?;
        match Certificate::parse(certificate.all) {
            Ok(certificate) if head.responder.is(&certificate) => return Ok(certificate),
            Ok(_) => {}
            Err(error) => unreadable = Some(error),
        }
    }
    Err(unreadable.map_or(OcspError::NoResponder, OcspError::Responder))
}

fn verify(responder: &Certificate, signed: &Signed<'_>) -> Result<(), OcspError> {
    if responder.has_signed(signed.algorithm, signed.all, signed.signature) {
        Ok(())
    } else {
        Err(OcspError::Signature)
    }
}

/// What the response says of the certificate. Where it says several things the worst one counts.
fn about(
    mut head: Head<'_>,
    issuer: &Certificate,
    serial: &[u8],
    now: OffsetDateTime,
) -> Result<Answer, OcspError> {
    if let Some(extensions) = head.extensions {
        invalidity_date(extensions)?;
    }
    let mut worst: Option<Single<'_>> = None;
    while !head.responses.is_empty() {
        let single = Single::read(&mut head.responses, issuer, serial);
        let Some(single) = single.ok_or(OcspError::Malformed)? else { continue };
        if worst.as_ref().is_none_or(|worst| worst.rank() < single.rank()) {
            worst = Some(single);
        }
    }
    let Single { state, from, until, extensions } = worst.ok_or(OcspError::NotAbout)?;
    let until = until.ok_or(OcspError::NoNextUpdate)?;
    if now > until || now + MAX_SKEW < from {
        return Err(OcspError::NotCurrent { from, until });
    }
    let invalid_since = extensions.map(invalidity_date).transpose()?.flatten();
    let status = match state {
        State::Good => RevocationStatus::Good,
        State::Revoked(revoked) => Revoked { invalid_since, ..revoked }.status(),
        State::Unknown => RevocationStatus::Unknown {
            detail: "the OCSP responder does not know the certificate".to_owned(),
        },
    };
    Ok(Answer { status, next_update: until })
}

/// `SingleResponse`.
struct Single<'a> {
    state: State,
    from: OffsetDateTime,
    until: Option<OffsetDateTime>,
    extensions: Option<Reader<'a>>,
}

enum State {
    Good,
    Unknown,
    Revoked(Revoked),
}

impl<'a> Single<'a> {
    /// The next one, where it is about the certificate.
    fn read(
        responses: &mut Reader<'a>,
        issuer: &Certificate,
        serial: &[u8],
    ) -> Option<Option<Self>> {
        let mut fields = responses.enter(der::SEQUENCE)?;
        let is_about = is_about(fields.enter(der::SEQUENCE)?, issuer, serial)?;
        let state = state(fields.any()?)?;
        let from = fields.time()?;
        let until = match fields.optional(der::tagged(0))? {
            None => None,
            Some(content) => Some(Reader::new(content).time()?),
        };
        let extensions = extensions(&mut fields, 1)?;
        fields.end()?;
        Some(is_about.then_some(Self { state, from, until, extensions }))
    }

    const fn rank(&self) -> u8 {
        match self.state {
            State::Good => 0,
            State::Unknown => 1,
            State::Revoked(_) => 2,
        }
    }
}

/// Whether a `CertID` is that of the certificate.
fn is_about(mut id: Reader<'_>, issuer: &Certificate, serial: &[u8]) -> Option<bool> {
    let hash = id.enter(der::SEQUENCE)?.take(der::OID)?;
    let (name, key) = (id.take(der::OCTET_STRING)?, id.take(der::OCTET_STRING)?);
    let number = id.take(der::INTEGER)?;
    id.end()?;
    let hash = if hash == ID_SHA1 {
        &SHA1
    } else if hash == ID_SHA256 {
        &SHA256
    } else {
        return Some(false);
    };
    Some(
        shortest(number) == shortest(serial)
            && digest::digest(hash, issuer.raw_subject()).as_ref() == name
            && digest::digest(hash, issuer.key().bytes()).as_ref() == key,
    )
}

fn state(status: Element<'_>) -> Option<State> {
    let mut fields = Reader::new(status.content);
    let state = if status.tag == der::replaced(0) {
        State::Good
    } else if status.tag == der::replaced(2) {
        State::Unknown
    } else if status.tag == der::tagged(1) {
        let at = fields.time()?;
        let reason = match fields.optional(der::tagged(0))? {
            None => Reason::UNSPECIFIED,
            Some(reason) => Reason::read(Reader::new(reason).take(der::ENUMERATED)?)?,
        };
        State::Revoked(Revoked { at, reason, invalid_since: None })
    } else {
        return None;
    };
    fields.end()?;
    Some(state)
}

/// The invalidity date among extensions none of which is critical and unknown.
fn invalidity_date(mut extensions: Reader<'_>) -> Result<Option<OffsetDateTime>, OcspError> {
    let mut since = None;
    while !extensions.is_empty() {
        let extension = extensions.extension().ok_or(OcspError::Malformed)?;
        if extension.id == INVALIDITY_DATE {
            since = Some(Reader::new(extension.value).time().ok_or(OcspError::Malformed)?);
        } else if extension.critical {
            return Err(OcspError::CriticalExtension);
        }
    }
    Ok(since)
}

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8], issuer: &Certificate, serial: &[u8]) {
    let Ok(Some(basic)) = successful(bytes) else { return };
    let Some(signed) = Signed::with_rest(basic) else { return };
    let Some(head) = Head::read(&signed) else { return };
    let _ = delegate(&head, signed.rest);
    let _ = about(head, issuer, serial, OffsetDateTime::UNIX_EPOCH);
}
