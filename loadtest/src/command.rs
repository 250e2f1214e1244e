//! Arguments in, what was asked for done, and whether objectives were met out.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use crate::args::{Args, Command, CompareArgs, EchoArgs, Output, RegistryArgs, RunArgs};
use crate::bench::{Options, UnderTest};
use crate::document::Document;
use crate::progress::Telling;
use crate::registry::{Holdings, Registry};
use crate::scenario::Scenario;
use crate::world::World;
use crate::{Begin, compare, echo, html, run};

/// An objective was missed, or two runs differ by too much.
const MISSED: u8 = 2;

/// Does what `args` say. The status is 0, or 2 where an objective was missed.
///
/// # Errors
/// When it cannot be done.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    dispatch(args, None)
}

/// As [`execute`], with a service that `begin` begins in place of a program.
///
/// # Errors
/// When it cannot be done.
pub fn execute_within(args: Args, begin: Box<Begin>) -> anyhow::Result<ExitCode> {
    dispatch(args, Some(begin))
}

fn dispatch(args: Args, within: Option<Box<Begin>>) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Run(args) => scenarios(&args, within),
        Command::List => list(),
        Command::Compare(args) => compared(&args),
        Command::Registry(args) => registry(&args),
        Command::Echo(EchoArgs { listen, reply_bytes, https }) => {
            let listening = |address| print(&format!("listening {address}"));
            match https {
                Some(folder) => echo::https::serve(listen, reply_bytes, &folder, listening)?,
                None => echo::serve(listen, reply_bytes, listening)?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn scenarios(args: &RunArgs, within: Option<Box<Begin>>) -> anyhow::Result<ExitCode> {
    let scenarios = args.scenarios.iter().map(|name| adjusted(name, args));
    let scenarios = scenarios.collect::<anyhow::Result<Vec<_>>>()?;
    let own = match &args.echo_program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("failed to find this program")?,
    };
    let under_test = match (within, args.target) {
        (Some(begin), _) => UnderTest::Within(begin),
        (None, Some(target)) => {
            check_target(target, args.target_is_meant)?;
            UnderTest::Running(target)
        }
        (None, None) => UnderTest::Program(program(args.serve.clone(), &own)?),
    };
    let options = Options {
        under_test,
        own,
        server_cores: args.server_core.clone(),
        client_cores: args.client_core.clone(),
        registry: args.registry,
        write_config: args.write_config.clone(),
    };
    let mut telling = Telling::new(args.quiet);
    let mut documents = Vec::new();
    for scenario in &scenarios {
        let document = run::run(scenario, &options, args.baseline, &mut telling)?;
        if args.output == Output::Text {
            print(&document.lines())?;
        }
        documents.push(document);
    }
    if args.output == Output::Json {
        print(&written(&documents)?)?;
    }
    let files = [
        (&args.json, written as fn(&[Document]) -> anyhow::Result<String>),
        (&args.html, html::page),
    ];
    for (file, form) in files {
        if let Some(file) = file {
            std::fs::write(file, form(&documents)?)
                .with_context(|| format!("failed to write `{}`", file.display()))?;
        }
    }
    let missed = documents.iter().any(|document| !document.passed);
    Ok(if missed { ExitCode::from(MISSED) } else { ExitCode::SUCCESS })
}

/// One scenario is a document; several are documents in one.
fn written(documents: &[Document]) -> anyhow::Result<String> {
    Ok(match documents {
        [one] => serde_json::to_string_pretty(one)?,
        several => serde_json::to_string_pretty(&json!({ "scenarios": several }))?,
    })
}

fn adjusted(name: &str, args: &RunArgs) -> anyhow::Result<Scenario> {
    anyhow::ensure!(
        args.scale.is_finite() && args.scale > 0.0 && args.scale <= 100.0,
        "--scale {}: above 0, at most 100",
        args.scale
    );
    Scenario::find(name)?.adjusted(args)
}

/// Load on another machine is for those who say that they mean it.
fn check_target(target: SocketAddr, is_meant: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        target.ip().is_loopback() || is_meant,
        "{target} is another machine: add --target-is-meant if it is yours and may break"
    );
    Ok(())
}

fn program(given: Option<PathBuf>, own: &std::path::Path) -> anyhow::Result<PathBuf> {
    let program = given.unwrap_or_else(|| own.with_file_name("portcullis"));
    anyhow::ensure!(
        program.is_file(),
        "there is no `{}`: build it, or name it with --serve",
        program.display()
    );
    Ok(program)
}

fn list() -> anyhow::Result<ExitCode> {
    for scenario in Scenario::built_in()? {
        print(&format!("{:<18} {}", scenario.name, scenario.about))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compared(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let CompareArgs { before, after, tolerance } = args;
    anyhow::ensure!(
        tolerance.is_finite() && *tolerance >= 0.0,
        "--tolerance {tolerance}: 0 or more"
    );
    let (before, after) = (compare::read(before)?, compare::read(after)?);
    let (table, is_worse) = compare::compare(&before, &after, *tolerance)?;
    print(&table)?;
    Ok(if is_worse { ExitCode::from(MISSED) } else { ExitCode::SUCCESS })
}

fn registry(args: &RegistryArgs) -> anyhow::Result<ExitCode> {
    let RegistryArgs { listen, digests, findings, seed, write_config } = args;
    let holdings = Holdings { images: *digests, findings: *findings, seed: *seed };
    let registry = Registry::start(*listen, holdings, None)?;
    if let Some(folder) = write_config {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7443));
        World::write(folder, &registry, "", listen)?;
        print(&format!("wrote `{}`", folder.display()))?;
    }
    print(&format!("listening {}", registry.address()))?;
    print(&format!("the first image is {}", registry.images().reference(0, false)))?;
    loop {
        std::thread::park();
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).context("failed to write to standard output")?;
    out.flush().context("failed to write to standard output")
}
