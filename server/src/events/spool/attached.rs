//! What decisions name in, a line for each report and VEX document once out.
//!
//! They have segments of their own, because they are large and many decisions name them: each is written
//! again only after the segment that has it is gone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use foldhash::fast::RandomState;
use portcullis_core::event::Line;
use portcullis_core::event::frame::{self, Found, Frames};
use portcullis_core::evidence::{Evidence, Report, Statements};
use portcullis_core::image::Digest;
use portcullis_core::simulate::recorded::MAX_LINE;

use super::disk::Disk;
use super::folder::{self, Folder, Open, Origin};
use super::kind;
use super::segment::{Family, HEADER};

/// Reports and VEX documents that wait to be written; another one is written when it is named again.
const MAX_PENDING: usize = 10_000;
/// What they weigh at most, in bytes of memory, unless it is one alone: nobody else may have them any more.
const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;
/// How many are remembered as written. When there are more, all are forgotten.
const MAX_WRITTEN: usize = 1_000_000;
/// How many bytes of them are written at a time, so that decisions do not wait behind them.
const ENOUGH: usize = 1024 * 1024;

/// Writes what decisions name.
#[derive(Default)]
pub(super) struct Attached {
    open: Option<Open>,
    /// Which segment has what.
    written: HashMap<Digest, u64, RandomState>,
    /// Another one whenever something that was written may be gone.
    epoch: u64,
    pending: VecDeque<Pending>,
    /// What waits, in bytes.
    weight: usize,
    queued: HashSet<Digest, RandomState>,
    /// Segments of former runs that were not looked at yet. Nothing is written before.
    unread: Vec<(u64, PathBuf)>,
    /// What is written next, kept for its room.
    bytes: Vec<u8>,
}

enum Pending {
    Report(Arc<Report>),
    Vex(Arc<Statements>),
}

impl Pending {
    fn digest(&self) -> Digest {
        match self {
            Self::Report(report) => report.digest,
            Self::Vex(document) => document.digest,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Report(report) => report.weight(),
            Self::Vex(document) => document.weight(),
        }
    }

    fn line(&self) -> Line<'_> {
        match self {
            Self::Report(report) => Line::from(&**report),
            Self::Vex(document) => Line::from(&**document),
        }
    }
}

impl Attached {
    /// Goes on in `folder`, of which nothing is known but what is found in it: another one that was there
    /// before may be gone with all that it had.
    pub(super) fn begin(&mut self, folder: &Folder) {
        self.open = None;
        self.written.clear();
        self.epoch += 1;
        self.unread = folder.of(Family::Attached);
    }

    /// What is different once something that was written may be gone.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Notes what `evidence` names. Whether all of that is written already, which stays so in this epoch.
    pub(super) fn note(&mut self, evidence: &Evidence) -> bool {
        let Evidence::Verified(reports) = evidence else { return true };
        let mut written = true;
        for report in reports.iter() {
            written &= self.add(report.digest, || Pending::Report(Arc::clone(report)));
        }
        for document in reports.vex() {
            written &= self.add(document.digest, || Pending::Vex(Arc::clone(document)));
        }
        written
    }

    /// Whether it is written already.
    fn add(&mut self, digest: Digest, pending: impl FnOnce() -> Pending) -> bool {
        if self.written.contains_key(&digest) {
            return true;
        }
        if self.queued.contains(&digest) || self.pending.len() >= MAX_PENDING {
            return false;
        }
        let pending = pending();
        let weight = self.weight.saturating_add(pending.weight());
        if self.pending.is_empty() || weight <= MAX_PENDING_BYTES {
            self.weight = weight;
            self.queued.insert(digest);
            self.pending.push_back(pending);
        }
        false
    }

    /// Whether there is something to do.
    pub(super) fn is_busy(&self) -> bool {
        !self.unread.is_empty() || !self.pending.is_empty()
    }

    /// The segment that is being written.
    pub(super) const fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// What waits is as good as never named.
    pub(super) fn give_up(&mut self) {
        self.open = None;
        self.pending.clear();
        self.queued.clear();
        self.weight = 0;
    }

    /// A segment is gone.
    pub(super) fn forget(&mut self, index: u64) {
        self.open.take_if(|open| open.index == index);
        self.written.retain(|_, own| *own != index);
        self.epoch += 1;
    }

    /// Does some of what there is to do.
    ///
    /// # Errors
    /// When it cannot be written. It is as good as never named then.
    pub(super) fn go_on(
        &mut self,
        folder: &mut Folder,
        disk: &dyn Disk,
        origin: &Origin,
        segment_bytes: u64,
    ) -> io::Result<()> {
        if let Some((index, path)) = self.unread.pop() {
            return self.learn(index, &path);
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        self.bytes.clear();
        let mut digests = Vec::new();
        while self.bytes.len() < ENOUGH
            && let Some(pending) = self.pending.pop_front()
        {
            let digest = pending.digest();
            self.queued.remove(&digest);
            self.weight = self.weight.saturating_sub(pending.weight());
            let start = frame::begin(&mut self.bytes, kind::ATTACHED, 0);
            self.bytes.extend_from_slice(digest.as_bytes());
            let from = self.bytes.len();
            let written = serde_json::to_writer(&mut self.bytes, &pending.line());
            if written.is_err() || self.bytes.len() - from > MAX_LINE - digest.as_bytes().len() {
                self.bytes.truncate(start);
                tracing::warn!(%digest, limit = MAX_LINE, "a report is too long to be recorded");
            }
            frame::end(&mut self.bytes, start);
            // It would be no shorter the next time.
            digests.push(digest);
        }
        frame::seal(&mut self.bytes, |_, _, _| {});
        let mut open = match self.open.take() {
            Some(open) if open.length < segment_bytes => open,
            _ => folder.begin(disk, Family::Attached, origin)?,
        };
        folder.append(&mut open, &[&self.bytes], origin.now)?;
        if self.written.len() + digests.len() > MAX_WRITTEN {
            self.written.clear();
            self.epoch += 1;
        }
        self.written.extend(digests.into_iter().map(|digest| (digest, open.index)));
        self.open = Some(open);
        Ok(())
    }

    /// Finds out what a segment of a former run has.
    fn learn(&mut self, index: u64, path: &std::path::Path) -> io::Result<()> {
        let bytes = folder::read(path)?;
        for found in Frames::new(&bytes, HEADER) {
            if let Found::Record(record) = found
                && record.kind == kind::ATTACHED
                && let Some(digest) = record.body.first_chunk()
                && self.written.len() < MAX_WRITTEN
            {
                self.written.insert(Digest::from_bytes(*digest), index);
            }
        }
        // What is there already need not be written again.
        let written = &self.written;
        self.pending.retain(|pending| !written.contains_key(&pending.digest()));
        self.queued.retain(|digest| !written.contains_key(digest));
        self.weight = self.pending.iter().map(Pending::weight).sum();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::findings::{Findings, Scanner};
    use portcullis_core::signature::Signer;
    use time::OffsetDateTime;

    use super::*;

    fn report(digest: Digest, subject: String) -> Report {
        let signer =
            Signer { subject, fingerprint: String::new(), policy: String::new(), signed_at: None };
        let scanner = Scanner { name: "trivy".to_owned(), version: None };
        let findings = Findings::new(scanner, OffsetDateTime::UNIX_EPOCH, Vec::new());
        Report { digest, signer: Arc::new(signer), findings, notices: Vec::new() }
    }

    #[test]
    fn what_a_segment_had_is_as_good_as_never_named_once_it_is_gone() {
        let (mut attached, digest) = (Attached::default(), Digest::of(b"report"));
        let evidence = Evidence::verified(vec![Arc::new(report(digest, String::new()))]);
        assert!(!attached.note(&evidence));
        // Named again, it waits still, and only once.
        assert!(!attached.note(&evidence));
        assert_eq!(attached.pending.len(), 1);
        attached.give_up();
        attached.written.insert(digest, 7);
        let epoch = attached.epoch();
        assert!(attached.note(&evidence) && attached.note(&Evidence::Missing));
        assert_eq!((attached.pending.len(), attached.epoch()), (0, epoch));
        attached.forget(7);
        assert_ne!(attached.epoch(), epoch);
        assert!(!attached.note(&evidence));
        assert_eq!(attached.pending.len(), 1);
    }

    #[test]
    fn one_report_past_those_that_wait_is_taken_when_it_is_named_again() {
        let mut attached = Attached::default();
        let named = |n: usize| {
            let report = report(Digest::of(&n.to_be_bytes()), String::new());
            Evidence::verified(vec![Arc::new(report)])
        };
        for n in 0..MAX_PENDING {
            assert!(!attached.note(&named(n)));
        }
        assert_eq!(attached.pending.len(), MAX_PENDING);
        assert!(!attached.note(&named(MAX_PENDING)));
        assert_eq!((attached.pending.len(), attached.queued.len()), (MAX_PENDING, MAX_PENDING));
        attached.give_up();
        assert!(!attached.note(&named(MAX_PENDING)));
        assert_eq!(attached.pending.len(), 1);
    }

    #[test]
    fn reports_that_wait_are_few_bytes_whatever_each_weighs() {
        let signer = "x".repeat(MAX_PENDING_BYTES / 2);
        let mut attached = Attached::default();
        for n in 0..3_u8 {
            let report = report(Digest::of(&[n]), signer.clone());
            attached.note(&Evidence::verified(vec![Arc::new(report)]));
        }
        // The second would be beyond, and so is the third; each is taken when it is named again.
        assert_eq!((attached.pending.len(), attached.queued.len()), (1, 1));
        attached.give_up();
        assert_eq!((attached.pending.len(), attached.weight), (0, 0));
    }
}
