//! Lines that wait in, a file of JSON lines out.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::event::Line;
use portcullis_core::simulate::recorded::MAX_LINE;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::queue::{Entry, QUEUE, Queue, Queued, Written};
use crate::caught::Faults;
use crate::metrics::Metrics;

/// The most lines that are written at once.
const BATCH: usize = 256;
/// From how many bytes on they are written at the latest, so that reports do not pile up in memory.
const ENOUGH: usize = 1024 * 1024;
/// How often a pause looks whether anything more comes.
const LOOK: Duration = Duration::from_millis(50);

/// Appends events to a file as JSON lines until the queue is closed and empty.
pub struct EventFile {
    path: PathBuf,
    file: File,
    /// How long the file is at least, if nobody cut it.
    length: u64,
    /// Whether the last line has no end, because writing failed within it.
    torn: bool,
    /// Whether it is known that the name of the file is on disk.
    named: bool,
    /// How many of the decisions that were taken are neither written nor counted as lost.
    open: usize,
    failing: bool,
    faults: Faults,
    queue: mpsc::Receiver<Queued>,
    written: Written,
    metrics: Arc<Metrics>,
}

impl EventFile {
    /// Opens `path` for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: PathBuf, metrics: Arc<Metrics>) -> io::Result<(Self, Queue)> {
        let file = open(&path)?;
        let length = file.metadata()?.len();
        let (queue, entries) = Queue::new(QUEUE);
        let written = queue.written();
        Ok((
            Self {
                path,
                file,
                length,
                torn: false,
                named: false,
                open: 0,
                failing: false,
                faults: Faults::new("event_file", Arc::clone(&metrics)),
                queue: entries,
                written,
                metrics,
            },
            queue,
        ))
    }

    /// Writes until the queue is closed. Runs on a thread of its own, because disks block. A panic costs the lines that
    /// were being written, which are counted as any other loss, and a pause that grows.
    pub fn run(mut self) {
        let mut entries = Vec::with_capacity(BATCH);
        while self.queue.blocking_recv_many(&mut entries, BATCH) > 0 {
            self.open = entries.iter().filter(|queued| queued.entry.is_counted()).count();
            let work = AssertUnwindSafe(|| self.write_all(entries.drain(..)));
            if let Err(panic) = catch_unwind(work) {
                let pause = self.faults.caught(&*panic);
                self.lost(self.open);
                self.rest(pause);
            }
            entries.clear();
        }
    }

    fn write_all(&mut self, entries: impl Iterator<Item = Queued>) {
        let mut failed = None;
        let mut batch = Batch::default();
        for entry in entries.map(|queued| queued.entry).filter(|entry| !entry.is_void()) {
            if let Err(error) = batch.add(&entry) {
                self.unwritable(&entry, &error);
            } else if let Entry::Awaited(_, awaited) = entry {
                batch.awaited.push(awaited);
            }
            if batch.lines.len() >= ENOUGH {
                failed = self.write(&mut batch).err().or(failed);
            }
        }
        failed = self.write(&mut batch).err().or(failed);
        if let Some(error) = &failed
            && !self.failing
        {
            tracing::error!(%error, path = %self.path.display(), "events cannot be written");
        }
        self.failing = failed.is_some();
    }

    /// Writes a batch and empties it, or counts what is lost. Who awaits a line hears of it.
    fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        let Batch { lines, decisions, awaited } = std::mem::take(batch);
        let written = self.append(&lines);
        if written.is_err() {
            self.lost(decisions);
        } else {
            self.open = self.open.saturating_sub(decisions);
            if !awaited.is_empty() {
                self.confirm(awaited);
            }
        }
        written
    }

    /// So many decisions are not in the file, and how much of what went with them is not known.
    fn lost(&mut self, decisions: usize) {
        self.open = self.open.saturating_sub(decisions);
        self.written.forget();
        (0..decisions).for_each(|_| self.metrics.event_dropped());
    }

    /// Waits, unless nothing more comes.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.queue.is_closed() {
            std::thread::sleep(LOOK);
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow()?;
        write_lines(&mut self.file, &mut self.torn, lines)?;
        self.length = self.length.saturating_add(lines.len() as u64);
        Ok(())
    }

    /// Takes up another file where the one that is open is no longer at its path: it was rotated,
    /// or somebody took it away, and nobody would read what is written into it.
    fn follow(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let there = std::fs::metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            // Whoever rotates the file by cutting it takes the reports with it.
            if own.is_file() && own.len() < self.length {
                self.written.forget();
                self.length = own.len();
            }
            return Ok(());
        }
        self.file = open(&self.path)?;
        self.written.forget();
        self.length = self.file.metadata()?.len();
        (self.torn, self.named) = (false, false);
        Ok(())
    }

    /// Tells those who wait that their events are on disk, if they are.
    fn confirm(&mut self, awaited: Vec<oneshot::Sender<()>>) {
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

    /// A line that cannot be written, wherever. A report stays known as written: it would be no
    /// shorter the next time.
    fn unwritable(&mut self, entry: &Entry, error: &serde_json::Error) {
        if entry.is_counted() {
            self.open = self.open.saturating_sub(1);
            self.metrics.event_dropped();
        }
        let path = self.path.display();
        tracing::warn!(%error, %path, limit = MAX_LINE, "a line cannot be written");
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Writes `lines` on lines of their own, and keeps in `torn` whether the last one has no end.
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

/// Lines that are written together.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    /// How many decisions are lost if they cannot be written.
    decisions: usize,
    /// Who waits until they are on disk.
    awaited: Vec<oneshot::Sender<()>>,
}

impl Batch {
    /// Adds the line of `entry`, unless it is longer than [`MAX_LINE`].
    fn add(&mut self, entry: &Entry) -> Result<(), serde_json::Error> {
        let before = self.lines.len();
        let line = match entry {
            Entry::Decision(event) | Entry::Awaited(event, _) => Line::Decision(event),
            Entry::Report(report) => Line::from(&**report),
            Entry::Vex(document) => Line::from(&**document),
        };
        let mut bounded = Bounded { lines: &mut self.lines, room: MAX_LINE };
        if let Err(error) = serde_json::to_writer(&mut bounded, &line) {
            self.lines.truncate(before);
            return Err(error);
        }
        self.lines.push(b'\n');
        self.decisions += usize::from(entry.is_counted());
        Ok(())
    }
}

/// Takes so many bytes and no more.
struct Bounded<'a> {
    lines: &'a mut Vec<u8>,
    room: usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
