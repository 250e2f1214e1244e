//! Reports in, the same reports out with the words that they share with others.
//!
//! Images are built from the same packages, so that their reports say the same again and again. Now and
//! then, less often each time, a dictionary is made of what was seen lately; reports that come from then
//! on share it. What has the words of an older one keeps that.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use portcullis_core::evidence::Evidence;
use portcullis_core::findings::{Dictionary, Remains};

/// After how many reports the first dictionary is made. Each further one is made after four times as many
/// as the one before.
const FIRST: usize = 256;
/// Of how many reports one is made at the most: the last.
const LATEST: usize = 4_096;
/// The most findings of which one is made.
const MAX_SEEN: usize = 250_000;
/// Which part of all room one may take. The last takes about three times as much beside.
const PART: usize = 32;
/// How many parts all may take when another one is made: there may be one for each fourfold of reports.
const PARTS: usize = 8;

/// What is shared, and what will be.
pub(super) struct Words {
    max_bytes: usize,
    current: ArcSwapOption<Dictionary>,
    seen: Mutex<Seen>,
    /// Of those before: one for each fourfold of reports.
    remains: Mutex<Vec<Remains>>,
}

struct Seen {
    /// How many reports until the next dictionary.
    left: usize,
    /// How many there were of them at first.
    round: usize,
    findings: usize,
    /// What `latest` weighs, in bytes.
    weight: usize,
    latest: Vec<Arc<Evidence>>,
}

impl Seen {
    /// None yet, of a round of so many reports.
    const fn new(round: usize) -> Self {
        Self { left: round, round, findings: 0, weight: 0, latest: Vec::new() }
    }
}

impl Words {
    /// Nothing yet, for a memory of `max_bytes`.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX) / PART,
            current: ArcSwapOption::empty(),
            seen: Mutex::new(Seen::new(FIRST)),
            remains: Mutex::default(),
        }
    }

    /// What the current dictionary takes, and what reports share of those before it, in bytes.
    pub(super) fn weight(&self) -> usize {
        let before: usize = self.remains.lock().iter().map(Remains::weight).sum();
        before + self.current.load().as_ref().map_or(0, |current| current.weight())
    }

    /// The same, sharing what it can.
    pub(super) fn shared(&self, evidence: Arc<Evidence>) -> Arc<Evidence> {
        let Evidence::Verified(reports) = &*evidence else { return evidence };
        let findings = reports.iter().map(|report| report.findings.len()).sum();
        let shared = match &*self.current.load() {
            Some(current) => Arc::new(Evidence::Verified(reports.sharing(current))),
            None => evidence,
        };
        // Most is kept anyway; what has gone meanwhile takes a sixteenth of all room beside at the most.
        self.learn(&shared, findings);
        shared
    }

    /// Makes the next dictionary where it is time.
    fn learn(&self, evidence: &Arc<Evidence>, findings: usize) {
        let latest = {
            let mut seen = self.seen.lock();
            seen.left = seen.left.saturating_sub(1);
            // They are nearest to what will come.
            let weight = seen.weight.saturating_add(evidence.weight());
            if seen.left < LATEST
                && seen.findings.saturating_add(findings) <= MAX_SEEN
                && weight <= self.max_bytes.saturating_mul(2)
            {
                seen.findings += findings;
                seen.weight = weight;
                seen.latest.push(Arc::clone(evidence));
            }
            if seen.left > 0 {
                return;
            }
            let next = Seen::new(seen.round.saturating_mul(4));
            std::mem::replace(&mut *seen, next).latest
        };
        if self.weight() > self.max_bytes.saturating_mul(PARTS) {
            return;
        }
        let reports = latest.iter().filter_map(|evidence| match &**evidence {
            Evidence::Verified(reports) => Some(reports),
            _ => None,
        });
        let findings = reports.flat_map(|reports| reports.iter().map(|report| &report.findings));
        let next = Arc::new(Dictionary::of(findings, self.max_bytes));
        if let Some(before) = self.current.swap(Some(next)) {
            let mut remains = self.remains.lock();
            remains.retain(|remains| remains.weight() > 0);
            remains.push(before.remains());
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::evidence::Report;
    use portcullis_core::findings::{Finding, Findings, FixState, Scanner, Severity};
    use portcullis_core::image::Digest;
    use portcullis_core::signature::Signer;
    use time::OffsetDateTime;

    use super::*;

    fn finding(number: usize) -> Finding {
        Finding {
            id: format!("CVE-2024-{number}").into(),
            aliases: vec![format!("GHSA-{number}").into()],
            severity: Severity::High,
            score: None,
            package: Some(format!("lib{number}").into()),
            purl: Some(format!("pkg:deb/debian/lib{number}@1.2.{number}").into()),
            installed: Some(format!("1.2.{number}").into()),
            fixed: vec![format!("1.3.{number}").into()],
            fix_state: FixState::Fixed,
            known_exploited: None,
            epss: None,
            published: None,
            first_seen: None,
            analysis: portcullis_core::findings::Analysis::Affected,
        }
    }

    /// A report with findings from `first` on.
    fn evidence(first: usize, count: usize) -> Arc<Evidence> {
        let scanner = Scanner { name: "trivy".to_owned(), version: None };
        let list = (first..first + count).map(finding).collect();
        let findings = Findings::new(scanner, OffsetDateTime::UNIX_EPOCH, list);
        let signer = Arc::new(Signer {
            subject: String::new(),
            fingerprint: String::new(),
            policy: String::new(),
            signed_at: None,
        });
        let (digest, notices) = (Digest::of(b"report"), Vec::new());
        Arc::new(Evidence::verified(vec![Arc::new(Report { digest, signer, findings, notices })]))
    }

    #[test]
    fn reports_that_say_the_same_share_their_words_after_a_while() {
        let words = Words::new(1 << 30);
        let alone = evidence(0, 100);
        for seen in 1..FIRST {
            let kept = words.shared(evidence(seen % 10, 100));
            assert_eq!(kept.weight(), evidence(seen % 10, 100).weight());
        }
        words.shared(evidence(0, 100));
        let shared = words.shared(Arc::clone(&alone));
        assert_eq!(shared, alone);
        assert!(
            shared.weight() < alone.weight() * 7 / 10,
            "{} {}",
            shared.weight(),
            alone.weight()
        );
        let first = words.weight();
        assert!(first > 0 && first < 1 << 20);
        // What shares a dictionary keeps it, when there is another one.
        for seen in 0..4 * FIRST {
            words.shared(evidence(seen % 10, 100));
        }
        let both = words.weight();
        assert!(both > first, "{both} {first}");
        drop(shared);
        assert!(words.weight() < both);
        // What nobody has said before keeps its own.
        let other = evidence(1_000, 100);
        assert_eq!(words.shared(Arc::clone(&other)), other);
        // Absence has no words.
        assert_eq!(words.shared(Arc::new(Evidence::Missing)), Arc::new(Evidence::Missing));
    }

    #[test]
    fn a_dictionary_is_made_of_no_more_findings_than_its_bound() {
        let words = Words::new(1 << 40);
        let large = evidence(0, MAX_SEEN / 2 + 1);
        for _ in 0..FIRST - 1 {
            words.shared(Arc::clone(&large));
        }
        assert_eq!(words.seen.lock().latest.len(), 1);
        // Nor of more bytes than a part of the room.
        let large = evidence(0, 1_000);
        let words = Words::new((PART * large.weight()) as u64);
        words.shared(Arc::clone(&large));
        words.shared(evidence(0, 10));
        words.shared(Arc::clone(&large));
        let latest = &words.seen.lock().latest;
        assert_eq!(latest.len(), 2);
    }
}
