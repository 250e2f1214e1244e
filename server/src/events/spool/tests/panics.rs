//! Faults of ours while decisions are written (CASES T141, T163).

use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;

use super::super::disk::{Disk, FileSystem, Out};
use super::*;

/// Where the next panic is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A file is made.
    Create,
    /// Half of it is written.
    Write,
    /// All of it is written, and nobody said that it is kept.
    Sync,
}

/// A disk of this machine, in whose ways our code panics.
#[derive(Clone, Default)]
struct Breaking(Arc<Mutex<Option<Place>>>);

struct Broken {
    out: Box<dyn Out>,
    breaking: Breaking,
}

impl Breaking {
    fn next(&self, place: Place) {
        *self.0.lock() = Some(place);
    }

    fn pass(&self, place: Place) {
        let is_here = self.0.lock().take_if(|next| *next == place).is_some();
        assert!(!is_here, "a fault that was put here");
    }
}

impl Disk for Breaking {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Out>> {
        self.pass(Place::Create);
        Ok(Box::new(Broken { out: FileSystem.create(path)?, breaking: self.clone() }))
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        FileSystem.cut(path, length)
    }
}

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (half, _) = bytes.split_at(bytes.len().div_ceil(2));
        let written = self.out.write(half)?;
        self.breaking.pass(Place::Write);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Out for Broken {
    fn sync(&mut self) -> io::Result<()> {
        self.breaking.pass(Place::Sync);
        self.out.sync()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.out.cut(length)
    }
}

const PANICS: &str = "portcullis_panics_total{what=\"record\"}";

/// A decision that names no report: what comes to the disk for it is in the record alone.
#[track_caller]
fn awaited(run: &Run, pod: &str) -> oneshot::Receiver<()> {
    run.spool.record_awaited(&Fixture::deny(pod).made()).unwrap().1
}

#[test]
fn t141_a_panic_costs_what_was_being_written_and_the_record_goes_on() {
    for place in [Place::Create, Place::Write, Place::Sync] {
        let site = Site::new();
        let breaking = Breaking::default();
        let run = site.start_on(breaking.clone());
        if place != Place::Create {
            awaited(&run, "before").blocking_recv().unwrap();
        }
        breaking.next(place);
        // Who waits for a record hears at once that there is none.
        assert!(awaited(&run, "lost").blocking_recv().is_err());
        assert_eq!(run.counted(PANICS), 1);
        awaited(&run, "after").blocking_recv().unwrap();
        run.deny("later").unwrap();
        let dropped = run.counted("portcullis_events_dropped_total");
        assert_eq!((dropped, run.counted("portcullis_events_failures_total")), (1, 1));
        run.stop();
        let pods: Vec<_> = site.lines(0).iter().map(|line| line["pod"].clone()).collect();
        assert!(!pods.contains(&"lost".into()), "{pods:?}");
        assert_eq!(&pods[pods.len() - 2..], ["after", "later"]);
        // What was not written is told of as a gap, and the record is whole otherwise.
        let verdict = site.verify();
        assert!(verdict.is_whole() && verdict.told == 1, "{verdict:?}");
        assert_eq!((verdict.decisions, verdict.open_ended), (pods.len() as u64, 0), "{verdict:?}");
        assert_eq!(verdict.gaps[0].why, Some("failed"));
    }
}

#[test]
fn t141_a_panic_in_the_last_write_is_told_of_at_the_end() {
    let site = Site::new();
    let breaking = Breaking::default();
    let run = site.start_on(breaking.clone());
    awaited(&run, "before").blocking_recv().unwrap();
    breaking.next(Place::Sync);
    run.deny("lost").unwrap();
    run.stop();
    let verdict = site.verify();
    assert!(verdict.is_whole() && verdict.told == 1, "{verdict:?}");
    assert_eq!((verdict.decisions, verdict.open_ended), (1, 0), "{verdict:?}");
}

/// Panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a fault that was put here");
    }
}

#[test]
fn t141_what_is_on_disk_when_it_panics_is_not_told_of_as_lost() {
    let site = Site::new();
    let gate = Gate::shut();
    let run = site.start_on(Faults { gate: Some(gate.clone()), ..Faults::default() });
    let mut awaited = pin!(run.awaited("kept").unwrap());
    let waker = Waker::from(Arc::new(Bomb));
    let asked = awaited.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(asked.is_pending());
    gate.open();
    eventually(|| run.counted(PANICS) == 1);
    run.awaited("after").unwrap().blocking_recv().unwrap();
    assert_eq!(run.counted("portcullis_events_dropped_total"), 0);
    assert_eq!(run.counted("portcullis_events_written_total"), 2);
    run.stop();
    let verdict = site.verify();
    assert!(verdict.is_whole() && verdict.told == 0, "{verdict:?}");
    assert_eq!(site.lines(0).len(), 2);
}
