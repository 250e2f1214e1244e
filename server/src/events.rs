//! A checker in, the same with a record of every decision out.
//!
//! Every answer makes one event for each container. Events go through a bounded queue to a writer of
//! its own: a slow or full disk never slows an answer, and what is dropped is counted.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::decide::Action;
use portcullis_core::event::{Call, Event};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::check::{Answer, Check, CheckError, Decided, Question};
use crate::metrics::Metrics;

/// Events that wait for the writer before the next is dropped.
pub const QUEUE: usize = 10_000;
/// The most events that are written at once.
const BATCH: usize = 256;

/// Records what `inner` answers, and counts it.
pub struct Recorded<C> {
    inner: C,
    queue: Option<mpsc::Sender<Event>>,
    ids: Ids,
    metrics: Arc<Metrics>,
}

/// Names events: the process's start and a number, so that a gap shows.
struct Ids {
    start: i128,
    next: AtomicU64,
}

impl Ids {
    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number}", self.start)
    }
}

impl<C: Check> Recorded<C> {
    /// Records into `queue`, if there is one, and into the log. Events are named after the time
    /// `start`, which tells one run of the service from another, and a running number.
    #[must_use]
    pub fn new(
        inner: C,
        queue: Option<mpsc::Sender<Event>>,
        start: OffsetDateTime,
        metrics: Arc<Metrics>,
    ) -> Self {
        let ids = Ids { start: start.unix_timestamp_nanos(), next: AtomicU64::new(1) };
        Self { inner, queue, ids, metrics }
    }

    fn record(&self, answer: &Answer) {
        for decided in &answer.decided {
            let action = decided.decision.action;
            self.metrics.decision(action.as_str());
            let id = self.ids.next();
            let call = Call { id: &id, time: answer.evaluated_at, took: decided.took };
            let Decided { context, image, subjects, decision, .. } = decided;
            let event = Event::new(call, image, subjects, context, decision);
            if action != Action::Allow {
                tracing::info!(
                    id = event.id,
                    action = action.as_str(),
                    image = event.image,
                    rule = event.rule,
                    cluster = event.cluster,
                    namespace = event.namespace,
                    reason = event.reason,
                    "decision"
                );
            }
            if let Some(queue) = &self.queue
                && queue.try_send(event).is_err()
            {
                self.metrics.event_dropped();
            }
        }
    }
}

impl<C: Check> Check for Recorded<C> {
    async fn check(&self, question: Question, deadline: Instant) -> Result<Answer, CheckError> {
        let asked = Instant::now();
        let answer = self.inner.check(question, deadline).await?;
        self.record(&answer);
        self.metrics.answered(asked.elapsed());
        Ok(answer)
    }
}

/// Appends events to a file as JSON lines until the queue is closed and empty.
pub struct EventFile {
    path: PathBuf,
    file: std::fs::File,
    queue: mpsc::Receiver<Event>,
    metrics: Arc<Metrics>,
}

impl EventFile {
    /// Opens `path` for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(
        path: PathBuf,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<(Self, mpsc::Sender<Event>)> {
        let file = std::fs::File::options().create(true).append(true).open(&path)?;
        let (sender, queue) = mpsc::channel(QUEUE);
        Ok((Self { path, file, queue, metrics }, sender))
    }

    /// Writes until the queue is closed. Runs on a thread of its own, because disks block.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(BATCH);
        let mut failing = false;
        while self.queue.blocking_recv_many(&mut events, BATCH) > 0 {
            let written = self.write(&events);
            if let Err(error) = &written {
                events.iter().for_each(|_| self.metrics.event_dropped());
                if !failing {
                    tracing::error!(%error, path = %self.path.display(), "events cannot be written");
                }
            }
            failing = written.is_err();
            events.clear();
        }
    }

    fn write(&mut self, events: &[Event]) -> std::io::Result<()> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines)?;
        self.file.flush()
    }
}
