//! Reports in, the same reports out with the words that they share with others.
//!
//! Images are built from the same packages, so that their reports say the same again and again. Now and
//! then, less often each time, a dictionary is made of what was seen lately; reports that come from then
//! on share it. What has the words of an older one keeps that.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use portcullis_core::evidence::Evidence;
use portcullis_core::findings::{Dictionary, Remains};

/// After how many reports the first dictionary is made. Each further one is made after four times as many
/// as the one before.
const FIRST: usize = 256;
/// Of how many reports one is made at the most: the last.
const LATEST: usize = 4_096;
/// Of how many reports that are in memory one is made at the least.
const FEWEST: usize = 8;
/// The most findings of which one is made.
const MAX_SEEN: usize = 250_000;
/// Which part of all room one may take. The last takes about three times as much beside.
const PART: usize = 32;
/// What is kept of a report that was seen and is in memory no longer, in bytes.
const SHELL: usize = size_of::<Evidence>() + 2 * size_of::<usize>();
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
    /// As long as they are in memory: whoever is forgotten there is not kept here.
    latest: VecDeque<Latest>,
}

/// A report that was seen lately, and what it counts for.
struct Latest {
    evidence: Weak<Evidence>,
    findings: usize,
    weight: usize,
}

/// Reports of which the next dictionary is to be made.
pub(super) struct Lesson(VecDeque<Latest>);

impl Seen {
    /// None yet, of a round of so many reports.
    const fn new(round: usize) -> Self {
        Self { left: round, round, findings: 0, weight: 0, latest: VecDeque::new() }
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

    /// What the current dictionary takes, what reports share of those before it, and what is remembered for the
    /// next one, in bytes.
    pub(super) fn weight(&self) -> usize {
        let before: usize = self.remains.lock().iter().map(Remains::weight).sum();
        let seen = self.seen.lock().latest.capacity() * (size_of::<Latest>() + SHELL);
        before + seen + self.current.load().as_ref().map_or(0, |current| current.weight())
    }

    /// The same, sharing what it can; and of what the next dictionary is to be made, where it is time.
    pub(super) fn shared(&self, evidence: Arc<Evidence>) -> (Arc<Evidence>, Option<Lesson>) {
        let Evidence::Verified(reports) = &*evidence else { return (evidence, None) };
        let findings = reports.iter().map(|report| report.findings.len()).sum();
        let shared = match &*self.current.load() {
            Some(current) => Arc::new(Evidence::Verified(reports.sharing(current))),
            None => evidence,
        };
        let lesson = self.saw(&shared, findings);
        (shared, lesson)
    }

    /// Remembers what was seen.
    fn saw(&self, evidence: &Arc<Evidence>, findings: usize) -> Option<Lesson> {
        let mut seen = self.seen.lock();
        seen.left = seen.left.saturating_sub(1);
        let (weight, max_weight) = (evidence.weight(), self.max_bytes.saturating_mul(2));
        if seen.left < LATEST && findings <= MAX_SEEN && weight <= max_weight {
            seen.findings += findings;
            seen.weight += weight;
            seen.latest.push_back(Latest { evidence: Arc::downgrade(evidence), findings, weight });
            // The last are nearest to what will come, and what was looked at again since is gone.
            while seen.findings > MAX_SEEN || seen.weight > max_weight {
                let Some(first) = seen.latest.pop_front() else { break };
                seen.findings -= first.findings;
                seen.weight -= first.weight;
            }
        }
        if seen.left > 0 {
            return None;
        }
        let next = Seen::new(seen.round.saturating_mul(4));
        Some(Lesson(std::mem::replace(&mut *seen, next).latest))
    }

    /// Makes the next dictionary, which takes its time.
    pub(super) fn learn(&self, lesson: Lesson) {
        if self.weight() > self.max_bytes.saturating_mul(PARTS) {
            return;
        }
        let Lesson(latest) = lesson;
        let latest: Vec<_> = latest.iter().filter_map(|latest| latest.evidence.upgrade()).collect();
        // What there is is better than what so few say.
        if latest.len() < FEWEST {
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

    /// Shares, and learns at once where it is time.
    fn share(words: &Words, evidence: Arc<Evidence>) -> Arc<Evidence> {
        let (shared, lesson) = words.shared(evidence);
        lesson.into_iter().for_each(|lesson| words.learn(lesson));
        shared
    }

    #[test]
    fn reports_that_say_the_same_share_their_words_after_a_while() {
        let words = Words::new(1 << 30);
        let alone = evidence(0, 100);
        let mut kept = Vec::new();
        for seen in 1..FIRST {
            kept.push(share(&words, evidence(seen % 10, 100)));
            assert_eq!(kept[seen - 1].weight(), evidence(seen % 10, 100).weight());
        }
        kept.push(share(&words, evidence(0, 100)));
        let shared = share(&words, Arc::clone(&alone));
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
            kept.push(share(&words, evidence(seen % 10, 100)));
        }
        drop(kept);
        let both = words.weight();
        assert!(both > first, "{both} {first}");
        drop(shared);
        assert!(words.weight() < both);
        // What nobody has said before keeps its own.
        let other = evidence(1_000, 100);
        assert_eq!(share(&words, Arc::clone(&other)), other);
        // Absence has no words.
        assert_eq!(share(&words, Arc::new(Evidence::Missing)), Arc::new(Evidence::Missing));
    }

    /// Whoever searches is not the one who has the time.
    #[test]
    fn who_shares_does_not_make_the_dictionary() {
        let words = Words::new(1 << 30);
        let share = |seen| words.shared(evidence(seen % 10, 100));
        let (_kept, lessons): (Vec<_>, Vec<_>) = (0..FIRST).map(share).unzip();
        assert!(words.current.load().is_none());
        let lessons: Vec<_> = lessons.into_iter().flatten().collect();
        assert_eq!(lessons.len(), 1);
        lessons.into_iter().for_each(|lesson| words.learn(lesson));
        assert!(words.current.load().is_some());
    }

    #[test]
    fn what_was_seen_for_the_next_dictionary_is_not_kept_for_it_and_is_counted() {
        let words = Words::new(1 << 30);
        let (seen, gone) = (evidence(0, 100), evidence(100, 100));
        let (mark, weight) = (Arc::downgrade(&gone), words.weight());
        share(&words, Arc::clone(&seen));
        drop(share(&words, gone));
        assert!(mark.upgrade().is_none());
        assert!(words.weight() >= weight + 2 * SHELL, "{} {weight}", words.weight());
        // What has gone by then is not in it.
        let kept: Vec<_> = (2..FIRST).map(|_| share(&words, Arc::clone(&seen))).collect();
        assert!(share(&words, evidence(0, 100)).weight() < evidence(0, 100).weight());
        assert!(share(&words, evidence(100, 100)).weight() >= evidence(100, 100).weight());
        drop(kept);
    }

    /// Each look at an image again makes a report anew, and the one before goes.
    #[test]
    fn a_dictionary_is_made_of_the_last_reports_and_not_of_few() {
        let words = Words::new(1 << 30);
        let each = MAX_SEEN / 50;
        let mut kept = Vec::new();
        for seen in 0..FIRST {
            kept.push(share(&words, evidence(seen % 10, each)));
            if kept.len() > 10 {
                kept.remove(0);
            }
        }
        let shared = share(&words, evidence(0, each));
        assert!(shared.weight() < evidence(0, each).weight());
        kept.clear();
        // All but the last of the next round are gone when it ends.
        let good = words.current.load_full();
        for _ in 0..4 * FIRST {
            share(&words, evidence(0, 10));
        }
        assert!(Arc::ptr_eq(&good.unwrap(), &words.current.load_full().unwrap()));
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
