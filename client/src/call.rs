//! A request in, the answer of a replica out: within the deadline, and of a second replica where the
//! first has none.
//!
//! Every call of the contract is idempotent, and so it may be asked again wherever it may have been
//! heard already.

use std::error::Error as _;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::config::Config;
use crate::error::ClientError;
use crate::near::{NearCache, Ticket};
use crate::pool::Pool;
use crate::replica::{Replica, SERVICE};
use crate::stats::{Standing, Stats};
use crate::trace::Begun;

/// A time-out that is shorter than this says nothing about the replica that did not answer in it.
const TELLING: Duration = Duration::from_millis(100);
/// Second calls for want of room that may be made at once; each answer gives back a tenth of one. All
/// replicas may be at their limit, and must not be asked twice as much then.
const MAX_TOKENS: i64 = 100;
/// How exact timers are.
const TIMER: Duration = Duration::from_millis(2);
/// How long a replica may say nothing before it is asked whether it is there, and how long the answer to that may
/// take. Together with the time for a second call they are less than a question has.
const SUSPECT: Duration = Duration::from_millis(200);
const PROBE: Duration = Duration::from_millis(250);
/// How many questions may be under way at a replica that is asked whether it is there: it has 128 streams on a
/// connection, and what is more waits before it is sent.
const MAX_BESIDE: usize = 100;
/// How long a broken connection may take to be noticed.
const NOTICE: Duration = Duration::from_millis(50);
/// What one second call costs, in the unit in which an answer gives 1.
const TOKEN: i64 = 10;

/// Calls on the replicas of a pool.
pub(crate) struct Calls {
    pool: Pool,
    retry_floor: Duration,
    tokens: AtomicI64,
    retries: AtomicU64,
    retries_withheld: AtomicU64,
}

/// An answer, and what is needed to keep it.
pub(crate) struct Called<T> {
    pub(crate) answer: T,
    pub(crate) ticket: Option<Ticket>,
}

/// Why a call failed, as far as it says what to do about it.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The connection broke, or the replica does not serve.
    Replica,
    /// It has no room, and says for how long.
    Busy(Duration),
    /// The time was up, and it said nothing.
    Silent,
    /// It is about the question, or about nothing that another replica would do better.
    Other,
}

impl Calls {
    pub(crate) fn start(config: &Config) -> Result<Self, ClientError> {
        Ok(Self {
            pool: Pool::start(config)?,
            retry_floor: config.retry_floor,
            tokens: AtomicI64::new(MAX_TOKENS * TOKEN),
            retries: AtomicU64::new(0),
            retries_withheld: AtomicU64::new(0),
        })
    }

    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            retries: self.retries.load(Ordering::Relaxed),
            retries_withheld: self.retries_withheld.load(Ordering::Relaxed),
            replicas: self.pool.stats(),
            near: self.pool.near().map(NearCache::stats),
            tls: self.pool.tls(),
        }
    }

    /// Calls `ask`, which is `method`, with a replica's connection and the time that is left; once more with
    /// another replica's where the first has no answer and there is time.
    pub(crate) async fn call<T, F>(
        &self,
        method: &'static str,
        deadline: Instant,
        near: Option<&NearCache>,
        ask: impl Fn(Channel, Duration) -> F,
    ) -> Result<Called<T>, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let floor = self.floor(deadline.saturating_duration_since(Instant::now()));
        let mut first: Option<(Arc<Replica>, Status)> = None;
        loop {
            let replica = match &first {
                None => self.pool.wait(deadline).await?,
                Some((failed, _)) => match self.second(failed, deadline).await {
                    Some(replica) => replica,
                    None => break,
                },
            };
            let Some((call, channel)) = replica.begin() else {
                // It went down between the choice and the call.
                tokio::task::yield_now().await;
                continue;
            };
            let begin = Instant::now();
            let ticket = near.and_then(|near| near.ticket(replica.id, begin));
            let left = deadline.saturating_duration_since(begin);
            // One second call at the most, and only where there is somebody else.
            let may_leave = first.is_none() && left >= SUSPECT + PROBE + floor;
            let span = Begun::call(method, call.replica());
            let asking = span.around(|| ask(channel.clone(), left));
            let asked = match (may_leave, pin!(asking)) {
                (true, asking) => self.listen(call.replica(), channel, deadline, asking).await,
                (false, asking) => timeout_at(deadline, asking).await,
            };
            let status = match asked {
                Ok(Ok(answer)) => {
                    span.end(Code::Ok);
                    call.replica().answered();
                    self.refill();
                    return Ok(Called { answer: answer.into_inner(), ticket });
                }
                Ok(Err(status)) => status,
                Err(_elapsed) => late(),
            };
            let fault = self.judge(call.replica(), &status, deadline, left);
            drop(call);
            let status = told(status, &fault);
            span.end(status.code());
            if first.is_some() || !self.may_retry(&fault, deadline, floor) {
                return Err(ClientError::NoAnswer(Box::new(status)));
            }
            first = Some((replica, status));
        }
        let status = first.map_or_else(late, |(_, status)| status);
        Err(ClientError::NoAnswer(Box::new(status)))
    }

    /// The answer of `asking`. Whoever says nothing for a while is asked whether it is there at all: one that is at
    /// work on a search says so at once, and one that stands still is left, if another one could answer.
    async fn listen<T>(
        &self,
        replica: &Replica,
        channel: Channel,
        deadline: Instant,
        mut asking: Pin<&mut impl Future<Output = Result<T, Status>>>,
    ) -> Result<Result<T, Status>, Elapsed> {
        if let Ok(answer) = timeout(SUSPECT, asking.as_mut()).await {
            return Ok(answer);
        }
        let now = Instant::now();
        let is_other = |other: Arc<Replica>| other.standing(now) == Standing::Ready;
        // Among so many the question for its health would itself wait for its turn, and say nothing of the replica.
        let is_crowded = replica.load() > MAX_BESIDE;
        if !is_crowded && self.pool.pick(Some(replica.id)).is_some_and(is_other) {
            let is_there = tokio::select! {
                answer = asking.as_mut() => return Ok(answer),
                is_there = is_there(channel) => is_there,
            };
            // All may be busy, and must not be asked twice as much then.
            if !is_there && self.take_token() {
                replica.stands_still(Instant::now());
                return Ok(Err(Status::unavailable("the replica stands still")));
            }
        }
        timeout_at(deadline, asking).await
    }

    /// How much time a second call needs.
    fn floor(&self, whole: Duration) -> Duration {
        self.retry_floor.min(whole / 2)
    }

    /// A replica to ask after `failed`: another one, or where there is no other itself, once it was
    /// noticed what became of its connection.
    async fn second(&self, failed: &Arc<Replica>, deadline: Instant) -> Option<Arc<Replica>> {
        if let Some(other) = self.pool.pick(Some(failed.id)) {
            return Some(other);
        }
        sleep(NOTICE.min(deadline.saturating_duration_since(Instant::now()))).await;
        self.pool.wait(deadline).await.ok()
    }

    /// Puts down what a failure says of its replica.
    fn judge(
        &self,
        replica: &Replica,
        status: &Status,
        deadline: Instant,
        left: Duration,
    ) -> Fault {
        let now = Instant::now();
        let fault = fault(status, deadline.saturating_duration_since(now));
        match fault {
            Fault::Replica => replica.failed(now),
            Fault::Silent if left >= TELLING => replica.failed(now),
            Fault::Silent => {}
            Fault::Busy(span) => {
                replica.answered();
                replica.busy(now, span);
            }
            Fault::Other => replica.answered(),
        }
        fault
    }

    fn may_retry(&self, fault: &Fault, deadline: Instant, floor: Duration) -> bool {
        let has_time = deadline.saturating_duration_since(Instant::now()) >= floor;
        let may = match fault {
            Fault::Other | Fault::Silent => return false,
            Fault::Replica => has_time,
            Fault::Busy(_) => has_time && self.take_token(),
        };
        let count = if may { &self.retries } else { &self.retries_withheld };
        count.fetch_add(1, Ordering::Relaxed);
        may
    }

    fn take_token(&self) -> bool {
        let take = |tokens: i64| (tokens >= TOKEN).then_some(tokens - TOKEN);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn refill(&self) {
        // Read first: it is written by every call otherwise.
        if self.tokens.load(Ordering::Relaxed) < MAX_TOKENS * TOKEN {
            self.tokens.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether somebody answers at the other end. What is the answer does not matter.
async fn is_there(channel: Channel) -> bool {
    let mut client = HealthClient::new(channel);
    let request = HealthCheckRequest { service: SERVICE.to_owned() };
    timeout(PROBE, client.check(request)).await.is_ok()
}

/// The time was up before anybody answered.
fn late() -> Status {
    Status::deadline_exceeded("no replica answered before the deadline")
}

/// What is told of a failure: tonic's own timer says "cancelled" where time was up.
fn told(status: Status, fault: &Fault) -> Status {
    if *fault == Fault::Silent { late() } else { status }
}

/// What a failure means that came with `left` of the caller's time left.
fn fault(status: &Status, left: Duration) -> Fault {
    // What a replica sent has no source; what happened on the way to it has.
    let is_ours = status.source().is_some();
    match status.code() {
        // tonic's own timer says so, but also a connection that breaks.
        Code::Cancelled if is_ours && left < TIMER => Fault::Silent,
        Code::DeadlineExceeded => Fault::Silent,
        Code::Unavailable => Fault::Replica,
        _ if is_ours => Fault::Replica,
        Code::ResourceExhausted => {
            let info = status.get_details_retry_info().and_then(|info| info.retry_delay);
            info.map_or(Fault::Other, Fault::Busy)
        }
        _ => Fault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn what_may_be_asked_of_another_is_told_from_what_may_not() {
        let busy = ErrorDetails::with_retry_info(Some(Duration::from_millis(250)));
        let busy = Status::with_error_details(Code::ResourceExhausted, "full", busy);
        let fault = |status: &Status| super::fault(status, Duration::from_millis(500));
        assert_eq!(fault(&busy), Fault::Busy(Duration::from_millis(250)));
        assert_eq!(fault(&Status::resource_exhausted("too large")), Fault::Other);
        assert_eq!(fault(&Status::unavailable("draining")), Fault::Replica);
        assert_eq!(fault(&Status::deadline_exceeded("late")), Fault::Silent);
        assert_eq!(fault(&Status::invalid_argument("no")), Fault::Other);
        assert_eq!(fault(&Status::cancelled("by them")), Fault::Other);
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(fault(&broken), Fault::Replica);
        // A connection that breaks and a timer that runs out have one code.
        let mut cancelled = Status::cancelled("operation was canceled");
        cancelled.set_source(Arc::new(std::io::Error::other("connection closed")));
        assert_eq!(fault(&cancelled), Fault::Replica);
        assert_eq!(super::fault(&cancelled, Duration::ZERO), Fault::Silent);
    }

    #[tokio::test]
    async fn second_calls_for_want_of_room_are_few_while_none_succeeds() {
        let calls = Calls::start(&Config::new(["http://127.0.0.1:1"])).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let busy = Fault::Busy(Duration::ZERO);
        let may = || calls.may_retry(&busy, deadline, Duration::ZERO);
        assert_eq!((0..1_000).filter(|_| may()).count(), 100);
        (0..20).for_each(|_| calls.refill());
        assert_eq!((0..1_000).filter(|_| may()).count(), 2);
        // A replica that is gone is another matter: whoever asked it must be answered.
        assert!(calls.may_retry(&Fault::Replica, deadline, Duration::ZERO));
        let stats = calls.stats();
        assert_eq!((stats.retries, stats.retries_withheld), (103, 1_898));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_call_needs_its_time() {
        let calls = Calls::start(&Config::new(["http://127.0.0.1:1"])).unwrap();
        let after = |millis| Instant::now() + Duration::from_millis(millis);
        let second = |left, whole| {
            let floor = calls.floor(Duration::from_millis(whole));
            calls.may_retry(&Fault::Replica, after(left), floor)
        };
        assert!(second(700, 2_500));
        assert!(!second(699, 2_500));
        // Who has little time needs half of it.
        assert!(second(500, 1_000));
        assert!(!second(499, 1_000));
    }
}
