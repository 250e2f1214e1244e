//! `portcullis rules check`: rule files in, their faults out.

use std::path::PathBuf;
use std::process::ExitCode;

use portcullis_core::policy::{self, Problem};
use portcullis_server::rules::rule_sources;
use time::OffsetDateTime;

use crate::args::Output;
use crate::render;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rule files, or folders with `.yaml` and `.yml` files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What was found in rule files.
#[derive(serde::Serialize)]
pub(crate) struct Verdict {
    /// Whether the rules can be used.
    pub(crate) usable: bool,
    /// How many rules there are.
    pub(crate) rules: usize,
    /// The revision that the policy would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    /// Why they cannot be used.
    pub(crate) errors: Vec<Problem>,
    /// What they do that may not be meant.
    pub(crate) warnings: Vec<Problem>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { files, output } = args;
    let sources = rule_sources(&files)?;
    anyhow::ensure!(!sources.is_empty(), "there is no `.yaml` or `.yml` file in what was named");
    let verdict = match policy::parse(&sources) {
        Ok(policy) => Verdict {
            usable: true,
            rules: policy.rules().len(),
            revision: Some(policy.revision().to_owned()),
            errors: Vec::new(),
            warnings: policy.warnings_at(OffsetDateTime::now_utc()),
        },
        Err(errors) => Verdict {
            usable: false,
            rules: 0,
            revision: None,
            errors: errors.problems().to_vec(),
            warnings: Vec::new(),
        },
    };
    render::verdict(&verdict, output)?;
    Ok(if verdict.usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
