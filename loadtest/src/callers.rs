//! Reviews and a pace in, over connections as API servers keep them, measured answers out.
//!
//! Each connection speaks HTTP/1.1 over TLS and has one request under way, as an API server's to a webhook.
//! One thread drives them all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, yield_now};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use self::line::Line;
use crate::certificate::Certificate;
use crate::clock;
use crate::generator::{PART, Pace, Seen, Until};
use crate::measure::{Interval, Measured, Outcome, Recorder};
use crate::pace::Schedule;
use crate::questions::{Questions, read_answer};
use crate::segments::Asks;

mod line;

/// The most connections: a shim takes so many from one address.
pub(crate) const MAX_CALLERS: usize = 250;
/// How long an answer is waited for where a scenario does not say.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after a connection was lost.
const PAUSE: Duration = Duration::from_millis(10);

/// What answers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replies {
    /// What is to be done with a review.
    Answers,
    /// Nothing: it is the echo.
    Nothing,
}

/// Asks a webhook.
pub(crate) struct Callers {
    runtime: Runtime,
    lines: Vec<Line>,
    all: Arc<All>,
    runs: u64,
}

/// What all connections share.
struct All {
    target: SocketAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
    timeout: Duration,
    replies: Replies,
    questions: Mutex<Questions>,
    next: AtomicU64,
    seen: Mutex<Seen>,
}

/// One run of them.
struct Run {
    recorder: Mutex<Recorder>,
    schedule: Option<Mutex<Schedule>>,
    left: AtomicU64,
    ends: u64,
}

impl Callers {
    /// So many connections to `target`, which shows `certificate`; each is made when it is needed first.
    ///
    /// # Errors
    /// When there are none or more than [`MAX_CALLERS`].
    pub(crate) fn new(
        target: SocketAddr,
        certificate: &Certificate,
        (connections, timeout): (usize, Option<Duration>),
        replies: Replies,
        questions: Questions,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            (1..=MAX_CALLERS).contains(&connections),
            "{connections} connections: expected 1 to {MAX_CALLERS}"
        );
        let (config, name) = certificate.client()?;
        let all = All {
            target,
            connector: TlsConnector::from(config),
            name,
            timeout: timeout.unwrap_or(TIMEOUT),
            replies,
            questions: Mutex::new(questions),
            next: AtomicU64::new(1),
            seen: Mutex::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let lines = (0..connections).map(|_| Line::default()).collect();
        Ok(Self { runtime, lines, all: Arc::new(all), runs: 0 })
    }

    /// What answers of all runs so far said.
    pub(crate) fn seen(&self) -> Seen {
        self.all.seen.lock().clone()
    }
}

impl Asks for Callers {
    fn run(
        &mut self,
        pace: Pace,
        until: Until,
        watch: &mut dyn FnMut(&Interval),
    ) -> anyhow::Result<Measured> {
        let (left, length, counted) = match until {
            Until::Time(length) => (u64::MAX, length, false),
            Until::Questions(count, length) => (count, length, true),
        };
        let began = clock::now();
        let ends = began + clock::nanos(length);
        self.runs += 1;
        let schedule = match pace {
            Pace::Open(rate, arrivals) => Some(Schedule::new(rate, arrivals, began, self.runs)),
            Pace::Closed(_) => None,
        };
        let run = Arc::new(Run {
            recorder: Mutex::new(Recorder::new(began, ends, PART)?),
            schedule: schedule.map(Mutex::new),
            left: AtomicU64::new(left),
            ends,
        });
        let (all, lines) = (&self.all, &mut self.lines);
        self.runtime.block_on(async {
            let mut asking = JoinSet::new();
            for line in lines.drain(..) {
                asking.spawn(ask(line, Arc::clone(all), Arc::clone(&run)));
            }
            loop {
                let ended = tokio::select! {
                    ended = asking.join_next() => ended,
                    () = tokio::time::sleep(Duration::from_nanos(PART)) => {
                        if let Some(part) = run.recorder.lock().tick(clock::now()) {
                            watch(part);
                        }
                        continue;
                    }
                };
                match ended {
                    Some(line) => lines.push(line.context("a connection's task ended early")?),
                    None => return anyhow::Ok(()),
                }
            }
        })?;
        let now = clock::now();
        let run = Arc::into_inner(run).context("a question is still under way")?;
        let until = if counted { now.min(run.ends) } else { run.ends };
        Ok(run.recorder.into_inner().end(now, until))
    }
}

impl Run {
    /// When the next question is due; none where there is none any more.
    fn next(&self) -> Option<u64> {
        let take = |left: u64| left.checked_sub(1);
        let now = clock::now();
        let due = match &self.schedule {
            None => now,
            Some(schedule) => {
                let mut schedule = schedule.lock();
                let due = schedule.next();
                schedule.step();
                due
            }
        };
        if due >= self.ends {
            return None;
        }
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok().map(|_| due)
    }

    fn record(&self, due: u64, outcome: Outcome, bytes: u64) {
        let mut recorder = self.recorder.lock();
        recorder.record(due, clock::now(), outcome);
        recorder.received(bytes);
    }
}

/// Asks on one connection until there is nothing more to ask, and gives it back.
async fn ask(mut line: Line, all: Arc<All>, run: Arc<Run>) -> Line {
    while let Some(due) = run.next() {
        while clock::now() < due {
            yield_now().await;
        }
        let outcome = one(&mut line, &all).await;
        run.record(due, outcome, line.received());
        if outcome == Outcome::Lost {
            tokio::time::sleep(PAUSE).await;
        }
    }
    line
}

async fn one(line: &mut Line, all: &All) -> Outcome {
    let id = all.next.fetch_add(1, Ordering::Relaxed);
    let path = {
        let mut questions = all.questions.lock();
        questions.write(id, line.body());
        questions.call().path()
    };
    let asked = tokio::time::timeout(all.timeout, line.ask(all, path)).await;
    let body = match asked {
        Ok(Ok(body)) => body,
        Ok(Err(outcome)) => {
            line.close();
            return outcome;
        }
        Err(_elapsed) => {
            line.close();
            return Outcome::Unanswered;
        }
    };
    if all.replies == Replies::Nothing {
        return Outcome::Answered(1);
    }
    match read_answer(id, body) {
        Ok(said) => {
            let mut seen = all.seen.lock();
            *seen.actions.entry(said.decision).or_default() += 1;
            *seen.sources.entry(said.source).or_default() += 1;
            Outcome::Answered(1)
        }
        Err(outcome) => outcome,
    }
}
