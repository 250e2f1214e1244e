//! Random evidence.

use std::sync::Arc;
use std::time::Duration;

use crate::decide::oracle::draws::Draws;
use crate::decide::oracle::{NOW, hours};
use crate::decide::{MAX_SIGNATURE_NOTICES, MAX_SKEW, TOP_FINDINGS};
use crate::evidence::{
    Cause, CauseKind, Evidence, Reason, Rejection, Report, Reports, Source, Statements, Subject,
};
use crate::findings::vex::{Statement, Status};
use crate::findings::{Analysis, Epss, Finding, Findings, FixState, Scanner, Score, Severity, Vex};
use crate::image::Digest;
use crate::signature::Signer;

pub(super) const IDS: [&str; 6] =
    ["CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003", "GHSA-1", "GHSA-2", "cve-2024-0001"];
/// The name of a manifest that no image has.
pub(in crate::decide::oracle) const GHOST: &str = "ghost";

const SEVERITIES: [Severity; 6] = [
    Severity::Unknown,
    Severity::Negligible,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];
const PURLS: [&str; 5] = [
    "pkg:deb/debian/a@1?arch=amd64",
    "pkg:deb/ubuntu/a@2",
    "pkg:npm/%40scope/b@1#sub",
    "pkg:NPM/b",
    "pkg:deb/debian/b@1",
];

/// The digest of the manifest of this name: its platform, if it has one.
pub(in crate::decide::oracle) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

pub(in crate::decide::oracle) fn subjects(draws: &mut Draws) -> Vec<Subject> {
    let platforms: &[&str] = draws.pick(&[
        &[""] as &[&str],
        &["", "linux/arm64", "linux/amd64"],
        &["linux/amd64", ""],
        &["linux/amd64"],
        &[],
    ]);
    let subject = |platform: &&str| {
        let evidence = evidence(draws);
        Subject {
            digest: (!draws.one_in(10)).then(|| digest(platform)),
            platform: (!platform.is_empty()).then(|| platform.parse().unwrap()),
            evidence: Arc::new(evidence),
            fetched_at: NOW,
            source: Source::Memory,
        }
    };
    platforms.iter().map(subject).collect()
}

fn evidence(draws: &mut Draws) -> Evidence {
    match draws.below(14) {
        0..8 => {
            // Each has its own digest.
            let mut number = 0;
            let mut next = || {
                number += 1;
                Digest::of(&[number])
            };
            let reports = draws.list(4, 2, |draws| report(draws, next()));
            let vex = draws.list(2, 1, |draws| vex(draws, next()));
            Evidence::verified(Reports::new(reports, vex))
        }
        8 => Evidence::Rejected(Rejection {
            reason: Reason::Unsigned,
            report: None,
            detail: "no signature".to_owned(),
        }),
        9 => Evidence::Stale { age: Duration::from_secs(60) },
        10 => Evidence::Withheld,
        11 => Evidence::Unavailable(Cause { kind: CauseKind::Throttled, detail: "429".to_owned() }),
        12 => Evidence::Unsupported,
        _ => Evidence::Missing,
    }
}

fn signer() -> Arc<Signer> {
    Arc::new(Signer {
        subject: "CN=scanner".to_owned(),
        fingerprint: String::new(),
        policy: "all".to_owned(),
        signed_at: Some(NOW),
    })
}

/// A time that is believed, mostly.
fn said_at(draws: &mut Draws) -> time::OffsetDateTime {
    let at = NOW + hours(draws.pick(&[0, -1, -5, -40, -50, 2]));
    let skew = time::Duration::try_from(MAX_SKEW).unwrap();
    let nanosecond = time::Duration::NANOSECOND;
    draws.pick(&[at, at, at, at + nanosecond, at + skew, at + skew + nanosecond])
}

fn report(draws: &mut Draws, digest: Digest) -> Arc<Report> {
    let scanner = Scanner { name: "s".to_owned(), version: None };
    let at = said_at(draws);
    let notices = draws.maybe(8, |draws| {
        let count = draws.pick(&[1, MAX_SIGNATURE_NOTICES, MAX_SIGNATURE_NOTICES + 1]);
        (0..count).map(|n| format!("{n}")).collect()
    });
    // Few, or more than an answer names.
    let (most, more) = if draws.one_in(30) { (2 * TOP_FINDINGS, 50) } else { (7, 4) };
    let list = draws.list(most, more, finding);
    Arc::new(Report {
        digest,
        signer: signer(),
        findings: Findings::new(scanner, at, list),
        notices: notices.unwrap_or_default(),
    })
}

fn finding(draws: &mut Draws) -> Finding {
    let fix_state =
        draws.pick(&[FixState::NotStated, FixState::Fixed, FixState::NotFixed, FixState::WontFix]);
    let fixed: &[&str] = if fix_state == FixState::Fixed {
        draws.pick(&[&["2"] as &[&str], &["2", "3"], &[]])
    } else {
        &[]
    };
    let mut text = |times, among: &[&str]| draws.maybe(times, |draws| Box::from(draws.pick(among)));
    let (package, purl) = (text(2, &["a", "b"]), text(2, &PURLS));
    let installed = text(4, &["1", "2"]);
    let mut days_ago = || {
        let since = |draws: &mut Draws| NOW - hours(draws.pick(&[24, 0, 1, 23, 48, 100, -5]));
        draws.maybe(2, since)
    };
    let (published, first_seen) = (days_ago(), days_ago());
    Finding {
        id: draws.pick(&IDS).into(),
        aliases: draws.list(2, 1, |draws| draws.pick(&IDS).into()),
        severity: draws.pick(&SEVERITIES),
        score: draws.maybe(2, |draws| Score::from_f64(draws.pick(&[4.4, 4.5, 7.0, 9.1])).unwrap()),
        package,
        purl,
        installed,
        fixed: fixed.iter().map(|version| Box::from(*version)).collect(),
        fix_state,
        known_exploited: draws.maybe(3, |draws| draws.one_in(2)),
        epss: draws.maybe(2, |draws| Epss::from_f64(draws.pick(&[0.0, 0.09, 0.1, 0.9])).unwrap()),
        published,
        first_seen,
        analysis: draws.pick(&[
            Analysis::Affected,
            Analysis::Affected,
            Analysis::Affected,
            Analysis::Affected,
            Analysis::NotAffected,
            Analysis::Fixed,
        ]),
    }
}

fn vex(draws: &mut Draws, digest: Digest) -> Arc<Statements> {
    let statements = draws.list(3, 2, |draws| Statement {
        ids: draws.some(&IDS).into_iter().map(Box::from).collect(),
        status: draws.pick(&[
            Status::NotAffected,
            Status::Fixed,
            Status::Affected,
            Status::UnderInvestigation,
        ]),
        packages: draws.list(2, 1, |draws| {
            draws
                .pick(&[
                    "pkg:deb/debian/a",
                    "pkg:deb/ubuntu/a@2",
                    "pkg:npm/b",
                    "PKG:deb/debian/b@1",
                ])
                .into()
        }),
        issued_at: said_at(draws),
    });
    Arc::new(Statements {
        digest,
        signer: signer(),
        vex: Vex { author: "me".to_owned(), statements },
    })
}
