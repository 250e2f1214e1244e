//! Verified reports in, the high-water mark of their image out: what is older than what was seen, or was
//! seen and is gone, is not believed.
//!
//! A registry can serve what is old, and can keep back what is new; both are signed, and nothing in
//! them shows it. What was accepted before does (CASES T016 to T020).

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use portcullis_core::decide::MAX_SKEW;
use portcullis_core::evidence::{Reason, Rejection, Reports};
use portcullis_core::image::{Digest, Reference};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

mod disk;
mod kept;
mod layer;

pub use self::disk::DiskError;
pub use self::kept::{Kept, MAX_ENTRIES};
pub use self::layer::Marked;

/// Where marks are kept, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarksConfig {
    /// The folder with the file of marks. None: they are kept in memory alone.
    pub folder: Option<PathBuf>,
    /// The most images that have one.
    pub max_entries: usize,
    /// Images, by digest, whose marks are forgotten at the start.
    pub forget: Vec<Reference>,
}

impl Default for MarksConfig {
    fn default() -> Self {
        Self { folder: None, max_entries: MAX_ENTRIES, forget: Vec::new() }
    }
}

/// The most reports, and the most VEX documents, of one image that its mark remembers: the newest.
pub const MAX_REMEMBERED: usize = 64;

/// Something that keeps marks. Replicas may share one: a mark only ever rises, whoever raises it, so
/// that the order in which they do does not matter.
pub trait Marks: Send + Sync + 'static {
    /// The mark of an image; the lowest one where nothing was seen of it.
    fn of(&self, key: &Key) -> BoxFuture<'_, Mark>;

    /// Raises the mark of an image to what was `seen` at `now`, and returns when that is kept as
    /// well as it can be.
    fn raise(&self, key: Key, seen: Mark, now: OffsetDateTime) -> BoxFuture<'_, ()>;

    /// Forgets the mark of an image, because its owner says that what is gone was meant to go.
    fn forget(&self, key: Key) -> BoxFuture<'_, ()>;
}

/// The name of an image's mark: registry, repository and digest, each behind its length, so that no two
/// images have one name (CASES T078).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<[u8]>);

impl Key {
    /// The name of the mark of `digest` in `repository` of `registry`.
    #[must_use]
    pub fn new(registry: &str, repository: &str, digest: Digest) -> Self {
        let mut key = Vec::with_capacity(registry.len() + repository.len() + 48);
        for part in [registry.as_bytes(), repository.as_bytes(), digest.as_bytes()] {
            key.extend((part.len() as u64).to_be_bytes());
            key.extend(part);
        }
        Self(key.into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What was accepted of an image so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    reports: Vec<ReportMark>,
    vex: Vec<VexMark>,
}

/// The newest report of one signer's one scanner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ReportMark {
    report: Digest,
    signer: String,
    scanner: String,
    #[serde(with = "time::serde::rfc3339")]
    scanned_at: OffsetDateTime,
    held: Held,
}

/// A VEX document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct VexMark {
    document: Digest,
    #[serde(with = "time::serde::rfc3339")]
    issued_at: OffsetDateTime,
    held: Held,
}

/// While something that was seen has to be there: under the trust by which it was believed, until its
/// signature ends. What is believed no longer may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    trust: Digest,
    #[serde(with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

impl Held {
    fn holds(&self, trust: Digest, now: OffsetDateTime) -> bool {
        self.trust == trust && self.until.is_none_or(|until| now < until)
    }
}

/// What a mark says of the reports that are there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// They are as new as what was seen. Where a VEX document is gone, what others cleared up to that
    /// time may have been taken back by it.
    Current(Option<OffsetDateTime>),
    /// One is older than what was seen.
    Rollback(Rejection),
    /// A scanner's report was seen and is gone.
    Withheld,
}

impl Mark {
    /// What is seen in `reports`, believed under `trust`. Scan times of the future, which nobody believes
    /// yet, raise no mark, so that a wrong clock locks nothing out.
    #[must_use]
    pub fn seen(reports: &Reports, trust: Digest, now: OffsetDateTime) -> Self {
        let held = Held { trust, until: reports.valid_until() };
        let believed = reports.iter().filter(|r| r.findings.scanned_at <= now + MAX_SKEW);
        let mut mark = Self {
            reports: believed
                .map(|report| ReportMark {
                    report: report.digest,
                    signer: report.signer.subject.clone(),
                    scanner: report.findings.scanner.name.to_string(),
                    scanned_at: report.findings.scanned_at,
                    held: held.clone(),
                })
                .collect(),
            vex: reports
                .vex()
                .iter()
                .filter_map(|document| {
                    let statements = document.vex.statements.iter();
                    let issued_at = statements.map(|s| s.issued_at).max()?;
                    let held = held.clone();
                    (issued_at <= now + MAX_SKEW).then_some(VexMark {
                        document: document.digest,
                        issued_at,
                        held,
                    })
                })
                .collect(),
        };
        mark.limit();
        mark
    }

    /// Whether nothing was seen.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// The mark with all that is `seen`, too.
    #[must_use]
    pub fn raised(&self, seen: &Self) -> Self {
        let mut raised = self.clone();
        for report in &seen.reports {
            let same =
                |r: &&mut ReportMark| r.signer == report.signer && r.scanner == report.scanner;
            match raised.reports.iter_mut().find(same) {
                Some(known) if known.scanned_at > report.scanned_at => {}
                Some(known) => *known = report.clone(),
                None => raised.reports.push(report.clone()),
            }
        }
        for document in &seen.vex {
            match raised.vex.iter_mut().find(|known| known.document == document.document) {
                Some(known) => *known = document.clone(),
                None => raised.vex.push(document.clone()),
            }
        }
        raised.limit();
        raised
    }

    fn limit(&mut self) {
        self.reports.sort_by_key(|report| std::cmp::Reverse(report.scanned_at));
        self.reports.truncate(MAX_REMEMBERED);
        self.vex.sort_by_key(|document| std::cmp::Reverse(document.issued_at));
        self.vex.truncate(MAX_REMEMBERED);
    }

    /// What is to be thought of `reports` that are believed under `trust`.
    #[must_use]
    pub fn judge(&self, reports: &Reports, trust: Digest, now: OffsetDateTime) -> Judgement {
        for mark in &self.reports {
            let mut own = reports.iter().filter(|report| {
                report.signer.subject == mark.signer
                    && *report.findings.scanner.name == *mark.scanner
            });
            if let Some(old) = own.clone().find(|r| r.findings.scanned_at < mark.scanned_at) {
                return Judgement::Rollback(Rejection {
                    reason: Reason::Rollback,
                    report: Some(old.digest),
                    detail: format!(
                        "its scan finished at {}, and one of {} by the same signer that was there \
                         before at {}",
                        old.findings.scanned_at, mark.scanner, mark.scanned_at
                    ),
                });
            }
            // The very report may be there under another of its signers.
            let is_there = reports.iter().any(|report| report.digest == mark.report);
            if !is_there && own.next().is_none() && mark.held.holds(trust, now) {
                return Judgement::Withheld;
            }
        }
        let is_there = |mark: &VexMark| reports.vex().iter().any(|v| v.digest == mark.document);
        let gone = self.vex.iter().filter(|m| m.held.holds(trust, now) && !is_there(m));
        Judgement::Current(gone.map(|mark| mark.issued_at).max())
    }
}

/// Marks that are shared.
pub type SharedMarks = Arc<dyn Marks>;

#[cfg(test)]
mod tests;
