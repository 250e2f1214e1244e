//! Lines that wait in, a file of JSON lines out.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::event::Line;
use portcullis_core::simulate::recorded::MAX_LINE;
use tokio::sync::mpsc;

use super::queue::{Entry, QUEUE, Queue, Written};
use crate::metrics::Metrics;

/// The most lines that are written at once.
const BATCH: usize = 256;
/// From how many bytes on they are written at the latest, so that reports do not pile up in memory.
const ENOUGH: usize = 1024 * 1024;

/// Appends events to a file as JSON lines until the queue is closed and empty.
pub struct EventFile {
    path: PathBuf,
    file: std::fs::File,
    /// How long the file is at least, if nobody cut it.
    length: u64,
    /// Whether the last line may have no end.
    torn: bool,
    queue: mpsc::Receiver<Entry>,
    written: Written,
    metrics: Arc<Metrics>,
}

impl EventFile {
    /// Opens `path` for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: PathBuf, metrics: Arc<Metrics>) -> io::Result<(Self, Queue)> {
        let file = std::fs::File::options().create(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        let (queue, entries) = Queue::new(QUEUE);
        let written = queue.written();
        let file = Self { path, file, length, torn: false, queue: entries, written, metrics };
        Ok((file, queue))
    }

    /// Writes until the queue is closed. Runs on a thread of its own, because disks block.
    pub fn run(mut self) {
        let mut entries = Vec::with_capacity(BATCH);
        let mut failing = false;
        while self.queue.blocking_recv_many(&mut entries, BATCH) > 0 {
            let mut failed = None;
            let mut batch = Batch::default();
            for entry in entries.drain(..) {
                if let Err(error) = batch.add(&entry) {
                    self.unwritable(&entry, &error);
                }
                if batch.lines.len() >= ENOUGH {
                    failed = self.write(&mut batch).err().or(failed);
                }
            }
            failed = self.write(&mut batch).err().or(failed);
            if let Some(error) = &failed
                && !failing
            {
                tracing::error!(%error, path = %self.path.display(), "events cannot be written");
            }
            failing = failed.is_some();
        }
    }

    /// Writes a batch and empties it, or counts what is lost.
    fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        let Batch { lines, decisions } = std::mem::take(batch);
        let written = self.append(&lines);
        if written.is_err() {
            // How much of it is in the file is not known.
            self.torn = true;
            self.written.forget();
            (0..decisions).for_each(|_| self.metrics.event_dropped());
        }
        written
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        // Whoever rotates the file by cutting it takes the reports with it.
        let now = self.file.metadata()?;
        if now.is_file() && now.len() < self.length {
            self.written.forget();
            self.length = now.len();
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        self.file.write_all(lines)?;
        self.file.flush()?;
        self.length = self.length.saturating_add(lines.len() as u64);
        Ok(())
    }

    /// A line that cannot be written, wherever. A report stays known as written: it would be no
    /// shorter the next time.
    fn unwritable(&self, entry: &Entry, error: &serde_json::Error) {
        if matches!(entry, Entry::Decision(_)) {
            self.metrics.event_dropped();
        }
        let path = self.path.display();
        tracing::warn!(%error, %path, limit = MAX_LINE, "a line cannot be written");
    }
}

/// Lines that are written together.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    decisions: usize,
}

impl Batch {
    /// Adds the line of `entry`, unless it is longer than [`MAX_LINE`].
    fn add(&mut self, entry: &Entry) -> Result<(), serde_json::Error> {
        let before = self.lines.len();
        let line = match entry {
            Entry::Decision(event) => Line::Decision(event),
            Entry::Report(report) => Line::from(&**report),
            Entry::Vex(document) => Line::from(&**document),
        };
        let mut bounded = Bounded { lines: &mut self.lines, room: MAX_LINE };
        if let Err(error) = serde_json::to_writer(&mut bounded, &line) {
            self.lines.truncate(before);
            return Err(error);
        }
        self.lines.push(b'\n');
        self.decisions += usize::from(matches!(entry, Entry::Decision(_)));
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
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_bound() {
        let mut lines = b"before".to_vec();
        let mut bounded = Bounded { lines: &mut lines, room: 4 };
        // Each character is a byte, and there are two quotes.
        assert!(serde_json::to_writer(&mut bounded, "ab").is_ok());
        assert_eq!(lines, b"before\"ab\"");
        let mut bounded = Bounded { lines: &mut lines, room: 4 };
        assert!(serde_json::to_writer(&mut bounded, "abc").is_err());
    }
}
