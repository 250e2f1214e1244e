//! Whether a host answered in, whether it is asked at all out.
//!
//! A host that does not answer costs whoever asks it all of his time, and costs it again for each
//! request. After some in a row without an answer it is left alone, and asked again by one request at
//! first: longer each time that this has no answer either (CASES T109). Any answer is one, also a 5xx: a
//! host that says so costs no time, and may say it of one repository.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::gate::jitter;

/// How many requests in a row have no answer before a host is left alone.
pub(super) const MAX_UNANSWERED: u32 = 5;
/// For how long it is left alone at first. Each request without an answer after that doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);
/// For how long it is left alone at the most.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// The most hosts that are remembered: one that is forgotten is asked as if it had answered.
const MAX_HOSTS: u64 = 10_000;
/// For how long one that is not asked is remembered.
const IDLE: Duration = Duration::from_mins(10);

/// The hosts that did not answer, by whose credential is sent where.
pub(super) struct Breakers {
    lanes: Cache<String, Arc<Mutex<State>>>,
}

#[derive(Default)]
struct State {
    /// Requests in a row that had no answer.
    unanswered: u32,
    /// Until when the host is left alone.
    rests_until: Option<Instant>,
    /// Whether one asks whether it answers again.
    is_probing: bool,
}

/// The right to one request, whose end has to be told.
pub(super) struct Pass {
    state: Arc<Mutex<State>>,
    is_probe: bool,
}

impl Breakers {
    pub(super) fn new() -> Self {
        Self { lanes: Cache::builder().max_capacity(MAX_HOSTS).time_to_idle(IDLE).build() }
    }

    /// Lets a request through, or says how long the host is to be left alone.
    pub(super) fn admit(&self, lane: &str) -> Result<Pass, Duration> {
        let state = self.lanes.entry_by_ref(lane).or_default().into_value();
        let is_probe = {
            let mut state = state.lock();
            match state.rests_until {
                None => false,
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if !left.is_zero() || state.is_probing {
                        return Err(left.max(FIRST_REST));
                    }
                    state.is_probing = true;
                    true
                }
            }
        };
        Ok(Pass { state, is_probe })
    }
}

impl Pass {
    /// The host answered, and is not left alone.
    pub(super) fn answered(self) -> Option<Duration> {
        *self.state.lock() = State::default();
        None
    }

    /// The host did not answer. Says for how long it is left alone, if this was one too many.
    pub(super) fn unanswered(self) -> Option<Duration> {
        let mut state = self.state.lock();
        state.unanswered = state.unanswered.saturating_add(1);
        let more = state.unanswered.checked_sub(MAX_UNANSWERED)?;
        // Those that were under way when it was left alone change nothing any more.
        if !self.is_probe && state.rests_until.is_some() {
            return None;
        }
        let more = if self.is_probe { more } else { 0 };
        let rest = (FIRST_REST * 2_u32.saturating_pow(more.min(16))).min(LONGEST_REST);
        let rest = rest - jitter(rest / 4);
        state.rests_until = Some(Instant::now() + rest);
        Some(rest)
    }
}

impl Drop for Pass {
    /// Who gives up says nothing of the host, and lets the next one find out.
    fn drop(&mut self) {
        if self.is_probe {
            self.state.lock().is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that has just been left alone.
    fn rested() -> Breakers {
        let breakers = Breakers::new();
        for _ in 1..MAX_UNANSWERED {
            assert_eq!(breakers.admit("a").ok().unwrap().unanswered(), None);
        }
        assert!(breakers.admit("a").ok().unwrap().unanswered().is_some());
        breakers
    }

    #[tokio::test(start_paused = true)]
    async fn t109_after_five_without_an_answer_a_host_is_left_alone_and_then_asked_by_one() {
        let breakers = rested();
        assert!(breakers.admit("a").is_err());
        assert!(breakers.admit("b").is_ok());
        tokio::time::advance(FIRST_REST).await;
        let probe = breakers.admit("a").ok().unwrap();
        assert!(breakers.admit("a").is_err(), "one asks, and no more");
        probe.answered();
        let (one, other) = (breakers.admit("a"), breakers.admit("a"));
        assert!(one.is_ok() && other.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn each_probe_without_an_answer_doubles_the_rest_up_to_its_limit() {
        let breakers = rested();
        let mut rests = Vec::new();
        for _ in 0..7 {
            tokio::time::advance(LONGEST_REST).await;
            let rest = breakers.admit("a").ok().unwrap().unanswered().unwrap();
            rests.push(rest.as_secs_f64());
        }
        for (rest, longest) in rests.iter().zip([2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
            assert!(*rest <= longest && *rest >= longest * 0.75, "{rests:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_between_those_without_begins_anew() {
        let breakers = Breakers::new();
        for _ in 0..4 * MAX_UNANSWERED {
            for _ in 1..MAX_UNANSWERED {
                breakers.admit("a").ok().unwrap().unanswered();
            }
            breakers.admit("a").ok().unwrap().answered();
        }
        assert!(breakers.admit("a").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_as_the_one_that_asks_does_not_close_the_host_for_ever() {
        let breakers = rested();
        tokio::time::advance(FIRST_REST).await;
        drop(breakers.admit("a").ok().unwrap());
        assert!(breakers.admit("a").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_under_way_do_not_make_the_rest_longer() {
        let breakers = Breakers::new();
        let under_way: Vec<_> = (0..64).map(|_| breakers.admit("a").ok().unwrap()).collect();
        let rests: Vec<_> = under_way.into_iter().filter_map(Pass::unanswered).collect();
        assert_eq!(rests.len(), 1);
        assert!(rests[0] <= FIRST_REST);
    }
}
