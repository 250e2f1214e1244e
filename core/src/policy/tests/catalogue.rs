//! Cases of the catalogue (CASES, part E) that no other test stands for.

use super::*;

/// T094.
#[test]
fn a_misspelt_field_or_an_empty_matcher_is_refused_where_it_stands() {
    bad(
        &document("    - {name: r, maxAllowed: {high: 0}, subjectRegExp: '.*'}"),
        &[(5, 40, "unknown field `subjectRegExp`")],
    );
    bad(
        &scoped("{match: [{field: namespace, operator: equals, values: ['']}]}"),
        &[(5, 102, "is empty")],
    );
}

/// T097: nothing that is asked for at a question can be named in a rule.
#[test]
fn no_field_of_a_rule_names_an_address() {
    let schema = schema().to_string().to_lowercase();
    for word in ["\"url", "url\"", "uri\"", "endpoint", "\"server\"", "\"format\":\"uri\""] {
        let found = schema.replace("\"$id\"", "").replace("\"$schema\"", "").contains(word);
        assert!(!found, "the schema has {word}");
    }
}

/// T100. An exemption may be without end, as in the product that we follow; never without someone
/// who answers for it.
#[test]
fn an_exemption_needs_an_owner_and_a_reason() {
    let with = |rest: &str| {
        let text = document("    - {name: r, maxAllowed: {high: 0}}");
        format!(
            "{text}  exemptions:\n  - {{name: e, match: [{{field: vulnerability, operator: equals, \
             values: [CVE-1]}}]{rest}}}\n"
        )
    };
    good(&with(", owner: me, reason: because"));
    let fault = |rest: &str| parse(&[source(&with(rest))]).unwrap_err().to_string();
    assert!(fault(", owner: me").contains("`reason`"));
    assert!(fault(", reason: because").contains("`owner`"));
    assert!(fault(", owner: '', reason: because").contains("`owner`"));
}

/// T102: names are normalised once, or refused.
#[test]
fn names_that_differ_in_case_or_space_are_one_or_refused() {
    let both = good(&document(
        "    - {name: r, forbiddenVulnerabilities: [cve-2021-44228, GHSA-X, CVE-2021-44228]}",
    ));
    assert_eq!(both.rules()[0].forbidden.len(), 2);
    let ordered = both.rules()[0].forbidden.is_sorted_by_key(|forbidden| forbidden.key);
    assert!(ordered, "what is searched by halves is in order");
    bad(
        &document("    - {name: r, forbiddenVulnerabilities: ['CVE-1 ']}"),
        &[(5, 44, "white space")],
    );
    bad(&document("    - {name: R, maxAllowed: {high: 0}}"), &[(5, 14, "is not a name")]);
}
