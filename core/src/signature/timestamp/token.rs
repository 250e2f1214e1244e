//! The bytes of an RFC 3161 token in, its parts out, read as strictly as DER is.
//!
//! A token is CMS signed data (RFC 5652, section 5) around a `TSTInfo` (RFC 3161, section 2.4.2),
//! signed by nobody but the authority.

use time::{Duration, OffsetDateTime};

use super::super::algorithm::{Hash, Issuance};
use super::super::certificate::Certificate;
use super::super::der::{
    BOOLEAN, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE,
    generalized_time, replaced, tagged,
};
use super::{MAX_TIMESTAMP, MAX_TIMESTAMP_CERTIFICATES, TimestampError};

const SET: u8 = 0x31;

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_TIME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x05];
/// RFC 5816. Its predecessor names certificates by SHA-1.
const SIGNING_CERTIFICATE_V2: &[u8] =
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];

/// The parts of a token.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// The `TSTInfo`, in DER.
    content: &'a [u8],
    certificates: Reader<'a>,
    signer: Reader<'a>,
}

/// What a token says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info<'a> {
    /// The content of the policy's object identifier.
    pub(super) policy: &'a [u8],
    /// The algorithm of `imprint`.
    pub(super) hash: Hash,
    /// The hash of what the token is for.
    pub(super) imprint: &'a [u8],
    pub(super) time: OffsetDateTime,
    pub(super) accuracy: Duration,
}

/// Who signed a token, and what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer<'a> {
    /// The issuer of the signer's certificate, in DER.
    pub(super) issuer: &'a [u8],
    /// The serial number of the signer's certificate.
    pub(super) serial: &'a [u8],
    /// The hash of the signer's certificate, which is signed.
    pub(super) certificate_hash: (Hash, &'a [u8]),
    /// When it says that it signed.
    pub(super) signing_time: Option<OffsetDateTime>,
    digest: (Hash, &'a [u8]),
    /// All signed attributes, with their tag.
    attributes: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Token<'a> {
    /// Reads the frame of a token.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, TimestampError> {
        if bytes.len() > MAX_TIMESTAMP {
            return Err(TimestampError::TooLarge { length: bytes.len() });
        }
        let (content, certificates, mut signers) =
            frame(bytes).ok_or(TimestampError::Malformed("frame"))?;
        let signer = signers.enter(SEQUENCE).ok_or(TimestampError::Signers(0))?;
        if !signers.is_empty() {
            let mut count = 1;
            while signers.any().is_some() {
                count += 1;
            }
            return Err(TimestampError::Signers(count));
        }
        Ok(Self { content, certificates, signer })
    }

    pub(super) fn info(&self) -> Result<Info<'a>, TimestampError> {
        info(self.content).ok_or(TimestampError::Malformed("time information"))?
    }

    /// All certificates of the token, in its order.
    pub(super) fn certificates(&self) -> Result<Vec<Certificate>, TimestampError> {
        let (mut read, mut left) = (Vec::new(), self.certificates);
        while !left.is_empty() {
            if read.len() == MAX_TIMESTAMP_CERTIFICATES {
                return Err(TimestampError::TooManyCertificates);
            }
            let certificate =
                left.element(SEQUENCE).ok_or(TimestampError::Malformed("list of certificates"))?;
            read.push(Certificate::parse(certificate.all)?);
        }
        Ok(read)
    }

    pub(super) fn signer(&self) -> Result<Signer<'a>, TimestampError> {
        let raw = RawSigner::read(self.signer).ok_or(TimestampError::Malformed("signer"))?;
        let attributes = Attributes(raw.attributes.content);
        let once = |name, id| attributes.find(name, id)?.ok_or(TimestampError::Attribute(name));
        let mut content_type = once("content-type", CONTENT_TYPE)?;
        if content_type.take(OID) != Some(TST_INFO) || !content_type.is_empty() {
            return Err(TimestampError::Content);
        }
        let mut digest = once("message-digest", MESSAGE_DIGEST)?;
        let digest = digest.take(OCTET_STRING).filter(|_| digest.is_empty());
        let digest = digest.ok_or(TimestampError::Attribute("message-digest"))?;
        let hash = Hash::parse(raw.digest_algorithm).ok_or(TimestampError::Hash("digest"))?;
        let name = "signing-certificate-v2";
        let certificate = once(name, SIGNING_CERTIFICATE_V2)?;
        let (algorithm, certificate_hash) =
            certificate_hash(certificate).ok_or(TimestampError::Attribute(name))?;
        // Left out, it is SHA-256 (RFC 5035, section 4).
        let algorithm = algorithm.map_or(Some(Hash::Sha256), Hash::parse);
        let algorithm = algorithm.ok_or(TimestampError::Hash("hash of the certificate"))?;
        let signing_time = match attributes.find("signing-time", SIGNING_TIME)? {
            Some(mut time) => {
                let read = time.time().filter(|_| time.is_empty());
                Some(read.ok_or(TimestampError::Attribute("signing-time"))?)
            }
            None => None,
        };
        Ok(Signer {
            issuer: raw.issuer,
            serial: raw.serial,
            certificate_hash: (algorithm, certificate_hash),
            signing_time,
            digest: (hash, digest),
            attributes: raw.attributes.all,
            algorithm: raw.algorithm,
            signature: raw.signature,
        })
    }
}

impl Signer<'_> {
    /// That `certificate` signed the content of `token` (RFC 5652, section 5.4).
    pub(super) fn check(
        &self,
        token: &Token<'_>,
        certificate: &Certificate,
    ) -> Result<(), TimestampError> {
        let (hash, digest) = self.digest;
        if hash.digest(token.content).as_ref() != digest {
            return Err(TimestampError::Content);
        }
        // They are signed as a set, and not with the tag that they have here.
        let attributes = self.attributes.get(1..).unwrap_or_default();
        let signed = [&[SET], attributes].concat();
        let algorithm = Issuance::of_cms(self.algorithm, hash);
        certificate
            .key()
            .verify_issued(algorithm, &signed, self.signature)
            .map_err(|_| TimestampError::Signature { subject: certificate.subject().to_owned() })
    }
}

/// The content, the certificates and the signers of signed data.
fn frame(bytes: &[u8]) -> Option<(&[u8], Reader<'_>, Reader<'_>)> {
    let mut outer = Reader::only(bytes, SEQUENCE)?;
    let is_signed_data = outer.take(OID)? == SIGNED_DATA;
    let mut data = Reader::only(outer.take(tagged(0))?, SEQUENCE)?;
    outer.end()?;
    // Version 3, because the content is no plain data (RFC 5652, section 5.1).
    let is_version_3 = data.take(INTEGER)? == [3];
    data.take(SET)?;
    let mut content = data.enter(SEQUENCE)?;
    let is_time = content.take(OID)? == TST_INFO;
    let mut wrapped = Reader::new(content.take(tagged(0))?);
    let info = wrapped.take(OCTET_STRING)?;
    wrapped.end()?;
    content.end()?;
    let certificates = data.optional(tagged(0))?.unwrap_or_default();
    data.optional(tagged(1))?;
    let signers = data.enter(SET)?;
    data.end()?;
    let is_token = is_signed_data && is_version_3 && is_time;
    is_token.then_some((info, Reader::new(certificates), signers))
}

/// A `TSTInfo`; `None` where it is not as RFC 3161 has it.
fn info(bytes: &[u8]) -> Option<Result<Info<'_>, TimestampError>> {
    let mut fields = Reader::only(bytes, SEQUENCE)?;
    let is_version_1 = fields.take(INTEGER)? == [1];
    let policy = fields.take(OID)?;
    let mut message = fields.enter(SEQUENCE)?;
    let hash = message.element(SEQUENCE)?.all;
    let imprint = message.take(OCTET_STRING)?;
    message.end()?;
    fields.take(INTEGER)?;
    let time = time(fields.take(GENERALIZED_TIME)?)?;
    let accuracy = match fields.optional(SEQUENCE)? {
        Some(accuracy) => self::accuracy(Reader::new(accuracy))?,
        None => Duration::ZERO,
    };
    fields.flag(BOOLEAN)?;
    fields.optional(INTEGER)?;
    fields.optional(tagged(0))?;
    if let Some(extensions) = fields.optional(tagged(1))? {
        let mut extensions = Reader::new(extensions);
        while !extensions.is_empty() {
            let mut extension = extensions.enter(SEQUENCE)?;
            extension.take(OID)?;
            // None is known here, so that none may be critical.
            extension.take(OCTET_STRING)?;
            extension.end()?;
        }
    }
    fields.end()?;
    let hash = Hash::parse(hash).ok_or(TimestampError::Hash("imprint"));
    is_version_1.then_some(hash.map(|hash| Info { policy, hash, imprint, time, accuracy }))
}

/// A time with or without a fraction of a second, whose last digit is no zero (RFC 3161, section
/// 2.4.2).
fn time(text: &[u8]) -> Option<OffsetDateTime> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        None => (text.to_vec(), &[][..]),
        Some(dot) => {
            let fraction = text.get(dot + 1..)?.strip_suffix(b"Z")?;
            let is_fraction = matches!(fraction, [.., b'1'..=b'9']) && fraction.len() <= 9;
            if !is_fraction {
                return None;
            }
            ([text.get(..dot)?, b"Z"].concat(), fraction)
        }
    };
    let mut nanoseconds = 0;
    for i in 0..9 {
        let digit = fraction.get(i).map_or(Some(0), |b| b.is_ascii_digit().then(|| b - b'0'))?;
        nanoseconds = nanoseconds * 10 + i64::from(digit);
    }
    generalized_time(&whole)?.checked_add(Duration::nanoseconds(nanoseconds))
}

fn accuracy(mut fields: Reader<'_>) -> Option<Duration> {
    let seconds = fields.optional(INTEGER)?.map_or(Some(0), |bytes| number(bytes, 4))?;
    let thousandths = |bytes| number(bytes, 2).filter(|n| (1..1_000).contains(n));
    let milliseconds = fields.optional(replaced(0))?.map_or(Some(0), thousandths)?;
    let microseconds = fields.optional(replaced(1))?.map_or(Some(0), thousandths)?;
    fields.end()?;
    Some(
        Duration::seconds(seconds)
            + Duration::milliseconds(milliseconds)
            + Duration::microseconds(microseconds),
    )
}

/// A whole number of at most so many bytes that is not negative, in its shortest form.
fn number(bytes: &[u8], most: usize) -> Option<i64> {
    let is_shortest = match bytes {
        [0, next, ..] => *next >= 0x80,
        [first, ..] => *first < 0x80,
        [] => false,
    };
    (is_shortest && bytes.len() <= most)
        .then(|| bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte)))
}

/// A `SignerInfo` that names its certificate by issuer and serial number (RFC 5652, section 5.3).
struct RawSigner<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    digest_algorithm: &'a [u8],
    attributes: Element<'a>,
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> RawSigner<'a> {
    fn read(mut fields: Reader<'a>) -> Option<Self> {
        let is_version_1 = fields.take(INTEGER)? == [1];
        let mut name = fields.enter(SEQUENCE)?;
        let issuer = name.element(SEQUENCE)?.all;
        let serial = name.take(INTEGER)?;
        name.end()?;
        let digest_algorithm = fields.element(SEQUENCE)?.all;
        let attributes = fields.element(tagged(0))?;
        let algorithm = fields.element(SEQUENCE)?.all;
        let signature = fields.take(OCTET_STRING)?;
        // What is not signed says nothing.
        fields.optional(tagged(1))?;
        fields.end()?;
        is_version_1.then_some(Self {
            issuer,
            serial,
            digest_algorithm,
            attributes,
            algorithm,
            signature,
        })
    }
}

/// Signed attributes, each with one value.
struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the attribute, if it is there; once.
    fn find(&self, name: &'static str, id: &[u8]) -> Result<Option<Reader<'a>>, TimestampError> {
        let (mut found, mut left) = (None, Reader::new(self.0));
        while !left.is_empty() {
            let malformed = || TimestampError::Malformed("signed attributes");
            let mut attribute = left.enter(SEQUENCE).ok_or_else(malformed)?;
            let is_it = attribute.take(OID).ok_or_else(malformed)? == id;
            let values = attribute.enter(SET).ok_or_else(malformed)?;
            attribute.end().ok_or_else(malformed)?;
            if is_it && found.replace(values).is_some() {
                return Err(TimestampError::Attribute(name));
            }
        }
        Ok(found)
    }
}

/// The algorithm and hash of the first certificate that `signing-certificate-v2` names (RFC 5035,
/// section 3), which is the signer's.
fn certificate_hash(mut value: Reader<'_>) -> Option<(Option<&[u8]>, &[u8])> {
    let mut attribute = value.enter(SEQUENCE)?;
    value.end()?;
    let mut first = attribute.enter(SEQUENCE)?.enter(SEQUENCE)?;
    let algorithm =
        if first.peek() == Some(SEQUENCE) { Some(first.element(SEQUENCE)?.all) } else { None };
    Some((algorithm, first.take(OCTET_STRING)?))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_have_one_spelling() {
        let whole = datetime!(2026-05-01 12:30:01 UTC);
        assert_eq!(time(b"20260501123001Z"), Some(whole));
        assert_eq!(time(b"20260501123001.5Z"), Some(whole + Duration::milliseconds(500)));
        assert_eq!(time(b"20260501123001.000000001Z"), Some(whole + Duration::NANOSECOND));
        for bad in [
            "20260501123001.Z",
            "20260501123001.50Z",
            "20260501123001.0000000001Z",
            "20260501123001",
            "20260501123001.5",
            "20260501123001+0100",
            "20260501123001.-1Z",
            "202605011230Z",
            "20261301123001Z",
            ".5Z",
            "",
        ] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_accuracy_is_within_its_ranges() {
        let read = |bytes: &[u8]| accuracy(Reader::new(bytes));
        assert_eq!(read(&[]), Some(Duration::ZERO));
        assert_eq!(read(&[2, 1, 3]), Some(Duration::seconds(3)));
        let all = &[2, 1, 1, 0x80, 2, 3, 0xe7, 0x81, 1, 1];
        assert_eq!(read(all), Some(Duration::microseconds(1_999_001)));
        assert_eq!(read(&[2, 4, 0x7f, 0xff, 0xff, 0xff]), Some(Duration::seconds(0x7fff_ffff)));
        for bad in [
            &[2, 1, 0xff][..],
            &[2, 0],
            &[2, 2, 0, 1],
            &[2, 5, 1, 0, 0, 0, 0],
            &[0x80, 1, 0],
            &[0x80, 2, 3, 0xe8],
            &[0x81, 1, 1, 0x80, 1, 1],
            &[4, 1, 1],
        ] {
            assert_eq!(read(bad), None, "{bad:02x?}");
        }
    }
}
