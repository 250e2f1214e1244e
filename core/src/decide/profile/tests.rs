//! What is kept beside reports, and what is not.

use time::macros::datetime;

use super::*;
use crate::findings::{Finding, FixState, Scanner};
use crate::policy;
use crate::signature::Signer;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn report() -> Arc<Report> {
    let finding = Finding {
        id: "CVE-2026-1".into(),
        aliases: Vec::new(),
        severity: Severity::High,
        score: None,
        package: None,
        purl: None,
        installed: None,
        fixed: Vec::new(),
        fix_state: FixState::NotStated,
        known_exploited: None,
        epss: None,
        published: Some(datetime!(2020-01-01 0:00 UTC)),
        first_seen: None,
        analysis: Analysis::Affected,
    };
    let (subject, fingerprint) = (String::new(), String::new());
    let signer = Signer { subject, fingerprint, policy: String::new(), signed_at: None };
    let scanner = Scanner { name: "trivy".to_owned(), version: None };
    Arc::new(Report {
        digest: Digest::of(b"report"),
        signer: Arc::new(signer),
        findings: Findings::new(scanner, NOW, vec![finding]),
        notices: Vec::new(),
    })
}

/// A policy with so many narrowings beside the one that looks at everything.
fn narrowed(count: usize) -> Policy {
    let rule = |days: usize| {
        format!("{{name: r{days}, maxAllowed: {{high: 0}}, count: {{minPublishedAge: {days}d}}}}")
    };
    let rules = (1..=count).map(rule).collect::<Vec<_>>().join(", ");
    let text = format!("apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {{rules: [{rules}]}}");
    policy::parse(&[policy::Source { file: "r".to_owned(), text }]).unwrap()
}

/// Of which narrowings counts are kept.
fn kept(profile: &Profile) -> Vec<usize> {
    let numbers = |all: &Tallies| Some(all.iter().map(|(number, _)| *number).collect());
    profile.tallies.read(numbers).unwrap_or_default()
}

#[test]
fn rules_that_ask_in_turns_for_one_more_than_is_kept_push_nothing_out() {
    let (policy, report) = (narrowed(MAX_TALLIES + 1), report());
    let known = Reports::from(vec![Arc::clone(&report)]);
    let profile = of(&policy, &[&report], &known, NOW);
    for _ in 0..3 {
        for number in 0..=MAX_TALLIES + 1 {
            let tally = profile.tally(&policy, number, NOW).unwrap();
            let high = tally.counts[population(Population::All)][level(Severity::High)];
            assert_eq!(high, 1, "{number}");
            let most = number.min(MAX_TALLIES);
            assert!(kept(&profile).starts_with(&(1..=most).collect::<Vec<_>>()), "{number}");
        }
        // The one that has no place is counted each time, and no other.
        assert_eq!(kept(&profile), (1..=MAX_TALLIES).collect::<Vec<_>>());
    }
}
