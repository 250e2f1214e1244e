//! The command line: each subcommand owns its arguments.

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use portcullis_core::image::Reference;

use crate::command::{attach, check, demo, events, evidence, explain, refresh, rules, serve, shim};

/// Decides, from signed vulnerability findings, whether container images may run.
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show everything working: a registry, signed images, the service and its answers.
    Demo(demo::Args),
    /// Run the decision service.
    Serve(serve::Args),
    /// Run the admission webhook of a cluster, which asks the decision service.
    Shim(shim::Args),
    /// Ask a service whether an image may run. Exit status: 0 allow or audit, 2 deny, 1 no answer.
    Check(check::Args),
    /// Ask as `check` does, and why the answer is what it is, and what would change it.
    Explain(explain::Args),
    /// Show what is attached to an image, step by step: what is believed, what is not, and why. Exit
    /// status: 0 if all its evidence is verified, 2 if not, 1 no answer, or none about which image it is.
    Evidence(evidence::Args),
    /// Have a service look at images in their registries now, whatever it remembers, and show what has
    /// changed. Exit status: 0 if the registries told, 2 if not, 1 no answer.
    Refresh(refresh::Args),
    /// Attach a scanner's report to an image in its registry, signed as Notary Project does.
    Attach(attach::Args),
    /// Show what was decided, from the record in the data directory of a service.
    Events(Box<events::Args>),
    /// Work with rule files.
    #[command(subcommand)]
    Rules(rules::Command),
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people: a table; in colour on a terminal.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
}

/// The image that an argument names.
pub(crate) fn image(text: &str) -> anyhow::Result<Reference> {
    text.parse().with_context(|| format!("`{text}` is not an image reference"))
}
