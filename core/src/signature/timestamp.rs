//! An RFC 3161 token and the signature that it is for in, when that was signed at the latest out.
//!
//! The rules are those of RFC 3161 and of the Notary Project signature specification
//! ("Timestamping"). A token is not covered by the signature that it is for: whoever may push to a
//! repository can put another one there, so that it counts only by what its own authority signed.

mod error;
mod path;
mod token;

use time::{Duration, OffsetDateTime};

use super::certificate::{Certificate, Rule};
use super::chain::Chain;
use super::examination::{CertificateFacts, TimestampFacts};
use super::statement::Anchor;

pub use error::TimestampError;
use token::Token;

/// The largest timestamp token that is read, in bytes. Real ones have 3 to 8 thousand.
pub const MAX_TIMESTAMP: usize = 64 * 1024;
/// The most certificates that one token may have. Real ones have two to five.
pub const MAX_TIMESTAMP_CERTIFICATES: usize = 16;

/// The policy of ETSI EN 319 421 whose tokens are accurate to the second, where they do not say it.
const BASELINE_POLICY: &[u8] = &[0x04, 0x00, 0x8f, 0x67, 0x01, 0x01];

/// Reads `bytes` as a token, with all that is in it.
#[cfg(feature = "fuzzing")]
pub(super) fn read(bytes: &[u8]) -> Result<(), TimestampError> {
    let token = Token::parse(bytes)?;
    token.info().map(drop)?;
    token.certificates().map(drop)?;
    token.signer().map(drop)
}

/// A token that is what its authority signed.
#[derive(Debug)]
pub(super) struct Timestamp {
    at: OffsetDateTime,
    accuracy: Duration,
    /// From the certificate that signed the token to a root that is trusted for it.
    chain: Vec<Certificate>,
}

/// Verifies that the token is for `signature` and made by an authority below one of `anchors`, and
/// tells of it in `facts` as soon as it can be read.
pub(super) fn verify(
    bytes: &[u8],
    signature: &[u8],
    anchors: &[Anchor],
    facts: &mut Option<TimestampFacts>,
) -> Result<Timestamp, TimestampError> {
    let token = Token::parse(bytes)?;
    let info = token.info()?;
    let accuracy = if info.accuracy.is_zero() && info.policy == BASELINE_POLICY {
        Duration::SECOND
    } else {
        info.accuracy
    };
    let certificates = token.certificates()?;
    let told = facts.insert(TimestampFacts {
        at: info.time,
        accuracy,
        certificates: certificates.iter().map(CertificateFacts::of).collect(),
    });
    if info.hash.digest(signature).as_ref() != info.imprint {
        return Err(TimestampError::Imprint);
    }
    let signer = token.signer()?;
    let is_signer = |certificate: &&Certificate| {
        certificate.is_issued_as(signer.issuer, signer.serial)
            && signer.certificate_hash.0.digest(certificate.der()).as_ref()
                == signer.certificate_hash.1
    };
    let leaf = certificates.iter().find(is_signer).ok_or(TimestampError::NoSigner)?;
    signer.check(&token, leaf)?;
    let chain = path::to_anchor(leaf, &certificates, anchors)
        .ok_or_else(|| TimestampError::Untrusted { subject: leaf.subject().to_owned() })?;
    told.certificates = chain.iter().map(CertificateFacts::of).collect();
    if let (Some(facts), Some(root)) = (told.certificates.last_mut(), chain.last()) {
        let anchor = anchors.iter().find(|anchor| anchor.certificate.der() == root.der());
        facts.store = anchor.map(|anchor| anchor.store.clone());
    }
    let timestamp = Timestamp { at: info.time, accuracy, chain };
    timestamp.check_chain(signer.signing_time)?;
    Ok(timestamp)
}

impl Timestamp {
    /// The rules for the chain of an authority, and that it was valid when it was used.
    fn check_chain(&self, signing_time: Option<OffsetDateTime>) -> Result<(), TimestampError> {
        for (i, certificate) in self.chain.iter().enumerate() {
            let subject = || certificate.subject().to_owned();
            let rule = |rule: Rule| TimestampError::Rule { subject: subject(), rule };
            match i.checked_sub(1) {
                None => certificate.check_timestamper().map_err(rule)?,
                Some(below) => certificate.check_timestamp_issuer(below).map_err(rule)?,
            }
            let covers_signing = signing_time.is_none_or(|at| certificate.is_valid_at(at));
            if !self.is_within(certificate) || !covers_signing {
                return Err(TimestampError::Outside { subject: subject(), at: self.at });
            }
        }
        Ok(())
    }

    /// That every certificate of `chain` was valid from the earliest to the latest time that the
    /// token can mean.
    pub(super) fn check_covers(&self, chain: &Chain) -> Result<(), TimestampError> {
        match chain.certificates().find(|certificate| !self.is_within(certificate)) {
            Some(bad) => {
                Err(TimestampError::Outside { subject: bad.subject().to_owned(), at: self.at })
            }
            None => Ok(()),
        }
    }

    fn is_within(&self, certificate: &Certificate) -> bool {
        let earliest = self.at.checked_sub(self.accuracy);
        let latest = self.at.checked_add(self.accuracy);
        earliest.is_some_and(|at| certificate.not_before() <= at)
            && latest.is_some_and(|at| at <= certificate.not_after())
    }

    /// The chain of the authority, leaf first.
    pub(super) fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    pub(super) const fn at(&self) -> OffsetDateTime {
        self.at
    }
}

#[cfg(test)]
mod tests;
