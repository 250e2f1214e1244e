//! A rate in, the times at which questions are due out.

use crate::clock::SECOND;

/// How due times follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arrivals {
    /// As from many callers who know nothing of each other.
    #[default]
    Poisson,
    /// At equal distances.
    Even,
}

/// Due times, in nanoseconds.
pub(crate) struct Schedule {
    arrivals: Arrivals,
    mean: f64,
    next: f64,
    random: fastrand::Rng,
}

impl Schedule {
    /// So many a second, which is above 0, the first after `began`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "nanoseconds of some hours are exact in a double"
    )]
    pub(crate) fn new(rate: f64, arrivals: Arrivals, began: u64, seed: u64) -> Self {
        let mean = SECOND as f64 / rate.max(1e-6);
        let random = fastrand::Rng::with_seed(seed);
        let mut schedule = Self { arrivals, mean, next: began as f64, random };
        schedule.step();
        schedule
    }

    /// When the next question is due.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time is above zero, and a conversion of floats saturates"
    )]
    pub(crate) const fn next(&self) -> u64 {
        self.next as u64
    }

    /// Goes on to the one after it.
    pub(crate) fn step(&mut self) {
        self.next += match self.arrivals {
            Arrivals::Even => self.mean,
            // The logarithm of what is never 0.
            Arrivals::Poisson => -(1.0 - self.random.f64()).ln() * self.mean,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn times(arrivals: Arrivals) -> Vec<u64> {
        let mut schedule = Schedule::new(1_000.0, arrivals, SECOND, 7);
        let mut times = Vec::new();
        for _ in 0..100_000 {
            times.push(schedule.next());
            schedule.step();
        }
        assert!(times.is_sorted());
        let rate = 100_000.0 / crate::clock::seconds(times.last().unwrap() - SECOND);
        assert!((rate - 1_000.0).abs() < 20.0, "{rate}");
        times
    }

    #[test]
    fn even_times_are_at_equal_distances() {
        let times = times(Arrivals::Even);
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(1_000_000) <= 1));
    }

    #[test]
    fn arrivals_of_many_callers_are_memoryless() {
        let times = times(Arrivals::Poisson);
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let longer = |than: u64| gaps.iter().filter(|gap| **gap > than).count() as f64;
        // Of a memoryless law, e^-1 are longer than the mean, and of these e^-1 than twice.
        assert!((longer(1_000_000) / 1e5 - (-1_f64).exp()).abs() < 0.01);
        assert!((longer(2_000_000) / longer(1_000_000) - (-1_f64).exp()).abs() < 0.02);
    }
}
