//! A scenario in, its document out: phases one after the other, figures of each, a verdict at the end.

use std::collections::BTreeMap;

use anyhow::Context as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bench::{Bench, Options, Outcome};
use crate::document::{Document, EchoDocument, PhaseDocument, VERSION};
use crate::figures::{Figures, Verdict};
use crate::generator::{Pace, Strictness, Waiting};
use crate::measure::Measured;
use crate::process;
use crate::progress::Progress;
use crate::questions::Call;
use crate::registry::Counted;
use crate::scenario::{Action, Load, Phase, Rate, Scenario, Times};
use crate::segments::{self, Ratios, Segment};

use self::reviews::PerCore;

mod reviews;

/// Whether the echo is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Baseline {
    /// In turn with the service, in phases that are compared with it.
    Echo,
    /// Not at all.
    None,
}

/// Carries out a scenario.
pub(crate) fn run(
    scenario: &Scenario,
    options: &Options,
    baseline: Baseline,
    progress: &mut dyn Progress,
) -> anyhow::Result<Document> {
    let at = OffsetDateTime::now_utc().format(&Rfc3339)?;
    progress.begin(&format!("{}: getting ready", scenario.name));
    let mut bench = Bench::start(options, scenario)?;
    let at_rest = bench.front().map(|front| front.at_rest().resident);
    let ran = carry_out(scenario, &mut bench, baseline, progress);
    let ran = ran.map_err(|error| with_log(error, &bench));
    let (phases, figures) = ran?;
    let has_echo = baseline == Baseline::Echo;
    let objectives: Vec<_> =
        scenario.objectives.iter().map(|o| Verdict::of(o, &figures, has_echo)).collect();
    let headline = scenario.headline.as_ref();
    let shown = phases.iter().find(|phase| headline.is_none_or(|name| phase.phase == *name));
    let shown = shown.context("a scenario has a phase")?;
    Ok(Document {
        version: VERSION,
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        headline: shown.phase.clone(),
        at,
        machine: process::machine(),
        throughput_per_s: shown.throughput_per_s,
        ratio_to_echo: shown.ratio_to_echo,
        latency_us: shown.latency_us,
        checks: phases.iter().map(|phase| phase.checks).sum(),
        errors: phases.iter().map(|phase| phase.errors).sum(),
        registry_requests: phases.iter().map(|phase| phase.registry_requests).sum(),
        rss_bytes: phases.last().and_then(|phase| phase.rss_bytes),
        rest_rss_bytes: at_rest,
        passed: objectives.iter().all(|verdict| verdict.met != Some(false)),
        objectives,
        phases,
        figures,
    })
}

/// An error with the last that the service said.
fn with_log(error: anyhow::Error, bench: &Bench<'_>) -> anyhow::Error {
    match bench.last_word() {
        Some(last) => error.context(format!("the service said last: {last}")),
        None => error,
    }
}

fn carry_out(
    scenario: &Scenario,
    bench: &mut Bench<'_>,
    baseline: Baseline,
    progress: &mut dyn Progress,
) -> anyhow::Result<(Vec<PhaseDocument>, Figures)> {
    if scenario.warm_images > 0 {
        progress.begin(&format!("{}: warming", scenario.name));
        bench.warm(scenario.warm_images, progress)?;
    }
    let (mut phases, mut figures) = (Vec::new(), Figures::default());
    if let Some(front) = bench.front() {
        figures.set("shim.rest_rss_bytes", bytes(front.at_rest().resident));
    }
    for phase in &scenario.phases {
        progress.begin(&format!("{}: {}", scenario.name, phase.name));
        let document = one(phase, bench, baseline, &mut figures, progress)
            .with_context(|| format!("phase `{}` of `{}`", phase.name, scenario.name))?;
        progress.end(&format!(
            "{}: {}: {:.0}/s, p50 {:.0} µs, p99 {:.0} µs, {} errors, {} registry requests",
            scenario.name,
            phase.name,
            document.throughput_per_s,
            document.latency_us.p50,
            document.latency_us.p99,
            document.errors,
            document.registry_requests
        ));
        phases.push(document);
    }
    Ok((phases, figures))
}

/// What came of the loads of a phase.
struct Measures {
    service: Outcome,
    beside: Option<Outcome>,
    echo: Option<Measured>,
    segments: Vec<Segment>,
    ratios: Option<Ratios>,
    per_core: Option<PerCore>,
}

fn one(
    phase: &Phase,
    bench: &mut Bench<'_>,
    baseline: Baseline,
    figures: &mut Figures,
    progress: &mut dyn Progress,
) -> anyhow::Result<PhaseDocument> {
    let name = &phase.name;
    bench.registry().behave(phase.registry.into());
    // What was counted before belongs to no phase.
    bench.registry().take_counted();
    let before = bench.usage()?;
    match phase.action {
        Action::Nothing | Action::RollingRestart => {}
        Action::Rescan => bench.registry().scan_all(),
        Action::Restart => {
            bench.end(0)?;
            let took = bench.begin(0)?;
            figures.set(format!("{name}.ready_ms"), took.as_secs_f64() * 1e3);
        }
    }
    let pace = pace(&phase.load, figures)?;
    let is_review = phase.load.call == Call::Review;
    let measures = if is_review {
        reviews::measures(phase, bench, pace, baseline, progress)?
    } else if phase.baseline && baseline == Baseline::Echo {
        in_turn(phase, bench, pace, progress)?
    } else {
        let Outcomes { service, beside } = at_once(phase, bench, pace, figures, progress)?;
        Measures { service, beside, echo: None, segments: Vec::new(), ratios: None, per_core: None }
    };
    let counted = bench.registry().take_counted();
    let after = bench.usage()?;
    record(name, &measures, &counted, figures);
    if let Some(usage) = after {
        let bytes = bytes(usage.resident);
        figures.set(format!("{name}.rss_bytes"), bytes);
        figures.set(format!("{name}.peak_rss_bytes"), self::bytes(usage.peak));
        let images = f64::from(bench.registry().images().count());
        figures.set(format!("{name}.rss_bytes_per_image"), bytes / images);
    }
    let measured = &measures.service.measured;
    // Reviews are compared with bodies as long as they are.
    let own = measures.echo.as_ref().filter(|_| is_review).map(Measured::throughput);
    let echo_rate = own.or_else(|| figures.of("echo.throughput_per_s").filter(|_| !is_review));
    let ratio = measures.ratios.map(|ratios| ratios.medians);
    // A phase that was not measured in turn is compared with the echo of one that was.
    let ratio = ratio.or_else(|| echo_rate.map(|echo| measured.throughput() / echo));
    if let Some(ratio) = ratio {
        figures.set(format!("{name}.ratio_to_echo"), ratio);
    }
    let failures = measured.tally.failures();
    Ok(PhaseDocument {
        phase: name.clone(),
        load: describe(&phase.load, pace),
        throughput_per_s: measured.throughput(),
        ratio_to_echo: ratio,
        ratios: measures.ratios,
        per_core_per_s: measures.per_core.map(|of| of.shim),
        per_core_ratio_to_echo: figures.of(&format!("{name}.per_core_ratio_to_echo")),
        latency_us: (&measured.latencies).into(),
        checks: measured.checks,
        errors: measured.tally.failed(),
        failures: failures.map(|(name, count)| (name.to_owned(), count)).collect(),
        registry_requests: counted.total(),
        registry_kinds: counted.kinds.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect(),
        rss_bytes: after.map(|usage| usage.resident),
        cpu_s: after.zip(before).map(|(after, before)| (after.cpu_s - before.cpu_s).max(0.0)),
        seen: measures.service.seen.clone(),
        intervals: measured.intervals.clone(),
        curve: measured.latencies.curve(),
        echo: measures
            .echo
            .as_ref()
            .map(|echo| EchoDocument::of(echo, echo.throughput(), bench.echo_reply())),
        segments: measures.segments,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a size of memory is far below 2^52")]
const fn bytes(resident: u64) -> f64 {
    resident as f64
}

fn record(name: &str, measures: &Measures, counted: &Counted, figures: &mut Figures) {
    figures.measured(name, &measures.service.measured);
    if let Some(beside) = &measures.beside {
        figures.measured(&format!("{name}.beside"), &beside.measured);
    }
    if let Some(echo) = &measures.echo {
        figures.measured(&format!("{name}.echo"), echo);
        // The first closed loop of the run says what the echo can give.
        if figures.of("echo.throughput_per_s").is_none() {
            figures.set("echo.throughput_per_s", echo.throughput());
        }
    }
    if let Some(PerCore { shim, echo }) = measures.per_core {
        figures.set(format!("{name}.per_core_per_s"), shim);
        if let Some(echo) = echo {
            figures.set(format!("{name}.echo.per_core_per_s"), echo);
            figures.set(format!("{name}.per_core_ratio_to_echo"), shim / echo);
        }
    }
    if let Some(Ratios { best_decile, paired, .. }) = measures.ratios {
        figures.set(format!("{name}.best_decile_ratio_to_echo"), best_decile);
        figures.set(format!("{name}.paired_ratio_to_echo"), paired);
    }
    let searches = counted.images.values().map(|requests| requests.searches);
    let per_image = counted.images.values().map(|requests| requests.all);
    let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    figures.set(format!("{name}.registry_images"), count(counted.images.len()));
    figures.set(format!("{name}.registry_searches"), searches.clone().map(f64::from).sum());
    figures.set(format!("{name}.most_searches"), searches.max().map_or(0.0, f64::from));
    figures.set(format!("{name}.most_requests"), per_image.max().map_or(0.0, f64::from));
    let total = counted.kinds.values().map(|kind| u32::try_from(*kind).unwrap_or(u32::MAX));
    figures.set(format!("{name}.registry_requests"), total.map(f64::from).sum());
    let seen: &BTreeMap<_, _> = &measures.service.seen.evidence;
    for (status, number) in seen {
        let number = u32::try_from(*number).unwrap_or(u32::MAX);
        figures.set(format!("{name}.seen.{status}"), f64::from(number));
    }
    for (source, number) in &measures.service.seen.sources {
        let number = u32::try_from(*number).unwrap_or(u32::MAX);
        figures.set(format!("{name}.from.{source}"), f64::from(number));
    }
}

fn in_turn(
    phase: &Phase,
    bench: &mut Bench<'_>,
    pace: Pace,
    progress: &mut dyn Progress,
) -> anyhow::Result<Measures> {
    let load = &phase.load;
    bench.echo()?;
    let strictness = if load.read { Strictness::Read } else { Strictness::Count };
    let mut service = bench.generator(load, load.call, strictness)?;
    // What the echo can give is measured as the reference was, whatever the load is.
    let reference = Load { containers: 1, ..Load::default() };
    let (echo_load, echo_pace) = match pace {
        Pace::Open(..) => (load.clone(), pace),
        Pace::Closed(_) => (reference.clone(), Pace::Closed(reference.in_flight)),
    };
    let mut echo = bench.generator(&echo_load, Call::Echo, Strictness::Count)?;
    let paces = (pace, echo_pace);
    let mut watch = |part: &crate::measure::Interval| progress.part(part);
    let both = segments::in_turn(&mut service, &mut echo, paces, load.duration.0, &mut watch)?;
    let ratios = matches!(pace, Pace::Closed(_)).then_some(both.ratios);
    Ok(Measures {
        service: Outcome { measured: both.service, seen: service.seen().clone() },
        beside: None,
        echo: Some(both.echo),
        segments: both.segments,
        ratios,
        per_core: None,
    })
}

struct Outcomes {
    service: Outcome,
    beside: Option<Outcome>,
}

/// The load, what is beside it, and what happens meanwhile, each on a thread of its own.
fn at_once(
    phase: &Phase,
    bench: &Bench<'_>,
    pace: Pace,
    figures: &Figures,
    progress: &mut dyn Progress,
) -> anyhow::Result<Outcomes> {
    let beside = phase.beside.as_ref().map(|load| anyhow::Ok((load, self::pace(load, figures)?)));
    let beside = beside.transpose()?;
    let mut watch = |part: &crate::measure::Interval| progress.part(part);
    std::thread::scope(|scope| {
        let beside = beside.map(|(load, pace)| {
            scope.spawn(move || bench.carry_out(load, pace, Waiting::Sleeps, &mut |_| {}))
        });
        let restarts = (phase.action == Action::RollingRestart)
            .then(|| scope.spawn(|| restart_all(bench, phase.load.duration.0)));
        let service = bench.carry_out(&phase.load, pace, Waiting::Spins, &mut watch)?;
        let beside = beside.map(|thread| joined(thread.join())).transpose()?;
        restarts.map(|thread| joined(thread.join())).transpose()?;
        Ok(Outcomes { service, beside })
    })
}

fn joined<T>(joined: std::thread::Result<anyhow::Result<T>>) -> anyhow::Result<T> {
    joined.map_err(|_| anyhow::anyhow!("what runs beside the load panicked"))?
}

/// Restarts one replica after the other, evenly over `length`.
fn restart_all(bench: &Bench<'_>, length: std::time::Duration) -> anyhow::Result<()> {
    let pause = length / (bench.count() + 1);
    for replica in 0..bench.count() {
        std::thread::sleep(pause);
        bench.end(replica)?;
        bench.begin(replica)?;
    }
    Ok(())
}

fn pace(load: &Load, figures: &Figures) -> anyhow::Result<Pace> {
    Ok(match &load.rate {
        None => Pace::Closed(load.in_flight),
        Some(Rate::PerSecond(rate)) => Pace::Open(*rate, load.arrivals),
        Some(Rate::Times(Times { of, times })) => {
            let figure = figures.of(of).with_context(|| format!("rate: no figure `{of}` yet"))?;
            // Decisions are measured, and questions are due.
            Pace::Open((figure * times / f64::from(load.containers)).max(1.0), load.arrivals)
        }
    })
}

fn describe(load: &Load, pace: Pace) -> String {
    let call = match load.call {
        Call::Check => "Check",
        Call::CheckStream => "CheckStream",
        Call::BulkCheck => "BulkCheck",
        Call::Refresh => "Refresh",
        Call::Review => "AdmissionReview",
        Call::Echo => "Echo",
    };
    let Load { connections, containers, .. } = load;
    let images = if *containers == 1 { String::new() } else { format!(" of {containers} images") };
    match pace {
        Pace::Closed(_) if load.call == Call::Review => {
            format!("{call}{images}, {connections} connections with one under way on each")
        }
        Pace::Closed(in_flight) => {
            format!("{call}{images}, {connections} connections with {in_flight} under way on each")
        }
        Pace::Open(rate, arrivals) => {
            let how = format!("{arrivals:?}").to_lowercase();
            format!("{call}{images}, {rate:.0} due a second ({how}) on {connections} connections")
        }
    }
}
