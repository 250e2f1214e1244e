//! The keys that programs read.

use serde_json::Value;

use super::*;
use crate::measure::{Outcome, Recorder};

/// A document of one phase with an echo, in which each list has an entry.
pub(crate) fn document() -> Document {
    let mut recorder = Recorder::new(0, 1_000_000_000, 1_000_000).unwrap();
    recorder.record(0, 5_000, Outcome::Answered(1));
    recorder.record(0, 9_000, Outcome::Refused(8));
    let measured = recorder.end(1_000_000_000, 1_000_000_000);
    let latency_us = LatencyUs::from(&measured.latencies);
    let segment = Segment {
        who: "echo",
        throughput_per_s: 1.0,
        p50_us: 1.0,
        p99_us: 1.0,
        p999_us: 1.0,
        steal: 0.0,
        kept: true,
    };
    let failures =
        measured.tally.failures().map(|(name, count)| (name.to_owned(), count)).collect();
    let phase = PhaseDocument {
        phase: "check".to_owned(),
        load: "Check".to_owned(),
        throughput_per_s: measured.throughput(),
        ratio_to_echo: Some(1.0),
        per_core_per_s: Some(1.0),
        per_core_ratio_to_echo: Some(1.0),
        ratios: Some(Ratios { medians: 1.0, best_decile: 1.0, paired: 1.0 }),
        latency_us,
        checks: measured.checks,
        errors: measured.tally.failed(),
        failures,
        registry_requests: 7,
        registry_kinds: BTreeMap::from([("blob".to_owned(), 7)]),
        rss_bytes: Some(1),
        cpu_s: Some(0.5),
        seen: Seen::default(),
        intervals: measured.intervals.clone(),
        curve: measured.latencies.curve(),
        echo: Some(EchoDocument::of(&measured, 1.0, 500)),
        segments: vec![segment],
    };
    let verdict = Verdict {
        figure: "check.errors".to_owned(),
        of: None,
        value: Some(1.0),
        min: None,
        max: Some(0.0),
        met: Some(false),
    };
    Document {
        version: VERSION,
        scenario: "warm".to_owned(),
        about: "about".to_owned(),
        headline: "check".to_owned(),
        at: "2026-08-01T12:00:00Z".to_owned(),
        machine: "one".to_owned(),
        throughput_per_s: phase.throughput_per_s,
        ratio_to_echo: phase.ratio_to_echo,
        latency_us,
        checks: 1,
        errors: 1,
        registry_requests: 7,
        rss_bytes: Some(1),
        rest_rss_bytes: Some(1),
        passed: false,
        objectives: vec![verdict],
        phases: vec![phase],
        figures: Figures::default(),
    }
}

/// Keys with their places, each once: `phases[].echo.curve`.
fn keys(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                // What is in these depends on the run.
                let is_open =
                    ["figures", "failures", "registry_kinds", "seen"].contains(&key.as_str());
                found.push(place.clone());
                if !is_open {
                    keys(member, &place, found);
                }
            }
        }
        Value::Array(items) => {
            items.iter().take(1).for_each(|item| keys(item, &format!("{place}[]"), found));
        }
        _ => {}
    }
}

/// Who takes a key away or renames it breaks what others have written: raise the version.
#[test]
fn the_keys_stay() {
    let document = serde_json::to_value(document()).unwrap();
    assert_eq!(document["version"], 1);
    let mut found = Vec::new();
    keys(&document, "", &mut found);
    found.sort();
    let expected = include_str!("keys.txt");
    assert_eq!(found.join("\n"), expected.trim_end(), "the keys are now:\n{}", found.join("\n"));
}

#[test]
fn the_keys_that_were_promised_are_there() {
    let document = serde_json::to_value(document()).unwrap();
    let promised = [
        "scenario",
        "throughput_per_s",
        "ratio_to_echo",
        "checks",
        "errors",
        "registry_requests",
        "rss_bytes",
    ];
    for key in promised {
        assert!(document.get(key).is_some(), "{key}");
    }
    for key in ["p50", "p99", "p999", "max"] {
        assert!(document["latency_us"][key].is_f64(), "{key}");
    }
}

#[test]
fn a_document_is_what_is_compared() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(&document()).unwrap()).unwrap();
    let read = crate::compare::read(file.path()).unwrap();
    let (table, is_worse) = crate::compare::compare(&read, &read, 0.0).unwrap();
    assert!(!is_worse && table.contains("registry_requests"), "{table}");
}

#[test]
fn a_missed_objective_is_named() {
    let lines = document().lines();
    assert!(lines.contains("MISSED check.errors: 1.000, at most 0"), "{lines}");
    assert!(lines.contains("1 resource_exhausted"), "{lines}");
}
