//! A folder, a disk with faults, and decisions to record.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use portcullis_core::decide::{Context, Decision, decide};
use portcullis_core::event::frame::{self, Found, Frames};
use portcullis_core::event::stored::Made;
use portcullis_core::evidence::{Evidence, Report, Source, Subject};
use portcullis_core::findings::{Findings, Scanner};
use portcullis_core::image::{Digest, Reference};
use portcullis_core::policy::{self, Policy};
use portcullis_core::ports::Clock;
use portcullis_core::signature::Signer;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::sync::oneshot;

use super::super::disk::{Disk, FileSystem, Out};
use super::super::segment::{Family, HEADER};
use super::super::{Entry, Reader, Spool, SpoolConfig, Verdict, folder, verify};
use crate::metrics::Metrics;

pub(super) const START: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(super) fn policy() -> Policy {
    let text = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {rules: [{name: r, action: deny, \
                blockUnscannedImages: true}]}";
    let text = text.to_owned();
    policy::parse(&[policy::Source { file: "r".to_owned(), text }]).unwrap()
}

/// What there is to say about a decision.
pub(super) struct Fixture {
    image: Reference,
    subjects: Vec<Subject>,
    ctx: Context,
    decision: Decision,
}

impl Fixture {
    pub(super) fn allow(pod: &str) -> Self {
        Self::large(pod, 0)
    }

    /// The same with a report that weighs so much, and is one of its own.
    pub(super) fn large(pod: &str, weight: usize) -> Self {
        let scanner = Scanner { name: "trivy".to_owned(), version: None };
        let signer = Signer {
            subject: format!("CN=scanner{}", "x".repeat(weight)),
            fingerprint: "ab".to_owned(),
            policy: "all".to_owned(),
            signed_at: Some(START),
        };
        let report = Report {
            digest: digest(if weight == 0 { "report" } else { pod }),
            signer: Arc::new(signer),
            findings: Findings::new(scanner, START, Vec::new()),
            notices: Vec::new(),
        };
        Self::new(pod, Evidence::verified(vec![Arc::new(report)]))
    }

    pub(super) fn deny(pod: &str) -> Self {
        Self::new(pod, Evidence::Missing)
    }

    fn new(pod: &str, evidence: Evidence) -> Self {
        let image: Reference = "reg.example/team/app:v1".parse().unwrap();
        let ctx = Context {
            cluster: "prod-1".to_owned(),
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            ..Context::default()
        };
        let subjects = vec![Subject {
            digest: Some(digest("image")),
            platform: None,
            evidence: Arc::new(evidence),
            fetched_at: START,
            source: Source::Memory,
        }];
        let decision = decide(&policy(), &image, &subjects, &ctx, START);
        Self { image, subjects, ctx, decision }
    }

    pub(super) fn made(&self) -> Made<'_> {
        let Self { image, subjects, ctx, decision } = self;
        let took = Duration::from_micros(3);
        Made { time: START, took, image, subjects, ctx, container: "main", decision }
    }
}

/// Lets a disk go on or not.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<(Mutex<(bool, u64)>, Condvar)>);

impl Gate {
    pub(super) fn shut() -> Self {
        let gate = Self::default();
        gate.0.0.lock().0 = true;
        gate
    }

    pub(super) fn open(&self) {
        self.0.0.lock().0 = false;
        self.0.1.notify_all();
    }

    /// Returns when someone stands before it.
    pub(super) fn wait_for_one(&self) {
        let mut state = self.0.0.lock();
        self.0.1.wait_while(&mut state, |(_, waiting)| *waiting == 0);
    }

    fn pass(&self) {
        let mut state = self.0.0.lock();
        state.1 += 1;
        self.0.1.notify_all();
        self.0.1.wait_while(&mut state, |(shut, _)| *shut);
        state.1 -= 1;
    }
}

/// A disk of this machine with faults.
#[derive(Clone, Default)]
pub(super) struct Faults {
    /// How many bytes it takes in all.
    pub(super) quota: Option<Arc<AtomicU64>>,
    /// Whether it fails to keep what was written.
    pub(super) forgets: Arc<AtomicBool>,
    /// Whether nothing can be cut off.
    pub(super) uncut: Arc<AtomicBool>,
    /// Where it hangs before it keeps what was written.
    pub(super) gate: Option<Gate>,
}

struct Faulty {
    out: Box<dyn Out>,
    faults: Faults,
}

impl Disk for Faults {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        let out = FileSystem.create(path)?;
        Ok(Box::new(Faulty { out, faults: self.clone() }))
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        self.may_cut()?;
        FileSystem.cut(path, length)
    }
}

impl Faults {
    fn may_cut(&self) -> io::Result<()> {
        let uncut = self.uncut.load(Ordering::SeqCst);
        if uncut { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(quota) = &self.faults.quota else { return self.out.write(bytes) };
        let left = quota.load(Ordering::SeqCst);
        let some = bytes.len().min(usize::try_from(left).unwrap());
        if some == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        quota.store(left - some as u64, Ordering::SeqCst);
        self.out.write(&bytes[..some])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Out for Faulty {
    fn sync(&mut self) -> io::Result<()> {
        if let Some(gate) = &self.faults.gate {
            gate.pass();
        }
        if self.faults.forgets.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk lost what was written"));
        }
        self.out.sync()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.faults.may_cut()?;
        self.out.cut(length)
    }
}

/// A folder in which services run one after the other.
pub(super) struct Site {
    root: tempfile::TempDir,
    pub(super) config: SpoolConfig,
    pub(super) clock: Arc<At>,
}

/// A clock that is set.
pub(super) struct At(Mutex<OffsetDateTime>);

impl At {
    pub(super) fn forward(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for At {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock()
    }
}

impl Site {
    pub(super) fn new() -> Self {
        let config = SpoolConfig { sync: Duration::from_millis(1), ..SpoolConfig::default() };
        let clock = Arc::new(At(Mutex::new(OffsetDateTime::now_utc())));
        Self { root: tempfile::tempdir().unwrap(), config, clock }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.root.path().join("events")
    }

    pub(super) fn start(&self) -> Run {
        self.start_at(START)
    }

    pub(super) fn start_at(&self, start: OffsetDateTime) -> Run {
        self.run(start, Box::new(FileSystem))
    }

    pub(super) fn start_on(&self, disk: impl Disk + 'static) -> Run {
        self.run(START, Box::new(disk))
    }

    fn run(&self, start: OffsetDateTime, disk: Box<dyn Disk>) -> Run {
        let metrics = Arc::new(Metrics::new());
        let (config, clock) = (self.config.clone(), self.clock.clone());
        let (spool, writer) =
            Spool::with_disk(config, self.folder(), start, clock, Arc::clone(&metrics), disk);
        let writer = std::thread::spawn(move || writer.run());
        Run { spool, metrics, writer }
    }

    /// The lines of the decisions from number `from` on.
    pub(super) fn lines(&self, from: u64) -> Vec<Value> {
        let mut lines = Vec::new();
        let read = |entry: Entry<'_>| {
            if let Entry::Decision { seq, run, stored, known } = entry {
                let id = format!("{run:x}-{seq}");
                let line = stored.line(&id, seq, |name| known.get(&name));
                lines.push(serde_json::to_value(line).unwrap());
            }
        };
        Reader::new(self.folder(), from).advance(read).unwrap();
        lines
    }

    pub(super) fn verify(&self) -> Verdict {
        verify(self.folder()).unwrap()
    }

    /// Names of the segments with decisions, oldest first.
    pub(super) fn segments(&self) -> Vec<String> {
        let found = folder::list(&self.folder()).unwrap();
        let own = found.into_iter().filter(|(family, ..)| *family == Family::Events);
        own.map(|(.., path)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// The segments with reports, oldest first.
    pub(super) fn attachments(&self) -> Vec<PathBuf> {
        let found = folder::list(&self.folder()).unwrap();
        let own = found.into_iter().filter(|(family, ..)| *family == Family::Attached);
        own.map(|(.., path)| path).collect()
    }

    /// How many records of reports there are.
    pub(super) fn attached(&self) -> usize {
        let records = |path| Frames::new(&fs::read(path).unwrap(), HEADER).count();
        self.attachments().into_iter().map(records).sum()
    }

    /// The bytes of the newest segment with decisions, and where it is.
    pub(super) fn newest(&self) -> (PathBuf, Vec<u8>) {
        let path = self.folder().join(self.segments().last().unwrap());
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    /// Takes a record out of the newest segment, and leaves the rest as good as it is.
    pub(super) fn without(&self, kind: u8, number: u64) {
        let (path, bytes) = self.newest();
        let mut rest = bytes[..HEADER].to_vec();
        for found in Frames::new(&bytes, HEADER) {
            let Found::Record(record) = found else { panic!("{found:?}") };
            if (record.kind, record.number) != (kind, number) {
                frame::push(&mut rest, record.kind, record.number, record.body);
            }
        }
        assert!(rest.len() < bytes.len());
        fs::write(path, rest).unwrap();
    }
}

/// A service that records.
pub(super) struct Run {
    pub(super) spool: Spool,
    pub(super) metrics: Arc<Metrics>,
    writer: JoinHandle<()>,
}

impl Run {
    pub(super) fn allow(&self, pod: &str) -> Result<u64, u64> {
        self.record(&Fixture::allow(pod))
    }

    pub(super) fn deny(&self, pod: &str) -> Result<u64, u64> {
        self.record(&Fixture::deny(pod))
    }

    fn record(&self, fixture: &Fixture) -> Result<u64, u64> {
        self.spool.record(&fixture.made()).inspect_err(|_| self.metrics.event_dropped())
    }

    pub(super) fn awaited(&self, pod: &str) -> Result<oneshot::Receiver<()>, u64> {
        self.spool.record_awaited(&Fixture::allow(pod).made()).map(|(_, receiver)| receiver)
    }

    pub(super) fn counted(&self, name: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let values = text.lines().filter(|line| !line.starts_with('#') && line.starts_with(name));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Returns when so many are on disk.
    pub(super) fn written(&self, count: u64) {
        eventually(|| self.counted("portcullis_events_written_total") >= count);
    }

    pub(super) fn stop(self) {
        let Self { spool, metrics: _, writer } = self;
        drop(spool);
        writer.join().unwrap();
    }
}

/// Waits for what comes in time, however long that is.
pub(super) fn eventually(mut happened: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it did not happen");
}

pub(super) fn seq(entry: &Entry<'_>) -> Option<u64> {
    match entry {
        Entry::Decision { seq, .. } => Some(*seq),
        _ => None,
    }
}
