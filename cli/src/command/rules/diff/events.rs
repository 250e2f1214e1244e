//! Event files in, their decisions out, each with the reports that it names.
//!
//! The files are read twice and never kept: first to learn where each report is, then decision by
//! decision. Of the reports a bounded number is kept at a time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use portcullis_core::evidence::{Evidence, Reports as Verified};
use portcullis_core::image::Digest;
use portcullis_core::simulate::recorded::{
    self, Attached, CannotTell, Kind, LineError, MAX_LINE, Recorded,
};

use super::Comparison;

/// The most bytes that evidence takes at a time.
const MAX_KEPT: usize = 256 * 1024 * 1024;

/// A line of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    /// From 1.
    pub(super) line: u64,
}

/// Event files that are open.
pub(super) struct Events {
    files: Vec<EventFile>,
    progress: ProgressBar,
}

struct EventFile {
    name: String,
    /// How long it was at the beginning: what is added meanwhile is left out.
    length: u64,
    file: File,
    /// The same, to be read from elsewhere meanwhile.
    reports: File,
}

impl Events {
    pub(super) fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let open = |path: &PathBuf| -> anyhow::Result<EventFile> {
            let name = path.display().to_string();
            let failed = || format!("failed to read `{name}`");
            // Asked before it is opened: to open a pipe waits for who writes to it.
            let metadata = fs::metadata(path).with_context(failed)?;
            anyhow::ensure!(metadata.is_file(), "`{name}` is not a file that can be read twice");
            let file = File::open(path).with_context(failed)?;
            let reports = File::open(path).with_context(failed)?;
            Ok(EventFile { name, length: metadata.len(), file, reports })
        };
        let files = paths.iter().map(open).collect::<anyhow::Result<Vec<_>>>()?;
        let total = files.iter().map(|file| file.length).sum::<u64>().saturating_mul(2);
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Ok(Self { files, progress: ProgressBar::new(total).with_style(style) })
    }

    /// Tells `comparison` of each decision, and of each line that cannot be read.
    pub(super) fn read(self, comparison: &mut Comparison) -> anyhow::Result<()> {
        self.progress.set_message("looking for reports");
        let mut reports =
            Reports { files: Vec::new(), places: HashMap::new(), kept: Kept::default() };
        for (number, file) in self.files.iter().enumerate() {
            reports.files.push(&file.reports);
            self.lines(file, |_, start, line| {
                // What cannot be read is told when it is read again.
                if let Ok(line) = line
                    && let Ok(Kind::Report(digest) | Kind::Vex(digest)) = recorded::kind(line)
                {
                    let length = line.len();
                    reports.places.insert(digest, At { file: number, start, length });
                }
            })?;
        }
        self.progress.set_message("deciding");
        for file in &self.files {
            self.lines(file, |place, _, line| {
                let read = line.and_then(|line| match recorded::kind(line)? {
                    Kind::Decision => Ok(Some(Some(Recorded::read(line)?))),
                    Kind::OldDecision => Ok(Some(None)),
                    // Reading each is the only way to say which cannot be read.
                    Kind::Report(_) => recorded::report(line).map(|_| None),
                    Kind::Vex(_) => recorded::statements(line).map(|_| None),
                });
                match read {
                    Ok(Some(Some(recorded))) => comparison.decision(place, &recorded, &mut reports),
                    Ok(Some(None)) => comparison.old_decision(place),
                    Ok(None) => {}
                    Err(error) => comparison.malformed(place, &error),
                }
            })?;
        }
        self.progress.finish_and_clear();
        Ok(())
    }

    /// Gives each line of `file` that is not empty, with its place and where it starts.
    fn lines(
        &self,
        file: &EventFile,
        mut each: impl FnMut(Place<'_>, u64, Result<&[u8], LineError>),
    ) -> anyhow::Result<()> {
        let failed = || format!("failed to read `{}`", file.name);
        let mut start = 0;
        (&file.file).seek(SeekFrom::Start(0)).with_context(failed)?;
        let mut reader = BufReader::with_capacity(1 << 16, (&file.file).take(file.length));
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = next_line(&mut reader, &mut line).with_context(failed)?;
            if length == 0 {
                break;
            }
            let place = Place { file: &file.name, line: number };
            if line.len() > MAX_LINE {
                each(place, start, Err(LineError::TooLong));
            } else if !line.iter().all(u8::is_ascii_whitespace) {
                each(place, start, Ok(&line));
            }
            start += length;
            self.progress.inc(length);
        }
        Ok(())
    }
}

/// Reads a line without its end, of a line that is too long one byte more than the bound, and gives
/// how many bytes it takes in the file.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let bound = MAX_LINE as u64 + 1;
    let mut length = reader.by_ref().take(bound).read_until(b'\n', line)? as u64;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if length == bound {
        length += skip_line(reader)?;
    }
    Ok(length)
}

/// Skips what is left of a line.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(length);
        skipped += length as u64;
        if end.is_some() || length == 0 {
            return Ok(skipped);
        }
    }
}

/// Where reports are, and those that were needed lately.
pub(super) struct Reports<'a> {
    files: Vec<&'a File>,
    places: HashMap<Digest, At>,
    kept: Kept,
}

/// Where a line is.
#[derive(Debug, Clone, Copy)]
struct At {
    file: usize,
    start: u64,
    length: usize,
}

#[derive(Default)]
struct Kept {
    evidence: HashMap<Attached, Arc<Evidence>>,
    weight: usize,
}

impl Reports<'_> {
    /// The evidence of what is attached to a manifest.
    pub(super) fn evidence(&mut self, attached: Attached) -> Result<Arc<Evidence>, CannotTell> {
        if let Some(known) = self.kept.evidence.get(&attached) {
            return Ok(Arc::clone(known));
        }
        let report = |digest: &Digest| {
            let line = self.line(*digest).ok_or(CannotTell::Report(*digest))?;
            recorded::report(&line).map(Arc::new).map_err(|_| CannotTell::Report(*digest))
        };
        let reports = attached.reports.iter().map(report).collect::<Result<_, _>>()?;
        let document = |digest: &Digest| {
            let line = self.line(*digest).ok_or(CannotTell::Vex(*digest))?;
            recorded::statements(&line).map(Arc::new).map_err(|_| CannotTell::Vex(*digest))
        };
        let vex = attached.vex.iter().map(document).collect::<Result<_, _>>()?;
        let evidence = Arc::new(Evidence::Verified(Verified::new(reports, vex)));
        let weight = evidence.weight();
        if self.kept.weight.saturating_add(weight) > MAX_KEPT {
            self.kept = Kept::default();
        }
        self.kept.weight += weight;
        self.kept.evidence.insert(attached, Arc::clone(&evidence));
        Ok(evidence)
    }

    /// The line of a report; `None` if there is none, or it cannot be read.
    fn line(&self, digest: Digest) -> Option<Vec<u8>> {
        let At { file, start, length } = *self.places.get(&digest)?;
        let mut file = *self.files.get(file)?;
        let mut line = vec![0; length];
        file.seek(SeekFrom::Start(start)).ok()?;
        file.read_exact(&mut line).ok()?;
        Some(line)
    }
}
