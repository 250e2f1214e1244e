//! What came of a scenario, as JSON whose keys stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figures::{Figures, Verdict};
use crate::generator::Seen;
use crate::measure::{Interval, Latencies, Measured};
use crate::segments::{Ratios, Segment};

/// Latencies in microseconds, of what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencyUs {
    /// The median.
    pub(crate) p50: f64,
    /// Of 99 %.
    pub(crate) p99: f64,
    /// Of 99.9 %.
    pub(crate) p999: f64,
    /// The longest.
    pub(crate) max: f64,
}

impl From<&Latencies> for LatencyUs {
    fn from(latencies: &Latencies) -> Self {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| latencies.at(quantile));
        Self { p50, p99, p999, max: latencies.max() }
    }
}

/// What came of one scenario. The figures at the top are those of the headline phase, but for counts,
/// which are of all phases.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    /// Which form this is.
    pub(crate) version: u32,
    /// The scenario.
    pub(crate) scenario: String,
    /// What it shows.
    pub(crate) about: String,
    /// The phase whose figures stand here.
    pub(crate) headline: String,
    /// When it ran, RFC 3339.
    pub(crate) at: String,
    /// Where.
    pub(crate) machine: String,
    /// Decisions per second.
    pub(crate) throughput_per_s: f64,
    /// The same by the echo's replies per second, in the same run; nothing where there was no echo.
    pub(crate) ratio_to_echo: Option<f64>,
    /// Latencies.
    pub(crate) latency_us: LatencyUs,
    /// Decisions.
    pub(crate) checks: u64,
    /// Questions without an answer.
    pub(crate) errors: u64,
    /// Requests that the registry had.
    pub(crate) registry_requests: u64,
    /// Memory that the service held at the end, or the shim where there is one; nothing where it runs elsewhere.
    pub(crate) rss_bytes: Option<u64>,
    /// Memory that the shim held before it was asked anything; nothing where there is none.
    pub(crate) rest_rss_bytes: Option<u64>,
    /// Whether all objectives are met that could be judged.
    pub(crate) passed: bool,
    /// The objectives.
    pub(crate) objectives: Vec<Verdict>,
    /// The phases.
    pub(crate) phases: Vec<PhaseDocument>,
    /// All figures by name.
    pub(crate) figures: Figures,
}

/// What came of one phase.
#[derive(Debug, Serialize)]
pub(crate) struct PhaseDocument {
    /// The phase.
    pub(crate) phase: String,
    /// What was asked, in words.
    pub(crate) load: String,
    /// As in the document.
    pub(crate) throughput_per_s: f64,
    /// As in the document.
    pub(crate) ratio_to_echo: Option<f64>,
    /// The ratio by other ways.
    pub(crate) ratios: Option<Ratios>,
    /// Reviews by the seconds of a processor that the shim took for them; nothing where there is none.
    pub(crate) per_core_per_s: Option<f64>,
    /// The same by what the echo gave for as much.
    pub(crate) per_core_ratio_to_echo: Option<f64>,
    /// As in the document.
    pub(crate) latency_us: LatencyUs,
    /// As in the document.
    pub(crate) checks: u64,
    /// As in the document.
    pub(crate) errors: u64,
    /// How those without an answer ended.
    pub(crate) failures: BTreeMap<String, u64>,
    /// As in the document.
    pub(crate) registry_requests: u64,
    /// The same by kind.
    pub(crate) registry_kinds: BTreeMap<String, u64>,
    /// As in the document, at the end of the phase.
    pub(crate) rss_bytes: Option<u64>,
    /// Seconds of a processor that the service used.
    pub(crate) cpu_s: Option<f64>,
    /// What answers said, where they were read.
    pub(crate) seen: Seen,
    /// Parts of a second.
    pub(crate) intervals: Vec<Interval>,
    /// Quantiles from 0 to 1 and their latencies in microseconds.
    pub(crate) curve: Vec<(f64, f64)>,
    /// The echo, where it was measured.
    pub(crate) echo: Option<EchoDocument>,
    /// The segments, where there were any.
    pub(crate) segments: Vec<Segment>,
}

/// What came of the echo.
#[derive(Debug, Serialize)]
pub(crate) struct EchoDocument {
    /// Replies per second.
    pub(crate) throughput_per_s: f64,
    /// Latencies.
    pub(crate) latency_us: LatencyUs,
    /// The length of its replies.
    pub(crate) reply_bytes: usize,
    /// As of the service.
    pub(crate) intervals: Vec<Interval>,
    /// As of the service.
    pub(crate) curve: Vec<(f64, f64)>,
}

impl EchoDocument {
    pub(crate) fn of(measured: &Measured, throughput: f64, reply_bytes: usize) -> Self {
        Self {
            throughput_per_s: throughput,
            latency_us: (&measured.latencies).into(),
            reply_bytes,
            intervals: measured.intervals.clone(),
            curve: measured.latencies.curve(),
        }
    }
}

/// The form of the document.
pub(crate) const VERSION: u32 = 1;

impl Document {
    /// For people, in a few lines.
    pub(crate) fn lines(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{}: {}\n", self.scenario, self.about);
        for phase in &self.phases {
            let ratio =
                phase.ratio_to_echo.map_or_else(String::new, |r| format!("  {r:.2} x echo"));
            let LatencyUs { p50, p99, p999, max } = phase.latency_us;
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "  {:<16} {:>10.0}/s{ratio}  p50 {p50:.0}  p99 {p99:.0}  p99.9 {p999:.0}  max {max:.0} µs  \
                 {} errors  {} registry requests",
                phase.phase, phase.throughput_per_s, phase.errors, phase.registry_requests
            );
            if let Some(per_core) = phase.per_core_per_s {
                let ratio = phase
                    .per_core_ratio_to_echo
                    .map_or_else(String::new, |r| format!("  {r:.2} x echo"));
                let _ = writeln!(text, "  {:<16} {per_core:>10.0} per second of a core{ratio}", "");
            }
            for (failure, count) in &phase.failures {
                let _ = writeln!(text, "  {:<16} {count} {failure}", "");
            }
        }
        if let Some(rss) = self.rss_bytes {
            let _ = writeln!(text, "  resident {} MiB", rss / (1024 * 1024));
        }
        if let Some(rest) = self.rest_rss_bytes {
            let _ = writeln!(text, "  resident at rest {} MiB", rest / (1024 * 1024));
        }
        for verdict in &self.objectives {
            let _ = writeln!(text, "  {}", verdict.line());
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests;
