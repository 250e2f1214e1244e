//! One file per subcommand.

use std::process::ExitCode;

use crate::args::{Args, Command};

pub(crate) mod attach;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod rules;
pub(crate) mod serve;

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Attach(args) => attach::run(args).await,
        Command::Rules(command) => rules::run(command),
    }
}
