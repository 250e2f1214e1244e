//! `portcullis shim`: runs the admission webhook until SIGTERM or SIGINT.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use portcullis_core::ports::Clock as _;
use portcullis_server::clock::SystemClock;
use portcullis_shim::app::App;
use portcullis_shim::config::Config;
use portcullis_telemetry::Telemetry;

use super::serve::signals;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration, a YAML file: see docs/configuration.md.
    #[arg(long, env = "PORTCULLIS_SHIM_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { config } = args;
    // The allocator asks for pages of 2 MiB, of each of which a shim at rest uses little.
    let small = rustix::thread::disable_transparent_huge_pages(true);
    let config = Config::read(&config)?;
    let telemetry = Telemetry::begin("portcullis-shim", &config.telemetry)?;
    if let Err(error) = small {
        tracing::warn!(%error, "pages of memory stay huge: the shim holds more than it needs");
    }
    // Before the shim starts, so that no signal is missed.
    let (mut terminate, mut interrupt) = signals()?;
    let app = App::start(config, Arc::new(|| SystemClock.now().into())).await?;
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
