//! `portcullis demo`: a registry, signed images, the service and its answers, in one process.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use portcullis_client::Client;
use portcullis_proto::v1;
use portcullis_server::app::App;
use portcullis_server::clock::SystemClock;
use portcullis_server::config::Config;
use portcullis_server::registry::{HostConfig, RegistryConfig, Scheme};
use portcullis_server::rules::RulesConfig;
use portcullis_server::rules::trust::TrustConfig;
use portcullis_telemetry::{Telemetry, TelemetryConfig};
use portcullis_testkit::keys::Authority;
use portcullis_testkit::registry::Registry;
use portcullis_testkit::samples::{self, Sample};
use serde_json::json;
use time::OffsetDateTime;

use crate::args::Output;
use crate::command::check::ask;
use crate::render::{self, Checked};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Name of the demo's trust store.
const STORE: &str = "demo";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// End after the table.
    #[arg(long)]
    once: bool,
    /// How the answers are written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Where gRPC is served; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where metrics are served; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    admin: SocketAddr,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { once, output, listen, admin } = args;
    anyhow::ensure!(
        listen.ip().is_loopback(),
        "`{listen}` can be reached by others: the demo listens on loopback only"
    );
    // Decisions would be logged between the lines of the table.
    let filter = "warn".to_owned();
    let telemetry =
        Telemetry::begin("portcullis", &TelemetryConfig { filter, ..TelemetryConfig::default() })?;
    let folder = Folder::new()?;
    let now = OffsetDateTime::now_utc();
    let registry = Registry::start().await?;
    let authority = Authority::new("Portcullis demo root", now)?;
    let samples = samples::samples(&registry, &authority, now)?;
    let rules = folder.write(&registry, &authority)?;
    let app = App::start(config(&registry, rules, listen, admin), Arc::new(SystemClock)).await?;

    let url = format!("http://{}", app.address());
    let client = Client::connect(&url, TIMEOUT).await?;
    // Asked twice: the first answer comes from the registry, the second from memory.
    let first = ask_all(&client, &samples).await?;
    let second = ask_all(&client, &samples).await?;
    match output {
        Output::Json => {
            let checks = [render::json_checks(&first), render::json_checks(&second)].concat();
            render::json_document(&json!({ "checks": checks }))?;
        }
        Output::Table => {
            render::write(&legend(&samples))?;
            render::twice(&first, &second)?;
        }
    }
    if !once {
        if output == Output::Table {
            render::write(&hints(&app, &samples, &folder))?;
        }
        let (mut terminate, mut interrupt) = super::serve::signals()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    drop(client);
    app.stop().await;
    registry.stop().await;
    telemetry.end();
    Ok(ExitCode::SUCCESS)
}

async fn ask_all(client: &Client, samples: &[Sample]) -> anyhow::Result<Vec<Checked>> {
    let mut all = Vec::new();
    for sample in samples {
        let context = v1::Context {
            cluster: "demo".to_owned(),
            namespace: "default".to_owned(),
            ..v1::Context::default()
        };
        all.push(ask(client, &sample.reference, context).await?);
    }
    Ok(all)
}

/// A folder for the demo's rules and trust, so that a user can change them. Deleted at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("portcullis-demo-{}", std::process::id()));
        fs::create_dir_all(&path)
            .with_context(|| format!("failed to make the folder `{}`", path.display()))?;
        Ok(Self(path))
    }

    fn write(&self, registry: &Registry, authority: &Authority) -> anyhow::Result<RulesConfig> {
        let write = |path: &Path, text: &str| {
            fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
        };
        let rules = self.0.join("rules.yaml");
        write(&rules, samples::rules())?;
        let trust_policy = self.0.join("trustpolicy.json");
        write(&trust_policy, &authority.trust_policy_json("*", STORE)?)?;
        let trust_store = self.0.join("truststore");
        let store = trust_store.join("x509/ca").join(STORE);
        fs::create_dir_all(&store)?;
        write(&store.join("root.pem"), &authority.root_pem())?;
        write(&self.0.join("registry"), registry.host())?;
        Ok(RulesConfig {
            rules: vec![rules],
            trust: TrustConfig::Files { policy: trust_policy, store: Some(trust_store) },
            interval: Duration::from_secs(1),
            ..RulesConfig::default()
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the demo's folder is left behind");
        }
    }
}

fn config(
    registry: &Registry,
    rules: RulesConfig,
    listen: SocketAddr,
    admin: SocketAddr,
) -> Config {
    let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
    let hosts = BTreeMap::from([(registry.host().to_owned(), host)]);
    Config {
        listen,
        admin,
        rules,
        registry: RegistryConfig { hosts, ..RegistryConfig::default() },
        ..Config::default()
    }
}

/// What each image is, before what was decided about it.
fn legend(samples: &[Sample]) -> String {
    let width = samples.iter().map(|s| s.name.len()).max().unwrap_or_default();
    let mut text =
        "A registry on loopback holds these images, signed by a throw-away authority:\n\n"
            .to_owned();
    for Sample { name, shows, .. } in samples {
        text.push_str(&format!("  {name:width$}  {shows}\n"));
    }
    text.push('\n');
    text
}

/// How this program can be run again from here: it need not be on the path.
fn this_command() -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("portcullis"));
    let here = std::env::current_dir().ok();
    let near = here.and_then(|here| program.strip_prefix(here).ok().map(Path::to_owned));
    near.unwrap_or(program).display().to_string()
}

fn hints(app: &App, samples: &[Sample], folder: &Folder) -> String {
    let (address, admin) = (app.address(), app.admin_address());
    let image = samples
        .iter()
        .find(|sample| sample.name == "critical")
        .map(|sample| sample.reference.as_str())
        .unwrap_or_default();
    let rules = folder.0.join("rules.yaml");
    let command = this_command();
    format!(
        "
It stays up until Ctrl-C. Try in another terminal:

  {command} check {image} --server http://{address}
  {command} check {image} --server http://{address} --output json
  {command} explain {image} --server http://{address}
  curl http://{admin}/metrics
  grpcurl -plaintext -d '{{\"containers\":[{{\"name\":\"main\",\"image\":\"{image}\"}}]}}' \\
      {address} portcullis.v1.DecisionService/Check

The rules are in {}: change `deny` to `audit` there, and ask again.
",
        rules.display()
    )
}
