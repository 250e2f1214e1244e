//! Batches in, segments on disk out, by a thread of its own.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::event::frame;
use portcullis_core::event::stored;
use portcullis_core::evidence::Evidence;
use portcullis_core::ports::Clock;

use super::attached::Attached;
use super::buffer::{Batch, Shared};
use super::disk::Disk;
use super::folder::{Folder, Open, Origin};
use super::names::Names;
use super::segment::Family;
use super::{Loss, MAX_TAKEN_BACK, SpoolConfig, kind};
use crate::caught::Faults;
use crate::metrics::Metrics;

mod run;

/// How long to wait after a failure, unless someone waits for a record.
const RETRY: Duration = Duration::from_secs(1);
/// How often to look whether something is too old.
const IDLE: Duration = Duration::from_secs(60);
/// After how long a segment is ended, however short, so that it can grow old.
const MAX_OPEN: time::Duration = time::Duration::hours(1);
/// How many gaps are told of in the record when it can be written again. The last takes in what follows.
const MAX_GAPS: usize = 1_000;

/// Writes decisions until the spool is closed and empty.
pub struct SpoolWriter {
    shared: Arc<Shared>,
    config: SpoolConfig,
    path: PathBuf,
    folder: Option<Folder>,
    current: Option<Current>,
    attached: Attached,
    /// What was lost and is not told of in the record yet.
    gaps: Vec<Gap>,
    /// What was not given in the end, and is not told of either.
    taken_back: Vec<u64>,
    /// Decisions that somebody awaited and that are not in the record: they will be taken back, and need
    /// not be.
    void: HashSet<u64>,
    failing: bool,
    run: u64,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    disk: Box<dyn Disk>,
    /// What is written beside a batch, kept for its room.
    beside: Vec<u8>,
    /// When it was last looked whether what decisions name is still there.
    looked: time::OffsetDateTime,
    faults: Faults,
}

/// The segment that is being written, and what its names stand for.
struct Current {
    open: Open,
    since: time::OffsetDateTime,
    /// Number of the first decision that may be in it.
    first: u64,
    /// How many are in it.
    count: u64,
    names: Names,
}

/// Decisions that are not in the record.
struct Gap {
    first: u64,
    count: u64,
    loss: Loss,
}

impl Gap {
    fn push(&self, out: &mut Vec<u8>) {
        let mut body = self.count.to_le_bytes().to_vec();
        body.push(self.loss.code());
        frame::push(out, kind::LOST, self.first, &body);
    }
}

impl SpoolWriter {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: SpoolConfig,
        (path, folder): (PathBuf, Option<Folder>),
        run: u64,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        disk: Box<dyn Disk>,
    ) -> Self {
        let mut attached = Attached::default();
        if let Some(folder) = &folder {
            attached.begin(folder);
        }
        let (current, gaps, taken_back) = (None, Vec::new(), Vec::new());
        let (beside, failing, void) = (Vec::new(), folder.is_none(), HashSet::new());
        let looked = clock.now();
        let faults = Faults::new("record", Arc::clone(&metrics));
        Self {
            shared,
            config,
            path,
            folder,
            current,
            attached,
            gaps,
            taken_back,
            void,
            failing,
            run,
            clock,
            metrics,
            disk,
            beside,
            looked,
            faults,
        }
    }

    /// Writes a batch; gives of what it names that which is to be written as well.
    fn write(&mut self, batch: &mut Batch) -> io::Result<Vec<Arc<Evidence>>> {
        let room = MAX_TAKEN_BACK.saturating_sub(self.taken_back.len());
        self.taken_back.extend(batch.taken_back.drain(..).take(room));
        let origin = self.origin(batch.first);
        self.ready(&origin)?;
        let (Some(folder), Some(current)) = (&mut self.folder, &mut self.current) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let beside = &mut self.beside;
        beside.clear();
        self.gaps.iter().for_each(|gap| gap.push(beside));
        let (epoch, mut unnoted) = (self.attached.epoch(), Vec::new());
        let mut name = |evidence: &Arc<Evidence>| {
            let (name, is_written) = current.names.name(evidence, epoch, beside);
            if !is_written {
                unnoted.push(Arc::clone(evidence));
            }
            name
        };
        let names: Vec<_> = batch.evidence.iter().map(&mut name).collect();
        let Batch { bytes, awaited, .. } = batch;
        let mut void = Vec::new();
        frame::seal(bytes, |number, kind, body| {
            let own = |(awaited, sender): &&(u64, tokio::sync::oneshot::Sender<()>)| {
                *awaited == number && sender.is_closed()
            };
            if awaited.iter().any(|entry| own(&entry)) {
                *kind = kind::VOID;
                void.push(number);
            }
            let name = |place: u32| names.get(place as usize).copied().unwrap_or(u32::MAX);
            stored::rename(body, name);
        });
        note_void(&mut self.void, void);
        self.taken_back.retain(|number| !self.void.remove(number));
        let taken_back = self.taken_back.iter();
        taken_back.for_each(|number| frame::push(beside, kind::TAKEN_BACK, *number, &[]));
        if batch.dropped > 0 {
            let first = batch.first + batch.count;
            Gap { first, count: batch.dropped, loss: Loss::Full }.push(bytes);
        }
        folder.append(&mut current.open, &[beside, bytes], origin.now)?;
        current.count += batch.count;
        self.gaps.clear();
        self.taken_back.clear();
        Ok(unnoted)
    }

    /// Sees to it that what a batch named is written as well.
    fn note(&mut self, unnoted: &[Arc<Evidence>]) {
        let epoch = self.attached.epoch();
        let Some(current) = &mut self.current else { return };
        for evidence in unnoted {
            if self.attached.note(evidence) {
                current.names.written(evidence, epoch);
            }
        }
    }

    fn origin(&self, first: u64) -> Origin {
        Origin { run: self.run, now: self.clock.now(), first }
    }

    /// Sees to it that there is a folder, and a segment in it with room.
    fn ready(&mut self, origin: &Origin) -> io::Result<()> {
        self.look_for(origin);
        if self.folder.is_none() {
            let folder = Folder::open(&self.path)?;
            self.attached.begin(&folder);
            self.folder = Some(folder);
        }
        let full = |current: &mut Current| {
            current.open.length >= self.config.segment_bytes
                || origin.now - current.since >= MAX_OPEN
        };
        self.current.take_if(full);
        if self.current.is_none()
            && let Some(folder) = &mut self.folder
        {
            let first = self.gaps.first().map_or(origin.first, |gap| gap.first);
            let origin = Origin { first, ..*origin };
            let open = folder.begin(&*self.disk, Family::Events, &origin)?;
            let (since, first, count) = (origin.now, origin.first, 0);
            let names = Names::default();
            self.current = Some(Current { open, since, first, count, names });
        }
        Ok(())
    }

    /// Looks whether the segment is still there: what is written into a file that nobody can open is in no
    /// record. What it had is lost, counted and told of, and the record goes on in another.
    fn look_for(&mut self, origin: &Origin) {
        let (Some(folder), Some(current)) = (&self.folder, &self.current) else { return };
        if folder.has(&current.open) {
            return;
        }
        let Current { first, count, .. } = *current;
        tracing::error!(
            lost = count,
            path = %self.path.display(),
            "the segment that events were written to was taken away with what it had"
        );
        self.metrics.spool_failed();
        self.metrics.events_lost(count);
        // Numbers before the gaps that are told of already.
        let next = self.gaps.first().map_or(origin.first, |gap| gap.first);
        self.gaps.insert(0, Gap { first, count: next.saturating_sub(first), loss: Loss::Failed });
        self.gaps.retain(|gap| gap.count > 0);
        // What else is in the folder, and whether it is there, is to be found out.
        (self.current, self.folder) = (None, None);
    }

    /// The segment is not used again: what the disk has of it is not known.
    fn failed(&mut self, error: &io::Error) {
        self.metrics.spool_failed();
        self.current = None;
        if !self.path.is_dir() {
            self.folder = None;
        }
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, path = %self.path.display(),
                "events cannot be recorded; make the folder of `dataDir`, writable for who runs this, on a disk with room");
        }
    }

    fn lost(&mut self, gap: Gap) {
        if gap.count == 0 {
            return;
        }
        let full = self.gaps.len() >= MAX_GAPS;
        match self.gaps.last_mut() {
            Some(last)
                if full || (last.loss == gap.loss && last.first + last.count == gap.first) =>
            {
                last.count = gap.first + gap.count - last.first;
            }
            _ => self.gaps.push(gap),
        }
    }

    /// Writes some of the reports that decisions name.
    fn attach(&mut self) {
        if self.failing || !self.attached.is_busy() {
            return;
        }
        let origin = self.origin(0);
        let is_there = |folder: &Folder| self.attached.open().is_none_or(|open| folder.has(open));
        if !self.folder.as_ref().is_none_or(is_there) {
            self.look_for_attached();
        }
        let Some(folder) = &mut self.folder else { return };
        let limit = self.config.segment_bytes;
        if let Err(error) = self.attached.go_on(folder, &*self.disk, &origin, limit) {
            self.metrics.spool_failed();
            self.attached.give_up();
            tracing::warn!(%error, "reports that events name cannot be recorded");
        }
    }

    /// Looks whether what decisions name is still there. What is not is as good as never named: it is written
    /// again when it is named again.
    fn look_for_attached(&mut self) {
        let Some(folder) = &mut self.folder else { return };
        self.looked = self.clock.now();
        for index in folder.taken_away(Family::Attached, self.attached.open()) {
            tracing::error!(
                segment = index,
                path = %self.path.display(),
                "a segment with reports that events name was taken away"
            );
            self.metrics.spool_failed();
            self.attached.forget(index);
        }
    }

    /// Takes away what is too much or too old, and tells how much there is.
    fn keep_house(&mut self) {
        if (self.clock.now() - self.looked).unsigned_abs() >= IDLE {
            self.look_for_attached();
        }
        let Some(folder) = &mut self.folder else { return };
        let limit = (self.config.max_bytes / 2, self.config.max_age);
        let now = self.clock.now();
        let current = self.current.as_ref().map(|current| current.open.index);
        let mut gone = folder.trim(Family::Events, current, limit, now).len();
        let current = self.attached.open().map(|open| open.index);
        for index in folder.trim(Family::Attached, current, limit, now) {
            self.attached.forget(index);
            gone += 1;
        }
        let (bytes, oldest) = folder.size();
        self.metrics.spool_kept(bytes, oldest, gone);
    }

    /// Says that everything is written.
    fn end(&mut self) -> io::Result<()> {
        let origin = self.origin(self.shared.next());
        self.taken_back.retain(|number| !self.void.remove(number));
        if self.current.is_none() && self.gaps.is_empty() && self.taken_back.is_empty() {
            return Ok(());
        }
        self.ready(&origin)?;
        self.beside.clear();
        self.gaps.iter().for_each(|gap| gap.push(&mut self.beside));
        for number in &self.taken_back {
            frame::push(&mut self.beside, kind::TAKEN_BACK, *number, &[]);
        }
        frame::push(&mut self.beside, kind::END, origin.first, &[]);
        if let (Some(folder), Some(current)) = (&mut self.folder, &mut self.current) {
            folder.append(&mut current.open, &[&self.beside], origin.now)?;
        }
        Ok(())
    }
}

/// Notes decisions that are not in the record. Each will be taken back, and so they are few.
fn note_void(void: &mut HashSet<u64>, numbers: Vec<u64>) {
    if void.len() + numbers.len() > MAX_TAKEN_BACK {
        void.clear();
    }
    void.extend(numbers);
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}
