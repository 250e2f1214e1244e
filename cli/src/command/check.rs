//! `portcullis check`: asks a decision service about one image.

use std::process::ExitCode;
use std::time::Duration;

use portcullis_client::Client;
use portcullis_proto::v1;
use tokio::time::Instant;

use super::server;
use crate::args::{self, Output};
use crate::render::{self, Checked};

/// The image must not run.
pub(crate) const DENIED: u8 = 2;

/// How much an answer is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What was decided.
    Plain,
    /// Also why.
    Explained,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image as a pod would name it.
    image: String,
    #[command(flatten)]
    server: server::Args,
    /// The cluster that it would run in.
    #[arg(long, default_value = "", hide_default_value = true)]
    cluster: String,
    /// The namespace that it would run in.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// The workload, as `Kind/name`.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "KIND/NAME")]
    workload: String,
    /// The service account.
    #[arg(long, default_value = "", hide_default_value = true)]
    service_account: String,
    /// A label of the pod, as `key=value`; may be repeated.
    #[arg(long = "pod-label", value_name = "KEY=VALUE", value_parser = label)]
    pod_labels: Vec<(String, String)>,
    /// A platform of the nodes that it may run on, as `os/architecture[/variant]`; may be repeated. Of an
    /// index, only what these would pull is decided about.
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<String>,
    /// Why the image must run even if a rule denies it. It lifts the denial where the policy permits
    /// that, and is recorded.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    break_glass: Option<String>,
    /// How long to wait for the answer, in milliseconds.
    #[arg(long, default_value = "5000", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=30_000))]
    timeout: u64,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Args {
    pub(crate) const fn output(&self) -> Output {
        self.output
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected `key=value`".to_owned()),
    }
}

/// Somebody who means to give a reason and gives none must not learn it from a denial.
fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("expected a reason".to_owned()) } else { Ok(text.to_owned()) }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let output = args.output;
    let checked = asked(args, Detail::Plain).await?;
    let denied = checked.action() == v1::Action::Deny;
    render::checks(&[checked], output)?;
    Ok(if denied { ExitCode::from(DENIED) } else { ExitCode::SUCCESS })
}

/// Asks as the arguments say.
pub(crate) async fn asked(args: Args, detail: Detail) -> anyhow::Result<Checked> {
    let Args {
        image,
        server,
        cluster,
        namespace,
        workload,
        service_account,
        pod_labels,
        platforms,
        break_glass,
        timeout,
        output: _,
    } = args;
    // Read here too, so that a mistyped name is named without a service.
    args::image(&image)?;
    let (kind, name) = match workload.split_once('/') {
        Some((kind, name)) => (kind, name),
        None if workload.is_empty() => ("", ""),
        None => anyhow::bail!("`{workload}` is not a workload: expected `Kind/name`"),
    };
    let context = v1::Context {
        cluster,
        namespace,
        workload: Some(v1::Workload { kind: kind.to_owned(), name: name.to_owned() }),
        pod_labels: pod_labels.into_iter().collect(),
        service_account,
        break_glass: break_glass.unwrap_or_default(),
        platforms,
        ..v1::Context::default()
    };
    let client = server.connect(Duration::from_millis(timeout)).await?;
    ask_for(&client, &image, context, detail).await
}

/// Asks about one image and measures how long the answer takes.
pub(crate) async fn ask(
    client: &Client,
    image: &str,
    context: v1::Context,
) -> anyhow::Result<Checked> {
    ask_for(client, image, context, Detail::Plain).await
}

async fn ask_for(
    client: &Client,
    image: &str,
    context: v1::Context,
    detail: Detail,
) -> anyhow::Result<Checked> {
    let explain = detail == Detail::Explained;
    // Who wants to know why runs nothing: it is in no record, unless break-glass is to be used.
    let advised = explain && context.break_glass.is_empty();
    let purpose = if advised { v1::Purpose::Advice } else { v1::Purpose::Unspecified };
    let container = v1::Container { name: "main".to_owned(), image: image.to_owned() };
    let request = v1::CheckRequest {
        context: Some(context),
        containers: vec![container],
        explain,
        purpose: purpose.into(),
    };
    let asked = Instant::now();
    let mut answer = client.check(request).await?;
    let took = asked.elapsed();
    let decision = answer.decisions.pop().filter(|d| d.action() != v1::Action::Unspecified);
    let Some(decision) = decision else {
        anyhow::bail!("the service answered without a decision; is it of another version?");
    };
    Ok(Checked { asked: image.to_owned(), decision, took })
}
