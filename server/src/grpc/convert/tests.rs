//! Nothing is lost between the contract and core, and what is too long is said to be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::decide::{Condition, Context, Decision, MAX_JUSTIFICATION, NoticeKind};
use portcullis_core::evidence::{Cause, CauseKind, Reason, Rejection, Reports};
use portcullis_core::findings::{Analysis, Finding, Scanner};
use portcullis_core::policy::Policy;
use portcullis_core::signature::Signer;
use prost::Message as _;
use time::macros::datetime;
use tonic::Status;

use super::*;
use crate::check::{Answer, Decided};
use crate::grpc::wire::Writer;

/// What a caller reads.
pub(super) fn told(answer: &Answer, detail: Detail) -> v1::CheckResponse {
    let mut message = Vec::new();
    super::answer(&mut Writer::new(&mut message), answer, detail);
    v1::CheckResponse::decode(&*message).unwrap()
}

fn plain(answer: &Answer) -> v1::CheckResponse {
    told(answer, Detail::Plain)
}

fn asking(context: v1::Context) -> v1::CheckRequest {
    let containers = vec![v1::Container { name: "c".to_owned(), image: "nginx".to_owned() }];
    v1::CheckRequest { context: Some(context), containers, ..v1::CheckRequest::default() }
}

/// The context of a question that a caller sends.
fn context(context: v1::Context) -> Result<Context, Status> {
    let request = asking(context).encode_to_vec();
    question(&request).map(|(question, _)| Context::clone(&question.context))
}

fn pair(name: &str) -> HashMap<String, String> {
    HashMap::from([(name.to_owned(), format!("{name} value"))])
}

#[test]
fn every_field_of_the_context_is_read() {
    let request = v1::Context {
        cluster: "cluster".to_owned(),
        cloud: Some(v1::Cloud {
            provider: "provider".to_owned(),
            account: "account".to_owned(),
            region: "region".to_owned(),
        }),
        namespace: "namespace".to_owned(),
        namespace_labels: pair("namespace label"),
        workload: Some(v1::Workload { kind: "kind".to_owned(), name: "workload".to_owned() }),
        pod: "pod".to_owned(),
        pod_labels: pair("pod label"),
        service_account: "service account".to_owned(),
        break_glass: " \u{1b}[1m why\n".to_owned(),
        platforms: Vec::new(),
    };
    let expected = Context {
        provider: "provider".to_owned(),
        account: "account".to_owned(),
        region: "region".to_owned(),
        cluster: "cluster".to_owned(),
        namespace: "namespace".to_owned(),
        namespace_labels: pair("namespace label").into_iter().collect(),
        workload_kind: "kind".to_owned(),
        workload: "workload".to_owned(),
        pod: "pod".to_owned(),
        pod_labels: pair("pod label").into_iter().collect(),
        service_account: "service account".to_owned(),
        container: String::new(),
        break_glass: "\u{1b}[1m why".to_owned(),
    };
    assert_eq!(context(request).unwrap(), expected);
    assert_eq!(context(v1::Context::default()).unwrap(), Context::default());
}

#[test]
fn a_context_past_its_bound_is_refused_whole_or_in_parts() {
    let with = |length| v1::Context { pod: "p".repeat(length), ..v1::Context::default() };
    // Beside the text, what says which field it is and how long.
    assert_eq!(with(MAX_CONTEXT - 4).encoded_len(), MAX_CONTEXT);
    assert_eq!(context(with(MAX_CONTEXT - 4)).unwrap().pod.len(), MAX_CONTEXT - 4);
    let refused = context(with(MAX_CONTEXT - 3)).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().starts_with("`context` is 262145 bytes long"), "{refused}");
    // What a message says twice is taken together.
    let mut parts = asking(with(MAX_CONTEXT - 206)).encode_to_vec();
    parts.extend(asking(with(200)).encode_to_vec());
    assert!(question(&parts).unwrap_err().message().starts_with("`context` is 262145 bytes long"));
    let bulk = v1::BulkCheckRequest {
        context: Some(with(MAX_CONTEXT - 3)),
        images: vec![v1::BulkImages { repository: "reg.io/a".to_owned(), digests: vec![0; 32] }],
        ..Default::default()
    };
    let refused = bulk_question(&bulk.encode_to_vec()).unwrap_err();
    assert!(refused.message().starts_with("`context` is 262145 bytes long"), "{refused}");
}

#[test]
fn a_justification_past_its_bound_is_refused() {
    let with = |length| {
        let break_glass = "x".repeat(length);
        context(v1::Context { break_glass, ..v1::Context::default() })
    };
    assert_eq!(with(MAX_JUSTIFICATION).unwrap().break_glass.len(), MAX_JUSTIFICATION);
    let refused = with(MAX_JUSTIFICATION + 1).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().starts_with("`context.break_glass` is 1025 bytes long"));
}

#[test]
fn notices_and_exemptions_past_their_bound_are_counted() {
    let notice = Notice {
        rule: Some("rule".into()),
        subject: Some(Digest::of(b"manifest")),
        platform: None,
        kind: NoticeKind::Unscanned,
    };
    for many in [MAX_NOTICES, MAX_NOTICES + 1] {
        let mut answer = answer_with(1);
        answer.decided[0].decision.notices = vec![notice.clone(); many];
        let decision = plain(&answer).decisions.remove(0);
        assert_eq!(decision.notices.len(), MAX_NOTICES);
        assert_eq!(decision.notice_details.len(), MAX_NOTICES);
        assert_eq!(decision.notices_total as usize, many);
        let detail = &decision.notice_details[0];
        assert_eq!((detail.kind.as_str(), detail.rule.as_str()), ("unscanned", "rule"));
        assert_eq!(detail.digest, Digest::of(b"manifest").to_string());
        assert_eq!(detail.message, decision.notices[0]);
    }
    for many in [MAX_EXEMPTIONS, MAX_EXEMPTIONS + 1] {
        let mut answer = answer_with(1);
        answer.decided[0].decision.exemptions = vec![applied(); many];
        let decision = plain(&answer).decisions.remove(0);
        assert_eq!(decision.exemptions.len(), MAX_EXEMPTIONS);
        assert_eq!(decision.exemptions_total as usize, many);
    }
}

#[test]
fn every_field_of_an_applied_exemption_and_of_a_lifted_denial_is_told() {
    let mut answer = answer_with(1);
    let decision = &mut answer.decided[0].decision;
    decision.exemptions = vec![applied()];
    let justification = "why".to_owned();
    decision.break_glass = Some(Lifted { name: "on-call".into(), justification });
    let decision = plain(&answer).decisions.remove(0);
    let expected = v1::AppliedExemption {
        name: "waiver".to_owned(),
        owner: "team@example.com".to_owned(),
        reason: "a reason".to_owned(),
        ticket: "SEC-12".to_owned(),
        until: Some(timestamp(datetime!(2027-01-01 0:00 UTC))),
        rule: "rule".to_owned(),
        digest: Digest::of(b"manifest").to_string(),
        platform: "linux/arm64/v8".to_owned(),
        condition: "unscanned".to_owned(),
        finding_ids: Vec::new(),
        findings_total: 0,
    };
    assert_eq!(decision.exemptions, [expected]);
    let expected = v1::BreakGlass { name: "on-call".to_owned(), justification: "why".to_owned() };
    assert_eq!(decision.break_glass, Some(expected));
}

fn applied() -> Applied {
    let mut applied = Applied::new("waiver".into(), "rule".into());
    applied.owner = "team@example.com".to_owned();
    applied.reason = "a reason".to_owned();
    applied.ticket = Some("SEC-12".to_owned());
    applied.until = Some(datetime!(2027-01-01 0:00 UTC));
    applied.subject = Some(Digest::of(b"manifest"));
    applied.platform = Some(Platform {
        os: "linux".to_owned(),
        architecture: "arm64".to_owned(),
        variant: Some("v8".to_owned()),
    });
    applied.condition = Some("unscanned");
    applied
}

#[test]
fn what_a_finding_states_is_told_and_nothing_else() {
    let bare = Finding {
        id: "CVE-2024-1".into(),
        aliases: Vec::new(),
        severity: Severity::Unknown,
        score: None,
        package: None,
        purl: None,
        installed: None,
        fixed: Vec::new(),
        fix_state: FixState::NotStated,
        known_exploited: None,
        epss: None,
        published: None,
        first_seen: None,
        analysis: Analysis::Affected,
    };
    let full = Finding {
        severity: Severity::High,
        score: Score::from_f64(7.5),
        purl: Some("pkg:deb/debian/zlib1g@1".into()),
        fix_state: FixState::WontFix,
        known_exploited: Some(false),
        epss: Epss::from_f64(0.5),
        published: Some(datetime!(2024-01-02 3:04:05 UTC)),
        first_seen: Some(datetime!(2024-02-03 4:05:06 UTC)),
        ..bare.clone()
    };
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    let findings = Findings::new(scanner, datetime!(2026-08-01 12:00 UTC), vec![bare, full]);
    let told: Vec<_> = findings.iter().map(finding).collect();
    let empty = v1::Finding { id: "CVE-2024-1".to_owned(), ..v1::Finding::default() };
    assert_eq!(told[1], empty);
    let expected = v1::Finding {
        severity: v1::Severity::High.into(),
        score: Some(7.5),
        purl: "pkg:deb/debian/zlib1g@1".to_owned(),
        fix_state: v1::FixState::WontFix.into(),
        known_exploited: Some(false),
        epss: Some(0.5),
        published: Some(prost_types::Timestamp { seconds: 1_704_164_645, nanos: 0 }),
        first_seen: Some(prost_types::Timestamp { seconds: 1_706_933_106, nanos: 0 }),
        ..empty
    };
    assert_eq!(told[0], expected);
}

/// An answer whose last violation is the deciding one.
fn answer_with(violations: usize) -> Answer {
    let violation = |n: usize| {
        let rule = format!("rule-{n}").into();
        let mut violation = Violation::new(rule, Action::Deny, Condition::Unscanned);
        violation.deciding = n + 1 == violations;
        violation
    };
    let decision = Decision {
        action: Action::Deny,
        rule: Some("rule".into()),
        violations: (0..violations).map(violation).collect(),
        exemptions: Vec::new(),
        break_glass: None,
        notices: Vec::new(),
        changes_at: None,
        policy_revision: "r".into(),
    };
    let decided = Decided {
        container: "".into(),
        image: "reg.io/app:v1".parse().unwrap(),
        subjects: Vec::new(),
        decision,
        took: Duration::ZERO,
    };
    Answer {
        context: Arc::default(),
        decided: vec![decided],
        policy: Arc::new(Policy::default_policy()),
        evaluated_at: datetime!(2026-08-01 12:00:00.25 UTC),
        max_age: Duration::from_millis(1_500),
        depends: &[],
        purpose: Default::default(),
    }
}

#[test]
fn violations_past_their_bound_are_counted_and_the_deciding_one_is_kept() {
    for count in [MAX_VIOLATIONS, MAX_VIOLATIONS + 1] {
        let answer = plain(&answer_with(count));
        let decision = &answer.decisions[0];
        assert_eq!(decision.violations.len(), MAX_VIOLATIONS);
        assert_eq!(decision.violations_total as usize, count);
        assert!(decision.violations[0].deciding);
        assert_eq!(decision.violations[0].rule, format!("rule-{}", count - 1));
        assert!(decision.violations[1..].iter().all(|violation| !violation.deciding));
        let first = "reg.io/app:v1: No valid vulnerability report was found\n";
        assert!(decision.message.starts_with(first), "{}", decision.message);
        let rule = format!("\ndenied by rule: rule-{}\n", count - 1);
        assert!(decision.message.contains(&rule), "{}", decision.message);
    }
}

#[test]
fn times_and_spans_keep_their_fractions() {
    let answer = plain(&answer_with(1));
    let (at, age) = (answer.evaluated_at.unwrap(), answer.max_age.unwrap());
    assert_eq!((at.seconds, at.nanos), (1_785_585_600, 250_000_000));
    assert_eq!((age.seconds, age.nanos), (1, 500_000_000));
    // Before 1970 the fraction still counts forwards, as protobuf has it.
    let at = timestamp(datetime!(1969-12-31 23:59:59.75 UTC));
    assert_eq!((at.seconds, at.nanos), (-1, 750_000_000));
}

/// What most answers have is written by hand; who asks for an inspection gets the generated message.
#[test]
fn evidence_is_told_as_the_generated_message_has_it() {
    let of = |evidence: Evidence, source: Source| Subject {
        digest: Some(Digest::of(b"manifest")),
        platform: Some("linux/arm64/v8".parse().unwrap()),
        evidence: Arc::new(evidence),
        fetched_at: datetime!(2026-08-01 12:00:00.5 UTC),
        source,
    };
    let finding = |n: usize, severity| Finding {
        id: format!("CVE-2024-{n}").into(),
        aliases: Vec::new(),
        severity,
        score: None,
        package: None,
        purl: None,
        installed: None,
        fixed: Vec::new(),
        fix_state: FixState::NotStated,
        known_exploited: None,
        epss: None,
        published: None,
        first_seen: None,
        analysis: Analysis::Affected,
    };
    let list = [Severity::Critical, Severity::Low, Severity::Low, Severity::Unknown];
    let list = list.into_iter().enumerate().map(|(n, severity)| finding(n, severity)).collect();
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    let report = Report {
        digest: Digest::of(b"report"),
        signer: Arc::new(Signer {
            subject: "CN=scanner".to_owned(),
            fingerprint: "f".to_owned(),
            policy: "p".to_owned(),
            signed_at: None,
        }),
        findings: Findings::new(scanner, datetime!(2026-07-01 12:00 UTC), list),
        notices: Vec::new(),
    };
    let cause = Cause { kind: CauseKind::Denied, detail: "no".to_owned() };
    let rejection = Rejection { reason: Reason::Malformed, report: None, detail: "bad".to_owned() };
    let subjects = vec![
        of(Evidence::Verified(vec![Arc::new(report)].into()), Source::Memory),
        of(Evidence::Missing, Source::Registry),
        of(Evidence::Rejected(rejection), Source::Registry),
        of(Evidence::Stale { age: Duration::from_secs(9) }, Source::Memory),
        of(Evidence::Withheld, Source::Memory),
        of(Evidence::Unavailable(cause), Source::Registry),
        Subject { digest: None, platform: None, ..of(Evidence::Unsupported, Source::Registry) },
    ];
    let expected: Vec<_> = subjects.iter().map(super::evidence).collect();
    let counts = expected[0].reports[0].counts.unwrap();
    assert_eq!((counts.critical, counts.high, counts.low, counts.unknown), (1, 0, 2, 1));
    let mut answer = answer_with(0);
    answer.decided[0].subjects = subjects;
    answer.decided[0].container = "main".into();
    answer.depends = &["platforms"];
    let told = plain(&answer);
    assert_eq!(told.decisions[0].evidence, expected);
    // What was written once is the same the next time, and where the image has the digest of a subject.
    assert_eq!(plain(&answer).decisions[0].evidence, expected);
    let digest = answer.decided[0].subjects[0].digest.unwrap();
    answer.decided[0].image = format!("reg.io/app:v1@{digest}").parse().unwrap();
    let pinned = plain(&answer);
    assert_eq!(pinned.decisions[0].evidence, expected);
    assert_eq!(pinned.decisions[0].image, format!("reg.io/app:v1@{digest}"));
    assert_eq!(told.decisions[0].container, "main");
    assert_eq!(told.decisions[0].rule, "rule");
    assert_eq!(told.policy_revision, answer.policy.revision());
    assert_eq!(told.vary.last().unwrap(), "platforms");
    assert_eq!((told.action(), told.decisions[0].action()), (v1::Action::Deny, v1::Action::Deny));
}

/// What is kept of it in each digest is counted.
#[test]
fn what_is_told_of_reports_fits_the_room_that_is_counted_for_it() {
    let scanner = Scanner { name: "n".repeat(300), version: None };
    let signer = Arc::new(Signer {
        subject: "s".repeat(20_000),
        fingerprint: String::new(),
        policy: String::new(),
        signed_at: None,
    });
    let scanned_at = datetime!(1969-01-01 12:00:00.999_999_999 UTC);
    let report = Arc::new(Report {
        digest: Digest::of(b"report"),
        signer,
        findings: Findings::new(scanner, scanned_at, Vec::new()),
        notices: Vec::new(),
    });
    let reports = Reports::from(vec![Arc::clone(&report), report]);
    let told = reports.told(super::response::reports).len();
    // It is written once, and a copy, which may become something else, begins without it.
    let copy = Reports::clone(&reports);
    assert_eq!(copy.told(|_| Box::from(*b"x")), b"x");
    assert_eq!(reports.told(|_| Box::default()).len(), told);
    // Were each of six counts as long as it may be.
    let (longest, room) = (told + 2 * 6 * (1 + 5), reports.told_room());
    assert!((longest..=longest + 2 * 64).contains(&room), "{longest} of {room}");
}
