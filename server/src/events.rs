//! A checker in, the same with a record of every decision out.
//!
//! Every answer makes one event for each container. Events go through a bounded queue to a writer of
//! its own: a slow or full disk never slows an answer, and what is dropped is counted. Only where
//! break-glass lifts a denial, the answer waits until that is on disk ([`glass`]).

mod glass;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::decide::Action;
use portcullis_core::event::{Call, Event};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::check::{Answer, Check, CheckError, Decided, Question};
use crate::metrics::Metrics;

/// Events that wait for the writer before the next is dropped.
pub const QUEUE: usize = 10_000;
/// The most events that are written at once.
const BATCH: usize = 256;

/// An event on its way to the file.
#[derive(Debug)]
pub struct Record {
    event: Event,
    /// Who waits until it is on disk.
    awaited: Option<oneshot::Sender<()>>,
}

impl Record {
    /// Whether it was awaited by someone who has given up, and says what did not happen.
    fn is_void(&self) -> bool {
        self.awaited.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// Records what `inner` answers, and counts it.
pub struct Recorded<C> {
    inner: C,
    queue: Option<mpsc::Sender<Record>>,
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

impl<C> Recorded<C> {
    /// Records into `queue`, if there is one, and into the log. Events are named after the time
    /// `start`, which tells one run of the service from another, and a running number.
    #[must_use]
    pub fn new(
        inner: C,
        queue: Option<mpsc::Sender<Record>>,
        start: OffsetDateTime,
        metrics: Arc<Metrics>,
    ) -> Self {
        let ids = Ids { start: start.unix_timestamp_nanos(), next: AtomicU64::new(1) };
        Self { inner, queue, ids, metrics }
    }

    fn event(&self, decided: &Decided, time: OffsetDateTime) -> Event {
        let Decided { context, image, subjects, decision, took } = decided;
        let id = self.ids.next();
        Event::new(Call { id: &id, time, took: *took }, image, subjects, context, decision)
    }

    /// Records all but the lifted denials, of which there is a record already.
    fn record(&self, answer: &Answer) {
        for decided in &answer.decided {
            let action = decided.decision.action;
            self.metrics.decision(action.as_str());
            self.metrics.exemptions_applied(decided.decision.exemptions.len());
            if decided.decision.break_glass.is_some() {
                continue;
            }
            let event = self.event(decided, answer.evaluated_at);
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
                && queue.try_send(Record { event, awaited: None }).is_err()
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
        let answer = self.record_first(answer, deadline).await;
        self.record(&answer);
        self.metrics.answered(asked.elapsed());
        Ok(answer)
    }
}

/// Appends events to a file as JSON lines until the queue is closed and empty.
pub struct EventFile {
    path: PathBuf,
    file: File,
    /// Whether the last line in the file lacks its end, because writing failed within it.
    torn: bool,
    /// Whether it is known that the name of the file is on disk.
    named: bool,
    queue: mpsc::Receiver<Record>,
    metrics: Arc<Metrics>,
}

impl EventFile {
    /// Opens `path` for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: PathBuf, metrics: Arc<Metrics>) -> io::Result<(Self, mpsc::Sender<Record>)> {
        let file = append(&path)?;
        let (sender, queue) = mpsc::channel(QUEUE);
        Ok((Self { path, file, torn: false, named: false, queue, metrics }, sender))
    }

    /// Writes until the queue is closed. Runs on a thread of its own, because disks block.
    pub fn run(mut self) {
        let mut records = Vec::with_capacity(BATCH);
        let mut failing = false;
        while self.queue.blocking_recv_many(&mut records, BATCH) > 0 {
            records.retain(|record| !record.is_void());
            let written = self.write(&records);
            if let Err(error) = &written {
                // Who awaits an event hears that it was not written, and acts upon that.
                let lost = records.iter().filter(|record| record.awaited.is_none());
                lost.for_each(|_| self.metrics.event_dropped());
                if !failing {
                    tracing::error!(%error, path = %self.path.display(), "events cannot be written");
                }
            }
            failing = written.is_err();
            let records = records.drain(..);
            if !failing {
                self.confirm(records.filter_map(|record| record.awaited).collect());
            }
        }
    }

    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        self.follow()?;
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, &record.event)?;
            lines.push(b'\n');
        }
        write_lines(&mut self.file, &mut self.torn, &lines)
    }

    /// Takes up another file where the one that is open is no longer at its path: it was rotated,
    /// or somebody took it away, and nobody would read what is written into it.
    fn follow(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let there = std::fs::metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            return Ok(());
        }
        self.file = append(&self.path)?;
        (self.torn, self.named) = (false, false);
        Ok(())
    }

    /// Tells those who wait that their events are on disk.
    fn confirm(&mut self, awaited: Vec<oneshot::Sender<()>>) {
        if awaited.is_empty() {
            return;
        }
        match self.sync() {
            Ok(()) => awaited.into_iter().for_each(|awaited| {
                // Who has given up meanwhile does not hear it.
                let _ = awaited.send(());
            }),
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%error, %path, "events cannot be kept on disk");
            }
        }
    }

    /// Waits until what was written would survive a crash of the machine. Fails for a pipe and a
    /// device, which keep nothing.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.named {
            let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            self.named = true;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Writes `lines` on a line of their own, and keeps in `torn` whether the last one has no end.
fn write_lines(file: &mut impl Write, torn: &mut bool, lines: &[u8]) -> io::Result<()> {
    if *torn && !lines.is_empty() {
        file.write_all(b"\n")?;
        *torn = false;
    }
    let mut left = lines;
    while !left.is_empty() {
        let length = match file.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            written => written?,
        };
        let (written, rest) = left.split_at_checked(length).unwrap_or((left, &[]));
        *torn = written.last().map_or(*torn, |last| *last != b'\n');
        left = rest;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::decide::{Context, decide};
    use portcullis_core::policy::Policy;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

    /// Answers every question with what is asked, or not at all.
    struct Echo(Option<CheckError>);

    impl Check for Echo {
        async fn check(&self, question: Question, _: Instant) -> Result<Answer, CheckError> {
            if let Some(error) = &self.0 {
                return Err(error.clone());
            }
            let policy = Arc::new(Policy::default_policy());
            let decided = question.containers.into_iter().map(|(container, image)| {
                let context = Context { container, ..question.context.clone() };
                let decision = decide(&policy, &image, &[], &context, NOW);
                Decided { context, image, subjects: Vec::new(), decision, took: Duration::ZERO }
            });
            let decided = decided.collect();
            Ok(Answer { decided, policy, evaluated_at: NOW, max_age: Duration::ZERO })
        }
    }

    fn question(containers: &[&str]) -> Question {
        let image = |name: &&str| ((*name).to_owned(), "reg.io/app:v1".parse().unwrap());
        let containers = containers.iter().map(image).collect();
        Question { context: Context::default(), containers }
    }

    fn dropped(metrics: &Metrics) -> String {
        let text = metrics.encode().unwrap();
        let line = text.lines().find(|l| l.starts_with("portcullis_events_dropped_total"));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_dropped_and_counted_and_answered() {
        let (metrics, (queue, mut events)) = (Arc::new(Metrics::new()), mpsc::channel(2));
        let recorded = Recorded::new(Echo(None), Some(queue), NOW, Arc::clone(&metrics));
        let answer = recorded.check(question(&["a", "b", "c"]), Instant::now()).await.unwrap();
        assert_eq!(answer.decided.len(), 3);
        assert_eq!(dropped(&metrics), "1");
        let mut next = || events.try_recv().unwrap().event;
        let (a, b) = (next(), next());
        assert_eq!((a.container.as_str(), b.container.as_str()), ("a", "b"));
        recorded.check(question(&["d"]), Instant::now()).await.unwrap();
        // The number of what was dropped is missing, so that a reader sees the gap.
        let start = NOW.unix_timestamp_nanos();
        let ids = [a.id, b.id, next().id];
        assert_eq!(ids, [1, 2, 4].map(|number| format!("{start:x}-{number}")));
    }

    /// Takes so many bytes, and then no more.
    struct Full(Vec<u8>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = (self.1 - self.0.len()).min(bytes.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.extend(&bytes[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_after_one_that_was_torn_is_whole() {
        for (room, expected) in [(0, "c\n"), (1, "a\nc\n"), (2, "a\nc\n"), (3, "a\nb\nc\n")] {
            let (mut file, mut torn) = (Full(Vec::new(), room), false);
            assert!(write_lines(&mut file, &mut torn, b"a\nb\n").is_err());
            file.1 = usize::MAX;
            write_lines(&mut file, &mut torn, b"c\n").unwrap();
            assert_eq!(String::from_utf8(file.0).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn no_answer_is_no_event() {
        let (queue, mut events) = mpsc::channel(1);
        let echo = Echo(Some(CheckError::DeadlineExceeded));
        let recorded = Recorded::new(echo, Some(queue), NOW, Arc::default());
        assert!(recorded.check(question(&["a"]), Instant::now()).await.is_err());
        assert!(events.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_writer_that_is_gone_does_not_take_the_answers_with_it() {
        let (metrics, (queue, events)) = (Arc::new(Metrics::new()), mpsc::channel(1));
        drop(events);
        let recorded = Recorded::new(Echo(None), Some(queue), NOW, Arc::clone(&metrics));
        assert!(recorded.check(question(&["a"]), Instant::now()).await.is_ok());
        assert_eq!(dropped(&metrics), "1");
    }
}
