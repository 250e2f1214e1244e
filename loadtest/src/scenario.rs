//! A TOML file in, what to do and what must come of it out. Unknown fields are errors.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use crate::image::MAX_IMAGES;
use crate::questions::Call;
use crate::registry::MAX_FINDINGS;
use crate::registry::faults::{Fault, Manner};

mod load;
mod span;

pub(crate) use self::load::{Load, Rate, Times};
pub(crate) use self::span::Span;

/// The longest scenario file, in bytes.
pub(crate) const MAX_FILE: u64 = 64 * 1024;
/// The most phases of a scenario.
pub(crate) const MAX_PHASES: usize = 32;

/// The most replicas of the service.
pub(crate) const MAX_REPLICAS: u32 = 8;

/// Those that come with the program.
const BUILT_IN: [(&str, &str); 16] = [
    ("warm", include_str!("../scenarios/warm.toml")),
    ("cold-start", include_str!("../scenarios/cold-start.toml")),
    ("stampede", include_str!("../scenarios/stampede.toml")),
    ("rollout", include_str!("../scenarios/rollout.toml")),
    ("slow-registry", include_str!("../scenarios/slow-registry.toml")),
    ("failing-registry", include_str!("../scenarios/failing-registry.toml")),
    ("overload", include_str!("../scenarios/overload.toml")),
    ("mix", include_str!("../scenarios/mix.toml")),
    ("refresh-storm", include_str!("../scenarios/refresh-storm.toml")),
    ("news", include_str!("../scenarios/news.toml")),
    ("bulk", include_str!("../scenarios/bulk.toml")),
    ("replica-restart", include_str!("../scenarios/replica-restart.toml")),
    ("warm-restart", include_str!("../scenarios/warm-restart.toml")),
    ("shim-near", include_str!("../scenarios/shim-near.toml")),
    ("shim-service", include_str!("../scenarios/shim-service.toml")),
    ("shim-miss", include_str!("../scenarios/shim-miss.toml")),
];

/// One scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Scenario {
    /// What it is called.
    pub(crate) name: String,
    /// What it shows, in a sentence.
    pub(crate) about: String,
    /// Whose figures stand for the whole; the first phase's where it is not said.
    pub(crate) headline: Option<String>,
    /// What the registry holds.
    #[serde(default)]
    pub(crate) registry: Holds,
    /// How the service is set up.
    #[serde(default)]
    pub(crate) service: Service,
    /// The shim before the service, which reviews go to; none where it is not said.
    pub(crate) shim: Option<ShimSettings>,
    /// So many images, from the first on, are asked about before the first phase, and must be verified.
    #[serde(default)]
    pub(crate) warm_images: u32,
    /// What is done, one after the other.
    pub(crate) phases: Vec<Phase>,
    /// What must come of it.
    #[serde(default)]
    pub(crate) objectives: Vec<Objective>,
}

/// What a registry holds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Holds {
    /// Images, each with a signed report.
    pub(crate) digests: u32,
    /// Findings in each report.
    pub(crate) findings: u32,
    /// What they are made from.
    pub(crate) seed: u64,
}

impl Default for Holds {
    fn default() -> Self {
        Self { digests: 10_000, findings: 100, seed: 1 }
    }
}

/// How the service is set up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Service {
    /// YAML that follows what the harness writes.
    pub(crate) config: String,
    /// How many there are, 1 to [`MAX_REPLICAS`].
    pub(crate) replicas: u32,
}

impl Default for Service {
    fn default() -> Self {
        Self { config: String::new(), replicas: 1 }
    }
}

/// How a shim is set up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ShimSettings {
    /// How much it keeps of answers; as much as usual where it is not said.
    pub(crate) near_cache_bytes: Option<usize>,
    /// YAML that follows what the harness writes.
    pub(crate) config: String,
}

/// One phase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Phase {
    /// What it is called, in lower case.
    pub(crate) name: String,
    /// What is done as it begins.
    #[serde(default)]
    pub(crate) action: Action,
    /// How the registry behaves in it.
    #[serde(default)]
    pub(crate) registry: Ways,
    /// Whether the echo is measured in turn with the service.
    #[serde(default)]
    pub(crate) baseline: bool,
    /// The questions.
    pub(crate) load: Load,
    /// More questions at the same time, which are not in the figures but in those named `beside`.
    pub(crate) beside: Option<Load>,
}

/// What is done as a phase begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Nothing.
    #[default]
    Nothing,
    /// The service is stopped and started again.
    Restart,
    /// One replica after the other is stopped and started again, evenly over the phase.
    RollingRestart,
    /// All images have been scanned again.
    Rescan,
}

/// How a registry behaves.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Ways {
    /// Before each answer.
    pub(crate) round_trip: Span,
    /// Bytes of a body per second; 0 for no bound.
    pub(crate) bandwidth: u64,
    /// What it does in place of answering.
    pub(crate) fault: Fault,
    /// To which part of the requests.
    pub(crate) share: f64,
}

impl Default for Ways {
    fn default() -> Self {
        Self { round_trip: Span(Duration::ZERO), bandwidth: 0, fault: Fault::None, share: 1.0 }
    }
}

impl From<Ways> for Manner {
    fn from(ways: Ways) -> Self {
        let Ways { round_trip, bandwidth, fault, share } = ways;
        Self { round_trip: round_trip.0, bandwidth, fault, share }
    }
}

/// What must come of a scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Objective {
    /// Which figure, such as `storm.p99_us`.
    pub(crate) figure: String,
    /// Divided by which other, if any.
    pub(crate) of: Option<String>,
    /// At least.
    pub(crate) min: Option<f64>,
    /// At most.
    pub(crate) max: Option<f64>,
}

impl Scenario {
    /// The built-in scenario `name`, or the one in the file of that path.
    ///
    /// # Errors
    /// When there is none, or it cannot be used; the error says where and why.
    pub(crate) fn find(name: &str) -> anyhow::Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text).with_context(|| format!("the scenario `{name}` is broken"));
        }
        let path = Path::new(name);
        let known: Vec<_> = BUILT_IN.iter().map(|(known, _)| *known).collect();
        let length = fs::metadata(path).map(|data| data.len()).with_context(|| {
            format!("`{name}` is no scenario: expected a file or one of {}", known.join(", "))
        })?;
        anyhow::ensure!(length <= MAX_FILE, "`{name}` is longer than {MAX_FILE} bytes");
        let text = fs::read_to_string(path).with_context(|| format!("failed to read `{name}`"))?;
        Self::parse(&text).with_context(|| format!("`{name}` is not a scenario"))
    }

    /// All that come with the program.
    pub(crate) fn built_in() -> anyhow::Result<Vec<Self>> {
        BUILT_IN.iter().map(|(name, _)| Self::find(name)).collect()
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> anyhow::Result<()> {
        let Holds { digests, findings, .. } = self.registry;
        let phases = self.phases.len();
        anyhow::ensure!((1..=MAX_PHASES).contains(&phases), "phases: 1 to {MAX_PHASES}");
        anyhow::ensure!((1..=MAX_IMAGES).contains(&digests), "digests: 1 to {MAX_IMAGES}");
        anyhow::ensure!(findings <= MAX_FINDINGS, "findings: at most {MAX_FINDINGS}");
        let replicas = self.service.replicas;
        anyhow::ensure!((1..=MAX_REPLICAS).contains(&replicas), "replicas: 1 to {MAX_REPLICAS}");
        anyhow::ensure!(self.warm_images <= digests, "warm-images: at most {digests} as there are");
        for (at, phase) in self.phases.iter().enumerate() {
            let earlier = self.phases.iter().take(at).any(|earlier| earlier.name == phase.name);
            anyhow::ensure!(!earlier, "two phases are named `{}`", phase.name);
            for load in std::iter::once(&phase.load).chain(&phase.beside) {
                load.check(digests).with_context(|| format!("phase `{}`", phase.name))?;
            }
            let reviews = phase.load.call == Call::Review;
            let fits = reviews == self.shim.is_some()
                && (!reviews || (phase.beside.is_none() && phase.action == Action::Nothing));
            anyhow::ensure!(
                fits,
                "phase `{}`: reviews need `[shim]`, and with it there are reviews alone, with \
                 nothing beside them and no action",
                phase.name
            );
        }
        for objective in &self.objectives {
            let bounded = objective.min.is_some() || objective.max.is_some();
            anyhow::ensure!(bounded, "objective `{}`: give min or max", objective.figure);
        }
        if let Some(headline) = &self.headline {
            let found = self.phases.iter().any(|phase| phase.name == *headline);
            anyhow::ensure!(found, "headline: there is no phase `{headline}`");
        }
        Ok(())
    }

    /// The same as the command line has it.
    pub(crate) fn adjusted(self, args: &crate::args::RunArgs) -> anyhow::Result<Self> {
        let mut scenario = self.scaled(args.scale);
        let holds = &mut scenario.registry;
        if let Some(digests) = args.digests {
            // What is about all of them stays so.
            if scenario.warm_images == holds.digests {
                scenario.warm_images = digests;
            }
            holds.digests = digests;
        }
        holds.findings = args.findings.unwrap_or(holds.findings);
        for phase in &mut scenario.phases {
            for load in std::iter::once(&mut phase.load).chain(&mut phase.beside) {
                load.duration = args.duration.unwrap_or(load.duration);
                load.read |= args.check;
            }
        }
        scenario.check()?;
        Ok(scenario)
    }

    /// The same with everything that is counted or timed in it so many times as large, but at least 1
    /// (of spans, 50 ms).
    pub(crate) fn scaled(mut self, by: f64) -> Self {
        self.registry.digests = scale(self.registry.digests.into(), by);
        if self.warm_images > 0 {
            self.warm_images = scale(self.warm_images.into(), by);
        }
        for phase in &mut self.phases {
            for load in std::iter::once(&mut phase.load).chain(&mut phase.beside) {
                let span = load.duration.0.mul_f64(by).max(Duration::from_millis(50));
                load.duration = Span(span);
                load.questions = load.questions.map(|count| scale::<u64>(count, by));
                load.images = load.images.map(|(from, count)| {
                    let from = if from == 0 { 0 } else { scale(from.into(), by) };
                    (from, scale(count.into(), by))
                });
            }
        }
        self
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that people wrote, and a conversion of floats saturates"
)]
fn scale<N: TryFrom<u64> + Default>(count: u64, by: f64) -> N {
    N::try_from(((count as f64 * by).floor() as u64).max(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
