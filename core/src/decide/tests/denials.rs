//! What the API server tells a developer.

use super::*;
use crate::findings::FindingRef;

const BLOCK: &str = "{name: r, action: deny, blockUnscannedImages: true, onUnavailable: deny, \
                     maxFindingsAge: 1d, maxAllowed: {high: 0}}";

#[track_caller]
fn says(rule: &str, evidence: Evidence, expected: &[&str]) {
    let decision = decided_at(&policy(rule), &[subject("", evidence)], NOW);
    assert_eq!(decision.denial("web", &image(), NOW), expected.join("\n"));
}

#[test]
fn a_denial_says_what_where_why_and_what_to_do() {
    let old = report("trivy", NOW - time::Duration::hours(3), findings("hch"));
    says(
        "{name: r, action: deny, maxAllowed: {high: 0}},
         {name: b, maxAllowed: {critical: 0}}",
        Evidence::verified(vec![old]),
        &[
            "reg.io/app:v1: Image contains 3 high or higher CVEs, which is more than the allowed \
             count of: 0",
            "container web, denied by rule: r, scanned 3 h ago",
            "What to do: upgrade the packages named to their fixed versions and rebuild the image; \
             for what has no fix, ask for an exemption",
            "- CVE-1 (critical) in openssl 3.0.1 -> 3.0.2",
            "- CVE-0 (high) in openssl 3.0.1 -> 3.0.2",
            "- CVE-2 (high) in openssl 3.0.1 -> 3.0.2",
            "Also by rule b (audit): Image contains 1 critical or higher CVEs, which is more than \
             the allowed count of: 0",
        ],
    );
    let mut unfixed = finding("CVE-1", Severity::Critical);
    (unfixed.fixed, unfixed.fix_state) = (Vec::new(), FixState::NotFixed);
    let evidence = Evidence::verified(vec![report("trivy", NOW, vec![unfixed])]);
    says(
        "{name: r, forbiddenVulnerabilities: [cve-1]}",
        evidence,
        &[
            "reg.io/app:v1: Image contains a vulnerability that is forbidden by policy: cve-1",
            "container web, audited by rule: r, scanned 0 s ago",
            "What to do: there is no fix for what is named: replace the packages or the base image, \
             or ask for an exemption",
            "- CVE-1 (critical) in openssl 3.0.1",
        ],
    );
}

#[test]
fn a_missing_report_is_told_in_three_lines() {
    let expected = |second: &str, cure: &str| {
        let first = "reg.io/app:v1: No valid vulnerability report was found".to_owned();
        let third = "container web, denied by rule: r".to_owned();
        [first, second.to_owned(), third, format!("What to do: {cure}")]
    };
    let cure = "scan the image and attach the signed report (`portcullis attach`); where a scanner \
                does this by itself and the image is new, try again later";
    let lines = expected("Unscanned images are not allowed by policy", cure);
    says(BLOCK, Evidence::Missing, &lines.each_ref().map(String::as_str));
    let second = "Unscanned images are not allowed by policy, and this registry is not configured \
                  for vulnerability reports";
    let cure = "use the image from a registry that the service is configured for, or have this one \
                added to its `registries`";
    let lines = expected(second, cure);
    says(BLOCK, Evidence::Unsupported, &lines.each_ref().map(String::as_str));
}

/// The reason and the cure under [`BLOCK`].
fn told(evidence: Evidence) -> (String, String) {
    let decision = decided_at(&policy(BLOCK), &[subject("", evidence)], NOW);
    let text = decision.denial("web", &image(), NOW);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(decision.action, Deny, "{text}");
    assert!(lines[lines.len() - 2].starts_with("container web, denied by rule: r"), "{text}");
    let cure = lines[lines.len() - 1].strip_prefix("What to do: ").unwrap();
    let reason = lines[..lines.len() - 2].join("\n");
    (reason.strip_prefix("reg.io/app:v1: ").unwrap().to_owned(), cure.to_owned())
}

#[test]
fn everything_that_can_be_wrong_with_evidence_has_its_own_reason_and_cure() {
    let rejected = [
        Reason::Unsigned,
        Reason::BadSignature,
        Reason::UntrustedSigner,
        Reason::WrongSubject,
        Reason::Malformed,
        Reason::TooLarge,
        Reason::TooMany,
        Reason::NoProfile,
        Reason::Rollback,
    ];
    let rejected = rejected.map(|reason| {
        Evidence::Rejected(Rejection { reason, report: None, detail: "so".to_owned() })
    });
    let failed = [
        CauseKind::Unreachable,
        CauseKind::Denied,
        CauseKind::Throttled,
        CauseKind::Protocol,
        CauseKind::NotFound,
        CauseKind::Deadline,
        CauseKind::Revocation,
    ];
    let failed = failed.map(|kind| Evidence::Unavailable(Cause { kind, detail: "so".to_owned() }));
    let old = report("trivy", NOW - time::Duration::days(2), Vec::new());
    let others = [
        Evidence::Missing,
        Evidence::Unsupported,
        Evidence::Withheld,
        Evidence::Stale { age: Duration::from_secs(7200) },
        Evidence::verified(vec![old]),
    ];
    let all = rejected.into_iter().chain(failed).chain(others);
    let mut told: Vec<_> = all.map(told).collect();
    // An image that is not trusted needs a pattern and no evidence.
    let untrusted = Condition::UntrustedImage;
    told.push((untrusted.reason(), untrusted.cure().to_owned()));
    let count = told.len();
    let of = |part: fn(&(String, String)) -> &String| {
        let texts: std::collections::BTreeSet<_> = told.iter().map(part).collect();
        texts.len()
    };
    assert_eq!((of(|t| &t.0), of(|t| &t.1)), (count, count), "{told:#?}");
}

#[test]
fn reasons_say_in_words_what_happened() {
    let rejection =
        Rejection { reason: Reason::UntrustedSigner, report: None, detail: "CN=x".to_owned() };
    let cause = Cause { kind: CauseKind::NotFound, detail: "404".to_owned() };
    for (evidence, expected) in [
        (
            Evidence::Rejected(rejection),
            "The vulnerability report of the image cannot be trusted: the signer of the report is \
             not trusted for this image (CN=x)",
        ),
        (
            Evidence::Unavailable(cause),
            "It could not be found out whether the image has vulnerabilities: the image was not \
             found (404)",
        ),
        (Evidence::Withheld, "The vulnerability report of the image was there before and is gone"),
        (
            Evidence::Stale { age: Duration::from_secs(7200) },
            "The vulnerability report of the image could not be confirmed with the registry for 2h",
        ),
    ] {
        assert_eq!(told(evidence).0, expected);
    }
}

#[test]
fn break_glass_and_exemptions_are_said() {
    let denies = policy("{name: r, action: deny, maxAllowed: {high: 0}}");
    let mut decision = decided_at(&denies, &[subject("", found("c"))], NOW);
    decision.action = Audit;
    let justification = "INC-1: the site is down".to_owned();
    decision.break_glass = Some(Lifted { name: "on-call".into(), justification });
    decision.exemptions.push(applied());
    let text = decision.denial("web", &image(), NOW);
    let lines: Vec<_> = text.lines().collect();
    let lifted = "The denial was lifted by break-glass on-call: INC-1: the site is down";
    let exempt = "Exemption waiver keeps 0 findings from counting for rule r until \
                  2026-03-01T12:00:00Z: not reachable (team@example.com, SEC-12)";
    assert_eq!((lines[2], lines[5]), (lifted, exempt), "{text}");
    let warnings = decision.warnings("web");
    assert_eq!(warnings[0], "web: denial lifted by break-glass on-call: INC-1: the site is down");
    let refused = decision.without_break_glass().denial("web", &image(), NOW);
    assert!(!refused.contains("was lifted"), "{refused}");
    assert!(
        refused.contains("Break-glass was asked for and permitted, and is not on"),
        "{refused}"
    );
    let mut allowed = decided_at(&denies, &[subject("", found(""))], NOW);
    assert_eq!(allowed.denial("web", &image(), NOW), "");
    allowed.exemptions.push(Applied { condition: Some("unscanned"), until: None, ..applied() });
    let expected = "reg.io/app:v1: Allowed in container web because of exemptions\nExemption waiver \
                    keeps the condition `unscanned` from counting for rule r: not reachable \
                    (team@example.com, SEC-12)";
    assert_eq!(allowed.denial("web", &image(), NOW), expected);
}

fn applied() -> Applied {
    Applied {
        name: "waiver".into(),
        owner: "team@example.com".to_owned(),
        reason: "not reachable".to_owned(),
        ticket: Some("SEC-12".to_owned()),
        until: Some(NOW),
        rule: "r".into(),
        subject: None,
        platform: None,
        condition: None,
        worst: walk::Worst::default(),
    }
}

/// A decision with everything in it that is foreign, as long as it may come.
fn hostile() -> (Decision, Reference, String) {
    let text = format!("\u{1b}[2J\n\u{202e}{}", "é".repeat(50_000));
    let mut finding = finding("CVE-1", Severity::Critical);
    finding.package = Some(text.as_str().into());
    finding.fixed = vec![text.as_str().into(); 3];
    let list = (0..30).map(|n| Finding { id: format!("CVE-{n}{text}").into(), ..finding.clone() });
    let evidence = Evidence::verified(vec![report("trivy", NOW, list.collect())]);
    let rule = "{name: r, action: deny, maxAllowed: {low: 0}}";
    let mut decision = check(rule, evidence, Deny, "r");
    let beside = Violation {
        rule: text.as_str().into(),
        condition: Condition::Forbidden { id: text.clone() },
        deciding: false,
        ..decision.violations[0].clone()
    };
    decision.violations.extend(std::iter::repeat_n(beside, 100));
    let name = text.as_str().into();
    decision.break_glass = Some(Lifted { name, justification: text.clone() });
    let exemption = Applied {
        name: text.as_str().into(),
        owner: text.clone(),
        reason: text.clone(),
        ticket: Some(text.clone()),
        ..applied()
    };
    decision.exemptions = vec![exemption; 100];
    let long = format!("reg.io/{}:{}", "a/".repeat(120) + "a", "t".repeat(128));
    (decision, long.parse().unwrap(), text)
}

#[test]
fn a_denial_has_a_bound_and_is_cut_at_whole_findings() {
    let (decision, image, container) = hostile();
    let text = decision.denial(&container, &image, NOW);
    assert!(text.len() <= MAX_DENIAL, "{}", text.len());
    assert!(text.len() > MAX_DENIAL - 1024, "{}", text.len());
    assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text}");
    for begins in [
        "What to do: ",
        "The denial was lifted by break-glass ",
        "container \\u{1b}[2J\\u{a}\\u{202e}",
        "- and ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(begins)), "{begins} not in {text}");
    }
    // Each finding is there as a whole, or not at all; and those that are not are counted.
    let worst = &decision.violations[0];
    let whole: Vec<_> = worst.findings().map(whole).collect();
    let named: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("- ")).collect();
    let (more, named) = named.split_last().unwrap();
    assert!(!named.is_empty());
    assert!(named.iter().zip(&whole).all(|(named, whole)| named == whole), "{text}");
    assert_eq!(*more, format!("and {} more", 30 - named.len()));
}

fn whole(finding: FindingRef<'_>) -> String {
    let part = |text: &str| printable(text, 128);
    let fixed = finding.fixed().collect::<Vec<_>>().join(", ");
    let package = part(finding.package().unwrap());
    let installed = part(finding.installed().unwrap());
    format!("{} (critical) in {package} {installed} -> {}", part(finding.id()), part(&fixed))
}

#[test]
fn a_denial_names_all_findings_up_to_the_bound_and_counts_those_past_it() {
    let of = |count: usize| {
        let decision =
            check("{name: r, maxAllowed: {low: 0}}", found(&"l".repeat(count)), Audit, "r");
        let text = decision.denial("web", &image(), NOW);
        let named = text.lines().filter(|line| line.starts_with("- CVE")).count();
        let more = text.lines().find_map(|line| line.strip_prefix("- and ")).map(str::to_owned);
        (named, more)
    };
    assert_eq!(of(TOP_FINDINGS), (TOP_FINDINGS, None));
    assert_eq!(of(TOP_FINDINGS + 1), (TOP_FINDINGS, Some("1 more".to_owned())));
}

#[test]
fn warnings_are_short_lines_within_the_api_servers_bounds() {
    let rules = "{name: r, maxAllowed: {high: 0}}, {name: s, maxAllowed: {critical: 0}}";
    let decision = check(rules, found("ch"), Audit, "r");
    let expected = [
        "web: 2 high or higher CVEs, 0 allowed: CVE-0 (critical) in openssl 3.0.1 -> 3.0.2 (rule r)",
        "web: 1 critical or higher CVEs, 0 allowed: CVE-0 (critical) in openssl 3.0.1 -> 3.0.2 \
         (rule s)",
    ];
    assert_eq!(decision.warnings("web"), expected);
    let (hostile, _, container) = hostile();
    let warnings = hostile.warnings(&container);
    assert!(warnings.iter().all(|warning| warning.len() <= MAX_WARNING), "{warnings:#?}");
    assert!(warnings.iter().all(|warning| !warning.contains(char::is_control)), "{warnings:#?}");
    assert!(warnings[1].contains(" (rule r)"), "{warnings:#?}");
    let total: usize = warnings.iter().map(String::len).sum();
    assert!((MAX_WARNINGS - MAX_WARNING..=MAX_WARNINGS).contains(&total), "{total}");
    let nothing = check(rules, found(""), Allow, "");
    assert_eq!(nothing.warnings("web"), Vec::<String>::new());
}

#[test]
fn warnings_of_several_containers_take_turns() {
    let list = |name: &str, count: usize| vec![format!("{name}{}", "x".repeat(99)); count];
    let folded = fold_warnings(&[list("a", 100), list("b", 1), list("c", 100)]);
    let of = |name: &str| folded.iter().filter(|warning| warning.starts_with(name)).count();
    assert_eq!((of("a"), of("b"), of("c")), (20, 1, 19));
    assert_eq!(fold_warnings(&[vec!["x".repeat(121)]])[0].len(), MAX_WARNING);
    assert_eq!(fold_warnings(&[]), Vec::<String>::new());
}

#[test]
fn denials_of_several_containers_share_one_message() {
    let short = "a short one\nof two lines".to_owned();
    assert_eq!(
        fold_denials(&[short.clone(), String::new(), short.clone()]),
        format!("{short}\n{short}")
    );
    let long = |name: &str| format!("{name}\n{}", "é line of a message\n".repeat(400));
    let folded = fold_denials(&[long("first"), short.clone(), long("third")]);
    assert!(folded.len() <= MAX_DENIAL && folded.len() > MAX_DENIAL - 128, "{}", folded.len());
    assert!(folded.contains(&short) && folded.contains("third\n"), "{folded}");
    // What the short one leaves goes to both others alike.
    let cuts: Vec<_> = folded.match_indices('…').map(|(at, _)| at).collect();
    assert_eq!(cuts.len(), 2);
    assert!(cuts[0].abs_diff(folded.len() / 2) < 64, "{cuts:?}");
    let many: Vec<_> = (0..256).map(|n| long(&format!("container {n}"))).collect();
    let folded = fold_denials(&many);
    assert!(folded.len() <= MAX_DENIAL, "{}", folded.len());
    assert!(folded.contains("container 14\n") && !folded.contains("container 15\n"));
    assert!(folded.ends_with("\nand 241 containers more"), "{folded}");
    let one_line = fold_denials(&["é".repeat(MAX_DENIAL)]);
    assert!(one_line.len() <= MAX_DENIAL && one_line.ends_with("…\n…"), "{}", one_line.len());
    let exact = "x".repeat(MAX_DENIAL);
    assert_eq!(fold_denials(std::slice::from_ref(&exact)), exact);
}

#[test]
fn the_age_of_a_scan_is_told_in_its_unit() {
    let at = |seconds: i64| {
        let evidence = Evidence::verified(vec![report("trivy", NOW, findings("c"))]);
        let decision = check("{name: r, maxAllowed: {low: 0}}", evidence, Audit, "r");
        let text = decision.denial("", &image(), NOW + time::Duration::seconds(seconds));
        text.lines().nth(1).unwrap().to_owned()
    };
    for (seconds, expected) in [
        (-1, "in the future"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7_199, "119 min ago"),
        (7_200, "2 h ago"),
        (172_799, "47 h ago"),
        (172_800, "2 days ago"),
    ] {
        assert_eq!(at(seconds), format!("audited by rule: r, scanned {expected}"));
    }
}
