//! Serial numbers in, a signed revocation list out (RFC 5280, section 5).

use time::{Duration, OffsetDateTime};

use super::ocsp::INVALIDITY_DATE;
use crate::TestkitError;
use crate::der;
use crate::keys::Authority;

const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_POINT: &[u8] = &[0x55, 0x1d, 28];
const FRESHEST: &[u8] = &[0x55, 0x1d, 46];

/// One revoked certificate.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its serial number.
    pub serial: Vec<u8>,
    /// Since when.
    pub at: OffsetDateTime,
    /// Why, as RFC 5280 numbers it.
    pub reason: Option<u8>,
    /// Since when the key is suspected.
    pub invalid_since: Option<OffsetDateTime>,
    /// The identifier of a critical extension that it has.
    pub critical: Option<Vec<u8>>,
}

impl Entry {
    /// A certificate that was revoked `at` that time, nobody says why.
    #[must_use]
    pub const fn new(serial: Vec<u8>, at: OffsetDateTime) -> Self {
        Self { serial, at, reason: None, invalid_since: None, critical: None }
    }

    /// The same, with this reason.
    #[must_use]
    pub fn because(self, reason: u8) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

/// A revocation list, to be changed as a test needs it.
#[derive(Debug, Clone)]
pub struct List {
    /// The revoked certificates.
    pub entries: Vec<Entry>,
    /// Its number.
    pub number: u8,
    /// The number of the list that it has changes to. Only lists of changes have it.
    pub base: Option<u8>,
    /// Since when it holds.
    pub this_update: OffsetDateTime,
    /// Until when.
    pub next_update: Option<OffsetDateTime>,
    /// Where lists of changes to it are.
    pub freshest: Vec<String>,
    /// The URL of the distribution point that it is limited to.
    pub point: Option<String>,
    /// More of its `IssuingDistributionPoint`, in DER.
    pub scope: Vec<u8>,
    /// The identifier of a critical extension that it has.
    pub critical: Option<Vec<u8>>,
}

impl List {
    /// A complete list that holds from an hour before `now` until a day after.
    #[must_use]
    pub fn new(entries: Vec<Entry>, now: OffsetDateTime) -> Self {
        Self {
            entries,
            number: 5,
            base: None,
            this_update: now - Duration::HOUR,
            next_update: Some(now + Duration::DAY),
            freshest: Vec::new(),
            point: None,
            scope: Vec::new(),
            critical: None,
        }
    }
}

impl Authority {
    /// The list in DER, signed.
    ///
    /// # Errors
    /// When a time has no form.
    pub fn crl(&self, list: &List) -> Result<Vec<u8>, TestkitError> {
        let root = self.root_der();
        // Version, serial number, algorithm, issuer and validity come before the subject.
        let fields = der::inside(root, &[0, 0]).ok_or(TestkitError::Der)?;
        let subject = (0..5).try_fold(fields, |rest, _| der::first(rest).map(|f| f.2));
        let (subject, _, _) = subject.and_then(der::first).ok_or(TestkitError::Der)?;
        let entries = list.entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?.concat();
        let entries =
            if entries.is_empty() { Vec::new() } else { der::write(der::SEQUENCE, &[&entries]) };
        let next = list.next_update.map(der::utc).transpose()?.unwrap_or_default();
        let extensions = der::tagged(0, &[&der::write(der::SEQUENCE, &[&extensions(list)])]);
        let version = der::write(der::INTEGER, &[&[1]]);
        let this = der::utc(list.this_update)?;
        let parts: [&[u8]; 7] =
            [&version, der::ECDSA, subject, &this, &next, &entries, &extensions];
        let content = der::write(der::SEQUENCE, &parts);
        Ok(der::signed(&content, &self.sign(&content)?, &[]))
    }
}

fn extensions(list: &List) -> Vec<u8> {
    let number = |number: u8| der::write(der::INTEGER, &[&[number]]);
    let mut extensions = der::extension(CRL_NUMBER, false, &number(list.number));
    if let Some(base) = list.base {
        extensions.extend(der::extension(DELTA_INDICATOR, true, &number(base)));
    }
    if list.point.is_some() || !list.scope.is_empty() {
        let point = list.point.as_deref().map(der::point).unwrap_or_default();
        let value = der::write(der::SEQUENCE, &[&point, &list.scope]);
        extensions.extend(der::extension(ISSUING_POINT, true, &value));
    }
    if !list.freshest.is_empty() {
        extensions.extend(der::extension(FRESHEST, false, &der::points(&list.freshest)));
    }
    if let Some(id) = &list.critical {
        extensions.extend(der::extension(id, true, &[0x05, 0x00]));
    }
    extensions
}

fn entry(entry: &Entry) -> Result<Vec<u8>, TestkitError> {
    let mut extensions = Vec::new();
    if let Some(reason) = entry.reason {
        let reason = der::write(der::ENUMERATED, &[&[reason]]);
        extensions.extend(der::extension(REASON_CODE, false, &reason));
    }
    if let Some(since) = entry.invalid_since {
        extensions.extend(der::extension(INVALIDITY_DATE, false, &der::generalized(since)?));
    }
    if let Some(id) = &entry.critical {
        extensions.extend(der::extension(id, true, &[0x05, 0x00]));
    }
    let serial = der::write(der::INTEGER, &[&entry.serial]);
    let extensions =
        if extensions.is_empty() { Vec::new() } else { der::write(der::SEQUENCE, &[&extensions]) };
    Ok(der::write(der::SEQUENCE, &[&serial, &der::utc(entry.at)?, &extensions]))
}
