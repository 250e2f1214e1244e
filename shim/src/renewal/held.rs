//! What one Secret holds in, what is to be renewed of it out. No IO, and no clock.
//!
//! ```text
//! authority ── signs ── certificate         both are renewed when a third of their life is left
//!     │
//!     ▼ when another took its place
//! old ── until its end, because a replica that cannot read the Secret shows what it signed until then
//! ```
//!
//! The API server is told of all authorities here, so that it trusts the next one before anybody shows what that
//! signed, and the one before for as long as somebody may.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::error::RenewalError;
use super::issue::{self, EARLY, Pair, Read, Terms};

/// The most authorities that are kept until their end, beside the one that signs.
pub(super) const MAX_OLD: usize = 8;

/// The keys of the Secret.
pub(super) const AUTHORITY: (&str, &str) = ("ca.crt", "ca.key");
pub(super) const CERTIFICATE: (&str, &str) = ("tls.crt", "tls.key");
pub(super) const OLD: &str = "old.crt";

/// What the Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) authority: Pair,
    pub(super) certificate: Pair,
    /// Authorities of before, each in PEM.
    pub(super) old: Vec<String>,
}

/// What is to be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The authority and a certificate of it.
    Authority,
    /// The certificate.
    Certificate,
    /// Nothing; authorities of ours that API servers trust and that were not held are kept until they end.
    Found,
    /// Nothing; what has ended is left out.
    Ended,
}

impl Renewal {
    /// The word for it in metrics and logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Certificate => "certificate",
            Self::Found => "found",
            Self::Ended => "ended",
        }
    }
}

impl Held {
    /// What is held; none, if something lacks or cannot be what it must be.
    pub(super) fn read(data: &BTreeMap<String, String>) -> Option<Self> {
        let pair = |(certificate, key): (&str, &str)| {
            let (certificate, key) = (data.get(certificate)?.clone(), data.get(key)?.clone());
            Some(Pair { certificate, key })
        };
        let (authority, certificate) = (pair(AUTHORITY)?, pair(CERTIFICATE)?);
        let old = data.get(OLD).map(|text| authorities(text)).unwrap_or_default();
        authority.is_authority().then_some(Self { authority, certificate, old })
    }

    /// The same, to be kept.
    pub(super) fn data(&self) -> BTreeMap<String, String> {
        let Self { authority, certificate, old } = self;
        let of = |names: (&str, &str), pair: &Pair| {
            [(names.0.to_owned(), pair.certificate.clone()), (names.1.to_owned(), pair.key.clone())]
        };
        let mut data = BTreeMap::from_iter(of(AUTHORITY, authority));
        data.extend(of(CERTIFICATE, certificate));
        data.insert(OLD.to_owned(), old.concat());
        data
    }

    /// By whom the API server is to know us, in PEM: the newest first.
    pub(super) fn bundle(&self) -> String {
        self.old.iter().fold(self.authority.certificate.clone(), |all, one| all + one)
    }

    /// Keeps those of `known` that we made and that have not ended; whether one was not held. That of others is not
    /// ours to keep trusted.
    pub(super) fn take(&mut self, known: Vec<String>, terms: &Terms, now: OffsetDateTime) -> bool {
        // The same certificate may be written in another way.
        let is = |one: &str, other: &str| {
            let der = |pem: &str| portcullis_tls::first_certificate(pem.as_bytes());
            der(one) == der(other)
        };
        let mut more: Vec<String> = Vec::new();
        for one in known {
            let held = self.old.iter().chain(&more).chain([&self.authority.certificate]);
            let is_new = held.into_iter().all(|held| !is(held, &one));
            let is_ours = || Read::of(&one).is_some_and(|read| read.is_ours());
            let has_room = self.old.len() + more.len() < MAX_OLD;
            if has_room && is_new && is_ours() && !has_ended(&one, terms, now) {
                more.push(one);
            }
        }
        let has_found = !more.is_empty();
        self.old.extend(more);
        has_found
    }

    /// What is to be renewed at `now`.
    pub(super) fn due(&self, terms: &Terms, now: OffsetDateTime) -> Option<Renewal> {
        let authority = Read::of(&self.authority.certificate);
        let certificate = Read::of(&self.certificate.certificate);
        let is_due = |read: Option<Read>, life: Duration| {
            read.is_none_or(|read| read.until - now <= life / 3)
        };
        if is_due(authority, terms.authority_life) {
            Some(Renewal::Authority)
        } else if is_due(certificate, terms.certificate_life)
            || !self.certificate.is_good(&self.authority.certificate, &terms.names, now)
        {
            Some(Renewal::Certificate)
        } else {
            self.old.iter().any(|old| has_ended(old, terms, now)).then_some(Renewal::Ended)
        }
    }

    /// What is to be held in place of this.
    pub(super) fn renewed(
        self,
        renewal: Renewal,
        terms: &Terms,
        now: OffsetDateTime,
    ) -> Result<Self, RenewalError> {
        match renewal {
            Renewal::Authority => {
                let mut old = vec![self.authority.certificate];
                old.extend(self.old);
                Self::new(old, terms, now)
            }
            Renewal::Certificate => {
                let certificate = issue::certificate(&self.authority, terms, now)?;
                Ok(Self { certificate, old: kept(self.old, terms, now), ..self })
            }
            Renewal::Found | Renewal::Ended => Ok(Self { old: kept(self.old, terms, now), ..self }),
        }
    }

    /// A new authority and a certificate of it. The API server goes on to trust `old`.
    pub(super) fn new(
        old: Vec<String>,
        terms: &Terms,
        now: OffsetDateTime,
    ) -> Result<Self, RenewalError> {
        let authority = issue::authority(terms, now)?;
        let certificate = issue::certificate(&authority, terms, now)?;
        Ok(Self { authority, certificate, old: kept(old, terms, now) })
    }
}

/// The certificates of a PEM that can be read, each in PEM of its own.
pub(super) fn authorities(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    text.split_inclusive(END)
        .filter_map(|part| {
            let begin = part.find("-----BEGIN CERTIFICATE-----")?;
            let pem = format!("{}\n", part.get(begin..)?);
            Read::of(&pem).map(|_| pem)
        })
        .collect()
}

/// Those of `old` that have not ended, at most [`MAX_OLD`] of them, each once.
fn kept(old: Vec<String>, terms: &Terms, now: OffsetDateTime) -> Vec<String> {
    let mut kept = Vec::new();
    for one in old {
        if !kept.contains(&one) && !has_ended(&one, terms, now) && kept.len() < MAX_OLD {
            kept.push(one);
        }
    }
    kept
}

/// Whether nobody can show a certificate of this authority any more, though his clock is a little behind.
fn has_ended(pem: &str, terms: &Terms, now: OffsetDateTime) -> bool {
    let late = EARLY.min(terms.certificate_life);
    Read::of(pem).is_none_or(|read| read.until <= now - late)
}

#[cfg(test)]
mod tests;
