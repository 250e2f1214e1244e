//! How far away a registry is, and what is wrong with it.

use std::time::Duration;

/// What a registry does in place of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing: it answers.
    #[default]
    None,
    /// 429 with `Retry-After: 1`.
    Throttle,
    /// 503.
    Error,
    /// It takes the request and never answers.
    BlackHole,
}

/// The ways of a registry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Manner {
    /// Before each answer.
    pub(crate) round_trip: Duration,
    /// Bytes of all bodies together per second; 0 for no bound.
    pub(crate) bandwidth: u64,
    /// What it does in place of answering.
    pub(crate) fault: Fault,
    /// To which part of the requests, from 0 to 1.
    pub(crate) share: f64,
}

impl Default for Manner {
    fn default() -> Self {
        Self { round_trip: Duration::ZERO, bandwidth: 0, fault: Fault::None, share: 1.0 }
    }
}

impl Manner {
    /// What happens to the request with this number: faults are spread evenly over requests.
    #[expect(clippy::cast_precision_loss, reason = "a request's number is far below 2^52")]
    pub(crate) fn strikes(&self, request: u64) -> Fault {
        let share = self.share.clamp(0.0, 1.0);
        let before = (request as f64 * share).floor();
        let after = ((request + 1) as f64 * share).floor();
        if after > before { self.fault } else { Fault::None }
    }

    /// How long a body of so many bytes is under way.
    pub(crate) fn under_way(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let nanos = bytes.saturating_mul(1_000_000_000).checked_div(self.bandwidth);
        Duration::from_nanos(nanos.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_their_share_of_requests() {
        let struck = |share| {
            let manner = Manner { fault: Fault::Error, share, ..Manner::default() };
            (0..100).filter(|n| manner.strikes(*n) == Fault::Error).count()
        };
        assert_eq!((struck(1.0), struck(0.25), struck(0.0), struck(7.0)), (100, 25, 0, 100));
    }

    #[test]
    fn a_body_takes_its_time() {
        let manner = Manner { bandwidth: 1_000_000, ..Manner::default() };
        assert_eq!(manner.under_way(500_000), Duration::from_millis(500));
        assert_eq!(Manner::default().under_way(usize::MAX), Duration::ZERO);
    }
}
