//! What can be used and is hardly meant.

use super::*;
use time::macros::datetime;

/// One warning for each of `expected`: line, column and a part of the message.
#[track_caller]
fn warned(text: &str, expected: &[(u32, u32, &str)]) {
    let policy = good(text);
    let found: Vec<_> = policy.warnings().iter().map(|w| (w.line, w.column)).collect();
    let places: Vec<_> = expected.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(found, places, "{:#?}", policy.warnings());
    for (warning, (_, _, part)) in policy.warnings().iter().zip(expected) {
        assert!(warning.message.contains(part), "`{warning}` has no `{part}`");
    }
}

#[test]
fn a_scope_that_nothing_is_in_is_warned_of() {
    let matchers = |matchers: &[(&str, &str, &str)]| {
        let matchers = matchers.iter().map(|(field, operator, values)| {
            format!("{{field: {field}, operator: {operator}, values: [{values}]}}")
        });
        scoped(&format!("{{match: [{}]}}", matchers.collect::<Vec<_>>().join(", ")))
    };
    let impossible = |list: &[(&str, &str, &str)], part: &str| {
        warned(&matchers(list), &[(5, 47, part)]);
    };
    let possible = |list: &[(&str, &str, &str)]| warned(&matchers(list), &[]);
    let eq = "equals";
    impossible(&[("namespace", eq, "a"), ("namespace", eq, "b")], "no namespace passes");
    possible(&[("namespace", eq, "a, b"), ("namespace", eq, "b, c")]);
    impossible(&[("pod", eq, "a, b"), ("pod", "notEquals", "b, a")], "no pod passes");
    possible(&[("pod", eq, "a, b"), ("pod", "notEquals", "b")]);
    impossible(
        &[("pod", eq, "a, b"), ("pod", "notEquals", "b"), ("pod", "notEquals", "a")],
        "no pod passes",
    );
    impossible(&[("cluster", eq, "prod"), ("cluster", "startsWith", "dev-")], "no cluster");
    possible(&[("cluster", eq, "dev-1"), ("cluster", "startsWith", "dev-")]);
    impossible(&[("registry", eq, "a.io"), ("registry", eq, "b.io")], "no registry");
    possible(&[("registry", eq, "a.io"), ("registry", "endsWith", "io")]);
    impossible(
        &[("repository", eq, "a.io/x"), ("repository", "startsWith", "b.io")],
        "no repository",
    );
    possible(&[("namespace", eq, "a"), ("pod", eq, "b")]);
    possible(&[("namespace", "notEquals", "a"), ("namespace", "notEquals", "b")]);
    // One image has several spellings, and each matcher may look at another.
    possible(&[("image", eq, "nginx:1"), ("image", "notEquals", "nginx:1")]);
    impossible(&[("workload", eq, "web")], "`Kind/name`");
    possible(&[("workload", eq, "web, Deployment/web")]);
}

#[test]
fn a_label_selector_that_contradicts_itself_is_warned_of() {
    let selector = |list: &str| scoped(&format!("{{podLabels: {{matchExpressions: [{list}]}}}}"));
    for impossible in [
        "{key: a, operator: In, values: [x]}, {key: a, operator: In, values: [y]}",
        "{key: a, operator: In, values: [x]}, {key: a, operator: NotIn, values: [x]}",
        "{key: a, operator: In, values: [x]}, {key: a, operator: DoesNotExist}",
        "{key: a, operator: Exists}, {key: a, operator: DoesNotExist}",
    ] {
        warned(&selector(impossible), &[(5, 47, "the label `a`")]);
    }
    for possible in [
        "{key: a, operator: In, values: [x]}, {key: b, operator: In, values: [y]}",
        "{key: a, operator: In, values: [x, y]}, {key: a, operator: NotIn, values: [x]}",
        "{key: a, operator: NotIn, values: [x]}, {key: a, operator: DoesNotExist}",
    ] {
        warned(&selector(possible), &[]);
    }
}

#[test]
fn exemptions_that_can_never_apply_are_warned_of() {
    let here =
        |name: &str| format!("match: [{{field: namespace, operator: equals, values: [{name}]}}]");
    let text = |exemption: &str, rule: &str| {
        format!(
            "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  exemptions:\n  - {{name: e, \
             owner: o, reason: w, {exemption}}}\n  rules:\n  - {{name: r, {rule}}}\n  - {{name: s, \
             maxAllowed: {{low: 0}}}}\n"
        )
    };
    let high = "maxAllowed: {high: 0}";
    warned(&text(&here("shop"), high), &[]);
    let off = format!("{high}, enabled: false");
    warned(&text(&format!("{}, rules: [r]", here("a")), &off), &[(5, 5, "is enabled")]);
    warned(&text(&format!("{}, rules: [r, s]", here("a")), &off), &[]);
    let scope = format!("{high}, scope: {{{}}}", here("shop"));
    warned(&text(&format!("{}, rules: [r]", here("a")), &scope), &[(5, 5, "nothing is in")]);
    warned(&text(&format!("{}, rules: [r]", here("shop")), &scope), &[]);
    warned(&text(&here("a"), &scope), &[]);
    let block = "blockUnscannedImages: true";
    let fixed = format!("{}, untilFixed: true, rules: [r]", here("a"));
    warned(&text(&fixed, block), &[(5, 5, "covers only vulnerabilities")]);
    warned(&text(&fixed, high), &[]);
    let twice = "match: [{field: namespace, operator: equals, values: [a]}, {field: namespace, \
                 operator: equals, values: [b]}]";
    warned(&text(twice, high), &[(5, 5, "nothing is in the scope of exemption `e`")]);
}

#[test]
fn break_glass_that_can_never_be_used_is_warned_of() {
    let text = |entry: &str, rule: &str| {
        format!(
            "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  breakGlass: [{{name: b{entry}}}]\n  \
             rules: [{{name: r, {rule}}}]\n"
        )
    };
    let high = "maxAllowed: {high: 0}";
    warned(&text("", &format!("action: deny, {high}")), &[]);
    warned(&text("", high), &[(4, 16, "no rule that it is for denies")]);
    warned(&text(", rules: [r]", high), &[(4, 16, "no rule that it is for denies")]);
    warned(&text("", "onUnavailable: deny"), &[]);
}

#[test]
fn counting_what_scanners_do_not_state_is_warned_of() {
    let text = |count: &str| {
        document(&format!("    - {{name: r, maxAllowed: {{high: 0}}, count: {{{count}}}}}"))
    };
    warned(&text("knownExploited: true"), &[(5, 47, "`knownExploited` in `count` of rule `r`")]);
    warned(&text("minEpss: 0.5"), &[(5, 47, "`minEpss`")]);
    warned(&text("minEpss: 0.5, notStated: ignore"), &[]);
    // Who writes it knows it.
    warned(&text("minEpss: 0.5, notStated: count"), &[]);
    warned(&text("minCvss: 7.0"), &[]);
}

#[test]
fn what_has_ended_or_soon_will_is_warned_of_at_that_time() {
    let policy = good(
        "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  exemptions:
  - name: e
    owner: o
    reason: w
    match: [{field: pod, operator: equals, values: [a]}]
    until: 2026-06-30
  rules:
  - name: r
    maxAllowed: {high: 0}
    allowedVulnerabilities: [{id: CVE-1, until: 2026-06-20}]
",
    );
    let at = |now| {
        let warnings = policy.warnings_at(now);
        warnings.into_iter().map(|w| (w.line, w.message)).collect::<Vec<_>>()
    };
    let second = time::Duration::SECOND;
    let first = datetime!(2026-06-21 0:00 UTC) - time::Duration::days(14);
    assert_eq!(at(first - second), []);
    let allowed = "`CVE-1` in `allowedVulnerabilities` of rule `r`";
    let soon = |days: u8| {
        (
            13,
            format!(
                "{allowed} ends at 2026-06-21T00:00:00Z, in {days} days: renew it if it must hold \
                 longer"
            ),
        )
    };
    assert_eq!(at(first), [soon(14)]);
    let end = datetime!(2026-06-21 0:00 UTC);
    let exemption = |now: OffsetDateTime| at(now).into_iter().find(|(line, _)| *line == 5);
    assert_eq!(exemption(datetime!(2026-06-16 23:59:59 UTC)), None);
    assert!(exemption(datetime!(2026-06-17 0:00 UTC)).unwrap().1.starts_with("exemption `e` ends"));
    assert!(at(end - second).contains(&soon(0)));
    let ended = |(_, message): &(u32, String)| message.contains("ended at 2026-06-21T00:00:00Z");
    assert!(!at(end - second).iter().any(ended) && at(end).iter().any(ended));
    assert!(policy.warnings().is_empty());
}

#[test]
fn warnings_are_bounded() {
    let entries: String =
        (0..=MAX_PROBLEMS).map(|n| format!("{{id: CVE-{n}, until: 2020-01-01}}, ")).collect();
    let policy = good(&document(&format!(
        "    - {{name: r, maxAllowed: {{high: 0}}, allowedVulnerabilities: [{entries}]}}"
    )));
    assert_eq!(policy.warnings_at(datetime!(2026-01-01 0:00 UTC)).len(), MAX_PROBLEMS);
    let scope = "{match: [{field: workload, operator: equals, values: [x]}]}";
    let rules: String = (0..=MAX_PROBLEMS)
        .map(|n| format!("    - {{name: r{n}, maxAllowed: {{high: 0}}, scope: {scope}}}\n"))
        .collect();
    assert_eq!(good(&document(&rules)).warnings().len(), MAX_PROBLEMS);
}
