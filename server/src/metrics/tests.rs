//! What is shown.

use std::time::Duration;

use portcullis_core::decide::Action;
use portcullis_core::evidence::{Evidence, Source};
use portcullis_telemetry::spans::TraceId;
use time::macros::datetime;
use tonic::Code;

use super::*;

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
}

#[test]
fn what_every_answer_counts_is_there_from_the_start() {
    let metrics = Metrics::new();
    let text = metrics.encode().unwrap();
    assert_line(&text, r#"portcullis_decisions_total{action="deny"} 0"#);
    assert_line(&text, r#"portcullis_evidence_total{status="stale",source="memory"} 0"#);
    assert_line(&text, r#"portcullis_evidence_lookups_total{outcome="coalesced"} 0"#);
    assert_line(&text, "portcullis_exemptions_applied_total 0");
}

#[test]
fn each_label_is_the_one_that_was_counted() {
    let metrics = Metrics::new();
    let all = [(Action::Allow, "allow", 1), (Action::Audit, "audit", 2), (Action::Deny, "deny", 3)];
    for (action, _, count) in all {
        (0..count).for_each(|_| metrics.decision(action));
    }
    let text = metrics.encode().unwrap();
    for (_, name, count) in all {
        assert_line(&text, &format!("portcullis_decisions_total{{action=\"{name}\"}} {count}"));
    }
    let unavailable = Evidence::Stale { age: Duration::ZERO };
    for evidence in [Evidence::Missing, Evidence::Withheld, Evidence::Unsupported, unavailable] {
        for source in [Source::Registry, Source::Memory] {
            let line = format!(
                "portcullis_evidence_total{{status=\"{}\",source=\"{}\"}} ",
                evidence.status(),
                source.as_str()
            );
            assert_line(&metrics.encode().unwrap(), &format!("{line}0"));
            metrics.evidence(&evidence, source, Duration::from_secs(30));
            assert_line(&metrics.encode().unwrap(), &format!("{line}1"));
        }
    }
    // What is not known has no age.
    let text = metrics.encode().unwrap();
    assert_line(&text, "portcullis_evidence_age_seconds_count 6");
    assert_line(&text, r#"portcullis_evidence_age_seconds_bucket{le="15.0"} 0"#);
    assert_line(&text, r#"portcullis_evidence_age_seconds_bucket{le="60.0"} 6"#);
}

#[test]
fn a_traced_answer_leaves_an_exemplar_in_openmetrics_alone() {
    let metrics = Metrics::new();
    let at = datetime!(2026-08-01 12:00:00.5 UTC);
    metrics.answered(Duration::from_millis(3), None, at);
    metrics.answered(Duration::from_millis(3), Some(TraceId::from(0xa1)), at);
    let line = r#"portcullis_check_duration_seconds_bucket{le="0.005"} 2"#;
    let trace = "000000000000000000000000000000a1";
    let open = metrics.encode().unwrap();
    assert_line(&open, &format!("{line} # {{trace_id=\"{trace}\"}} 0.003 1785585600.500"));
    assert!(open.ends_with("# EOF\n"));
    assert_eq!(open.matches(trace).count(), 1, "of the bucket it is in");
    let plain = metrics.encode_as(Exposition::Text).unwrap();
    assert_line(&plain, line);
    assert!(!plain.contains("trace_id") && !plain.contains("# EOF"), "{plain}");
    assert_line(&plain, "# TYPE portcullis_decisions_total counter");
}

#[test]
fn calls_are_counted_by_method_and_code() {
    let metrics = Metrics::new();
    let check = metrics.method("/portcullis.v1.DecisionService/Check");
    let stream = metrics.method("/portcullis.v1.DecisionService/CheckStream");
    assert_eq!((check.kind, stream.kind), (MethodKind::Unary, MethodKind::Stream));
    metrics.call_ended(check, Code::Ok, Duration::from_micros(20));
    metrics.call_ended(stream, Code::ResourceExhausted, Duration::from_secs(20));
    metrics.call_ended(metrics.method("/grpc.health.v1.Health/Check"), Code::Ok, Duration::ZERO);
    let text = metrics.encode().unwrap();
    for (method, code) in [
        ("portcullis.v1.DecisionService/Check", "OK"),
        ("portcullis.v1.DecisionService/CheckStream", "RESOURCE_EXHAUSTED"),
        ("grpc.health.v1.Health/Check", "OK"),
    ] {
        let labels = format!("{{method=\"{method}\",code=\"{code}\"}}");
        assert_line(&text, &format!("portcullis_rpc_duration_seconds_count{labels} 1"));
    }
}

#[test]
fn t143_methods_that_callers_make_up_are_one() {
    let metrics = Metrics::new();
    let ask = |number: u32| {
        let made_up = metrics.method(&format!("/tenant-{number}.v1.Service/Check"));
        metrics.call_ended(made_up, Code::Unimplemented, Duration::ZERO);
    };
    ask(0);
    let series = metrics.encode().unwrap().lines().count();
    (1..100_000).for_each(ask);
    let text = metrics.encode().unwrap();
    assert_eq!(text.lines().count(), series);
    let labels = r#"{method="other",code="UNIMPLEMENTED"}"#;
    assert_line(&text, &format!("portcullis_rpc_duration_seconds_count{labels} 100000"));
}

#[test]
fn a_cache_is_shown_as_it_is_when_it_is_asked_for() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    let (metrics, bytes) = (Metrics::new(), Arc::new(AtomicU64::new(5)));
    let size = Arc::clone(&bytes);
    metrics.watch_cache("tags", move || CacheSize {
        entries: Some(2),
        bytes: size.load(Ordering::Relaxed),
    });
    assert_line(&metrics.encode().unwrap(), r#"portcullis_cache_bytes{cache="tags"} 5"#);
    bytes.store(6, Ordering::Relaxed);
    let text = metrics.encode().unwrap();
    assert_line(&text, r#"portcullis_cache_bytes{cache="tags"} 6"#);
    assert_line(&text, r#"portcullis_cache_entries{cache="tags"} 2"#);
    // The same name is not there twice.
    metrics.watch_cache("tags", CacheSize::default);
    assert_eq!(metrics.encode().unwrap().matches(r#"_bytes{cache="tags"}"#).count(), 1);
}

#[test]
fn the_policy_in_force_is_named_once() {
    let (metrics, at) = (Metrics::new(), datetime!(2026-08-01 12:00 UTC));
    metrics.policy("default", 1, at);
    metrics.policy("0123456789abcdef", 2, at);
    metrics.trust("sha256:00112233445566778899");
    let text = metrics.encode().unwrap();
    let revisions = r#"{revision="0123456789abcdef",trust="0011223344556677"}"#;
    assert_line(&text, &format!("portcullis_policy_info{revisions} 1"));
    assert_eq!(text.matches("portcullis_policy_info{").count(), 1);
    assert_line(&text, "portcullis_policy_changed_timestamp_seconds 1785585600.0");
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_is_shown_under_the_names_that_all_programs_use() {
    let text = Metrics::new().encode().unwrap();
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"] {
        let line = text.lines().find_map(|l| l.strip_prefix("process_")?.strip_prefix(name));
        let value: f64 = line.unwrap_or_else(|| panic!("{name}: {text}")).trim().parse().unwrap();
        assert!(value >= 0.0 && value.is_finite(), "{name} {value}");
    }
}
