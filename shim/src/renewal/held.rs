//! What one Secret holds in, what is to be renewed of it out. No IO, and no clock.
//!
//! ```text
//! authority ── signs ── certificate         both are renewed when a third of their life is left
//!     │   ▲
//!     │   └ next ── takes its place when all configurations have it, or when no time is left for that
//!     ▼
//! old ── until its end, because a replica that cannot read the Secret shows what it signed until then
//! ```
//!
//! INVARIANT: what signs is what all configurations had before it did, as long as one of before can sign. So a
//! replica that begins shows what all trust, whatever is wrong with one of them.
//!
//! The API server is told of all authorities here, so that it trusts the next one before anybody shows what that
//! signed, and the one before for as long as somebody may.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::error::RenewalError;
use super::issue::{self, EARLY, Pair, Read, Terms};
use super::objects::Webhooks;

/// The most authorities that are kept until their end, beside the one that signs.
pub(super) const MAX_OLD: usize = 8;

/// The keys of the Secret.
pub(super) const AUTHORITY: (&str, &str) = ("ca.crt", "ca.key");
const NEXT: (&str, &str) = ("next.crt", "next.key");
pub(super) const CERTIFICATE: (&str, &str) = ("tls.crt", "tls.key");
pub(super) const OLD: &str = "old.crt";

/// What the Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) authority: Pair,
    /// What is to be the authority, and signs nothing yet.
    pub(super) next: Option<Pair>,
    pub(super) certificate: Pair,
    /// Authorities of before, each in PEM.
    pub(super) old: Vec<String>,
}

/// What is to be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// What is to be the authority.
    Next,
    /// The authority, which is the next one if there is one, and a certificate of it.
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
            Self::Next => "next",
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
        let next = pair(NEXT).filter(Pair::is_authority);
        authority.is_authority().then_some(Self { authority, next, certificate, old })
    }

    /// The same, to be kept.
    pub(super) fn data(&self) -> BTreeMap<String, String> {
        let Self { authority, next, certificate, old } = self;
        let of = |names: (&str, &str), pair: &Pair| {
            [(names.0.to_owned(), pair.certificate.clone()), (names.1.to_owned(), pair.key.clone())]
        };
        let mut data = BTreeMap::from_iter(of(AUTHORITY, authority));
        data.extend(of(CERTIFICATE, certificate));
        // What is in the Secret and not here stays there.
        let none = Pair { certificate: String::new(), key: String::new() };
        data.extend(of(NEXT, next.as_ref().unwrap_or(&none)));
        data.insert(OLD.to_owned(), old.concat());
        data
    }

    /// By whom the API server is to know us, in PEM: what signs first.
    pub(super) fn bundle(&self) -> String {
        let next = self.next.iter().map(|next| &next.certificate);
        next.chain(&self.old).fold(self.authority.certificate.clone(), |all, one| all + one)
    }

    /// Until when these trust what an authority of before signed, if one of before is theirs.
    pub(super) fn until_otherwise(&self, webhooks: &Webhooks) -> Option<OffsetDateTime> {
        let theirs = self.old.iter().filter(|old| webhooks.trusts(old));
        theirs.filter_map(|old| Read::of(old)).map(|read| read.until).max()
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
            let pairs = self.next.iter().chain([&self.authority]).map(|pair| &pair.certificate);
            let is_new = self.old.iter().chain(&more).chain(pairs).all(|held| !is(held, &one));
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

    /// What is to be renewed at `now`. `is_announced` says whether all configurations have an authority.
    pub(super) fn due(
        &self,
        terms: &Terms,
        now: OffsetDateTime,
        is_announced: impl Fn(&str) -> bool,
    ) -> Option<Renewal> {
        let (authority, certificate) = (self.authority.until(), self.certificate.until());
        let has = |until: Option<OffsetDateTime>, least: Duration| {
            until.is_some_and(|until| until - now > least)
        };
        let is_next = |next: &Pair| is_announced(&next.certificate);
        // Another of an authority that is about to end would live no longer.
        let can_live_longer = certificate < authority;
        if !has(authority, terms.least_left()) || self.next.as_ref().is_some_and(is_next) {
            Some(Renewal::Authority)
        } else if (can_live_longer && !has(certificate, terms.certificate_life / 3))
            || !self.certificate.is_good(&self.authority.certificate, &terms.names, now)
        {
            Some(Renewal::Certificate)
        } else if self.next.is_none() && !has(authority, terms.authority_life / 3) {
            Some(Renewal::Next)
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
            Renewal::Next => {
                let next = Some(issue::authority(terms, now)?);
                Ok(Self { next, old: kept(self.old, terms, now), ..self })
            }
            Renewal::Authority => {
                let mut old = vec![self.authority.certificate];
                old.extend(self.old);
                let has_time = |next: &Pair| {
                    next.until().is_some_and(|until| until - now > terms.least_left())
                };
                match self.next.filter(has_time) {
                    Some(next) => Self::of(next, old, terms, now),
                    None => Self::new(old, terms, now),
                }
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
        Self::of(issue::authority(terms, now)?, old, terms, now)
    }

    /// This authority and a certificate of it.
    fn of(
        authority: Pair,
        old: Vec<String>,
        terms: &Terms,
        now: OffsetDateTime,
    ) -> Result<Self, RenewalError> {
        let certificate = issue::certificate(&authority, terms, now)?;
        Ok(Self { authority, next: None, certificate, old: kept(old, terms, now) })
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
