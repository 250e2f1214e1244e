//! What a scenario gave in, figures by name and whether objectives are met out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::Measured;
use crate::scenario::Objective;

/// Figures by name, such as `check.p99_us`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: f64) {
        // The sum of nothing is a zero below zero.
        self.0.insert(name.into(), value + 0.0);
    }

    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The figures of one load, under the name of its phase.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn measured(&mut self, name: &str, measured: &Measured) {
        let latencies = &measured.latencies;
        let answered = measured.tally.of("answered") as f64;
        let failed = measured.tally.failed() as f64;
        self.set(format!("{name}.throughput_per_s"), measured.throughput());
        self.set(format!("{name}.p50_us"), latencies.at(0.5));
        self.set(format!("{name}.p99_us"), latencies.at(0.99));
        self.set(format!("{name}.p999_us"), latencies.at(0.999));
        self.set(format!("{name}.max_us"), latencies.max());
        self.set(format!("{name}.failed_p99_us"), measured.failed.at(0.99));
        self.set(format!("{name}.checks"), measured.checks as f64);
        self.set(format!("{name}.answered"), answered);
        self.set(format!("{name}.errors"), failed);
        // What was shed was told so at once; what else failed was not answered.
        let shed = measured.tally.of("resource_exhausted") as f64;
        self.set(format!("{name}.shed"), shed);
        self.set(format!("{name}.shed_p99_us"), measured.shed.at(0.99));
        self.set(format!("{name}.unshed_errors"), failed - shed);
        let failing = measured.intervals.iter().filter(|part| part.failed > 0);
        let last = failing.map(|part| part.at_s + part.length_s).fold(0.0, f64::max);
        self.set(format!("{name}.last_failure_s"), last);
        let all = answered + failed;
        self.set(format!("{name}.answered_share"), if all > 0.0 { answered / all } else { 0.0 });
    }
}

/// Whether an objective is met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The figure.
    pub(crate) figure: String,
    /// What it was divided by.
    pub(crate) of: Option<String>,
    /// What it was; not there where it was not measured.
    pub(crate) value: Option<f64>,
    /// At least.
    pub(crate) min: Option<f64>,
    /// At most.
    pub(crate) max: Option<f64>,
    /// Whether it is met. One that needs the echo is not judged in a run without it.
    pub(crate) met: Option<bool>,
}

impl Verdict {
    /// Judges. A figure that is not there is a miss, unless it needs an echo that was not asked for.
    pub(crate) fn of(objective: &Objective, figures: &Figures, has_echo: bool) -> Self {
        let Objective { figure, of, min, max } = objective.clone();
        let divisor = of.as_ref().map_or(Some(1.0), |of| figures.of(of));
        let value = figures.of(&figure).zip(divisor).and_then(|(value, divisor)| {
            // Nothing by nothing is nothing more than the other.
            if divisor == 0.0 { (value == 0.0).then_some(0.0) } else { Some(value / divisor) }
        });
        let needs_echo =
            [Some(&figure), of.as_ref()].into_iter().flatten().any(|f| f.contains("echo"));
        let met = match value {
            Some(value) => {
                Some(min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max))
            }
            None if needs_echo && !has_echo => None,
            None => Some(false),
        };
        Self { figure, of, value, min, max, met }
    }

    /// The objective and what came of it, in a line.
    pub(crate) fn line(&self) -> String {
        let of = self.of.as_ref().map_or_else(String::new, |of| format!(" / {of}"));
        let bound = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => String::new(),
        };
        let value =
            self.value.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.3}"));
        let word = match self.met {
            Some(true) => "met   ",
            Some(false) => "MISSED",
            None => "-     ",
        };
        format!("{word} {}{of}: {value}, {bound}", self.figure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(of: Option<&str>, min: Option<f64>, max: Option<f64>, expected: Option<bool>) {
        let mut figures = Figures::default();
        [("a", 6.0), ("b", 2.0), ("zero", 0.0)].iter().for_each(|(n, v)| figures.set(*n, *v));
        let objective = Objective { figure: "a".to_owned(), of: of.map(str::to_owned), min, max };
        assert_eq!(Verdict::of(&objective, &figures, false).met, expected);
    }

    #[test]
    fn bounds_are_inclusive() {
        check(None, Some(6.0), None, Some(true));
        check(None, Some(6.1), None, Some(false));
        check(None, None, Some(6.0), Some(true));
        check(None, None, Some(5.9), Some(false));
        check(Some("b"), Some(3.0), Some(3.0), Some(true));
        check(Some("b"), None, Some(2.9), Some(false));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        check(Some("c"), None, Some(1e9), Some(false));
        check(Some("zero"), Some(0.0), None, Some(false));
        check(Some("echo.p99_us"), None, Some(1e9), None);
        let objective = Objective {
            figure: "x".to_owned(),
            of: Some("echo.p99_us".to_owned()),
            min: None,
            max: Some(1.0),
        };
        assert_eq!(Verdict::of(&objective, &Figures::default(), true).met, Some(false));
        let line = Verdict::of(&objective, &Figures::default(), true).line();
        assert_eq!(line, "MISSED x / echo.p99_us: not measured, at most 1");
    }
}
