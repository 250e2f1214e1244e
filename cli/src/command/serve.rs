//! `portcullis serve`: runs the decision service until SIGTERM or SIGINT.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use portcullis_telemetry::Telemetry;
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

/// How much the threads that search stand back behind those that serve: what is known is answered before
/// what must be looked for, also when there is not enough processor for both. They still get a tenth.
const NICE: i32 = 10;

/// Lets the calling thread stand back behind those that serve.
pub(crate) fn stand_back() {
    let this = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(this), NICE) {
        tracing::debug!(%error, "a thread cannot stand back");
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { config, cloud } = args;
    let config = Config::read(&config, &cloud.into())?;
    let telemetry = Telemetry::begin("portcullis", &config.telemetry)?;
    // Before the service starts, so that no signal is missed.
    let (mut terminate, mut interrupt) = signals()?;
    let app = App::start(config, Arc::new(SystemClock)).await?;
    let is_told = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => false,
    };
    tracing::info!("stopping");
    // Whoever interrupts it sits before it, or has told it twice.
    if is_told {
        tokio::select! {
            () = app.drain() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
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
