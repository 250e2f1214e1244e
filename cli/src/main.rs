//! The one `portcullis` command.

use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod command;
mod render;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command could not do what it was asked.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        // Clap's own status for a wrong command line is 2, which is a denial here.
        Err(error) => {
            let told = error.print();
            let asked = !error.use_stderr() && told.is_ok();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
        }
    };
    let run = || -> anyhow::Result<ExitCode> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if matches!(args.command, args::Command::Serve(_)) {
            runtime.on_thread_start(command::serve::stand_back);
        }
        let runtime = runtime.enable_all().build()?;
        runtime.block_on(command::run(args))
    };
    run().unwrap_or_else(|error| {
        render::complain(&error);
        ExitCode::from(FAILED)
    })
}
