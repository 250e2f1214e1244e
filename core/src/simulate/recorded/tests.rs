//! A decision that was written as a line is decided again as it was.

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::event::{Call, Event, Line, MAX_LABELS, MAX_LISTED, MAX_NAME};
use crate::evidence::Reports;
use crate::findings::{Epss, FixState, Score, Severity};
use crate::policy::{self, Policy};
use crate::simulate;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00:00.123456789 UTC);

fn policy() -> Policy {
    let text = "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  breakGlass: [{name: on-call}]
  rules:
  - {name: r, action: deny, maxAllowed: {high: 0}, maxFindingsAge: 1d, onUnavailable: deny,
     blockUnscannedImages: true, count: {minEpss: 0.5, minCvss: 7.0}}
  - {name: s, action: audit, forbiddenVulnerabilities: [CVE-1], scope: {podLabels: {matchLabels: {a: b}}}}
";
    let source = policy::Source { file: "r".to_owned(), text: text.to_owned() };
    policy::parse(&[source]).unwrap_or_else(|error| panic!("{error}"))
}

fn finding() -> Finding {
    Finding {
        id: "CVE-1".into(),
        aliases: vec!["GHSA-1".into()],
        severity: Severity::High,
        score: Score::from_f64(7.1),
        package: Some("a".into()),
        purl: Some("pkg:npm/a@1".into()),
        installed: Some("1".into()),
        fixed: vec!["2".into()],
        fix_state: FixState::Fixed,
        known_exploited: Some(true),
        epss: Epss::from_f64(0.97565),
        published: Some(datetime!(2026-01-01 0:00 UTC)),
        first_seen: Some(datetime!(2026-01-02 0:00 UTC)),
        analysis: crate::findings::Analysis::Affected,
    }
}

fn reports() -> Reports {
    let scanner = Scanner { name: "trivy".to_owned(), version: Some("1".to_owned()) };
    let findings = Findings::new(scanner, datetime!(2026-08-01 11:00:00.5 UTC), vec![finding()]);
    let statement = vex::Statement {
        ids: vec!["CVE-2".into()],
        status: Status::NotAffected,
        packages: vec!["pkg:npm/a".into()],
        issued_at: datetime!(2026-07-01 0:00 UTC),
    };
    let vex = Vex { author: "me".to_owned(), statements: vec![statement] };
    Reports::new(
        vec![Arc::new(simulate::report(Digest::of(b"report"), findings))],
        vec![Arc::new(simulate::statements(Digest::of(b"vex"), vex))],
    )
}

fn subject(evidence: Evidence) -> Subject {
    Subject {
        digest: Some(Digest::of(b"image")),
        platform: Some("linux/arm64".parse().unwrap()),
        evidence: Arc::new(evidence),
        fetched_at: NOW,
        source: Source::Registry,
    }
}

fn context() -> Context {
    let text = |text: &str| text.to_owned();
    Context {
        provider: text("aws"),
        account: text("1"),
        region: text("eu"),
        cluster: text("c"),
        namespace: text("shop"),
        namespace_labels: BTreeMap::from([(text("x"), text("y"))]),
        workload_kind: text("Deployment"),
        workload: text("web"),
        pod: text("p"),
        pod_labels: BTreeMap::from([(text("a"), text("b"))]),
        service_account: text("sa"),
        container: text("main"),
        break_glass: String::new(),
    }
}

/// The line of a decision about `subjects` in `ctx`, and the decision.
fn line(subjects: &[Subject], ctx: &Context) -> (Vec<u8>, Decision) {
    let image = "reg.io/app:v1".parse().unwrap();
    let decision = decide(&policy(), &image, subjects, ctx, NOW);
    let call =
        Call { id: "e-1", time: NOW, took: Duration::from_micros(7), container: &ctx.container };
    let event = Event::new(call, &image, subjects, ctx, &decision);
    (serde_json::to_vec(&Line::Decision(&event)).unwrap(), decision)
}

/// Gives what was attached from the lines of [`reports`].
fn from_lines(attached: Attached) -> Result<Arc<Evidence>, CannotTell> {
    let Attached { reports: named, vex: documents } = attached;
    let known = reports();
    let report = serde_json::to_vec(&Line::from(&*known[0])).unwrap();
    let vex = serde_json::to_vec(&Line::from(&*known.vex()[0])).unwrap();
    assert_eq!(kind(&report).unwrap(), Kind::Report(named[0]));
    assert_eq!(kind(&vex).unwrap(), Kind::Vex(documents[0]));
    let reports = vec![Arc::new(super::report(&report).unwrap())];
    let vex = vec![Arc::new(super::statements(&vex).unwrap())];
    Ok(Arc::new(Evidence::Verified(Reports::new(reports, vex))))
}

#[test]
fn what_is_read_of_a_line_is_what_was_written() {
    let evidence = from_lines(Attached {
        reports: vec![Digest::of(b"report")],
        vex: vec![Digest::of(b"vex")],
    });
    assert_eq!(*evidence.unwrap(), Evidence::Verified(reports()));
}

#[test]
fn a_decision_from_any_evidence_is_decided_again_as_it_was() {
    let detail = String::new;
    let mut all = vec![
        Evidence::Verified(reports()),
        Evidence::Missing,
        Evidence::Withheld,
        Evidence::Unsupported,
        Evidence::Stale { age: Duration::from_millis(90_500) },
    ];
    all.extend(
        Reason::ALL
            .map(|reason| Evidence::Rejected(Rejection { reason, report: None, detail: detail() })),
    );
    all.extend(CauseKind::ALL.map(|kind| Evidence::Unavailable(Cause { kind, detail: detail() })));
    for evidence in all {
        for break_glass in ["", "outage"] {
            let ctx = Context { break_glass: break_glass.to_owned(), ..context() };
            let (line, decision) = line(&[subject(evidence.clone())], &ctx);
            assert_eq!(kind(&line).unwrap(), Kind::Decision);
            let recorded = Recorded::read(&line).unwrap();
            assert_eq!((recorded.action, recorded.time), (decision.action, NOW));
            let again = recorded.question(from_lines).unwrap().decide(&policy());
            assert_eq!((again.action, &again.rule), (decision.action, &decision.rule));
            let words = |d: &Decision| -> Vec<_> {
                d.violations.iter().map(|v| (v.condition.as_str(), v.subject, v.total())).collect()
            };
            assert_eq!(words(&again), words(&decision), "{}", evidence.status());
        }
    }
}

#[test]
fn an_image_that_was_not_resolved_is_decided_again() {
    let cause = Cause { kind: CauseKind::NotFound, detail: "as recorded".to_owned() };
    let evidence = Evidence::Unavailable(cause);
    let unresolved = Subject { digest: None, platform: None, ..subject(evidence) };
    let (line, decision) = line(&[unresolved], &context());
    let question = Recorded::read(&line).unwrap().question(from_lines).unwrap();
    assert_eq!(question.decide(&policy()).violations, decision.violations);
}

#[track_caller]
fn cannot_tell(subjects: &[Subject], ctx: &Context) -> bool {
    let recorded = Recorded::read(&line(subjects, ctx).0).unwrap();
    match recorded.question(from_lines) {
        Ok(_) => false,
        Err(why) => {
            assert_eq!(why, CannotTell::Cut);
            true
        }
    }
}

#[test]
fn what_was_cut_cannot_be_told() {
    let missing = [subject(Evidence::Missing)];
    let named = |pod: String| Context { pod, ..context() };
    assert!(!cannot_tell(&missing, &named("x".repeat(MAX_NAME))));
    assert!(cannot_tell(&missing, &named("x".repeat(MAX_NAME + 1))));
    assert!(cannot_tell(&missing, &named("a\u{7}".to_owned())));
    let labelled = |count: usize| {
        let pod_labels = (0..count).map(|n| (format!("{n:04}"), String::new())).collect();
        Context { pod_labels, ..context() }
    };
    assert!(!cannot_tell(&missing, &labelled(MAX_LABELS)));
    assert!(cannot_tell(&missing, &labelled(MAX_LABELS + 1)));
    let many = |count: usize| vec![subject(Evidence::Missing); count];
    assert!(!cannot_tell(&many(MAX_LISTED), &context()));
    assert!(cannot_tell(&many(MAX_LISTED + 1), &context()));
}

#[test]
fn what_is_not_in_the_files_cannot_be_told() {
    let (line, _) = line(&[subject(Evidence::Verified(reports()))], &context());
    let recorded = Recorded::read(&line).unwrap();
    let why = recorded.question(|attached| Err(CannotTell::Report(attached.reports[0])));
    assert_eq!(why.unwrap_err(), CannotTell::Report(Digest::of(b"report")));
}

#[test]
fn a_line_is_of_one_kind_or_of_none() {
    let check = |line: &str| kind(line.as_bytes());
    assert_eq!(check(r#"{"action": "deny", "id": "x"}"#).unwrap(), Kind::OldDecision);
    assert!(matches!(check(r#"{"kind": "decisoin"}"#), Err(LineError::Kind(k)) if k == "decisoin"));
    assert!(matches!(check(r#"{"kind": "report"}"#), Err(LineError::NoDigest)));
    for malformed in ["", "{", "[]", "null", "{}{}", r#"{"kind": 1}"#, r#"{"action": "maybe"}"#] {
        assert!(check(malformed).is_err(), "{malformed}");
    }
    let longest = "x".repeat(80);
    let quoted = check(&format!(r#"{{"kind": "{longest}y"}}"#)).unwrap_err().to_string();
    assert!(!quoted.contains(&longest), "{quoted}");
}

#[test]
fn a_status_that_is_not_known_is_not_guessed() {
    let (line, _) = line(&[subject(Evidence::Missing)], &context());
    let text = String::from_utf8(line).unwrap();
    for (before, after) in [
        (r#""status":"missing""#, r#""status":"mislaid""#),
        (r#""status":"missing""#, r#""status":"rejected""#),
        (r#""status":"missing""#, r#""status":"unavailable","reason":"unsigned""#),
        (r#""status":"missing""#, r#""status":"stale""#),
    ] {
        let changed = text.replacen(before, after, 1);
        assert_ne!(changed, text);
        let recorded = Recorded::read(changed.as_bytes()).unwrap();
        let why = recorded.question(from_lines).unwrap_err();
        assert!(matches!(why, CannotTell::Evidence(_)), "{why}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_a_reader_panic(line in ".{0,200}") {
        let _ = kind(line.as_bytes());
        let _ = report(line.as_bytes());
        let _ = statements(line.as_bytes());
        if let Ok(recorded) = Recorded::read(line.as_bytes()) {
            let _ = recorded.question(from_lines);
        }
    }
}
