//! Failures in, whether to ask at all out: a service that does not answer is not waited for by everybody.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many failures in a row open it.
const OPEN_AFTER: u32 = 5;
/// How often one question is let through while it is open.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Whether the service is asked.
#[derive(Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failed: u32,
    /// When the next question is let through; none where all are.
    probe_at: Option<Instant>,
}

impl Breaker {
    /// Whether a question that comes at `now` is to be asked.
    pub(crate) fn lets_through(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match state.probe_at {
            Some(at) if now < at => false,
            Some(_) => {
                state.probe_at = Some(now + PROBE_EVERY);
                true
            }
            None => true,
        }
    }

    /// The service answered.
    pub(crate) fn answered(&self) {
        *self.0.lock() = State::default();
    }

    /// The service did not answer.
    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.0.lock();
        state.failed = state.failed.saturating_add(1);
        if state.failed >= OPEN_AFTER {
            state.probe_at = Some(now + PROBE_EVERY);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.lock().probe_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn t148_after_five_failures_one_question_a_second_is_asked_until_one_is_answered() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..OPEN_AFTER {
            assert!(breaker.lets_through(now));
            breaker.failed(now);
        }
        assert!(breaker.is_open() && !breaker.lets_through(now));
        let later = now + PROBE_EVERY;
        assert!(breaker.lets_through(later));
        assert!(!breaker.lets_through(later), "one is enough");
        breaker.failed(later);
        assert!(!breaker.lets_through(later + PROBE_EVERY / 2));
        assert!(breaker.lets_through(later + PROBE_EVERY));
        breaker.answered();
        assert!(!breaker.is_open() && breaker.lets_through(later) && breaker.lets_through(later));
    }
}
