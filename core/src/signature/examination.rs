//! The steps of a verification in, what each found out: what is shown to whoever asks why.

use std::error::Error;

use time::{Duration, OffsetDateTime};

use super::Verified;
use super::algorithm::Algorithm;
use super::certificate::Certificate;
use super::envelope::Scheme;
use super::error::SignatureError;
use crate::decide::printable;
use crate::image::Digest;

/// The longest detail of a check that is kept, in bytes: parts of it are foreign.
const MAX_DETAIL: usize = 1024;

/// What was looked at to verify a report, and what came of it.
#[derive(Debug)]
pub struct Examination {
    /// Every step that was made, in order. The first one that failed is the last one, unless
    /// `outcome` has a report or revocation is pending.
    pub checks: Vec<Check>,
    /// The certificates of the signing chain as far as they could be read, leaf first. Nobody need
    /// trust them.
    pub certificates: Vec<CertificateFacts>,
    /// What the envelope says of itself, as soon as it could be read. It is a claim until the
    /// checks have passed.
    pub envelope: Option<EnvelopeFacts>,
    /// What the timestamp says, as soon as it could be read: only where the trust policy demands
    /// one. It is a claim until the check has passed.
    pub timestamp: Option<TimestampFacts>,
    /// The verified report, or why there is none.
    pub outcome: Result<Verified, SignatureError>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found, for people; of a failure always why.
    pub detail: Option<String>,
}

/// The steps of a verification, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckName {
    /// The report's manifest can be read, and its one layer is the report.
    ReportManifest,
    /// The report's manifest names the image as its subject.
    ReportSubject,
    /// The signature's manifest can be read, is attached to the report, and its one layer is the
    /// envelope.
    SignatureManifest,
    /// The envelope can be read and its headers are understood.
    Envelope,
    /// The certificates form a chain that may sign.
    CertificateChain,
    /// The signature is that of the chain's leaf over the payload.
    Integrity,
    /// The payload names the report.
    SignedTarget,
    /// A statement of the trust policy is about the image's repository.
    TrustStatement,
    /// A certificate of the chain is in a trust store of the statement.
    Authenticity,
    /// The signer is one of the statement's trusted identities.
    Identity,
    /// The signature has not expired.
    Expiry,
    /// The certificates were valid when they were used.
    AuthenticTimestamp,
    /// No certificate was revoked.
    Revocation,
}

impl CheckName {
    /// Each of them.
    pub const ALL: [Self; 13] = [
        Self::ReportManifest,
        Self::ReportSubject,
        Self::SignatureManifest,
        Self::Envelope,
        Self::CertificateChain,
        Self::Integrity,
        Self::SignedTarget,
        Self::TrustStatement,
        Self::Authenticity,
        Self::Identity,
        Self::Expiry,
        Self::AuthenticTimestamp,
        Self::Revocation,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReportManifest => "report_manifest",
            Self::ReportSubject => "report_subject",
            Self::SignatureManifest => "signature_manifest",
            Self::Envelope => "envelope",
            Self::CertificateChain => "certificate_chain",
            Self::Integrity => "integrity",
            Self::SignedTarget => "signed_target",
            Self::TrustStatement => "trust_statement",
            Self::Authenticity => "authenticity",
            Self::Identity => "identity",
            Self::Expiry => "expiry",
            Self::AuthenticTimestamp => "authentic_timestamp",
            Self::Revocation => "revocation",
        }
    }
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As it must be.
    Passed,
    /// Not as it must be: there is no verified report.
    Failed,
    /// Not as it should be, and the trust policy only wants to be told.
    Logged,
    /// Not made, because the trust policy says so.
    Skipped,
    /// Not known yet: it must be asked first.
    Pending,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Logged => "logged",
            Self::Skipped => "skipped",
            Self::Pending => "pending",
        }
    }
}

/// What an envelope says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeFacts {
    /// Its media type.
    pub media_type: String,
    /// The signature algorithm.
    pub algorithm: Algorithm,
    /// Who vouches for the signing time.
    pub scheme: Scheme,
    /// When it was signed, to the second.
    pub signing_time: OffsetDateTime,
    /// From when on it is no longer good, if the signer said so.
    pub expiry: Option<OffsetDateTime>,
}

/// What a timestamp says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampFacts {
    /// When it was made.
    pub at: OffsetDateTime,
    /// How far the true time may be from that, in either direction.
    pub accuracy: Duration,
    /// The chain of the authority, leaf first, once it is trusted; before that all certificates of
    /// the token in its own order.
    pub certificates: Vec<CertificateFacts>,
}

/// What a certificate says, and whether a trust store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// Its issuer, as RFC 4514 writes it.
    pub issuer: String,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// The first second in which it is valid.
    pub not_before: OffsetDateTime,
    /// The last second in which it is valid.
    pub not_after: OffsetDateTime,
    /// SHA-256 of its DER, 64 hexadecimal digits.
    pub fingerprint: String,
    /// Its kind of key, such as `RSA 3072` or `P-256`.
    pub key: String,
    /// The trust store of the statement that has it, such as `ca:acme`.
    pub store: Option<String>,
}

impl CertificateFacts {
    pub(super) fn of(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            serial: certificate.serial().to_owned(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            fingerprint: Digest::of(certificate.der()).hex(),
            key: certificate.key().kind(),
            store: None,
        }
    }
}

/// What is written down while a report is examined.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) checks: Vec<Check>,
    pub(super) certificates: Vec<CertificateFacts>,
    pub(super) envelope: Option<EnvelopeFacts>,
    pub(super) timestamp: Option<TimestampFacts>,
}

impl Record {
    /// Writes down a step that must succeed.
    pub(super) fn step<T, E: Error>(
        &mut self,
        name: CheckName,
        result: Result<T, E>,
    ) -> Result<T, E> {
        match &result {
            Ok(_) => self.put(name, Verdict::Passed, None),
            Err(error) => self.put(name, Verdict::Failed, Some(&explained(error))),
        }
        result
    }

    /// Writes down what came of a step.
    pub(super) fn put(&mut self, name: CheckName, verdict: Verdict, detail: Option<&str>) {
        let detail = detail.map(|detail| printable(detail, MAX_DETAIL));
        self.checks.push(Check { name, verdict, detail });
    }

    pub(super) fn end(self, outcome: Result<Verified, SignatureError>) -> Examination {
        let Self { checks, certificates, envelope, timestamp } = self;
        Examination { checks, certificates, envelope, timestamp, outcome }
    }
}

/// An error and all that is behind it, in one bounded line for people.
pub(super) fn explained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    printable(&text, MAX_DETAIL)
}
