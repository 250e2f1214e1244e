//! A phase of reviews in, what came of them out, beside an HTTPS echo of bodies as long.

use std::time::Duration;

use anyhow::Context as _;

use super::{Baseline, Measures};
use crate::bench::{Bench, Outcome, until};
use crate::callers::{Callers, Replies};
use crate::generator::{Pace, Until};
use crate::measure::{Interval, Measured};
use crate::process::{self, Usage};
use crate::progress::Progress;
use crate::questions::{Call, Pick};
use crate::scenario::{Load, Phase};
use crate::segments::{self, Asks as _};

/// How often each application is asked about before what is repeated is measured: once so that its answer is
/// kept, and once so that it is known how long a kept one is.
const ROUNDS: u64 = 2;
/// How long that may take.
const PREPARE: Duration = Duration::from_secs(600);
/// For how long the echo is measured beside reviews that come once only.
const ECHO: Duration = Duration::from_secs(3);

/// Reviews or replies per second of a processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct PerCore {
    /// Of the shim.
    pub(super) shim: f64,
    /// Of the echo.
    pub(super) echo: Option<f64>,
}

/// Carries a phase out.
pub(super) fn measures(
    phase: &Phase,
    bench: &mut Bench<'_>,
    pace: Pace,
    baseline: Baseline,
    progress: &mut dyn Progress,
) -> anyhow::Result<Measures> {
    let load = &phase.load;
    let has_echo = phase.baseline && baseline == Baseline::Echo;
    let mut watch = |part: &Interval| progress.part(part);
    let mut callers = shim(bench, load)?;
    // What comes once only cannot be asked about before.
    let reply = if load.questions.is_none() { Some(prepare(bench, load)?) } else { None };
    let before = usage(bench)?;
    let Some(reply) = reply.filter(|_| has_echo) else {
        let measured = callers.run(pace, until(load), &mut watch)?;
        let shim = per_core(&measured, before, usage(bench)?);
        let mut of_echo = None;
        if has_echo {
            let (mut echo, id) = echo(bench, load, reply_length(&measured)?)?;
            let (before, length) = (process::usage(id)?, ECHO.min(load.duration.0));
            let echoed = echo.run(Pace::Closed(1), Until::Time(length), &mut watch)?;
            of_echo = Some((per_core(&echoed, before, process::usage(id)?), echoed));
        }
        let (per_core_of_echo, echo) = of_echo.unzip();
        return Ok(Measures {
            per_core: shim.map(|shim| PerCore { shim, echo: per_core_of_echo.flatten() }),
            service: Outcome { measured, seen: callers.seen() },
            beside: None,
            echo,
            segments: Vec::new(),
            ratios: None,
        });
    };
    let (mut echo, id) = echo(bench, load, reply)?;
    let before_echo = process::usage(id)?;
    let length = load.duration.0;
    let both = segments::in_turn(&mut callers, &mut echo, (pace, pace), length, &mut watch)?;
    let shim = per_core(&both.service, before, usage(bench)?);
    let of_echo = per_core(&both.echo, before_echo, process::usage(id)?);
    Ok(Measures {
        per_core: shim.map(|shim| PerCore { shim, echo: of_echo }),
        service: Outcome { measured: both.service, seen: callers.seen() },
        beside: None,
        echo: Some(both.echo),
        segments: both.segments,
        ratios: matches!(pace, Pace::Closed(_)).then_some(both.ratios),
    })
}

/// Asks about each application, and gives how long an answer is.
fn prepare(bench: &Bench<'_>, load: &Load) -> anyhow::Result<usize> {
    let (_, images) = load.range(bench.registry().images().count());
    let applications = u64::from(images / load.containers).max(1);
    let load = Load { pick: Pick::InTurn, connections: 4, ..load.clone() };
    let mut callers = shim(bench, &load)?;
    let mut length = 0;
    for _ in 0..ROUNDS {
        let until = Until::Questions(applications, PREPARE);
        let measured = callers.run(Pace::Closed(1), until, &mut |_| {})?;
        let failed = measured.tally.failures().collect::<Vec<_>>();
        anyhow::ensure!(failed.is_empty(), "some reviews were not answered: {failed:?}");
        length = reply_length(&measured)?;
    }
    Ok(length)
}

fn reply_length(measured: &Measured) -> anyhow::Result<usize> {
    Ok(usize::try_from(measured.bytes / measured.tally.of("answered").max(1))?)
}

fn shim(bench: &Bench<'_>, load: &Load) -> anyhow::Result<Callers> {
    let front = bench.front().context("there is no shim")?;
    let lines = (load.connections, load.timeout.map(|span| span.0));
    let questions = bench.questions(load, Call::Review);
    Callers::new(front.address(), front.certificate(), lines, Replies::Answers, questions)
}

fn echo(bench: &mut Bench<'_>, load: &Load, reply: usize) -> anyhow::Result<(Callers, u32)> {
    let (id, address) = bench.https_echo(reply)?;
    let front = bench.front().context("there is no shim")?;
    let lines = (load.connections, load.timeout.map(|span| span.0));
    let questions = bench.questions(load, Call::Review);
    let callers = Callers::new(address, front.certificate(), lines, Replies::Nothing, questions)?;
    Ok((callers, id))
}

fn usage(bench: &Bench<'_>) -> anyhow::Result<Usage> {
    bench.front().context("there is no shim")?.usage()
}

/// What was answered by seconds of a processor; none where they were too few to be told.
#[expect(clippy::cast_precision_loss, reason = "a count of answers is far below 2^52")]
fn per_core(measured: &Measured, before: Usage, after: Usage) -> Option<f64> {
    let took = after.cpu_s - before.cpu_s;
    (took > 0.0).then(|| measured.checks as f64 / took)
}
