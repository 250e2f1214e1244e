//! Rule files as people write them, and as they should not.

mod bounds;
mod catalogue;
mod examples;
mod exemptions;
mod schema;
mod warnings;
mod scopes;
mod shadows;

use super::*;
use crate::decide::Action;
use crate::decide::Context;
use crate::image::Reference;
use proptest::prelude::*;

/// A document around `rules`, which begin at line 5.
fn document(rules: &str) -> String {
    let rules = rules.trim_start_matches('\n');
    format!("apiVersion: portcullis.dev/v1\nkind: Policy\nspec:\n  rules:\n{rules}\n")
}

fn source(text: &str) -> Source {
    Source { file: "rules.yaml".to_owned(), text: text.to_owned() }
}

#[track_caller]
fn good(text: &str) -> Policy {
    parse(&[source(text)]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One problem for each of `expected`: line, column and a part of the message.
#[track_caller]
fn bad(text: &str, expected: &[(u32, u32, &str)]) {
    let errors = parse(&[source(text)]).expect_err("it was read");
    let found: Vec<_> = errors.problems().iter().map(|p| (p.line, p.column)).collect();
    let places: Vec<_> = expected.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(found, places, "{errors}");
    for (problem, (_, _, part)) in errors.problems().iter().zip(expected) {
        assert!(problem.message.contains(part), "`{problem}` has no `{part}`");
    }
}

/// A rule with `scope`, in flow style.
fn scoped(scope: &str) -> String {
    document(&format!("    - {{name: r, maxAllowed: {{high: 0}}, scope: {scope}}}"))
}

#[test]
fn the_examples_are_read_without_warning() {
    let audit = good(include_str!("../../../examples/rules/audit-high.yaml"));
    assert_eq!(audit.warnings(), []);
    let limits = |rule: &Rule| rule.limits.iter().map(|l| (l.level, l.max)).collect::<Vec<_>>();
    assert_eq!(limits(&audit.rules()[0]), [(Severity::Critical, 0), (Severity::High, 0)]);
    let deny = good(include_str!("../../../examples/rules/deny-critical.yaml"));
    assert_eq!(deny.warnings(), []);
    assert_eq!(deny.evaluation(), Evaluation::DenyOverrides);
    let rule = &deny.rules()[0];
    assert_eq!((&**rule.name(), rule.action()), ("deny-critical", Action::Deny));
    assert_eq!(rule.max_age, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(rule.allowed[0].until, Some(time::macros::datetime!(2027-01-01 0:00 UTC)));
    assert_eq!(deny.vary(), [Field::Cluster, Field::Namespace, Field::Repository]);
}

#[test]
fn the_default_audits_high_and_critical_everywhere() {
    let policy = Policy::default_policy();
    assert_eq!(policy.revision(), "default");
    let [rule] = policy.rules() else { panic!("not one rule") };
    assert_eq!((&**rule.name(), rule.action()), ("default", Action::Audit));
    let limits: Vec<_> = rule.limits.iter().map(|l| (l.level, l.max)).collect();
    assert_eq!(limits, [(Severity::Critical, 0), (Severity::High, 0)]);
    let image = "nginx".parse().unwrap();
    assert!(rule.scope.covers(&Target::new(&image, &Context::default())));
    assert!(policy.vary().is_empty());
}

#[test]
fn every_problem_is_found_with_its_place_and_cure() {
    bad(
        &document(
            "
    - name: one
      actoin: deny
      maxAllowed: {critcal: 0, high: -1}
    - name: Two
      maxAllowed: {high: 0}
      scope:
        match:
          - {field: image, operator: equal, values: [nginx]}
          - {field: registry, operator: equals, values: [nginx, 7]}
      allowedVulnerabilities:
        - {id: CVE-1, until: tomorrow}
      maxFindingsAge: 30 days
    - name: one
      maxAllowed: {}
    - name: three
      blockUnscannedImages: false
      exmption: []",
        ),
        &[
            (6, 7, "did you mean `action`?"),
            (7, 20, "did you mean `critical`?"),
            (7, 38, "expected 0 to 4294967295"),
            (8, 13, "`Two` is not a name of a rule"),
            (12, 38, "did you mean `equals`?"),
            (13, 58, "`nginx` is not a registry host"),
            (13, 65, "write it in quotes"),
            (15, 30, "`tomorrow` is not a date"),
            (16, 23, "`30 days`, expected a number and"),
            (17, 13, "already, at rules.yaml:5:13"),
            (18, 19, "names no level"),
            (19, 7, "rule `three` has no condition"),
            (21, 7, "did you mean `exemptions`?"),
        ],
    );
}

#[test]
fn a_rule_needs_a_condition() {
    let rule = |field: &str| document(&format!("    - {{name: r, {field}}}"));
    for condition in [
        "maxAllowed: {unknown: 0}",
        "forbiddenVulnerabilities: [CVE-1]",
        "blockUnscannedImages: true",
        "onUnavailable: allow",
    ] {
        good(&rule(condition));
    }
    for none in [
        "enabled: true",
        "forbiddenVulnerabilities: []",
        "allowedVulnerabilities: [CVE-1]",
        "blockUnscannedImages: false",
        "maxFindingsAge: 1d",
        "unsupportedRegistries: [reg.io]",
    ] {
        bad(&rule(none), &[(5, 7, "has no condition")]);
    }
}

#[test]
fn documents_are_what_they_say() {
    let spec = "spec: {rules: []}";
    let v = "apiVersion: portcullis.dev/v1";
    bad(&format!("{v}\n{spec}"), &[(1, 1, "no `kind`: write `kind: Policy`")]);
    bad(&format!("kind: Policy\n{spec}"), &[(1, 1, "no `apiVersion`")]);
    bad(&format!("{v}\nkind: Deployment\n{spec}"), &[(2, 7, "expected one of `Policy`")]);
    bad(&format!("apiVersion: v2\nkind: Policy\n{spec}"), &[(1, 13, "`v2`")]);
    bad(&format!("{v}\nkind: Policy"), &[(1, 1, "no `spec`")]);
    bad(&format!("{v}\nkind: Policy\nspec: {{}}"), &[(3, 7, "no `rules`")]);
    bad(&format!("{v}\nkind: Policy\nspec:\n  rules:"), &[(4, 8, "is nothing, expected a list")]);
    bad("- 1", &[(1, 1, "the document is a list")]);
}

#[test]
fn what_holds_no_document_is_not_an_empty_policy() {
    for text in ["", "# all commented out\n", "---\n---\n", "~"] {
        bad(text, &[(0, 0, "write `rules: []`")]);
    }
    let errors = parse(&[]).unwrap_err();
    assert!(errors.to_string().contains("no rule files"), "{errors}");
}

#[test]
fn a_written_empty_list_gates_nothing_and_warns() {
    let policy = good("apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {rules: []}");
    assert!(policy.rules().is_empty());
    assert!(policy.warnings()[0].message.contains("every image is allowed"));
}

#[test]
fn a_file_may_hold_several_documents_and_names_are_unique_over_all_files() {
    let one = document("    - {name: a, maxAllowed: {high: 0}}");
    let two = document("    - {name: b, maxAllowed: {high: 0}}");
    assert_eq!(good(&format!("{one}---\n{two}")).rules().len(), 2);
    let other = Source { file: "other.yaml".to_owned(), text: one.clone() };
    let errors = parse(&[source(&one), other]).unwrap_err();
    assert_eq!(errors.problems()[0].file, "other.yaml");
    assert!(errors.to_string().contains("at rules.yaml:5:14"), "{errors}");
}

#[test]
fn evaluation_is_stated_once() {
    let with = |word: &str, name: &str| {
        let rules = format!("    - {{name: {name}, maxAllowed: {{high: 0}}}}");
        document(&rules).replace("spec:", &format!("spec:\n  evaluation: {word}"))
    };
    let plain = document("    - {name: c, maxAllowed: {high: 0}}");
    let policy = good(&format!("{}---\n{plain}", with("denyOverrides", "a")));
    assert_eq!(policy.evaluation(), Evaluation::DenyOverrides);
    assert_eq!(good(&plain).evaluation(), Evaluation::FirstMatch);
    let two = format!("{}---\n{}", with("denyOverrides", "a"), with("firstMatch", "b"));
    bad(&two, &[(11, 15, "differs from the one in `rules.yaml`")]);
}

#[test]
fn broken_yaml_and_other_readings_are_refused() {
    let refused = |text: &str| {
        let errors = parse(&[source(text)]).unwrap_err();
        assert!(errors.to_string().contains("not readable YAML"), "{errors}");
        assert!(errors.problems()[0].line > 0, "{errors}");
    };
    refused("a: [");
    refused("kind: Policy\nkind: Policy\n");
    refused("a: &a {x: 1}\nb: {<<: *a}");
    refused("a: !custom 1");
    refused("a: *missing");
    refused("\u{0}");
}

#[test]
fn ages_and_dates_have_one_reading() {
    let rule = |fields: &str| {
        parse(&[source(&document(&format!("    - {{name: r, maxAllowed: {{low: 0}}, {fields}}}")))])
    };
    let age = |text: &str| rule(&format!("maxFindingsAge: {text}")).map(|p| p.rules()[0].max_age);
    assert_eq!(age("12h").unwrap(), Some(Duration::from_secs(12 * 3600)));
    assert_eq!(age("90m").unwrap(), Some(Duration::from_secs(90 * 60)));
    for text in ["0d", "\"\"", "d", "+1d", "-1d", "1.5d", "1w", "99999999999999999999d", "30"] {
        assert!(age(text).is_err(), "{text}");
    }
    let until = |text: &str| {
        rule(&format!("allowedVulnerabilities: [{{id: C, until: {text}}}]"))
            .map(|p| p.rules()[0].allowed[0].until.unwrap())
    };
    let datetime = |text: &str| {
        OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
    };
    assert_eq!(until("2024-02-29").unwrap(), datetime("2024-03-01T00:00:00Z"));
    let zoned = "\"2024-02-29T12:00:00+02:00\"";
    assert_eq!(until(zoned).unwrap(), datetime("2024-02-29T10:00:00Z"));
    for text in ["2023-02-29", "+2024-1-01", "9999-12-31", "2024-02-29T12:00:00", "20240229"] {
        assert!(until(text).is_err(), "{text}");
    }
}

#[test]
fn a_revision_names_the_texts_whatever_their_files() {
    let one = document("    - {name: a, maxAllowed: {high: 0}}");
    let two = document("    - {name: b, maxAllowed: {high: 0}}");
    let named = |file: &str, text: &str| Source { file: file.to_owned(), text: text.to_owned() };
    let policy = parse(&[named("x", &one), named("y", &two)]).unwrap();
    let moved = parse(&[named("1", &two), named("2", &one)]).unwrap();
    assert_eq!(policy.revision(), moved.revision());
    assert_eq!(policy.revision().len(), 16);
    assert_ne!(policy.revision(), good(&one).revision());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parse(&[source(&text)]);
        let _ = parse(&[source(&document(&text))]);
        let _ = parse(&[source(&scoped(&text))]);
    }
}
