//! Ends of calls in, counts and percentiles out: of a whole run and of each part of a second of it.

use hdrhistogram::Histogram;

use crate::clock::{self, SECOND};

/// The longest latency that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 3_600 * SECOND;
/// How many digits of a latency are kept.
const DIGITS: u8 = 3;
/// The codes of gRPC, from `OK` on.
const CODES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered, with so many decisions.
    Answered(u32),
    /// The service refused, with this code of gRPC.
    Refused(u16),
    /// Its stream was reset.
    Reset,
    /// Its connection broke.
    Lost,
    /// Its time was over before a connection had room for it.
    Expired,
    /// There was no answer when the run ended.
    Unanswered,
    /// There was an answer that cannot be one: it could not be read, or is about something else.
    Wrong,
    /// There was an answer, and it says that nobody could decide.
    Undecided,
}

impl Outcome {
    /// The service had too much to do, and said so.
    pub(crate) const SHED: Self = Self::Refused(8);

    /// The word for it in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Refused(code) => CODES.get(usize::from(code)).copied().unwrap_or("unknown"),
            Self::Reset => "reset",
            Self::Lost => "lost",
            Self::Expired => "expired",
            Self::Unanswered => "unanswered",
            Self::Wrong => "wrong",
            Self::Undecided => "undecided",
        }
    }
}

/// Latencies, in nanoseconds.
#[derive(Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST, DIGITS)?))
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.max(1));
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// In microseconds; `quantile` is from 0 to 1. Zero where nothing was recorded.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        microseconds(self.0.value_at_quantile(quantile))
    }

    pub(crate) fn max(&self) -> f64 {
        microseconds(self.0.max())
    }

    fn clear(&mut self) {
        self.0.reset();
    }

    /// Quantiles and their latencies in microseconds, more of them the nearer to 1: what a plot with
    /// a logarithmic axis of percentiles needs.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let steps = self.0.iter_quantiles(4);
        let mut curve: Vec<_> = steps
            .map(|step| (step.quantile_iterated_to(), microseconds(step.value_iterated_to())))
            .collect();
        curve.dedup_by(|next, kept| next.0 <= kept.0);
        curve
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
fn microseconds(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

/// One part of a run.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Interval {
    /// When it began, in seconds after the run did.
    pub(crate) at_s: f64,
    /// How long it was, in seconds.
    pub(crate) length_s: f64,
    /// Questions answered.
    pub(crate) answered: u64,
    /// Questions that ended otherwise.
    pub(crate) failed: u64,
    /// Latencies of both, in microseconds.
    pub(crate) p50_us: f64,
    /// The same.
    pub(crate) p99_us: f64,
    /// The same.
    pub(crate) p999_us: f64,
    /// The same.
    pub(crate) max_us: f64,
}

/// How often each outcome came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(std::collections::BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        *self.0.entry(outcome.name()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| *self.0.entry(name).or_default() += count);
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All that were not answered.
    pub(crate) fn failed(&self) -> u64 {
        self.failures().map(|(_, count)| count).sum()
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().filter(|(name, _)| **name != "answered").map(|(name, count)| (*name, *count))
    }
}

/// What a run made of its questions.
#[derive(Clone)]
pub(crate) struct Measured {
    /// From when each was due until it ended; of those that were answered.
    pub(crate) latencies: Latencies,
    /// The same, of those that were not.
    pub(crate) failed: Latencies,
    /// From when each was asked until the service turned it away.
    pub(crate) shed: Latencies,
    /// How they ended.
    pub(crate) tally: Tally,
    /// Decisions in the answers.
    pub(crate) checks: u64,
    /// Decisions in answers that came while questions were asked, not after the end.
    pub(crate) checks_in_time: u64,
    /// For how long questions were asked, in nanoseconds.
    pub(crate) length: u64,
    /// The bytes of the answers.
    pub(crate) bytes: u64,
    /// Its parts.
    pub(crate) intervals: Vec<Interval>,
}

impl Measured {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: Latencies::new()?,
            failed: Latencies::new()?,
            shed: Latencies::new()?,
            tally: Tally::default(),
            checks: 0,
            checks_in_time: 0,
            length: 0,
            bytes: 0,
            intervals: Vec::new(),
        })
    }

    /// Decisions per second.
    #[expect(clippy::cast_precision_loss, reason = "a figure of a few digits")]
    pub(crate) fn throughput(&self) -> f64 {
        if self.length == 0 {
            0.0
        } else {
            self.checks_in_time as f64 / clock::seconds(self.length)
        }
    }

    /// Puts another run behind this one.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        self.failed.add(&other.failed)?;
        self.shed.add(&other.shed)?;
        self.tally.add(&other.tally);
        self.checks += other.checks;
        self.checks_in_time += other.checks_in_time;
        self.bytes += other.bytes;
        let before = clock::seconds(self.length);
        self.length += other.length;
        let later = other.intervals.iter().cloned();
        self.intervals.extend(later.map(|i| Interval { at_s: i.at_s + before, ..i }));
        Ok(())
    }
}

/// Fills in a [`Measured`] as calls end.
pub(crate) struct Recorder {
    measured: Measured,
    part: Latencies,
    part_answered: u64,
    part_failed: u64,
    part_began: u64,
    began: u64,
    ends: u64,
    every: u64,
}

impl Recorder {
    /// For a run from `began` to `ends`, in nanoseconds, with a part `every` so many.
    pub(crate) fn new(began: u64, ends: u64, every: u64) -> anyhow::Result<Self> {
        Ok(Self {
            measured: Measured::new()?,
            part: Latencies::new()?,
            part_answered: 0,
            part_failed: 0,
            part_began: began,
            began,
            ends,
            every: every.max(1),
        })
    }

    /// A question that was asked when it was due ended at `now`.
    pub(crate) fn record(&mut self, due: u64, now: u64, outcome: Outcome) {
        self.record_asked((due, due), now, outcome);
    }

    /// A question that was due at one time and asked at another, when its connection had room, ended at `now`.
    pub(crate) fn record_asked(&mut self, (due, asked): (u64, u64), now: u64, outcome: Outcome) {
        let took = now.saturating_sub(due);
        let measured = &mut self.measured;
        measured.tally.count(outcome);
        self.part.record(took);
        if let Outcome::Answered(checks) = outcome {
            measured.latencies.record(took);
            measured.checks += u64::from(checks);
            measured.checks_in_time += if now <= self.ends { u64::from(checks) } else { 0 };
            self.part_answered += 1;
        } else {
            measured.failed.record(took);
            self.part_failed += 1;
            if outcome == Outcome::SHED {
                measured.shed.record(now.saturating_sub(asked));
            }
        }
    }

    /// Counts the bytes of an answer.
    pub(crate) const fn received(&mut self, bytes: u64) {
        self.measured.bytes += bytes;
    }

    /// Ends a part where its time is over, and gives it.
    pub(crate) fn tick(&mut self, now: u64) -> Option<&Interval> {
        if now.saturating_sub(self.part_began) < self.every {
            return None;
        }
        self.end_part(now);
        self.measured.intervals.last()
    }

    fn end_part(&mut self, now: u64) {
        let length = now.saturating_sub(self.part_began);
        self.measured.intervals.push(Interval {
            at_s: clock::seconds(self.part_began.saturating_sub(self.began)),
            length_s: clock::seconds(length),
            answered: self.part_answered,
            failed: self.part_failed,
            p50_us: self.part.at(0.5),
            p99_us: self.part.at(0.99),
            p999_us: self.part.at(0.999),
            max_us: self.part.max(),
        });
        self.part.clear();
        (self.part_answered, self.part_failed, self.part_began) = (0, 0, now);
    }

    /// The whole, for a run in which questions were asked until `until`.
    pub(crate) fn end(mut self, now: u64, until: u64) -> Measured {
        // What is left after the end is short, and would look like a part of its own.
        let is_short = now.saturating_sub(self.part_began) < self.every / 4;
        let is_only = self.measured.intervals.is_empty();
        if self.part_answered + self.part_failed > 0 && (is_only || !is_short) {
            self.end_part(now);
        }
        self.measured.length = until.saturating_sub(self.began);
        self.measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_from_when_the_question_was_due() {
        let mut recorder = Recorder::new(0, 10 * SECOND, SECOND).unwrap();
        recorder.record(SECOND, 3 * SECOND, Outcome::Answered(2));
        recorder.record(SECOND, SECOND + 5_000, Outcome::Refused(8));
        recorder.record_asked((SECOND, 2 * SECOND), 2 * SECOND + 3_000, Outcome::Refused(8));
        recorder.record_asked((SECOND, 2 * SECOND), 2 * SECOND + 9_000, Outcome::Refused(4));
        let measured = recorder.end(4 * SECOND, 10 * SECOND);
        assert_eq!(
            (measured.checks, measured.latencies.0.len(), measured.failed.0.len()),
            (2, 1, 3)
        );
        // What was turned away counts from when it was asked, and nothing else is among it.
        assert_eq!(measured.shed.0.len(), 2);
        assert!((measured.shed.max() - 5.0).abs() < 0.01);
        assert!((measured.latencies.max() - 2_000_000.0).abs() < 2_000.0);
        assert!((measured.failed.max() - 1_000_009.0).abs() < 1_000.0);
        assert_eq!(measured.tally.of("resource_exhausted"), 2);
        assert_eq!(measured.tally.failed(), 3);
        assert!((measured.throughput() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_comes_after_the_end_is_no_throughput() {
        let mut recorder = Recorder::new(0, SECOND, SECOND).unwrap();
        recorder.record(0, SECOND, Outcome::Answered(1));
        recorder.record(0, SECOND + 1, Outcome::Answered(1));
        let measured = recorder.end(2 * SECOND, SECOND);
        assert_eq!((measured.checks, measured.checks_in_time), (2, 1));
    }

    #[test]
    fn parts_follow_each_other() {
        let mut recorder = Recorder::new(SECOND, 9 * SECOND, SECOND).unwrap();
        recorder.record(SECOND, SECOND + 1_000, Outcome::Answered(1));
        assert!(recorder.tick(SECOND + SECOND / 2).is_none());
        let part = recorder.tick(2 * SECOND).unwrap().clone();
        assert_eq!((part.answered, part.failed), (1, 0));
        recorder.record(2 * SECOND, 2 * SECOND + 9_000, Outcome::Lost);
        let mut measured = recorder.end(3 * SECOND, 3 * SECOND);
        assert_eq!(measured.intervals.len(), 2);
        assert!(measured.intervals[1].p50_us > 8.9, "parts do not share latencies");
        measured.add(&measured.clone()).unwrap();
        assert!((measured.intervals[3].at_s - 3.0).abs() < 1e-9);
        assert_eq!(measured.tally.of("lost"), 2);
    }

    #[test]
    fn the_curve_rises_to_the_greatest() {
        let mut latencies = Latencies::new().unwrap();
        (1..=10_000).for_each(|n| latencies.record(n * 1_000));
        let curve = latencies.curve();
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{curve:?}");
        assert!((curve.last().unwrap().1 - latencies.max()).abs() < 10.0);
    }
}
