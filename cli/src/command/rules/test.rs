//! `portcullis rules test`: rules and cases in, which cases are decided as expected out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use portcullis_core::findings::MAX_REPORT;
use portcullis_core::policy::{MAX_FILE, Problem, Source};
use portcullis_core::simulate::cases::{self, Case, Difference, Found};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::Output;
use crate::render;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rule files, or folders with `.yaml` and `.yml` files.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Files of cases. The reports that they name are read beside them; signatures are not verified.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    cases: Vec<PathBuf>,
    /// When cases are decided that do not say it, as `2026-08-01T12:00:00Z`. [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<OffsetDateTime>,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "expected a time like `2026-08-01T12:00:00Z`".to_owned())
}

/// What became of all cases.
#[derive(serde::Serialize)]
pub(crate) struct Tested {
    /// How many were decided as expected.
    pub(crate) passed: usize,
    /// How many were not.
    pub(crate) failed: usize,
    /// Why files of cases cannot be used: then no case is decided.
    pub(crate) errors: Vec<Problem>,
    /// Each case, in the order of the files.
    pub(crate) cases: Vec<Outcome>,
}

/// What became of one case.
#[derive(serde::Serialize)]
pub(crate) struct Outcome {
    /// The file that it is in.
    pub(crate) file: String,
    /// The line that it begins at.
    pub(crate) line: u32,
    /// Its name.
    pub(crate) name: String,
    /// The image.
    pub(crate) image: String,
    /// Whether it was decided as expected.
    pub(crate) passed: bool,
    /// How it was not.
    pub(crate) differences: Vec<Difference>,
    /// What was decided.
    pub(crate) found: Found,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { rules, cases, time, output } = args;
    let policy = super::policy(&rules)?;
    let now = time.unwrap_or_else(OffsetDateTime::now_utc);
    let mut tested = Tested { passed: 0, failed: 0, errors: Vec::new(), cases: Vec::new() };
    for path in &cases {
        match read(path, now)? {
            Ok(cases) => {
                let file = path.display().to_string();
                let outcomes = cases.into_iter().map(|case| {
                    let found = case.decide(&policy);
                    Outcome::new(&file, case, found)
                });
                tested.cases.extend(outcomes);
            }
            Err(problems) => tested.errors.extend(problems),
        }
    }
    if !tested.errors.is_empty() {
        tested.cases.clear();
    }
    tested.passed = tested.cases.iter().filter(|outcome| outcome.passed).count();
    tested.failed = tested.cases.len() - tested.passed;
    render::rules::tested(&tested, output)?;
    let good = tested.failed == 0 && tested.errors.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Outcome {
    fn new(file: &str, case: Case, found: Found) -> Self {
        let differences = case.expected.differences(&found);
        Self {
            file: file.to_owned(),
            line: case.line,
            name: case.name,
            image: case.image.to_string(),
            passed: differences.is_empty(),
            differences,
            found,
        }
    }
}

/// The cases of a file, or what is wrong with them.
fn read(path: &Path, now: OffsetDateTime) -> anyhow::Result<Result<Vec<Case>, Vec<Problem>>> {
    let text = String::from_utf8(crate::command::read(path, MAX_FILE)?)
        .with_context(|| format!("`{}` is not UTF-8 text", path.display()))?;
    let source = Source { file: path.display().to_string(), text };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut open = |name: &str| Ok(crate::command::read(&folder.join(name), MAX_REPORT)?);
    Ok(cases::parse(&source, now, &mut open))
}
