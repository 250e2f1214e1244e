//! The command line in, what to do out.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::process::Cores;
use crate::run::Baseline;
use crate::scenario::Span;

/// Puts a decision service under load, failure and change, and says what it gave.
#[derive(Debug, Parser)]
#[command(name = "portcullis-loadtest", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Carries out scenarios, and fails where an objective is missed.
    Run(Box<RunArgs>),
    /// Lists the scenarios that come with the program.
    List,
    /// Compares two runs, and fails where the second is worse.
    Compare(CompareArgs),
    /// Serves a registry with signed reports alone, until it is interrupted.
    Registry(RegistryArgs),
    /// Serves the bare echo alone, of gRPC or HTTPS.
    Echo(EchoArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Scenarios, by name or as a file.
    #[arg(required = true, value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<String>,
    /// The `portcullis` that is measured. Beside this program where it is not said.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) serve: Option<PathBuf>,
    /// A service that runs already, in place of --serve. It must know the registry.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "serve")]
    pub(crate) target: Option<SocketAddr>,
    /// A folder to write configuration, trust and rules to, for whoever begins the --target: it is
    /// waited for.
    #[arg(long, requires = "target", value_name = "FOLDER")]
    pub(crate) write_config: Option<PathBuf>,
    /// Allows a --target that is another machine.
    #[arg(long, requires = "target")]
    pub(crate) target_is_meant: bool,
    /// Whether a bare echo of gRPC, or of HTTPS beside a shim, is measured in turn.
    #[arg(long, value_enum, default_value = "echo")]
    pub(crate) baseline: Baseline,
    /// Cores that what is measured and the echo run on, such as `0` or `0,1`: the service, or the shim where
    /// there is one.
    #[arg(long, value_name = "CORES")]
    pub(crate) server_core: Option<Cores>,
    /// Cores that the harness and its registry run on, and the service where a shim is before it.
    #[arg(long, value_name = "CORES")]
    pub(crate) client_core: Option<Cores>,
    /// Where the registry listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) registry: SocketAddr,
    /// How many images the registry holds, in place of what the scenario says.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) digests: Option<u32>,
    /// How many findings each report has, in place of what the scenario says.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) findings: Option<u32>,
    /// How long each phase is, in place of what the scenario says.
    #[arg(long, value_name = "DURATION")]
    pub(crate) duration: Option<Span>,
    /// Counts and spans of the scenario times this.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub(crate) scale: f64,
    /// Reads each answer, and counts what it says.
    #[arg(long)]
    pub(crate) check: bool,
    /// What is written to standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
    /// A file to write the JSON document to, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// A file to write a page for people to, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// This program, where another one runs it.
    #[arg(long, hide = true)]
    pub(crate) echo_program: Option<PathBuf>,
    /// Says nothing of how it goes.
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// What `run --output json` wrote before.
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,
    /// What it wrote after.
    #[arg(value_name = "AFTER")]
    pub(crate) after: PathBuf,
    /// By which part a figure may be worse: 0.1 is a tenth.
    #[arg(long, value_name = "PART", default_value_t = 0.1)]
    pub(crate) tolerance: f64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RegistryArgs {
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    pub(crate) listen: SocketAddr,
    /// How many images it holds.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) digests: u32,
    /// How many findings each report has.
    #[arg(long, default_value_t = 100)]
    pub(crate) findings: u32,
    /// What everything is made from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// A folder to write a configuration, trust and rules for a service to.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) write_config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EchoArgs {
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// How long its replies are.
    #[arg(long, default_value_t = 500)]
    pub(crate) reply_bytes: usize,
    /// Speaks HTTPS and not gRPC, with the `tls.crt` and `tls.key` of a folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) https: Option<PathBuf>,
}
