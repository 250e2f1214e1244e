//! `portcullis explain`: asks a decision service about one image, and why.

use std::process::ExitCode;

use super::check::{self, DENIED, Detail};
use crate::render;

// The group is that of the arguments which it shares.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    check: check::Args,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { check } = args;
    let output = check.output();
    let checked = check::asked(check, Detail::Explained).await?;
    let Some(explanation) = &checked.decision.explanation else {
        anyhow::bail!("the service answered without an explanation; is it of another version?");
    };
    render::explain::explanation(&checked, explanation, output)?;
    let denied = checked.action() == portcullis_proto::v1::Action::Deny;
    Ok(if denied { ExitCode::from(DENIED) } else { ExitCode::SUCCESS })
}
