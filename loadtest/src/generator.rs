//! Questions and a pace in, measured answers out: one thread, many connections.
//!
//! Closed: each connection has so many questions under way, and asks the next when one is answered.
//! Open: questions are due on a schedule whatever becomes of those before, and their latency counts from
//! when they were due. What waits at the end is counted too, with the time that it waited.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use mio::{Events, Poll, Token};

use self::lane::{Lane, Way};
use self::ledger::Ledger;
use crate::clock;
use crate::measure::{Interval, Measured, Outcome, Recorder};
use crate::pace::{Arrivals, Schedule};
use crate::questions::Questions;
use crate::segments::Asks;

mod lane;
mod ledger;

pub(crate) use self::ledger::{Seen, Strictness};

/// The most connections of one generator.
pub(crate) const MAX_CONNECTIONS: usize = 2_000;
/// The most questions that wait for room on a connection.
pub(crate) const MAX_BACKLOG: usize = 8_000_000;
/// How long connecting may take, in nanoseconds.
const CONNECT: u64 = 10 * clock::SECOND;
/// How many events are taken from the system at once.
const EVENTS: usize = 1_024;
/// How long to wait for events at most.
const WAIT: Duration = Duration::from_millis(20);
/// How long a part of a run is, for which figures are kept, in nanoseconds.
pub(crate) const PART: u64 = clock::SECOND / 4;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many under way on each connection.
    Closed(usize),
    /// So many a second, on all connections together.
    Open(f64, Arrivals),
}

/// For how long.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// For this time.
    Time(Duration),
    /// So many questions, and for this time at most.
    Questions(u64, Duration),
}

/// How it is waited for what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// By asking again and again: exact, and takes what is left of a core.
    Spins,
    /// Asleep: up to a millisecond late.
    Sleeps,
}

/// How a generator is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Who is asked: connections are spread over them.
    pub(crate) targets: Vec<SocketAddr>,
    /// How many connections, 1 to [`MAX_CONNECTIONS`].
    pub(crate) connections: usize,
    /// What is said as `grpc-timeout`, and after which a question that found no room is given up.
    pub(crate) timeout: Option<Duration>,
    /// Whether answers are read.
    pub(crate) strictness: Strictness,
    /// How it is waited for what is due.
    pub(crate) waiting: Waiting,
    /// How long to wait for answers when the time is over.
    pub(crate) grace: Duration,
}

/// Asks questions.
pub(crate) struct Generator {
    setup: Setup,
    questions: Questions,
    lanes: Vec<Lane>,
    ledger: Ledger,
    poll: Poll,
    events: Events,
    message: Vec<u8>,
    backlog: VecDeque<u64>,
    next_lane: usize,
    runs: u64,
}

/// One run of a generator.
struct Run {
    pace: Pace,
    schedule: Option<Schedule>,
    ends: u64,
    left: u64,
    counted: bool,
}

impl Generator {
    /// Connects to the targets.
    ///
    /// # Errors
    /// When there are no connections, too many, or one cannot be made within 10 seconds.
    pub(crate) fn connect(setup: Setup, questions: Questions) -> anyhow::Result<Self> {
        let count = setup.connections;
        anyhow::ensure!(
            (1..=MAX_CONNECTIONS).contains(&count) && !setup.targets.is_empty(),
            "{count} connections: expected 1 to {MAX_CONNECTIONS}"
        );
        let poll = Poll::new().context("failed to wait for events")?;
        let timeout = setup.timeout.map(|timeout| format!("{}m", timeout.as_millis().max(1)));
        let call = questions.call();
        let targets = setup.targets.iter().cycle().take(count);
        let ways = targets.map(|target| Way { target: *target, call, timeout: timeout.clone() });
        let lanes = ways.enumerate().map(|(at, way)| Lane::new(Token(at), way)).collect();
        let mut generator = Self {
            ledger: Ledger::new(call, questions.checks(), setup.strictness),
            setup,
            questions,
            lanes,
            poll,
            events: Events::with_capacity(EVENTS),
            message: Vec::new(),
            backlog: VecDeque::new(),
            next_lane: 0,
            runs: 0,
        };
        generator.settle()?;
        Ok(generator)
    }

    /// Waits until each connection can be used.
    fn settle(&mut self) -> anyhow::Result<()> {
        let give_up = clock::now() + CONNECT;
        loop {
            let now = clock::now();
            self.open_lanes(now);
            if self.lanes.iter().all(Lane::is_settled) {
                return Ok(());
            }
            if now > give_up {
                let mut broken = self.lanes.iter_mut().filter(|lane| !lane.is_settled());
                let why = broken.find_map(|lane| lane.broke.take());
                let error = why.map_or_else(|| anyhow::anyhow!("no answer"), Into::into);
                return Err(error.context("failed to connect to the service"));
            }
            self.flush(now);
            self.wait(WAIT)?;
        }
    }

    fn open_lanes(&mut self, now: u64) {
        let Self { lanes, poll, .. } = self;
        lanes.iter_mut().filter(|lane| !lane.is_open()).for_each(|lane| lane.open(poll, now));
    }

    fn flush(&mut self, now: u64) {
        let Self { lanes, ledger, .. } = self;
        lanes.iter_mut().filter(|lane| lane.dirty).for_each(|lane| lane.flush(ledger, now));
    }

    /// Waits for events, and takes what they bring.
    fn wait(&mut self, at_most: Duration) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(at_most)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error).context("failed to wait for events"),
        }
        let now = clock::now();
        for event in &self.events {
            let Some(lane) = self.lanes.get_mut(event.token().0) else { continue };
            if event.is_readable() || event.is_error() {
                lane.receive(&mut self.ledger, now);
            }
            lane.dirty |= event.is_writable();
        }
        Ok(())
    }

    /// What was said in the answers of all runs so far that were read.
    pub(crate) const fn seen(&self) -> &Seen {
        &self.ledger.seen
    }
}

impl Asks for Generator {
    /// It fails where more than [`MAX_BACKLOG`] questions wait for room.
    fn run(
        &mut self,
        pace: Pace,
        until: Until,
        watch: &mut dyn FnMut(&Interval),
    ) -> anyhow::Result<Measured> {
        let began = clock::now();
        let (left, length, counted) = match until {
            Until::Time(length) => (u64::MAX, length, false),
            Until::Questions(count, length) => (count, length, true),
        };
        let ends = began + clock::nanos(length);
        self.runs += 1;
        let schedule = match pace {
            Pace::Open(rate, arrivals) => Some(Schedule::new(rate, arrivals, began, self.runs)),
            Pace::Closed(_) => None,
        };
        let mut run = Run { pace, schedule, ends, left, counted };
        self.ledger.record_with(Recorder::new(began, ends, PART)?);
        let grace = clock::nanos(self.setup.grace);
        loop {
            let now = clock::now();
            self.open_lanes(now);
            self.ask(&mut run, now)?;
            self.flush(now);
            if let Some(part) = self.ledger.recorder().and_then(|recorder| recorder.tick(now)) {
                watch(part);
            }
            let asking = now < run.ends && run.left > 0;
            if !asking && self.ledger.pending() == 0 && self.backlog.is_empty() {
                break;
            }
            if now > run.ends.saturating_add(grace) {
                self.give_up(now);
                break;
            }
            self.wait(self.patience(&run, now))?;
        }
        let now = clock::now();
        let until = if run.counted { now.min(run.ends) } else { run.ends };
        let recorder = self.ledger.take_recorder().context("nothing was recorded")?;
        Ok(recorder.end(now, until))
    }
}

impl Generator {
    fn ask(&mut self, run: &mut Run, now: u64) -> anyhow::Result<()> {
        match (run.pace, &mut run.schedule) {
            (Pace::Closed(in_flight), _) => {
                for lane in 0..self.lanes.len() {
                    while now < run.ends && run.left > 0 && self.fill(lane, in_flight) {
                        run.left -= 1;
                    }
                }
            }
            (Pace::Open(..), Some(schedule)) => {
                while run.left > 0 && schedule.next() <= now.min(run.ends) {
                    self.backlog.push_back(schedule.next());
                    schedule.step();
                    run.left -= 1;
                }
                anyhow::ensure!(
                    self.backlog.len() <= MAX_BACKLOG,
                    "more than {MAX_BACKLOG} questions wait: the rate is far above what is answered"
                );
                self.drain_backlog(now);
            }
            (Pace::Open(..), None) => {}
        }
        Ok(())
    }

    /// Asks one question on a lane that has fewer under way than `in_flight`, and room.
    fn fill(&mut self, lane: usize, in_flight: usize) -> bool {
        let has_place = self.lanes.get(lane).is_some_and(|lane| lane.in_flight() < in_flight);
        has_place && self.ask_on(lane, clock::now())
    }

    fn drain_backlog(&mut self, now: u64) {
        let patience = self.setup.timeout.map_or(u64::MAX, clock::nanos);
        while let Some(due) = self.backlog.front().copied() {
            if now.saturating_sub(due) > patience {
                self.backlog.pop_front();
                if let Some(recorder) = self.ledger.recorder() {
                    recorder.record(due, now, Outcome::Expired);
                }
                continue;
            }
            let count = self.lanes.len();
            let found = (0..count).any(|_| {
                self.next_lane = (self.next_lane + 1) % count;
                self.ask_on(self.next_lane, due)
            });
            if !found {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Asks one question on a lane, if it has room.
    fn ask_on(&mut self, at: usize, due: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(at) else { return false };
        // The first question says how long they are; a lane without room costs no draw.
        if !lane.has_room(self.message.len()) {
            return false;
        }
        self.questions.write(self.ledger.next_tag(), &mut self.message);
        if !lane.has_room(self.message.len()) {
            return false;
        }
        let now = clock::now();
        let tag = self.ledger.enter(due, now, at);
        // Who has waited for room has less time left, and the service is told so.
        let waited = now.saturating_sub(due) / 1_000_000;
        let timeout =
            self.setup.timeout.filter(|_| waited > 0).map(|all| clock::nanos(all) / 1_000_000);
        lane.ask(tag, &self.message, timeout.map(|all| all.saturating_sub(waited).max(1)));
        true
    }

    fn patience(&self, run: &Run, now: u64) -> Duration {
        let Some(schedule) = run.schedule.as_ref().filter(|_| now < run.ends && run.left > 0)
        else {
            return WAIT;
        };
        if self.setup.waiting == Waiting::Spins {
            // Whoever else has this core may run first, as the registry.
            std::thread::yield_now();
            return Duration::ZERO;
        }
        Duration::from_nanos(schedule.next().saturating_sub(now)).min(WAIT)
    }

    /// What has no answer now gets none: its connections are made anew, so that none comes later.
    fn give_up(&mut self, now: u64) {
        self.ledger.give_up(now);
        while let Some(due) = self.backlog.pop_front() {
            if let Some(recorder) = self.ledger.recorder() {
                recorder.record(due, now, Outcome::Unanswered);
            }
        }
        let busy = self.lanes.iter_mut().filter(|lane| lane.in_flight() > 0);
        busy.for_each(Lane::abandon);
    }
}
