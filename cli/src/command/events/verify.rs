//! `portcullis events verify`: a record in, what is missing from it out.

use std::process::ExitCode;

use portcullis_server::events::spool;

use super::Place;
use crate::args::Output;
use crate::render;

/// Something is missing or damaged.
const INCOMPLETE: u8 = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { place, output } = args;
    let verdict = spool::verify(place.folder()?)?;
    render::events::verdict(&verdict, output)?;
    Ok(if verdict.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}
