//! Random rules and evidence, from few enough values that they meet.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::spec::Spec;
use super::{HOUR, NOW, after};
use crate::decide::Action;
use crate::evidence::{Cause, CauseKind, Evidence, Reason, Rejection, Report, Source, Subject};
use crate::findings::{Analysis, Finding, Findings, FixState, Scanner, Severity};
use crate::image::Digest;
use crate::signature::Signer;

fn ids() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["CVE-1", "CVE-2", "CVE-3", "GHSA-1", "GHSA-2", "cve-1"])
}

fn findings() -> impl Strategy<Value = Finding> {
    let severity = prop::sample::select(vec![
        Severity::Unknown,
        Severity::Negligible,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ]);
    let package = prop::sample::select(vec![None, Some("a"), Some("b")]);
    let score = prop::sample::select(vec![None, Some(4.5), Some(9.1)]);
    (ids(), prop::collection::vec(ids(), 0..2), severity, package, score).prop_map(
        |(id, aliases, severity, package, score)| Finding {
            id: id.into(),
            aliases: aliases.into_iter().map(Box::from).collect(),
            severity,
            score: score.and_then(crate::findings::Score::from_f64),
            package: package.map(Box::from),
            purl: None,
            installed: None,
            fixed: Vec::new(),
            fix_state: FixState::NotStated,
            known_exploited: None,
            epss: None,
            published: None,
            first_seen: None,
            analysis: Analysis::Affected,
        },
    )
}

fn reports() -> impl Strategy<Value = Arc<Report>> {
    let skew = 5 * 60;
    let age = prop::sample::select(vec![
        0,
        -HOUR,
        -HOUR - 1,
        -5 * HOUR,
        -50 * HOUR,
        skew,
        skew + 1,
        2 * HOUR,
    ]);
    (prop::collection::vec(findings(), 0..6), age, any::<u8>()).prop_map(|(list, age, n)| {
        Arc::new(Report {
            digest: Digest::of(&[n]),
            signer: Arc::new(Signer {
                subject: "CN=scanner".to_owned(),
                fingerprint: String::new(),
                policy: "all".to_owned(),
                signed_at: NOW,
            }),
            findings: Findings::new(
                Scanner { name: "s".to_owned(), version: None },
                after(age),
                list,
            ),
            notices: Vec::new(),
        })
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let cause = Cause { kind: CauseKind::Throttled, detail: "429".to_owned() };
    let rejection =
        Rejection { reason: Reason::Unsigned, report: None, detail: "no signature".to_owned() };
    prop_oneof![
        6 => prop::collection::vec(reports(), 0..4).prop_map(Evidence::verified),
        2 => Just(Evidence::Missing),
        1 => Just(Evidence::Rejected(rejection)),
        1 => Just(Evidence::Stale { age: Duration::from_secs(60) }),
        1 => Just(Evidence::Withheld),
        1 => Just(Evidence::Unavailable(cause)),
        1 => Just(Evidence::Unsupported),
    ]
}

pub(super) fn subjects() -> impl Strategy<Value = Vec<Subject>> {
    let platforms = prop::sample::select(vec![
        vec![None],
        vec![None, Some("linux/arm64"), Some("linux/amd64")],
        vec![Some("linux/amd64"), None],
        vec![Some("linux/amd64")],
    ]);
    (platforms, prop::collection::vec(evidence(), 3)).prop_map(|(platforms, evidence)| {
        let subject = |(platform, evidence): (Option<&str>, Evidence)| Subject {
            digest: Some(Digest::of(format!("{platform:?}").as_bytes())),
            platform: platform.map(|p| p.parse().unwrap()),
            evidence: Arc::new(evidence),
            fetched_at: NOW,
            source: Source::Memory,
        };
        platforms.into_iter().zip(evidence).map(subject).collect()
    })
}

pub(super) fn specs() -> impl Strategy<Value = Vec<(String, Spec)>> {
    let actions = || prop::sample::select(vec![Action::Audit, Action::Deny]);
    let on_unavailable = prop::sample::select(vec![Action::Allow, Action::Audit, Action::Deny]);
    let namespaces = prop::option::weighted(
        0.3,
        (any::<bool>(), prop::sample::select(vec![vec!["a"], vec!["a", "b"]])),
    );
    let limit = || prop::option::weighted(0.3, 0..4_u32);
    let hours = prop::option::of(prop::sample::select(vec![-1, 0, 1, 3]));
    let spec = (
        (prop::bool::weighted(0.9), actions(), namespaces, prop::bool::weighted(0.2)),
        [limit(), limit(), limit(), limit(), limit()],
        prop::collection::vec(ids(), 0..2),
        prop::collection::vec((ids(), hours), 0..2),
        (any::<bool>(), prop::option::weighted(0.3, prop::sample::select(vec![1, 5, 40]))),
        (on_unavailable, prop::bool::weighted(0.1)),
    )
        .prop_map(|(who, max_allowed, forbidden, allowed, evidence, rest)| Spec {
            enabled: who.0,
            action: who.1,
            namespace: who.2,
            team_only: who.3,
            max_allowed,
            forbidden,
            allowed,
            block_unscanned: evidence.0,
            max_age_hours: evidence.1,
            on_unavailable: rest.0,
            unsupported_team: rest.1,
        });
    prop::collection::vec(spec, 0..5).prop_map(|specs| {
        // Names that are not in the order of the file.
        let name = |n: usize| format!("r{}", (n * 3 + 2) % 5);
        specs.into_iter().enumerate().map(|(n, spec)| (name(n), spec)).collect()
    })
}
