//! A way to get a credential in, the one that is good now out: renewed early, by one at a time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::error::CredentialError;
use crate::chain::detail;
use crate::registry::gate::jitter;
use crate::registry::observe::Observe;

/// The shortest time for which a credential is kept, whatever its giver says.
pub(super) const SHORTEST: Duration = Duration::from_mins(1);
/// The longest.
pub(super) const LONGEST: Duration = Duration::from_hours(12);
/// For how long the giver is left alone after a first failure; twice as long after each other.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time for which the giver is left alone.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What a giver has given.
pub(super) struct Given<T> {
    pub(super) value: T,
    /// For how long it is good, as the giver says.
    pub(super) life: Duration,
}

/// A credential and when it is renewed: from four fifths of its life on, by whoever needs it then,
/// while all others go on with the one that there is. It stays in use until its end if it cannot be
/// renewed.
pub(super) struct Kept<T> {
    what: &'static str,
    observer: Arc<dyn Observe>,
    state: Mutex<State<T>>,
    /// Whose turn it is to ask the giver.
    turn: Semaphore,
}

struct State<T> {
    good: Option<Good<T>>,
    failed: Option<Failed>,
}

struct Good<T> {
    value: Arc<T>,
    made: Instant,
    due: Instant,
    end: Instant,
}

struct Failed {
    error: CredentialError,
    pause: Duration,
    until: Instant,
}

enum Look<T> {
    Good(Arc<T>),
    Due(Arc<T>),
    Failed(CredentialError),
    Nothing,
}

impl<T> State<T> {
    fn look(&self, now: Instant) -> Look<T> {
        let failed = self.failed.as_ref().filter(|failed| now < failed.until);
        match (self.good.as_ref().filter(|good| now < good.end), failed) {
            (Some(good), failed) if now < good.due || failed.is_some() => {
                Look::Good(Arc::clone(&good.value))
            }
            (Some(good), _) => Look::Due(Arc::clone(&good.value)),
            (None, Some(failed)) => Look::Failed(failed.error.clone()),
            (None, None) => Look::Nothing,
        }
    }
}

impl<T> Kept<T> {
    /// Nothing yet. `what` is the kind in logs and metrics.
    pub(super) fn new(what: &'static str, observer: Arc<dyn Observe>) -> Self {
        let state = Mutex::new(State { good: None, failed: None });
        Self { what, observer, state, turn: Semaphore::new(1) }
    }

    /// What is good now, by `ask`ing for it if need be.
    pub(super) async fn get<F>(&self, ask: impl FnOnce() -> F) -> Result<Arc<T>, CredentialError>
    where
        F: Future<Output = Result<Given<T>, CredentialError>>,
    {
        let due = match self.look() {
            Look::Good(value) => return Ok(value),
            Look::Failed(error) => return Err(error),
            Look::Due(value) => Some(value),
            Look::Nothing => None,
        };
        if let Some(value) = due {
            let Ok(_turn) = self.turn.try_acquire() else { return Ok(value) };
            return Ok(self.renew(ask()).await.unwrap_or(value));
        }
        // It is never closed.
        let _turn = self.turn.acquire().await.ok();
        // Whoever had the turn before has asked for all.
        match self.look() {
            Look::Good(value) | Look::Due(value) => Ok(value),
            Look::Failed(error) => Err(error),
            Look::Nothing => self.renew(ask()).await,
        }
    }

    /// Gives up what was refused, and says whether another may be had: not one that has just been
    /// made, or whoever may name images could have the giver asked without end.
    pub(super) fn forget(&self, refused: &Arc<T>) -> bool {
        let mut state = self.state.lock();
        let old = |good: &Good<T>| Instant::now() >= good.made + SHORTEST;
        match &state.good {
            Some(good) if !Arc::ptr_eq(&good.value, refused) => true,
            Some(good) if old(good) => {
                state.good = None;
                true
            }
            _ => false,
        }
    }

    fn look(&self) -> Look<T> {
        self.state.lock().look(Instant::now())
    }

    async fn renew(
        &self,
        asked: impl Future<Output = Result<Given<T>, CredentialError>>,
    ) -> Result<Arc<T>, CredentialError> {
        let answer = asked.await;
        let now = Instant::now();
        match answer {
            Ok(Given { value, life }) => {
                let (value, life) = (Arc::new(value), life.clamp(SHORTEST, LONGEST));
                let due = now + life * 4 / 5 - jitter(life / 10);
                let good = Good { value: Arc::clone(&value), made: now, due, end: now + life };
                *self.state.lock() = State { good: Some(good), failed: None };
                self.observer.on_credential(self.what, "renewed");
                debug!(what = self.what, life = life.as_secs(), "a credential is renewed");
                Ok(value)
            }
            Err(error) => {
                let mut state = self.state.lock();
                let before = state.failed.as_ref().map(|failed| failed.pause * 2);
                let pause = before.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
                let until = now + pause + jitter(pause / 4);
                state.failed = Some(Failed { error: error.clone(), pause, until });
                drop(state);
                self.observer.on_credential(self.what, "failed");
                warn!(what = self.what, error = detail(&error), "a credential cannot be renewed");
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;
    use crate::registry::observe::Unobserved;

    const LIFE: Duration = Duration::from_secs(1000);

    struct Giver {
        kept: Kept<u32>,
        asked: AtomicU32,
    }

    impl Giver {
        fn new() -> Self {
            let kept = Kept::new("test", Arc::new(Unobserved));
            Self { kept, asked: AtomicU32::new(0) }
        }

        async fn get(&self, works: bool, life: Duration) -> Option<u32> {
            let answer = self.kept.get(|| async {
                let value = self.asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if works { Ok(Given { value, life }) } else { Err(error()) }
            });
            answer.await.ok().map(|value| *value)
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn error() -> CredentialError {
        CredentialError::Answer { service: "test", why: "it is a test" }
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_for_all() {
        let giver = Giver::new();
        let all = join_all((0..8).map(|_| giver.get(true, LIFE))).await;
        assert_eq!(all, [Some(0); 8]);
        let giver = Giver::new();
        let all = join_all((0..8).map(|_| giver.get(false, LIFE))).await;
        assert_eq!((all, giver.asked()), (vec![None; 8], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_renewed_before_its_end_by_one_and_the_others_do_not_wait() {
        let giver = Giver::new();
        assert_eq!(giver.get(true, LIFE).await, Some(0));
        advance(LIFE * 7 / 10 - Duration::from_secs(1)).await;
        assert_eq!(giver.get(true, LIFE).await, Some(0));
        advance(LIFE / 10 + Duration::from_secs(1)).await;
        let all = join_all((0..3).map(|_| giver.get(true, LIFE))).await;
        assert_eq!(all, [Some(1), Some(0), Some(0)]);
        assert_eq!(giver.get(true, LIFE).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_renewed_is_used_until_its_end() {
        let giver = Giver::new();
        giver.get(true, LIFE).await;
        advance(LIFE * 9 / 10).await;
        assert_eq!(giver.get(false, LIFE).await, Some(0));
        // The giver is left alone for a while.
        assert_eq!((giver.get(false, LIFE).await, giver.asked()), (Some(0), 2));
        advance(LIFE / 10).await;
        assert_eq!(giver.get(false, LIFE).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_giver_that_fails_is_left_alone_longer_and_longer() {
        let giver = Giver::new();
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let before = giver.asked();
            giver.get(false, LIFE).await;
            advance(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            giver.get(false, LIFE).await;
            assert_eq!(giver.asked(), before + 1, "{pause}");
            advance(Duration::from_secs(pause) / 4 + Duration::from_millis(1)).await;
        }
        assert_eq!(giver.get(true, LIFE).await, Some(8));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_gives_up_leaves_the_turn_to_the_next() {
        let giver = Giver::new();
        let mut first = Box::pin(giver.get(true, LIFE));
        assert!(futures_util::poll!(&mut first).is_pending());
        drop(first);
        assert_eq!(giver.get(true, LIFE).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_is_clamped() {
        for (said, life) in [(Duration::ZERO, SHORTEST), (Duration::MAX, LONGEST), (LIFE, LIFE)] {
            let giver = Giver::new();
            giver.get(true, said).await;
            advance(life - Duration::from_millis(1)).await;
            assert_eq!(giver.get(false, LIFE).await, Some(0), "{said:?}");
            advance(Duration::from_millis(1)).await;
            assert_eq!(giver.get(false, LIFE).await, None, "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_is_renewed_once_a_minute_at_most() {
        let giver = Giver::new();
        let get = || giver.kept.get(|| async { Ok(Given { value: 7, life: LIFE }) });
        let first = get().await.unwrap();
        assert!(!giver.kept.forget(&first));
        assert!(Arc::ptr_eq(&get().await.unwrap(), &first));
        advance(SHORTEST).await;
        assert!(giver.kept.forget(&first));
        let second = get().await.unwrap();
        assert!(!Arc::ptr_eq(&second, &first));
        // Somebody else has renewed it already.
        assert!(giver.kept.forget(&first));
        assert!(Arc::ptr_eq(&get().await.unwrap(), &second));
    }
}
