//! What people read.

use super::*;

#[track_caller]
fn says(rule: &str, evidence: Evidence, expected: &str) {
    let decision = decided_at(&policy(rule), &[subject("", evidence)], NOW);
    assert_eq!(decision.deciding().unwrap().message(&image()), expected);
}

#[test]
fn messages_say_what_is_wrong_and_the_way_out() {
    says(
        "{name: r, maxAllowed: {high: 0}}",
        found("hc"),
        "reg.io/app:v1: Image contains 2 high or higher CVEs, which is more than the allowed count \
         of: 0 (CVE-1 (critical) in openssl 3.0.1 -> 3.0.2; CVE-0 (high) in openssl 3.0.1 -> \
         3.0.2); rule: r",
    );
    let decision = check("{name: r, maxAllowed: {low: 0}}", found("llllll"), Audit, "r");
    assert!(decision.violations[0].message(&image()).contains("; and 1 more)"));
    says(
        "{name: r, blockUnscannedImages: true}",
        Evidence::Missing,
        "reg.io/app:v1: Unscanned images are not allowed by policy; rule: r",
    );
    says(
        "{name: r, blockUnscannedImages: true, maxFindingsAge: 36h}",
        Evidence::verified(vec![report("t", NOW - time::Duration::days(2), Vec::new())]),
        "reg.io/app:v1: The last vulnerability scan of the image is too old: it finished at \
         2026-02-27T12:00:00Z, more than 36h ago; rule: r",
    );
    let cause = Cause { kind: CauseKind::Throttled, detail: "429".to_owned() };
    says(
        "{name: r, onUnavailable: audit}",
        Evidence::Unavailable(cause),
        "reg.io/app:v1: It could not be found out whether the image has vulnerabilities: \
         the registry wants fewer requests (429); rule: r",
    );
}

#[test]
fn messages_are_one_bounded_line() {
    let mut hostile = finding("CVE-\u{1b}[2J\n\u{202e}", Severity::Critical);
    hostile.package = Some("x".repeat(100_000).into());
    hostile.fixed = vec!["é".repeat(50_000).into(); 3];
    let list = vec![hostile; 30];
    let evidence = Evidence::verified(vec![report("trivy", NOW, list)]);
    let decision = check("{name: r, maxAllowed: {low: 0}}", evidence, Audit, "r");
    let message = decision.violations[0].message(&image());
    assert!(message.len() <= MAX_MESSAGE, "{}", message.len());
    assert!(message.contains("CVE-\\u{1b}[2J\\u{a}\\u{202e}"), "{message}");
    assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}'));
    let long = format!("reg.io/{}:{}", "a/".repeat(120) + "a", "t".repeat(128)).parse().unwrap();
    let message = decision.violations[0].message(&long);
    assert!(message.len() <= MAX_MESSAGE, "{}", message.len());
    assert!(message.ends_with("; rule: r"), "{message}");
}

#[test]
fn notices_are_one_bounded_line() {
    let hostile = format!("\u{1b}[2J\n\u{202e}{}", "x".repeat(100_000));
    let platform = Platform {
        os: hostile.clone(),
        architecture: hostile.clone(),
        variant: Some(hostile.clone()),
    };
    let cause = Cause { kind: CauseKind::Protocol, detail: hostile.clone() };
    let report = Digest::of(b"");
    for kind in [
        NoticeKind::Unscanned,
        NoticeKind::Unavailable(cause),
        NoticeKind::Signature { report, detail: hostile.clone() },
    ] {
        let what = kind.as_str();
        let notice = Notice {
            rule: Some(hostile.as_str().into()),
            subject: None,
            platform: Some(platform.clone()),
            kind,
        };
        let message = notice.message();
        assert!(message.len() <= MAX_MESSAGE, "{what}: {}", message.len());
        assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{message}");
        assert!(message.contains("report") || message.contains("could not"), "{message}");
        assert!(message.contains("lets that pass"), "{message}");
    }
    let mut notice = Notice {
        rule: None,
        subject: None,
        platform: "linux/arm64".parse().ok(),
        kind: NoticeKind::Signature { report, detail: "no\nway".to_owned() },
    };
    let told =
        "the signature of a report failed a check that the trust policy only logs: no\\u{a}way";
    assert_eq!(notice.message(), format!("linux/arm64: {told}"));
    notice.rule = Some("r".into());
    assert_eq!(notice.message(), format!("linux/arm64: {told}; rule `r` lets that pass"));
}

#[test]
fn a_hostile_platform_leaves_the_reason_readable() {
    let hostile = format!("\n\u{202e}{}", "x".repeat(100_000));
    let evidence = found("c");
    let decision = check("{name: r, maxAllowed: {low: 0}}", evidence, Audit, "r");
    let mut violation = decision.violations[0].clone();
    violation.platform =
        Some(Platform { os: hostile.clone(), architecture: hostile, variant: None });
    let condition = Condition::Forbidden { id: "\u{1b}".repeat(100_000) };
    for condition in [violation.condition.clone(), condition] {
        violation.condition = condition;
        let message = violation.message(&image());
        assert!(message.len() <= MAX_MESSAGE, "{}", message.len());
        assert!(message.contains("Image contains"), "{message}");
        assert!(!violation.reason().contains(char::is_control));
        assert!(violation.reason().len() <= MAX_MESSAGE);
    }
}

#[test]
fn a_text_is_cut_one_byte_past_its_limit() {
    assert_eq!(printable("abcdef", 6), "abcdef");
    assert_eq!(printable("abcdefg", 6), "abc…");
    assert_eq!(printable("ééé", 6), "ééé");
    assert_eq!(printable("éééé", 6), "é…");
    assert_eq!(printable("\u{1b}\u{1b}", 7), "…");
}
