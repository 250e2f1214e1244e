//! `portcullis serve`: runs the decision service until SIGTERM or SIGINT.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use portcullis_server::telemetry::Telemetry;
use tokio::signal::unix::{SignalKind, signal};

use crate::command::environment::Cloud;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration, a YAML file: see docs/configuration.md.
    #[arg(long, env = "PORTCULLIS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    cloud: Cloud,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { config, cloud } = args;
    let config = Config::read(&config, &cloud.into())?;
    let telemetry = Telemetry::begin(&config.telemetry)?;
    // Before the service starts, so that no signal is missed.
    let (mut terminate, mut interrupt) = signals()?;
    let app = App::start(config, Arc::new(SystemClock)).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    app.stop().await;
    tokio::task::spawn_blocking(|| telemetry.end()).await?;
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT.
pub(crate) fn signals() -> anyhow::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>
{
    let listen = |kind| signal(kind).context("failed to listen for signals");
    Ok((listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?))
}
