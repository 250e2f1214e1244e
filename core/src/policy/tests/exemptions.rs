//! Exemptions, break-glass entries and everything else that makes exceptions.

use super::*;
use time::macros::datetime;

/// A spec with `exemptions` at line 5, and one rule `r`.
fn exempting(exemptions: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  exemptions:\n{exemptions}\n  \
         rules: [{{name: r, maxAllowed: {{high: 0}}}}]\n"
    )
}

/// One exemption with what it must have, and `more`.
fn exemption(more: &str) -> String {
    exempting(&format!("  - {{name: e, owner: o, reason: w, {more}}}"))
}

const CVE: &str = "match: [{field: vulnerability, operator: equals, values: [cve-1]}]";

#[test]
fn an_exemption_is_read_as_it_is_written() {
    let policy = good(&exemption(&format!(
        "{CVE}, from: 2026-01-01, until: 2026-12-31, untilFixed: true, ticket: SEC-1, rules: [r]"
    )));
    let [exemption] = policy.exemptions() else { panic!("not one exemption") };
    assert_eq!(&**exemption.name(), "e");
    assert_eq!((exemption.owner(), exemption.reason()), ("o", "w"));
    assert_eq!(exemption.ticket(), Some("SEC-1"));
    assert_eq!(exemption.from(), Some(datetime!(2026-01-01 0:00 UTC)));
    assert_eq!(exemption.until(), Some(datetime!(2027-01-01 0:00 UTC)));
    assert!(exemption.is_until_fixed() && exemption.is_for("r") && !exemption.is_for("q"));
}

/// One problem in an exemption with `more`, where `at` is written.
#[track_caller]
fn refused(more: &str, at: &str, part: &str) {
    let text = exemption(more);
    let column = text.lines().nth(4).unwrap().rfind(at).unwrap() + 1;
    bad(&text, &[(5, u32::try_from(column).unwrap(), part)]);
}

#[test]
fn an_exemption_says_what_it_covers_and_who_answers_for_it() {
    good(&exemption(CVE));
    let without = |name: &str| {
        let fields = [("name", "e"), ("owner", "o"), ("reason", "w")];
        let kept = fields.iter().filter(|(field, _)| *field != name);
        let kept: String = kept.map(|(field, value)| format!("{field}: {value}, ")).collect();
        exempting(&format!("  - {{{kept}{CVE}}}"))
    };
    bad(&without("name"), &[(5, 5, "the exemption has no `name`")]);
    bad(&without("owner"), &[(5, 5, "exemption `e` has no `owner`: say who answers for it")]);
    bad(&without("reason"), &[(5, 5, "exemption `e` has no `reason`")]);
    refused("ticket: SEC-1", "{name", "exemption `e` has no `match`");
    refused("match: []", "[]", "is empty: name at least one matcher");
}

#[test]
fn the_words_of_a_matcher_are_those_of_exemptions() {
    let matcher = |text: &str| format!("match: [{{{text}}}]");
    refused(
        &matcher("field: vulnerabilty, operator: equals, values: [CVE-1]"),
        "vulnerabilty",
        "did you mean `vulnerability`?",
    );
    refused(
        &matcher("field: pod, operator: notEquals, values: [a]"),
        "notEquals",
        "expected one of `equals`, `startsWith`, `endsWith`, `contains`",
    );
    refused(
        &matcher("field: container, operator: equals, values: [a]"),
        "container",
        "expected one of",
    );
    refused(&matcher("field: pod, operator: equals, values: []"), "[]", "is empty");
    refused(
        &matcher("field: image, operator: equals, values: [nginx]"),
        "nginx",
        "is not a digest",
    );
    refused(
        &matcher("field: image, operator: startsWith, values: ['ab']"),
        "'ab'",
        "is not a digest",
    );
    refused(&matcher("field: image, operator: contains, values: [xy]"), "xy", "is not a digest");
    refused(
        &matcher("field: vulnerability, operator: equals, values: [a b]"),
        "a b",
        "is not an identifier",
    );
    refused(&matcher("field: registry, operator: equals, values: [x]"), "x]", "registry host");
    let digest = Digest::of(b"x");
    for fits in [
        format!("field: image, operator: equals, values: ['{digest}']"),
        "field: image, operator: startsWith, values: ['SHA256:ab']".to_owned(),
        "field: image, operator: endsWith, values: [ab]".to_owned(),
        "field: registry, operator: startsWith, values: [index.docker.io]".to_owned(),
    ] {
        good(&exemption(&matcher(&fits)));
    }
}

#[test]
fn a_term_has_an_end_after_its_beginning() {
    good(&exemption(&format!("{CVE}, from: 2026-01-01, until: 2026-01-01")));
    refused(
        &format!("{CVE}, from: 2026-01-02, until: 2026-01-01"),
        "2026-01-01",
        "`until` of exemption `e` is not after its `from`",
    );
    let instants = "from: '2026-01-01T12:00:00Z', until: '2026-01-01T12:00:00Z'";
    refused(&format!("{CVE}, {instants}"), "'2026-01-01T", "is not after");
    refused(&format!("{CVE}, from: soon"), "soon", "which is its beginning in UTC");
    refused(&format!("{CVE}, until: soon"), "soon", "which is its end in UTC");
}

#[test]
fn what_is_named_must_be_there() {
    refused(
        &format!("{CVE}, rules: [rr]"),
        "rr]",
        "there is no rule `rr`, which `rules` of exempti",
    );
    let text = exemption(&format!("{CVE}, rules: [deny-criticl]"))
        .replace("name: r,", "name: deny-critical,");
    bad(&text, &[(5, 112, "did you mean `deny-critical`?")]);
    refused(&format!("{CVE}, rules: []"), "[]", "leave it out for all");
    let text = "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  breakGlass: [{name: b, rules: \
                [q]}]\n  rules: [{name: r, maxAllowed: {high: 0}}]\n";
    bad(text, &[(4, 34, "there is no rule `q`, which `rules` of break-glass entry `b` names")]);
    // Where rules could not be read, it is not known which there are.
    let unread = text.replace("high: 0", "hihg: 0").replace("name: r", "name: Q");
    let errors = parse(&[source(&unread)]).unwrap_err();
    assert!(!errors.to_string().contains("there is no rule"), "{errors}");
}

#[test]
fn rules_may_be_in_other_files_than_what_is_about_them() {
    let rules =
        Source { file: "r".to_owned(), text: document("    - {name: q, maxAllowed: {high: 0}}") };
    let exemptions = format!(
        "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  exemptions: [{{name: e, owner: o, \
         reason: w, rules: [q], {CVE}}}]\n"
    );
    let exemptions = |name: &str| Source { file: name.to_owned(), text: exemptions.clone() };
    assert!(parse(&[exemptions("e"), rules.clone()]).unwrap().exemptions()[0].is_for("q"));
    // But some file must say which rules there are, and each name is used once.
    let errors = parse(&[exemptions("e")]).unwrap_err();
    assert!(errors.to_string().contains("e:4:3: `spec` has no `rules`"), "{errors}");
    let errors = parse(&[exemptions("e"), rules, exemptions("f")]).unwrap_err();
    let expected = "f:4:23: there is an exemption `e` already, at e:4:23: give each its own name";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn problems_of_all_files_are_in_their_order() {
    let text = exemption(&format!("{CVE}, rules: [none]"));
    let other = exempting("  - {name: f, owner: o}").replace("name: r,", "name: s,");
    let sources = ["1", "2"].map(|name| Source {
        file: name.to_owned(),
        text: if name == "1" { text.clone() } else { other.clone() },
    });
    let errors = parse(&sources).unwrap_err();
    let files: Vec<_> = errors.problems().iter().map(|p| (&*p.file, p.line)).collect();
    assert_eq!(files, [("1", 5), ("2", 5), ("2", 5)], "{errors}");
}

#[test]
fn a_rules_own_exemption_is_for_it_alone() {
    let own = |more: &str| {
        document(&format!(
            "    - {{name: a, maxAllowed: {{high: 0}}, exemptions: [{{name: e, owner: o, reason: \
             w, {CVE}{more}}}]}}\n    - {{name: b, maxAllowed: {{high: 0}}}}"
        ))
    };
    let policy = good(&own(""));
    let exemption = &policy.exemptions()[0];
    assert!(exemption.is_for("a") && !exemption.is_for("b"));
    let errors = parse(&[source(&own(", rules: [b]"))]).unwrap_err();
    assert!(errors.to_string().contains("unknown field `rules` in exemption `e`"), "{errors}");
}

#[test]
fn break_glass_entries_have_names_of_their_own() {
    let text = |entries: &str| {
        format!(
            "apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  breakGlass: [{entries}]\n  \
             rules: [{{name: r, action: deny, maxAllowed: {{high: 0}}}}]\n"
        )
    };
    assert_eq!(good(&text("{name: r}, {name: b}")).break_glass().len(), 2);
    bad(&text("{name: b}, {name: b}"), &[(4, 34, "there is a break-glass entry `b` already")]);
    bad(&text("{rules: [r]}"), &[(4, 16, "the break-glass entry has no `name`")]);
    bad(&text("{name: b, scpe: {}}"), &[(4, 26, "did you mean `scope`?")]);
}

#[test]
fn what_limits_look_at_is_kept_once() {
    let rule =
        |name: &str, more: &str| format!("    - {{name: {name}, maxAllowed: {{high: 0}}{more}}}\n");
    let narrow = |cvss: &str| format!(", count: {{minCvss: {cvss}, packages: ['PKG:deb/**']}}");
    let policy = good(&document(
        &[
            rule("a", ""),
            rule("b", &narrow("7.0")),
            rule("c", &narrow("7")),
            rule("d", &narrow("8.0")),
        ]
        .concat(),
    ));
    assert_eq!(policy.rules().iter().map(|r| r.narrowing).collect::<Vec<_>>(), [0, 1, 1, 2]);
    assert!(policy.narrowings()[0].is_all() && policy.narrowings().len() == 3);
}

#[test]
fn patterns_that_fit_nothing_are_refused() {
    let rule =
        |more: &str| document(&format!("    - {{name: r, maxAllowed: {{high: 0}}, {more}}}"));
    bad(&rule("allowedImages: [nginx]"), &[(5, 56, "write the host in full")]);
    bad(&rule("trustedImages: []"), &[(5, 55, "is empty: name a pattern")]);
    bad(&rule("count: {packages: [openssl]}"), &[(5, 59, "one like `pkg:deb/debian/*`")]);
    bad(&rule("count: {packages: ['pkg:npm/a@1']}"), &[(5, 59, "leave out what follows")]);
    bad(&rule("count: {notPackages: []}"), &[(5, 47, "narrows nothing"), (5, 61, "is empty")]);
    let stars = "a*".repeat(17);
    bad(&rule(&format!("count: {{packages: ['pkg:{stars}']}}")), &[(5, 59, "not a pattern")]);
}
