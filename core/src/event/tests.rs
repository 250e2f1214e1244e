//! Events of decisions, as a sink reads them.

use super::grounds::criteria;
use super::*;
use crate::decide::{Applied, Condition, Lifted, decide};
use crate::evidence::{Evidence, Reason, Rejection, Source};
use crate::findings::Severity;
use crate::policy::{self, Policy};
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn subject(evidence: Evidence) -> Subject {
    Subject {
        digest: Some(Digest::of(b"image")),
        platform: None,
        evidence: std::sync::Arc::new(evidence),
        fetched_at: NOW,
        source: Source::Memory,
    }
}

fn policy(rules: &str) -> Policy {
    let text = format!("apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {{rules: [{rules}]}}");
    policy::parse(&[policy::Source { file: "r".to_owned(), text }]).unwrap()
}

fn event(policy: &Policy, subjects: &[Subject], ctx: &Context) -> Event {
    let image = "reg.io/app:v1".parse().unwrap();
    let decision = decide(policy, &image, subjects, ctx, NOW);
    let call =
        Call { id: "e-1", time: NOW, took: Duration::from_micros(7), container: &ctx.container };
    Event::new(call, &image, subjects, ctx, &decision)
}

#[test]
fn an_event_says_what_was_asked_and_why_it_was_answered() {
    let policy = policy("{name: r, action: deny, blockUnscannedImages: true}");
    let ctx = Context { namespace: "shop".to_owned(), ..Context::default() };
    let event = event(&policy, &[subject(Evidence::Missing)], &ctx);
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!(json["id"], "e-1");
    assert_eq!(json["time"], "2026-03-01T12:00:00Z");
    assert_eq!(json["action"], "deny");
    assert_eq!(json["rule"], "r");
    assert_eq!(json["namespace"], "shop");
    assert_eq!(json["image"], "reg.io/app:v1");
    assert_eq!(json["digest"], Digest::of(b"image").to_string());
    assert_eq!(json["violations"][0]["condition"], "unscanned");
    assert_eq!(json["evidence"][0]["status"], "missing");
    assert_eq!(json["evidence"][0]["source"], "memory");
    assert_eq!(json["policy_revision"], policy.revision());
    assert_eq!(json["duration_us"], 7);
    assert!(json["reason"].as_str().unwrap().contains("Unscanned images are not allowed"));
}

#[test]
fn an_allow_is_an_event_too() {
    let event =
        event(&Policy::default_policy(), &[subject(Evidence::Missing)], &Context::default());
    assert_eq!((event.action, event.rule, event.reason), (Action::Allow, None, None));
    assert_eq!(event.notices[0].kind, "unscanned");
}

#[test]
fn names_from_outside_are_escaped_and_cut() {
    let ctx = Context {
        namespace: "a\u{1b}[31m\nb\u{202e}c".to_owned(),
        pod: "x".repeat(MAX_NAME + 1),
        container: "x".repeat(MAX_NAME),
        ..Context::default()
    };
    let detail = format!("\u{7}{}", "é".repeat(100_000));
    let rejection = Rejection { reason: Reason::Malformed, report: None, detail };
    let event = event(&Policy::default_policy(), &[subject(Evidence::Rejected(rejection))], &ctx);
    assert_eq!(event.namespace, "a\\u{1b}[31m\\u{a}b\\u{202e}c");
    assert_eq!(event.pod, format!("{}…", "x".repeat(MAX_NAME - 3)));
    assert_eq!(event.container.len(), MAX_NAME);
    let json = serde_json::to_string(&event).unwrap();
    assert!(json.len() < 16 * 1024, "{}", json.len());
    assert!(!json.chars().any(char::is_control));
}

#[test]
fn lists_are_cut_and_counted_and_the_deciding_violation_stays() {
    let rules: String = (0..MAX_LISTED + 1)
        .map(|n| format!("{{name: r{n:03}, action: audit, blockUnscannedImages: true}},"))
        .collect();
    let policy = policy(&format!("{rules}{{name: z, action: deny, blockUnscannedImages: true}}"));
    let event = event(&policy, &[subject(Evidence::Missing)], &Context::default());
    assert_eq!(event.violations.len(), MAX_LISTED);
    assert_eq!(event.violations_total, MAX_LISTED + 2);
    assert!(event.violations[0].deciding);
    assert_eq!(event.violations[0].rule, "z");
}

#[test]
fn platforms_rules_and_notices_from_outside_are_escaped_and_cut() {
    let hostile = || format!("\u{1b}\n\u{202e}{}", "x".repeat(100_000));
    let platform =
        || Some(Platform { os: hostile(), architecture: hostile(), variant: Some(hostile()) });
    let subjects = [Subject { platform: platform(), ..subject(Evidence::Missing) }];
    let policy = policy("{name: r, action: deny, blockUnscannedImages: true}");
    let image = "reg.io/app:v1".parse().unwrap();
    let mut decision = decide(&policy, &image, &subjects, &Context::default(), NOW);
    decision.rule = Some(hostile().into());
    decision.violations[0].rule = hostile().into();
    let report = Digest::of(b"report");
    let mut applied = Applied::new(hostile().into(), hostile().into());
    (applied.owner, applied.reason, applied.ticket) = (hostile(), hostile(), Some(hostile()));
    applied.platform = platform();
    decision.exemptions.push(applied);
    let ctx = Context { break_glass: hostile(), ..Context::default() };
    for kind in [NoticeKind::Signature { report, detail: hostile() }, NoticeKind::Unscanned] {
        let rule = Some(hostile().into());
        decision.notices.push(Notice { rule, subject: None, platform: platform(), kind });
    }
    let call = Call { id: "e-1", time: NOW, took: Duration::ZERO, container: &ctx.container };
    let event = Event::new(call, &image, &subjects, &ctx, &decision);
    assert_eq!(event.notices[0].kind, "signature");
    let detail = event.notices[0].detail.as_deref().unwrap();
    assert!(detail.starts_with(&format!("report {report}: \\u{{1b}}\\u{{a}}")), "{detail}");
    let json = serde_json::to_value(&event).unwrap();
    assert_texts_are_printable(&json);
    assert!(json.to_string().len() < 32 * 1024);
}

#[test]
fn the_criteria_of_each_condition_are_told() {
    let check = |condition: &Condition, expected: serde_json::Value| {
        assert_eq!(serde_json::to_value(criteria(condition)).unwrap(), expected);
    };
    let (population, level) = (crate::policy::Population::Fixable, Severity::High);
    let condition = Condition::MaxAllowed { population, level, limit: 3, count: 5 };
    check(&condition, serde_json::json!({"level": "high", "limit": 3}));
    let forbidden = Condition::Forbidden { id: "CVE-2021-44228\u{1b}".to_owned() };
    check(&forbidden, serde_json::json!({"id": "CVE-2021-44228\\u{1b}"}));
    let stale = Condition::Stale { scanned_at: NOW, max_age: Duration::from_secs(86_400) };
    check(&stale, serde_json::json!({"max_findings_age_s": 86_400}));
    check(&Condition::Unscanned, serde_json::Value::Null);
}

#[test]
fn exemptions_that_were_applied_are_in_the_event() {
    let (policy, ctx) = (Policy::default_policy(), Context::default());
    let subjects = [subject(Evidence::Missing)];
    let image = "reg.io/app:v1".parse().unwrap();
    let mut decision = decide(&policy, &image, &subjects, &ctx, NOW);
    let mut applied = Applied::new("waiver".into(), "r".into());
    applied.owner = "team@example.com".to_owned();
    applied.reason = "a reason".to_owned();
    applied.until = Some(NOW);
    applied.condition = Some("unscanned");
    decision.exemptions = vec![applied; MAX_LISTED + 1];
    let call = Call { id: "e-1", time: NOW, took: Duration::ZERO, container: &ctx.container };
    let event = Event::new(call, &image, &subjects, &ctx, &decision);
    assert_eq!((event.exemptions.len(), event.exemptions_total), (MAX_LISTED, MAX_LISTED + 1));
    let json = serde_json::to_value(&event.exemptions[0]).unwrap();
    let expected = serde_json::json!({
        "name": "waiver", "owner": "team@example.com", "reason": "a reason",
        "until": "2026-03-01T12:00:00Z", "rule": "r", "subject": null,
        "condition": "unscanned", "ids": [], "total": 0,
    });
    assert_eq!(json, expected);
    assert_eq!(event.break_glass, None);
}

#[test]
fn a_justification_is_in_the_event_whether_or_not_it_lifted_a_denial() {
    let justification = "outage 4711";
    let ctx = Context { break_glass: justification.to_owned(), ..Context::default() };
    let policy = Policy::default_policy();
    let image = "reg.io/app:v1".parse().unwrap();
    let mut decision = decide(&policy, &image, &[], &ctx, NOW);
    let call = Call { id: "e-1", time: NOW, took: Duration::ZERO, container: &ctx.container };
    let told = |decision: &Decision| {
        let event = Event::new(call, &image, &[], &ctx, decision);
        assert_eq!(event.justification, justification);
        event.break_glass
    };
    assert_eq!(told(&decision), None);
    let lifted = Lifted { name: "on-call".into(), justification: justification.to_owned() };
    decision.break_glass = Some(lifted);
    assert_eq!(told(&decision).as_deref(), Some("on-call"));
}

#[track_caller]
fn assert_texts_are_printable(json: &serde_json::Value) {
    match json {
        serde_json::Value::String(text) => {
            assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:.80}");
        }
        serde_json::Value::Array(items) => items.iter().for_each(assert_texts_are_printable),
        serde_json::Value::Object(fields) => fields.values().for_each(assert_texts_are_printable),
        _ => {}
    }
}
