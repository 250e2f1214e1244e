//! Two documents in, a table of what changed out, and whether it is worse than is tolerated.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;

use crate::document::LatencyUs;

/// The longest document that is read, in bytes.
pub(crate) const MAX_DOCUMENT: u64 = 256 * 1024 * 1024;

/// What is compared of a document. More keys than these may come.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Compared {
    scenario: String,
    throughput_per_s: f64,
    ratio_to_echo: Option<f64>,
    latency_us: LatencyUs,
    errors: u64,
    registry_requests: u64,
    rss_bytes: Option<u64>,
}

/// Several documents in one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Several { scenarios: Vec<Compared> },
    One(Compared),
}

/// Which way a figure gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worse {
    Lower,
    Higher,
    /// It depends on the machine of the moment, and is not judged.
    Neither,
}

/// One figure of two runs.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    scenario: String,
    figure: &'static str,
    before: f64,
    after: f64,
    is_worse: bool,
}

/// The documents in a file.
///
/// # Errors
/// When it cannot be read, is longer than [`MAX_DOCUMENT`], or is something else.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Compared>> {
    let name = path.display();
    let length = fs::metadata(path).with_context(|| format!("failed to read `{name}`"))?.len();
    anyhow::ensure!(length <= MAX_DOCUMENT, "`{name}` is longer than {MAX_DOCUMENT} bytes");
    let text = fs::read(path).with_context(|| format!("failed to read `{name}`"))?;
    let written = serde_json::from_slice(&text)
        .with_context(|| format!("`{name}` is not what `run --output json` writes"))?;
    Ok(match written {
        Written::Several { scenarios } => scenarios,
        Written::One(one) => vec![one],
    })
}

/// A table of what changed, and whether something got worse by more than `tolerance`, a part of what
/// it was: 0.1 for a tenth.
///
/// # Errors
/// When the runs have no scenario in common.
pub(crate) fn compare(
    before: &[Compared],
    after: &[Compared],
    tolerance: f64,
) -> anyhow::Result<(String, bool)> {
    let of = |name: &str| before.iter().find(|compared| compared.scenario == name);
    let pairs = after.iter().filter_map(|after| Some((of(&after.scenario)?, after)));
    let rows: Vec<_> = pairs.flat_map(|(before, after)| rows(before, after, tolerance)).collect();
    anyhow::ensure!(!rows.is_empty(), "the two runs have no scenario in common");
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["scenario", "figure", "before", "after", "change", ""]);
    for row in &rows {
        let change = match row.before {
            0.0 => String::new(),
            before => format!("{:+.1} %", (row.after / before - 1.0) * 100.0),
        };
        let worse = if row.is_worse { "WORSE" } else { "" };
        let (before, after) = (format!("{:.2}", row.before), format!("{:.2}", row.after));
        table.add_row([&*row.scenario, row.figure, &*before, &*after, &*change, worse]);
    }
    table.column_iter_mut().skip(2).take(3).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    Ok((table.to_string(), rows.iter().any(|row| row.is_worse)))
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
fn rows(before: &Compared, after: &Compared, tolerance: f64) -> Vec<Row> {
    // Where both have the echo beside it, the ratio is what counts: the machine is not in it.
    let have_ratios = before.ratio_to_echo.is_some() && after.ratio_to_echo.is_some();
    let throughput = if have_ratios { Worse::Neither } else { Worse::Lower };
    let figure = |of: &dyn Fn(&Compared) -> Option<f64>| of(before).zip(of(after));
    let figures = [
        ("ratio_to_echo", Worse::Lower, figure(&|c| c.ratio_to_echo)),
        ("throughput_per_s", throughput, figure(&|c| Some(c.throughput_per_s))),
        ("latency_us.p50", Worse::Higher, figure(&|c| Some(c.latency_us.p50))),
        ("latency_us.p99", Worse::Higher, figure(&|c| Some(c.latency_us.p99))),
        ("latency_us.p999", Worse::Higher, figure(&|c| Some(c.latency_us.p999))),
        ("latency_us.max", Worse::Neither, figure(&|c| Some(c.latency_us.max))),
        ("errors", Worse::Higher, figure(&|c| Some(c.errors as f64))),
        ("registry_requests", Worse::Higher, figure(&|c| Some(c.registry_requests as f64))),
        ("rss_bytes", Worse::Higher, figure(&|c| Some(c.rss_bytes? as f64))),
    ];
    let rows = figures.into_iter().filter_map(|(figure, worse, pair)| {
        let (before_it, after_it) = pair?;
        let is_worse = match worse {
            Worse::Lower => after_it < before_it * (1.0 - tolerance),
            Worse::Higher => after_it > before_it * (1.0 + tolerance),
            Worse::Neither => false,
        };
        let scenario = after.scenario.clone();
        Some(Row { scenario, figure, before: before_it, after: after_it, is_worse })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(throughput: f64, ratio: Option<f64>, p99: f64, errors: u64) -> Vec<Compared> {
        let latency_us = LatencyUs { p50: 1.0, p99, p999: 3.0, max: p99 * 100.0 };
        vec![Compared {
            scenario: "warm".to_owned(),
            throughput_per_s: throughput,
            ratio_to_echo: ratio,
            latency_us,
            errors,
            registry_requests: 0,
            rss_bytes: Some(1),
        }]
    }

    #[track_caller]
    fn check(before: &[Compared], after: &[Compared], worse: &[&str]) {
        let (table, is_worse) = compare(before, after, 0.1).unwrap();
        let named: Vec<_> = table
            .lines()
            .filter(|line| line.contains("WORSE"))
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!((named.as_slice(), is_worse), (worse, !worse.is_empty()), "{table}");
    }

    #[test]
    fn only_what_is_worse_beyond_tolerance_is_named() {
        let before = run(100.0, None, 2.0, 0);
        check(&before, &before, &[]);
        check(&before, &run(90.0, None, 2.2, 0), &[]);
        check(&before, &run(89.0, None, 2.0, 0), &["throughput_per_s"]);
        check(&before, &run(500.0, None, 2.3, 1), &["latency_us.p99", "errors"]);
    }

    #[test]
    fn with_an_echo_beside_it_the_ratio_counts() {
        let before = run(100.0, Some(2.0), 2.0, 0);
        check(&before, &run(50.0, Some(1.9), 2.0, 0), &[]);
        check(&before, &run(200.0, Some(1.7), 2.0, 0), &["ratio_to_echo"]);
        check(&before, &run(50.0, None, 2.0, 0), &["throughput_per_s"]);
    }

    #[test]
    fn runs_of_unlike_scenarios_cannot_be_compared() {
        let other =
            vec![Compared { scenario: "cold".to_owned(), ..run(1.0, None, 1.0, 0).remove(0) }];
        assert!(compare(&run(1.0, None, 1.0, 0), &other, 0.1).is_err());
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{}").unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("run --output json"));
        file.as_file().set_len(MAX_DOCUMENT + 1).unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("longer"));
    }
}
