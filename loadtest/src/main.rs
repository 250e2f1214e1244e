//! The `portcullis-loadtest` command.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use portcullis_loadtest::Args;

fn main() -> ExitCode {
    portcullis_loadtest::execute(Args::parse()).unwrap_or_else(|error| {
        // Nobody is left to hear that standard error is closed.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}
