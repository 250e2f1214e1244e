//! `portcullis refresh`: has a service look at images in their registries now.

use std::process::ExitCode;
use std::time::Duration;

use portcullis_proto::v1;

use super::server;
use crate::args::{self, Output};
use crate::render;

/// A registry did not tell.
const NOT_TOLD: u8 = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The images as a pod would name them.
    #[arg(required = true)]
    images: Vec<String>,
    #[command(flatten)]
    server: server::Args,
    /// A platform of an index to look at, as `os/architecture[/variant]`; may be repeated. All Linux ones
    /// unless it is given.
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<String>,
    /// How long to wait for each image, in milliseconds.
    #[arg(long, default_value = "10000", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout: u64,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { images, server, platforms, timeout, output } = args;
    // Before the first of them is asked about.
    for image in &images {
        args::image(image)?;
    }
    let client = server.connect(Duration::from_millis(timeout)).await?;
    let (mut answers, mut failed) = (Vec::with_capacity(images.len()), None);
    for image in images {
        let request = v1::RefreshRequest { image: image.clone(), platforms: platforms.clone() };
        match client.refresh(request).await {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                failed =
                    Some(anyhow::Error::new(error).context(format!("failed to refresh `{image}`")));
                break;
            }
        }
    }
    // What was done before one failed is done.
    if failed.is_none() || !answers.is_empty() {
        render::refresh::refreshed(&answers, output)?;
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    let mut manifests = answers.iter().flat_map(|answer| &answer.manifests);
    let told = manifests.all(|manifest| manifest.outcome != "failed");
    Ok(if told { ExitCode::SUCCESS } else { ExitCode::from(NOT_TOLD) })
}
