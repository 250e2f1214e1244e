//! A number between 0 and 1 in, an EPSS probability out.

use std::cmp::Ordering;

/// Probability that a vulnerability is exploited within 30 days, 0 to 1 (FIRST, Exploit Prediction
/// Scoring System).
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Epss(f32);

impl Epss {
    /// The probability `value`; `None` outside of 0 to 1. Kept with the precision of an `f32`, which
    /// is finer than the five digits that are published.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "to less precision, not out of range")]
        (0.0..=1.0).contains(&value).then_some(Self(value as f32))
    }

    /// The probability, 0 to 1.
    #[must_use]
    pub const fn as_f32(self) -> f32 {
        self.0
    }
}

// Never NaN, so that the order is total.
impl PartialEq for Epss {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Epss {}

impl PartialOrd for Epss {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Epss {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl TryFrom<f64> for Epss {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        Self::from_f64(value).ok_or("an EPSS probability is between 0 and 1")
    }
}

impl From<Epss> for f64 {
    fn from(epss: Epss) -> Self {
        Self::from(epss.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_between_0_and_1() {
        for good in [0.0, 0.5, 1.0] {
            assert!(Epss::from_f64(good).is_some(), "{good}");
        }
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Epss::from_f64(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_stated_alike_compares_alike() {
        assert!(Epss::from_f64(0.09999) < Epss::from_f64(0.1));
        assert_eq!(Epss::from_f64(0.97565), Epss::from_f64("0.97565".parse().unwrap()));
    }
}
