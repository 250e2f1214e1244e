//! One file per subcommand.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::args::{Args, Command};

pub(crate) mod attach;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod environment;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod explain;
mod login;
pub(crate) mod refresh;
pub(crate) mod rules;
pub(crate) mod serve;
pub(crate) mod server;
pub(crate) mod shim;

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Shim(args) => shim::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Evidence(args) => evidence::run(args).await,
        Command::Refresh(args) => refresh::run(args).await,
        Command::Attach(args) => attach::run(args).await,
        Command::Events(args) => events::run(*args).await,
        Command::Rules(command) => rules::run(command),
    }
}

/// A file of at most `limit` bytes.
fn read(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("failed to read `{}`", path.display());
    let file = fs::File::open(path).with_context(failed)?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).with_context(failed)?;
    anyhow::ensure!(
        bytes.len() <= limit,
        "`{}` is longer than the {limit} bytes allowed",
        path.display()
    );
    Ok(bytes)
}
