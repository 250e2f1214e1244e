//! `portcullis evidence`: shows the chain from an image to who vouches for what is said of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use portcullis_client::Client;
use portcullis_proto::v1;
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use portcullis_server::events::spool::SpoolConfig;
use portcullis_server::hooks::config::HooksConfig;

use super::server;
use crate::args::{self, Output};
use crate::render;

/// Not all of the evidence is verified.
const NOT_VERIFIED: u8 = 2;
/// The registry did not say which image it is.
const NO_ANSWER: u8 = 1;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image as a pod would name it.
    image: String,
    #[command(flatten)]
    server: server::Args,
    /// Look from here instead, with the credentials and the trust of this configuration of a service.
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    config: Option<PathBuf>,
    /// A platform of an index to look at, as `os/architecture[/variant]`; may be repeated. All Linux ones
    /// unless it is given.
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<String>,
    /// How long to wait for the answer, in milliseconds.
    #[arg(long, default_value = "10000", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout: u64,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { image, server, config, platforms, timeout, output } = args;
    // Read here too, so that a mistyped name is named without a service.
    args::image(&image)?;
    let timeout = Duration::from_millis(timeout);
    let request = v1::GetEvidenceRequest { image, platforms };
    let answer = match config {
        Some(path) => from_here(Config::from_file(&path)?, timeout, request).await?,
        None => server.connect(timeout).await?.evidence(request).await?,
    };
    render::evidence::evidence(&answer, output)?;
    let verified = |manifest: &v1::InspectedManifest| {
        let status = manifest.evidence.as_ref().map(v1::Evidence::status);
        status == Some(v1::EvidenceStatus::Verified)
    };
    let is_found = answer.manifests.first().is_some_and(|own| !digest(own).is_empty());
    Ok(if is_all_verified(&answer, verified) {
        ExitCode::SUCCESS
    } else if !is_found {
        ExitCode::from(NO_ANSWER)
    } else {
        ExitCode::from(NOT_VERIFIED)
    })
}

fn digest(manifest: &v1::InspectedManifest) -> &str {
    manifest.evidence.as_ref().map_or("", |evidence| &evidence.digest)
}

/// An index needs no report of its own if each of its platforms has one.
fn is_all_verified(
    answer: &v1::GetEvidenceResponse,
    verified: impl Fn(&v1::InspectedManifest) -> bool,
) -> bool {
    match answer.manifests.split_first() {
        None => false,
        Some((own, [])) => verified(own),
        Some((own, platforms)) => verified(own) || platforms.iter().all(verified),
    }
}

/// Asks a service of its own, which listens on loopback for as long as this takes.
async fn from_here(
    config: Config,
    timeout: Duration,
    request: v1::GetEvidenceRequest,
) -> anyhow::Result<v1::GetEvidenceResponse> {
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config {
        listen: loopback,
        // Nobody else asks it.
        tls: None,
        admin: loopback,
        events: None,
        spool: SpoolConfig::default(),
        hooks: HooksConfig::default(),
        ..config
    };
    let app = App::start(config, Arc::new(SystemClock)).await?;
    let asked = async {
        let client = Client::connect(&format!("http://{}", app.address()), timeout).await?;
        client.evidence(request).await
    };
    let answer = asked.await;
    app.stop().await;
    Ok(answer?)
}
