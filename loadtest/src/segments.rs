//! Two who ask in, segments of both in random order out, and what one is to the other.
//!
//! On a shared machine the same server gives half as much from one half second to the next. So service
//! and echo stay up together and are measured in turn, a segment in which the host took the cores away
//! is left out, and what counts is a ratio.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::generator::{Pace, Until};
use crate::measure::{Interval, Measured};

/// The length of a segment.
const SEGMENT: Duration = Duration::from_millis(500);
/// The part of a processor's time that the host may take in a segment.
const MAX_STEAL: f64 = 0.06;
/// The fewest segments of each.
const FEWEST: u32 = 2;

/// Who asks.
pub(crate) trait Asks {
    /// Asks at `pace`, `until` its end, and waits for the answers. Each part that ends is shown to `watch`.
    fn run(
        &mut self,
        pace: Pace,
        until: Until,
        watch: &mut dyn FnMut(&Interval),
    ) -> anyhow::Result<Measured>;
}

/// One segment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Segment {
    /// `service` or `echo`.
    pub(crate) who: &'static str,
    /// Decisions, or replies of the echo, per second.
    pub(crate) throughput_per_s: f64,
    /// The median latency in microseconds.
    pub(crate) p50_us: f64,
    /// The same of 99 and 99.9 %.
    pub(crate) p99_us: f64,
    /// The same.
    pub(crate) p999_us: f64,
    /// The part of the machine's time that the host took.
    pub(crate) steal: f64,
    /// Whether it counts for the ratios.
    pub(crate) kept: bool,
}

/// What the service is to the echo.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Ratios {
    /// The median of the service by the median of the echo.
    pub(crate) medians: f64,
    /// The best tenth by the best tenth: almost as on a machine of one's own.
    pub(crate) best_decile: f64,
    /// The median of the ratios of neighbours.
    pub(crate) paired: f64,
}

/// Both, measured in turn.
pub(crate) struct InTurn {
    pub(crate) service: Measured,
    pub(crate) echo: Measured,
    pub(crate) segments: Vec<Segment>,
    pub(crate) ratios: Ratios,
}

/// Measures both at `pace`, each for `length` in all.
pub(crate) fn in_turn(
    service: &mut impl Asks,
    echo: &mut impl Asks,
    paces: (Pace, Pace),
    length: Duration,
    watch: &mut dyn FnMut(&Interval),
) -> anyhow::Result<InTurn> {
    let count = length.as_millis() / SEGMENT.as_millis().max(1);
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(FEWEST);
    let mut random = fastrand::Rng::with_seed(u64::from(count));
    let (mut of_service, mut of_echo) = (Measured::new()?, Measured::new()?);
    let mut segments = Vec::new();
    let mut one = |is_echo: bool, segments: &mut Vec<Segment>| -> anyhow::Result<()> {
        let before = stolen();
        let until = Until::Time(SEGMENT);
        let measured = if is_echo {
            echo.run(paces.1, until, watch)?
        } else {
            service.run(paces.0, until, watch)?
        };
        let steal = stolen().since(before);
        let latencies = &measured.latencies;
        segments.push(Segment {
            who: if is_echo { "echo" } else { "service" },
            throughput_per_s: measured.throughput(),
            p50_us: latencies.at(0.5),
            p99_us: latencies.at(0.99),
            p999_us: latencies.at(0.999),
            steal,
            kept: steal <= MAX_STEAL,
        });
        if is_echo { of_echo.add(&measured) } else { of_service.add(&measured) }
    };
    for _ in 0..count {
        let echo_first = random.bool();
        one(echo_first, &mut segments)?;
        one(!echo_first, &mut segments)?;
    }
    let ratios = ratios(&mut segments);
    Ok(InTurn { service: of_service, echo: of_echo, segments, ratios })
}

/// The ratios of the segments that are kept; where few are, all are.
fn ratios(segments: &mut [Segment]) -> Ratios {
    let kept = segments.iter().filter(|segment| segment.kept).count();
    if kept * 2 < segments.len() {
        segments.iter_mut().for_each(|segment| segment.kept = true);
    }
    let of = |who: &str| {
        let mine = segments.iter().filter(|segment| segment.kept && segment.who == who);
        let mut rates: Vec<_> = mine.map(|segment| segment.throughput_per_s).collect();
        rates.sort_by(f64::total_cmp);
        rates
    };
    let (service, echo) = (of("service"), of("echo"));
    let (pairs, _) = segments.as_chunks::<2>();
    let mut paired: Vec<_> = pairs
        .iter()
        .filter(|pair| pair.iter().all(|segment| segment.kept))
        .filter_map(|[one, other]| {
            let (service, echo) = if one.who == "echo" { (other, one) } else { (one, other) };
            by(service.throughput_per_s, echo.throughput_per_s)
        })
        .collect();
    paired.sort_by(f64::total_cmp);
    let ratio = |quantile| by(at(&service, quantile), at(&echo, quantile)).unwrap_or_default();
    Ratios { medians: ratio(0.5), best_decile: ratio(0.9), paired: at(&paired, 0.5) }
}

fn by(one: f64, other: f64) -> Option<f64> {
    (other > 0.0).then(|| one / other)
}

/// A quantile of sorted figures, between neighbours where it falls between.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among few figures"
)]
pub(crate) fn at(sorted: &[f64], quantile: f64) -> f64 {
    let place = quantile * sorted.len().saturating_sub(1) as f64;
    let figure = |place: f64| sorted.get(place as usize).copied().unwrap_or_default();
    let (below, above) = (figure(place.floor()), figure(place.ceil()));
    below + (above - below) * place.fract()
}

/// The time of all processors, and what the host took of it, in ticks.
#[derive(Clone, Copy)]
struct Stolen {
    stolen: f64,
    all: f64,
}

impl Stolen {
    fn since(self, before: Self) -> f64 {
        let all = self.all - before.all;
        if all > 0.0 { (self.stolen - before.stolen) / all } else { 0.0 }
    }
}

fn stolen() -> Stolen {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|t| t.parse().ok()).collect();
    Stolen { stolen: ticks.get(7).copied().unwrap_or_default(), all: ticks.iter().sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(who: &'static str, throughput_per_s: f64, kept: bool) -> Segment {
        let (p50_us, p99_us, p999_us, steal) = (0.0, 0.0, 0.0, 0.0);
        Segment { who, throughput_per_s, p50_us, p99_us, p999_us, steal, kept }
    }

    #[track_caller]
    fn check(pairs: &[(f64, f64, bool)], expected: [f64; 3]) {
        let both = |(service, echo, kept): &(f64, f64, bool)| {
            [segment("service", *service, *kept), segment("echo", *echo, *kept)]
        };
        let mut segments: Vec<_> = pairs.iter().flat_map(both).collect();
        let Ratios { medians, best_decile, paired } = ratios(&mut segments);
        for (ratio, expected) in [medians, best_decile, paired].into_iter().zip(expected) {
            assert!((ratio - expected).abs() < 1e-9, "{ratio}, not {expected}");
        }
    }

    #[test]
    fn ratios_are_of_what_is_kept() {
        let good = (200.0, 100.0, true);
        check(&[good, good, good], [2.0, 2.0, 2.0]);
        check(&[good, good, (1.0, 100.0, false)], [2.0, 2.0, 2.0]);
        // Where most were disturbed, all count.
        check(&[good, (50.0, 100.0, false), (50.0, 100.0, false)], [0.5, 1.7, 0.5]);
        check(&[], [0.0, 0.0, 0.0]);
        check(&[(5.0, 0.0, true)], [0.0, 0.0, 0.0]);
    }
}
