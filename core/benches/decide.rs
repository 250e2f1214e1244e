//! What a decision costs, by the number of rules and of findings.
//!
//! `cargo bench -p portcullis-core`. Ten rules are in scope whatever the number of rules, unless there
//! is but one. docs/performance.md has figures and says how to read them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark has no callers, and ends where something is wrong"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_core::decide::{Action, Context, decide};
use portcullis_core::evidence::{Evidence, Report, Source, Subject};
use portcullis_core::findings::{Analysis, Epss, Finding, Findings, FixState, Scanner, Severity};
use portcullis_core::image::{Digest, Reference};
use portcullis_core::policy::{self, Policy};
use portcullis_core::signature::Signer;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
/// How many rules are about one namespace.
const TOGETHER: usize = 10;

fn findings(count: usize) -> Findings {
    let severities = [
        Severity::Critical,
        Severity::High,
        Severity::High,
        Severity::Medium,
        Severity::Medium,
        Severity::Medium,
        Severity::Low,
        Severity::Low,
        Severity::Negligible,
        Severity::Unknown,
    ];
    let finding = |n: usize| Finding {
        id: format!("CVE-2025-{:05}", n / 2).into(),
        aliases: if n.is_multiple_of(3) { vec![format!("GHSA-{n}").into()] } else { vec![] },
        severity: severities[n % severities.len()],
        score: None,
        package: Some(format!("package-{}", n % 97).into()),
        purl: Some(format!("pkg:deb/debian/package-{}@1.{n}", n % 97).into()),
        installed: Some(format!("1.{n}").into()),
        fixed: if n.is_multiple_of(2) { vec![format!("1.{}", n + 1).into()] } else { vec![] },
        fix_state: if n.is_multiple_of(2) { FixState::Fixed } else { FixState::NotFixed },
        known_exploited: Some(n.is_multiple_of(50)),
        epss: Epss::from_f64((n % 100) as f64 / 100.0),
        published: Some(NOW - time::Duration::days((n % 60) as i64)),
        first_seen: None,
        analysis: Analysis::Affected,
    };
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    Findings::new(scanner, NOW - time::Duration::hours(1), (0..count).map(finding).collect())
}

fn subject(count: usize) -> Subject {
    let report = Report {
        digest: Digest::of(b"report"),
        signer: Arc::new(Signer {
            subject: "CN=scanner".to_owned(),
            fingerprint: String::new(),
            policy: "all".to_owned(),
            signed_at: Some(NOW),
        }),
        findings: findings(count),
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

/// How much the rules allow.
#[derive(Clone, Copy)]
enum Allows {
    Everything,
    Nothing,
}

/// What ten rules of one namespace look like.
fn rules(count: usize, allows: Allows) -> String {
    let most = match allows {
        Allows::Everything => 100_000,
        Allows::Nothing => 0,
    };
    let mut text = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  evaluation: \
                    denyOverrides\n  rules:\n"
        .to_owned();
    for n in 0..count {
        let (team, kind) = (n / TOGETHER, n % TOGETHER);
        let condition = match kind {
            0 => format!("maxAllowed: {{critical: {most}, high: {most}}}"),
            1 => format!("maxAllowed: {{high: {most}}}, maxFindingsAge: 7d"),
            2 => format!("maxAllowedFixable: {{critical: {most}, medium: {most}}}"),
            3 => format!("maxAllowed: {{low: {most}}}, count: {{fixAvailable: true}}"),
            4 => format!("maxAllowed: {{low: {most}}}, count: {{minPublishedAge: 14d}}"),
            5 => format!("maxAllowed: {{low: {most}}}, count: {{knownExploited: true}}"),
            6 => format!("maxAllowed: {{medium: {most}}}, count: {{minEpss: 0.5}}"),
            7 => format!("forbiddenVulnerabilities: [{}]", ids(n, 20)),
            8 => format!(
                "maxAllowed: {{critical: {most}}}, allowedVulnerabilities: [{}]",
                ids(n, 20)
            ),
            _ => format!(
                "maxAllowed: {{high: {most}}}, blockUnscannedImages: true, onUnavailable: deny"
            ),
        };
        // Most rules are about one namespace, some about the repositories of one team.
        let scope = if kind == 1 {
            format!("{{field: repository, operator: startsWith, values: [reg.io/team-{team}]}}")
        } else {
            format!("{{field: namespace, operator: equals, values: [team-{team}]}}")
        };
        writeln!(
            text,
            "  - {{name: rule-{n}, action: deny, scope: {{match: [{scope}]}}, {condition}}}"
        )
        .unwrap();
    }
    text
}

/// Identifiers that no report has.
fn ids(from: usize, count: usize) -> String {
    let ids: Vec<_> = (0..count).map(|n| format!("CVE-2024-{:05}", from * 7 + n)).collect();
    ids.join(", ")
}

fn policy(count: usize, allows: Allows) -> Policy {
    let text = rules(count, allows);
    policy::parse(&[policy::Source { file: "rules.yaml".to_owned(), text }]).unwrap()
}

/// Whether an image is denied, found as one would at first: every rule is read, and every finding is
/// compared with each that is about the image. What the ratio of the engine is to.
fn naive(rules: &[(String, usize)], repository: &str, namespace: &str, list: &[Finding]) -> bool {
    let absent = ids(7, 20);
    let absent: Vec<&str> = absent.split(", ").collect();
    let mut denied = false;
    for (team, kind) in rules {
        let in_scope = match kind {
            1 => repository.starts_with(&format!("reg.io/{team}/")),
            _ => namespace == team,
        };
        if !in_scope {
            continue;
        }
        let counted = list.iter().filter(|f| match kind {
            0 | 1 | 9 => f.severity >= Severity::High || f.severity == Severity::Unknown,
            2 => f.severity >= Severity::Medium && f.fix_state == FixState::Fixed,
            3 => f.severity >= Severity::Low && f.fix_state == FixState::Fixed,
            4 => f.published.is_some_and(|at| at + time::Duration::days(14) <= NOW),
            5 => f.known_exploited == Some(true),
            6 => f.severity >= Severity::Medium && f.epss >= Epss::from_f64(0.5),
            7 => absent.iter().any(|id| **id == *f.id),
            _ => f.severity == Severity::Critical && !absent.iter().any(|id| **id == *f.id),
        });
        denied |= *kind != 7 && counted.count() > 100_000;
    }
    denied
}

fn bench(c: &mut Criterion) {
    let image: Reference = "reg.io/team-0/app:v1".parse().unwrap();
    let ctx = Context { namespace: "team-0".to_owned(), ..Context::default() };
    for (name, allows) in [("allowed", Allows::Everything), ("violated", Allows::Nothing)] {
        let mut group = c.benchmark_group(name);
        for count in [1, 10, 100, 1_000, 10_000] {
            let policy = policy(count, allows);
            for found in [0, 20, 500, 10_000] {
                let subjects = [subject(found)];
                let decision = decide(&policy, &image, &subjects, &ctx, NOW);
                let violated = matches!(allows, Allows::Nothing) && found > 0;
                assert_eq!(decision.action == Action::Deny, violated, "{decision:?}");
                let id = BenchmarkId::new(format!("{count} rules"), format!("{found} findings"));
                group.bench_function(id, |b| {
                    b.iter(|| decide(black_box(&policy), &image, &subjects, &ctx, NOW));
                });
            }
        }
        group.finish();
    }
    let mut group = c.benchmark_group("naive");
    group.sample_size(10);
    for count in [10, 100, 1_000, 10_000] {
        let of = |n: usize| (format!("team-{}", n / TOGETHER), n % TOGETHER);
        let rules: Vec<_> = (0..count).map(of).collect();
        for found in [0, 20, 500, 10_000] {
            let list: Vec<_> = findings(found).iter().map(|f| f.to_finding()).collect();
            let id = BenchmarkId::new(format!("{count} rules"), format!("{found} findings"));
            group.bench_function(id, |b| {
                b.iter(|| naive(black_box(&rules), "reg.io/team-0/app", "team-0", &list));
            });
        }
    }
    group.finish();
    let text = rules(10_000, Allows::Nothing);
    let sources = [policy::Source { file: "rules.yaml".to_owned(), text }];
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("10000 rules", |b| b.iter(|| policy::parse(&sources).unwrap()));
    group.finish();
    let mut group = c.benchmark_group("first");
    let policy = policy(1_000, Allows::Everything);
    for found in [20, 500, 10_000] {
        let subject = subject(found);
        group.bench_function(BenchmarkId::new("1000 rules", format!("{found} findings")), |b| {
            // A copy of evidence begins without what is kept beside it.
            b.iter_batched(
                || {
                    [Subject {
                        evidence: Arc::new(Evidence::clone(&subject.evidence)),
                        ..subject.clone()
                    }]
                },
                |subjects| decide(&policy, &image, &subjects, &ctx, NOW),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .sample_size(30);
    targets = bench
}
criterion_main!(benches);
