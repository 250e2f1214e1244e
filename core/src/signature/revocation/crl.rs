//! The bytes of a revocation list in, what it says of one certificate out.
//!
//! RFC 5280, section 5. A list may have a million entries: its signature is checked first, then it
//! is walked once, and only the entry of the certificate is kept. Where the list limits its own
//! scope, the certificate must be in it: lists are fetched without TLS, and one part of a list that
//! is split must not be passed off for another. The reference implementation does not look.

use bytes::Bytes;
use time::OffsetDateTime;
use x509_parser::der_parser::Oid;

use super::super::der::{self, Reader, Signed};
use super::super::question::RevocationStatus;
use super::ocsp::INVALIDITY_DATE;
use super::{Answer, Inquiry, MAX_CRL, MAX_SKEW, MAX_SOURCES, Reason, Revoked, shortest};

/// The most extensions of a list, or of one entry. Real ones have fewer than six.
const MAX_EXTENSIONS: usize = 32;

// The last byte of `id-ce`, 2.5.29.
const ID_CE: [u8; 2] = [0x55, 0x1d];
const CRL_NUMBER: u8 = 20;
const REASON_CODE: u8 = 21;
const DELTA_INDICATOR: u8 = 27;
const ISSUING_POINT: u8 = 28;
const FRESHEST: u8 = 46;

/// Why a revocation list says nothing.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// More bytes than [`MAX_CRL`].
    #[error("the CRL is {length} bytes long, more than the {MAX_CRL} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not the DER of a revocation list.
    #[error("the bytes are not a certificate revocation list in DER")]
    Malformed,
    /// The issuer did not sign it.
    #[error("the CRL is not signed by `{issuer}`, which issued the certificate")]
    Signature {
        /// Subject of the issuer.
        issuer: String,
    },
    /// The issuer may not sign revocation lists.
    #[error("the key usage of `{issuer}` lacks `cRLSign`, and it signed the CRL")]
    NotEntitled {
        /// Subject of the issuer.
        issuer: String,
    },
    /// It does not say until when it holds.
    #[error("the CRL does not say when the next one is due")]
    NoNextUpdate,
    /// Its time is over, or has not come.
    #[error("the CRL holds from {from} until {until}, which is not now")]
    NotCurrent {
        /// Since when it holds.
        from: OffsetDateTime,
        /// Until when.
        until: OffsetDateTime,
    },
    /// It, or an entry, has a critical extension that is not known here.
    #[error("the CRL has the critical extension `{0}`, which is not known here")]
    CriticalExtension(String),
    /// It does not cover the certificate, or not all of what may befall it.
    #[error("the CRL is not a whole answer about the certificate: {0}")]
    Scope(&'static str),
    /// A list of changes where a complete one is needed.
    #[error("the CRL is a delta CRL, and a complete one is needed")]
    IsDelta,
    /// A complete list where one of changes is needed.
    #[error("the CRL is complete, and a delta CRL is needed")]
    NotDelta,
    /// A list of changes since another list.
    #[error("the delta CRL is not one of changes to the complete CRL")]
    OtherBase,
}

/// What a revocation list says of one certificate. It holds nothing else of the list.
#[derive(Debug, Clone)]
pub struct RevocationList {
    entry: Option<Revoked>,
    until: OffsetDateTime,
    extensions: Extensions,
}

#[derive(Debug, Clone, Default)]
struct Extensions {
    number: Option<Vec<u8>>,
    base: Option<Vec<u8>>,
    issuing_point: Option<Vec<u8>>,
    freshest: Vec<String>,
}

impl RevocationList {
    /// URLs of lists of changes to this one, as it names them; at most [`MAX_SOURCES`].
    #[must_use]
    pub fn freshest(&self) -> &[String] {
        &self.extensions.freshest
    }

    /// What it says, with the changes of `delta` if there are any.
    ///
    /// As RFC 5280, section 6.3.3, has it the changes have the first word, but for one thing: only a
    /// certificate on hold can be taken off a list.
    #[must_use]
    pub fn answer(&self, delta: Option<&Self>) -> Answer {
        let next_update = delta.map_or(self.until, |delta| delta.until.min(self.until));
        let entry = match (self.entry, delta.and_then(|delta| delta.entry)) {
            (listed, None) => listed,
            (Some(listed), Some(change))
                if change.reason == Reason::REMOVE && listed.reason != Reason::HOLD =>
            {
                Some(listed)
            }
            (_, Some(change)) if change.reason == Reason::REMOVE => None,
            (_, change) => change,
        };
        let status = entry.map_or(RevocationStatus::Good, Revoked::status);
        Answer { status, next_update }
    }

    pub(super) fn complete(self) -> Result<Self, CrlError> {
        if self.extensions.base.is_some() {
            return Err(CrlError::IsDelta);
        }
        // It would be on no list if it had been removed.
        if self.entry.is_some_and(|entry| entry.reason == Reason::REMOVE) {
            return Err(CrlError::Malformed);
        }
        Ok(self)
    }

    /// The conditions of RFC 5280, section 5.2.4, for changes to `complete`.
    pub(super) fn changes(self, complete: &Self) -> Result<Self, CrlError> {
        let base = self.extensions.base.as_deref().ok_or(CrlError::NotDelta)?;
        let number = complete.extensions.number.as_deref().ok_or(CrlError::OtherBase)?;
        let own = self.extensions.number.as_deref().ok_or(CrlError::OtherBase)?;
        let same_scope = self.extensions.issuing_point == complete.extensions.issuing_point;
        if !same_scope || is_less(number, base) {
            return Err(CrlError::OtherBase);
        }
        // The complete list is newer: it has these changes already, and maybe later ones.
        if is_less(own, number) {
            return Ok(Self { entry: None, ..self });
        }
        Ok(self)
    }
}

/// Whether a number that is not negative is less than another.
fn is_less(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (shortest(one), shortest(other));
    (one.len(), one) < (other.len(), other)
}

pub(super) fn read(
    bytes: &Bytes,
    inquiry: &Inquiry,
    now: OffsetDateTime,
) -> Result<RevocationList, CrlError> {
    if bytes.len() > MAX_CRL {
        return Err(CrlError::TooLarge { length: bytes.len() });
    }
    let signed = Signed::read(bytes).ok_or(CrlError::Malformed)?;
    let issuer = || inquiry.issuer.subject().to_owned();
    if !inquiry.issuer.has_signed(signed.algorithm, signed.all, signed.signature) {
        return Err(CrlError::Signature { issuer: issuer() });
    }
    if !inquiry.issuer.may_sign_crls() {
        return Err(CrlError::NotEntitled { issuer: issuer() });
    }
    let head = Head::read(&signed).ok_or(CrlError::Malformed)?;
    // Another authority with the same key would have another name.
    if head.issuer != inquiry.issuer.raw_subject() {
        return Err(CrlError::Signature { issuer: issuer() });
    }
    let (from, until) = (head.from, head.until.ok_or(CrlError::NoNextUpdate)?);
    if now > until || now + MAX_SKEW < from {
        return Err(CrlError::NotCurrent { from, until });
    }
    let extensions = head.extensions.map(Extensions::read).transpose()?.unwrap_or_default();
    if let Some(point) = &extensions.issuing_point {
        check_scope(point, inquiry)?;
    }
    let entry = find(head.entries, &inquiry.serial)?;
    Ok(RevocationList { entry, until, extensions })
}

/// `TBSCertList` (RFC 5280, section 5.1).
struct Head<'a> {
    issuer: &'a [u8],
    from: OffsetDateTime,
    until: Option<OffsetDateTime>,
    entries: Reader<'a>,
    extensions: Option<Reader<'a>>,
}

impl<'a> Head<'a> {
    fn read(signed: &Signed<'a>) -> Option<Self> {
        let mut fields = Reader::new(signed.content);
        // Version 1 is not written and has no extensions.
        let version = fields.optional(der::INTEGER)?;
        version.is_none_or(|version| version == [1]).then_some(())?;
        (fields.element(der::SEQUENCE)?.all == signed.algorithm).then_some(())?;
        let issuer = fields.element(der::SEQUENCE)?.all;
        let from = fields.time()?;
        let is_time = |tag| tag == der::UTC_TIME || tag == der::GENERALIZED_TIME;
        let until = if fields.peek().is_some_and(is_time) { Some(fields.time()?) } else { None };
        let entries = Reader::new(fields.optional(der::SEQUENCE)?.unwrap_or_default());
        let extensions = match fields.optional(der::tagged(0))? {
            Some(content) if version.is_some() => Some(Reader::only(content, der::SEQUENCE)?),
            Some(_) => return None,
            None => None,
        };
        fields.end()?;
        Some(Self { issuer, from, until, entries, extensions })
    }
}

impl Extensions {
    fn read(mut list: Reader<'_>) -> Result<Self, CrlError> {
        let mut read = Self::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        while !list.is_empty() {
            let extension = list.extension().ok_or(CrlError::Malformed)?;
            if seen.contains(&extension.id) || seen.len() == MAX_EXTENSIONS {
                return Err(CrlError::Malformed);
            }
            seen.push(extension.id);
            let number = || {
                let mut value = Reader::new(extension.value);
                let number = value.take(der::INTEGER).filter(|_| value.is_empty());
                // No number is negative, and none has more than 20 bytes (section 5.2.3).
                let number = number.filter(|n| matches!(n, [0..=0x7f, ..]) && n.len() <= 20);
                number.map(<[u8]>::to_vec).ok_or(CrlError::Malformed)
            };
            match extension.id.strip_prefix(&ID_CE) {
                Some([CRL_NUMBER]) => read.number = Some(number()?),
                Some([DELTA_INDICATOR]) => read.base = Some(number()?),
                Some([ISSUING_POINT]) => read.issuing_point = Some(extension.value.to_vec()),
                Some([FRESHEST]) => {
                    read.freshest = points(extension.value).ok_or(CrlError::Malformed)?;
                }
                _ if extension.critical => return Err(unknown(extension.id)),
                _ => {}
            }
        }
        Ok(read)
    }
}

fn unknown(id: &[u8]) -> CrlError {
    CrlError::CriticalExtension(Oid::new(id.into()).to_id_string())
}

/// The URLs of `CRLDistributionPoints` (section 4.2.1.13).
fn points(value: &[u8]) -> Option<Vec<String>> {
    let mut points = Reader::only(value, der::SEQUENCE)?;
    let mut urls = Vec::new();
    while !points.is_empty() {
        let mut point = points.enter(der::SEQUENCE)?;
        if let Some(name) = point.optional(der::tagged(0))? {
            urls.extend(full_name(name)?);
        }
    }
    urls.truncate(MAX_SOURCES);
    Some(urls)
}

/// The URLs in a `DistributionPointName`.
fn full_name(name: &[u8]) -> Option<Vec<String>> {
    let mut name = Reader::new(name);
    let mut urls = Vec::new();
    let mut names = Reader::new(name.optional(der::tagged(0))?.unwrap_or_default());
    while !names.is_empty() {
        let name = names.any()?;
        if name.tag == der::replaced(6) {
            urls.push(std::str::from_utf8(name.content).ok()?.to_owned());
        }
    }
    Some(urls)
}

/// That a list with this `IssuingDistributionPoint` (section 5.2.5) says of the certificate all
/// that there is to say (section 6.3.3, b).
fn check_scope(value: &[u8], inquiry: &Inquiry) -> Result<(), CrlError> {
    let read = || {
        let mut fields = Reader::only(value, der::SEQUENCE)?;
        let names = fields.optional(der::tagged(0))?.map(full_name);
        let users = fields.flag(der::replaced(1))?;
        let authorities = fields.flag(der::replaced(2))?;
        let reasons = fields.optional(der::replaced(3))?.is_some();
        let indirect = fields.flag(der::replaced(4))?;
        let attributes = fields.flag(der::replaced(5))?;
        fields.end()?;
        // A name of another kind than a URL matches nothing here.
        let names = names.map(|names| names.unwrap_or_default());
        Some((names, users, authorities, reasons, indirect, attributes))
    };
    let (names, users, authorities, reasons, indirect, attributes) =
        read().ok_or(CrlError::Malformed)?;
    let fault = if indirect {
        Some("it is an indirect CRL")
    } else if reasons {
        Some("it is about some reasons only")
    } else if attributes || (users && inquiry.is_ca) || (authorities && !inquiry.is_ca) {
        Some("it is about other kinds of certificates")
    } else if names.is_some_and(|names| !names.iter().any(|name| inquiry.points.contains(name))) {
        Some("it is of a distribution point that the certificate does not name")
    } else {
        None
    };
    fault.map_or(Ok(()), |fault| Err(CrlError::Scope(fault)))
}

/// The entry of a serial number. Of several, one that is for ever counts, else the last one.
fn find(mut entries: Reader<'_>, serial: &[u8]) -> Result<Option<Revoked>, CrlError> {
    let serial = shortest(serial);
    let mut found: Option<Revoked> = None;
    while !entries.is_empty() {
        let mut fields = entries.enter(der::SEQUENCE).ok_or(CrlError::Malformed)?;
        let number = fields.take(der::INTEGER).ok_or(CrlError::Malformed)?;
        let entry = entry(fields)?;
        let is_final = |e: &Revoked| e.reason != Reason::HOLD && e.reason != Reason::REMOVE;
        if shortest(number) == serial && !found.as_ref().is_some_and(is_final) {
            found = Some(entry);
        }
    }
    Ok(found)
}

/// One entry after its serial number. One that cannot be understood spoils the list (section 5.3).
fn entry(mut fields: Reader<'_>) -> Result<Revoked, CrlError> {
    let malformed = || CrlError::Malformed;
    let at = fields.time().ok_or_else(malformed)?;
    let mut entry = Revoked { at, reason: Reason::UNSPECIFIED, invalid_since: None };
    let extensions = fields.optional(der::SEQUENCE).ok_or_else(malformed)?;
    fields.end().ok_or_else(malformed)?;
    let mut extensions = Reader::new(extensions.unwrap_or_default());
    let mut left = MAX_EXTENSIONS;
    while !extensions.is_empty() {
        left = left.checked_sub(1).ok_or_else(malformed)?;
        let extension = extensions.extension().ok_or_else(malformed)?;
        let mut value = Reader::new(extension.value);
        if extension.id == INVALIDITY_DATE {
            entry.invalid_since = Some(value.time().ok_or_else(malformed)?);
        } else if extension.id.strip_prefix(&ID_CE) == Some(&[REASON_CODE]) {
            let reason = value.take(der::ENUMERATED).and_then(Reason::read);
            entry.reason = reason.ok_or_else(malformed)?;
        } else if extension.critical {
            return Err(unknown(extension.id));
        }
    }
    Ok(entry)
}

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8], inquiry: &Inquiry) {
    let Some(signed) = Signed::read(bytes) else { return };
    let Some(head) = Head::read(&signed) else { return };
    if let Some(Ok(extensions)) = head.extensions.map(Extensions::read)
        && let Some(point) = extensions.issuing_point
    {
        let _ = check_scope(&point, inquiry);
    }
    let _ = find(head.entries, &inquiry.serial);
}
