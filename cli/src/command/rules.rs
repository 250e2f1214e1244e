//! `portcullis rules`: works with rule files.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use portcullis_core::policy::{self, Policy};
use portcullis_server::rules::rule_sources;

use crate::render;

pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod test;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check rule files: faults are shown with line and column. Exit status: 0 usable, 1 not.
    Check(check::Args),
    /// Decide cases by rules, without a service, and compare with what is expected. Exit status: 0
    /// all as expected, 1 not.
    Test(test::Args),
    /// Decide recorded decisions again by old and by new rules, and show which would change. Exit
    /// status: 0 compared, 1 not.
    Diff(diff::Args),
    /// Print the JSON Schema of rule files, by which editors complete and check them.
    Schema,
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => check::run(args),
        Command::Test(args) => test::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Schema => {
            render::json_document(&policy::schema())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The policy of rule files, or of folders of them.
fn policy(paths: &[PathBuf]) -> anyhow::Result<Policy> {
    let sources = rule_sources(paths)?;
    anyhow::ensure!(!sources.is_empty(), "there is no `.yaml` or `.yml` file in what was named");
    policy::parse(&sources).context("the rules cannot be used")
}
