//! One past each bound.

use super::*;

const EVERY_POD: &str = "match: [{field: pod, operator: contains, values: [a]}]";

#[test]
fn alias_bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("a{n}: &a{n} [{list}]\n");
    }
    bad_yaml(&text);
    bad_yaml(&format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1)));
    bad_yaml(&"[".repeat(1_000_000));
}

#[track_caller]
fn bad_yaml(text: &str) {
    let errors = parse(&[source(text)]).unwrap_err();
    assert!(errors.to_string().contains("not readable YAML"), "{errors}");
}

#[test]
fn anchors_may_share_lists() {
    let policy = good(&document(
        "
    - {name: a, maxAllowed: {high: 0}, forbiddenVulnerabilities: &bad [CVE-1, CVE-2]}
    - {name: b, maxAllowed: {high: 0}, forbiddenVulnerabilities: *bad}",
    ));
    assert_eq!(policy.rules()[1].forbidden.len(), 2);
}

#[test]
fn each_size_is_refused_one_past_its_bound() {
    let past = |n: usize, text: &dyn Fn(usize) -> String, part: &str| {
        good(&text(n));
        let errors = parse(&[source(&text(n + 1))]).unwrap_err();
        assert!(errors.to_string().contains(part), "{errors}");
    };
    let rule = |fields: String| document(&format!("    - {{maxAllowed: {{high: 0}}, {fields}}}"));
    let x = |n: usize| "x".repeat(n);
    past(MAX_RULE_NAME, &|n| rule(format!("name: {}", x(n))), "more than the 63 allowed");
    past(MAX_TEXT, &|n| rule(format!("name: r, description: {}", x(n))), "1025 bytes");
    past(MAX_ID, &|n| rule(format!("name: r, forbiddenVulnerabilities: [{}]", x(n))), "129 bytes");
    let value = |n| format!("{{field: pod, operator: equals, values: [{}]}}", x(n));
    past(MAX_VALUE, &|n| scoped(&format!("{{match: [{}]}}", value(n))), "1025 bytes");
    let ids = |n: usize| (0..n).map(|i| format!("C-{i},")).collect::<String>();
    past(
        MAX_VALUES,
        &|n| rule(format!("name: r, allowedVulnerabilities: [{}]", ids(n))),
        "10001 items",
    );
    let rules = |n: usize| {
        (0..n)
            .map(|i| format!("    - {{name: r{i}, maxAllowed: {{low: 0}}}}\n"))
            .collect::<String>()
    };
    past(MAX_RULES, &|n| document(&rules(n)), "the 10000 allowed");
    let two = format!("{}---\n{}", document(&rules(MAX_RULES)), document("    - {name: x}"));
    assert!(parse(&[source(&two)]).unwrap_err().to_string().contains("the 10000 rules allowed"));
    let named = |n: usize| format!("name: e{n}, owner: o, reason: r, {EVERY_POD}");
    let exemptions = |n: usize| (0..n).map(|i| format!("{{{}}},", named(i))).collect::<String>();
    let spec = |field: &str, list: String| {
        format!(
            "apiVersion: portcullis.dev/v1\nkind: Policy\nspec: {{rules: [{{name: r, action: deny, \
             maxAllowed: {{low: 0}}}}], {field}: [{list}]}}\n"
        )
    };
    past(MAX_EXEMPTIONS, &|n| spec("exemptions", exemptions(n)), "10001 items");
    let own = |n: usize| {
        let own = format!("low: 0}}, exemptions: [{{{}}}]", named(MAX_EXEMPTIONS));
        spec("exemptions", exemptions(n - 1)).replace("low: 0}", &own)
    };
    past(MAX_EXEMPTIONS, &own, "more than the 10000 exemptions allowed");
    let entries = |n: usize| (0..n).map(|i| format!("{{name: b{i}}},")).collect::<String>();
    past(MAX_EXEMPTIONS, &|n| spec("breakGlass", entries(n)), "10001 items");
    let two = |n: usize| {
        let other = spec("breakGlass", "{name: c}".to_owned()).replace("name: r,", "name: s,");
        format!("{}---\n{other}", spec("breakGlass", entries(n - 1)))
    };
    past(MAX_EXEMPTIONS, &two, "more than the 10000 break-glass entries allowed");
    let exemption = |fields: String| {
        let list = format!("{{name: e, {EVERY_POD}, {fields}}}");
        spec("exemptions", list)
    };
    past(MAX_TEXT, &|n| exemption(format!("owner: {}, reason: r", x(n))), "1025 bytes");
    past(MAX_TEXT, &|n| exemption(format!("owner: o, reason: {}", x(n))), "1025 bytes");
    let ticket = |n| exemption(format!("owner: o, reason: r, ticket: {}", x(n)));
    past(MAX_TEXT, &ticket, "1025 bytes");
    let patterns = |n: usize| "reg.io/x,".repeat(n);
    past(MAX_VALUES, &|n| spec("allowedImages", patterns(n)), "10001 items");
    past(
        MAX_VALUES,
        &|n| rule(format!("name: r, trustedImages: [{}]", patterns(n))),
        "10001 items",
    );
    past(3650, &|n| rule(format!("name: r, count: {{minPublishedAge: {n}d}}")), "to `3650d`");
    let padded = |n: usize| {
        let mut text = rule("name: r".to_owned());
        let missing = n - text.len();
        text += &format!("#{}", x(missing - 1));
        text
    };
    past(MAX_FILE, &padded, "the 4194304 allowed");
    past(3650, &|n| rule(format!("name: r, maxFindingsAge: {n}d")), "from `1s` to `3650d`");
}

#[test]
fn problems_are_bounded() {
    let rules: String = (0..MAX_PROBLEMS + 10).map(|_| "    - {}\n").collect();
    assert_eq!(parse(&[source(&document(&rules))]).unwrap_err().problems().len(), MAX_PROBLEMS);
}

#[test]
fn yaml_is_refused_one_past_its_bounds() {
    let past = |n: usize, text: &dyn Fn(usize) -> String, part: &str| {
        assert!(node::documents(&text(n)).is_ok(), "{part}: {:?}", node::documents(&text(n)).err());
        let (_, message) = node::documents(&text(n + 1)).unwrap_err();
        assert!(message.contains(part), "{message}");
    };
    past(MAX_DEPTH, &|n| format!("{}{}", "[".repeat(n), "]".repeat(n)), "depth");
    past(MAX_DOCUMENTS, &|n| "--- a\n".repeat(n), "document");
    // The list itself is a node too.
    past(MAX_NODES - 1, &|n| "- a\n".repeat(n), "nodes");
    let shared = |items: usize, aliases: usize| {
        format!("- &a [{}]\n{}", "x, ".repeat(items), "- *a\n".repeat(aliases))
    };
    past(MAX_VALUES, &|n| shared(1, n), "alias");
    // A list has a beginning and an end.
    past(MAX_REPLAYED / MAX_VALUES - 2, &|n| shared(n, MAX_VALUES), "replay");
}
