//! A decision in which nothing is violated asks nothing of the allocator.

use std::sync::Arc;

use portcullis_core::decide::{Action, Context, decide};
use portcullis_core::evidence::{Evidence, Report, Source, Subject};
use portcullis_core::findings::{Analysis, Finding, Findings, FixState, Scanner, Severity};
use portcullis_core::image::{Digest, Reference};
use portcullis_core::policy;
use portcullis_core::signature::Signer;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

const RULES: &str = "
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  exemptions:
  - name: elsewhere
    match: [{field: namespace, operator: equals, values: [b]}]
    owner: us
    reason: none
  rules:
  - {name: limits, action: deny, maxAllowed: {high: 2}, maxFindingsAge: 7d}
  - {name: fixable, action: deny, maxAllowedFixable: {high: 1}, count: {minPublishedAge: 14d}}
  - {name: forbidden, action: deny, forbiddenVulnerabilities: [CVE-2021-44228]}
  - {name: allowed, action: deny, maxAllowed: {high: 2}, allowedVulnerabilities: [CVE-0]}
  - name: here
    action: deny
    scope: {match: [{field: namespace, operator: equals, values: [a]}]}
    maxAllowed: {critical: 0}
  - name: path
    action: deny
    scope: {match: [{field: repository, operator: startsWith, values: [reg.io/team]}]}
    maxAllowed: {critical: 0}
  - name: elsewhere
    action: deny
    scope: {match: [{field: namespace, operator: equals, values: [b]}]}
    maxAllowed: {low: 0}
";

fn subject() -> Subject {
    let finding = |n: usize| Finding {
        id: format!("CVE-{n}").into(),
        aliases: vec![format!("GHSA-{n}").into()],
        severity: if n < 2 { Severity::High } else { Severity::Medium },
        score: None,
        package: Some("openssl".into()),
        purl: None,
        installed: None,
        fixed: Vec::new(),
        fix_state: FixState::NotFixed,
        known_exploited: None,
        epss: None,
        published: Some(NOW - time::Duration::days(10)),
        first_seen: None,
        analysis: Analysis::Affected,
    };
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    let signer = Signer {
        subject: "CN=scanner".to_owned(),
        fingerprint: String::new(),
        policy: "all".to_owned(),
        signed_at: Some(NOW),
    };
    let report = Report {
        digest: Digest::of(b"report"),
        signer: Arc::new(signer),
        findings: Findings::new(scanner, NOW, (0..100).map(finding).collect()),
        notices: Vec::new(),
    };
    Subject {
        digest: Some(Digest::of(b"image")),
        platform: None,
        evidence: Arc::new(Evidence::verified(vec![Arc::new(report)])),
        fetched_at: NOW,
        source: Source::Memory,
    }
}

#[test]
fn a_decision_without_violations_does_not_allocate() {
    let source = policy::Source { file: "rules.yaml".to_owned(), text: RULES.to_owned() };
    let policy = policy::parse(&[source]).unwrap();
    let image: Reference = "reg.io/team/app:v1".parse().unwrap();
    let ctx = Context { namespace: "a".to_owned(), ..Context::default() };
    let subjects = [subject()];
    let ask = || decide(&policy, &image, &subjects, &ctx, NOW);
    // The first question finds out what the reports hold.
    assert_eq!(ask().action, Action::Allow);
    let asked = allocation_counter::measure(|| assert_eq!(ask().action, Action::Allow));
    assert_eq!(asked.count_total, 0, "{asked:?}");
}
