//! Turns of the writer in, what became of each batch out, whatever happens in them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::super::Loss;
use super::super::buffer::{Batch, Turn};
use super::{Gap, IDLE, RETRY, SpoolWriter, note_void};

impl SpoolWriter {
    /// Writes until the spool is closed. Runs on a thread of its own, because disks block. A panic costs what was being
    /// written, which is counted and told of as any other loss, and a pause that grows.
    pub fn run(mut self) {
        let (mut batch, mut turn) = (Batch::default(), Turn::Batch);
        while turn == Turn::Batch {
            let work = AssertUnwindSafe(|| self.turn(&mut batch, &mut turn));
            if let Err(panic) = catch_unwind(work) {
                let pause = self.faults.caught(&*panic);
                self.panicked(&mut batch);
                self.shared.rest(pause);
            }
        }
        // Whoever ends the process does not wait for long, and reports may be many.
        let end = AssertUnwindSafe(|| {
            if let Err(error) = self.end() {
                tracing::warn!(%error, "the record of events has no end");
            }
            while self.attached.is_busy() && !self.failing {
                self.attach();
            }
        });
        if let Err(panic) = catch_unwind(end) {
            self.faults.caught(&*panic);
        }
    }

    /// Writes what has come together, and looks after the folder; `turn` is what there is to do after it.
    fn turn(&mut self, batch: &mut Batch, turn: &mut Turn) {
        let pause = if self.failing { RETRY } else { self.config.sync };
        let busy = self.attached.is_busy() && !self.failing;
        let idle = if busy { Duration::ZERO } else { IDLE };
        *turn = self.shared.take(batch, pause, idle);
        if !batch.is_empty() {
            self.batch(batch);
        }
        self.attach();
        self.keep_house();
    }

    /// Writes a batch, or counts what is lost, and empties it. Who awaits a decision hears of it.
    fn batch(&mut self, batch: &mut Batch) {
        match self.write(batch) {
            Ok(unnoted) => {
                self.settle(batch);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("events can be recorded again");
                }
                self.note(&unnoted);
            }
            Err(error) => {
                self.failed(&error);
                self.lose(batch);
            }
        }
    }

    /// The batch is on disk. Its decisions are none of it any more before anybody is told: what panics in here may be
    /// called again, and goes on.
    fn settle(&mut self, batch: &mut Batch) {
        self.metrics.events_written(std::mem::take(&mut batch.count));
        batch.dropped = 0;
        while let Some((_, awaited)) = batch.awaited.pop() {
            // Who has given up meanwhile does not hear it.
            let _ = awaited.send(());
        }
        batch.clear();
    }

    /// The batch is not on disk, and will not be.
    fn lose(&mut self, batch: &mut Batch) {
        let Batch { first, count, dropped, .. } = *batch;
        self.metrics.events_lost(count);
        let lost = batch.awaited.iter().map(|(number, _)| *number);
        note_void(&mut self.void, lost.collect());
        self.lost(Gap { first, count, loss: Loss::Failed });
        self.lost(Gap { first: first + count, count: dropped, loss: Loss::Full });
        batch.clear();
    }

    /// What was under way is not used again: what the disk has of it is not known, but for what it said that it keeps.
    fn panicked(&mut self, batch: &mut Batch) {
        self.metrics.spool_failed();
        if let (Some(folder), Some(current)) = (&mut self.folder, self.current.take()) {
            folder.doubt(&current.open);
        }
        self.attached.give_up();
        if batch.is_empty() {
            self.settle(batch);
        } else {
            self.failing = true;
            self.lose(batch);
        }
    }
}
