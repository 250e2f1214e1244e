//! Nothing is lost between the contract and core, and what is too long is said to be.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_core::decide::{Condition, Decision};
use portcullis_core::policy::Policy;
use time::macros::datetime;

use super::*;

fn pair(name: &str) -> HashMap<String, String> {
    HashMap::from([(name.to_owned(), format!("{name} value"))])
}

#[test]
fn every_field_of_the_context_is_read() {
    let request = v1::Context {
        cluster: "cluster".to_owned(),
        cloud: Some(v1::Cloud {
            provider: "provider".to_owned(),
            account: "account".to_owned(),
            region: "region".to_owned(),
        }),
        namespace: "namespace".to_owned(),
        namespace_labels: pair("namespace label"),
        workload: Some(v1::Workload { kind: "kind".to_owned(), name: "workload".to_owned() }),
        pod: "pod".to_owned(),
        pod_labels: pair("pod label"),
        service_account: "service account".to_owned(),
    };
    let expected = Context {
        provider: "provider".to_owned(),
        account: "account".to_owned(),
        region: "region".to_owned(),
        cluster: "cluster".to_owned(),
        namespace: "namespace".to_owned(),
        namespace_labels: pair("namespace label").into_iter().collect(),
        workload_kind: "kind".to_owned(),
        workload: "workload".to_owned(),
        pod: "pod".to_owned(),
        pod_labels: pair("pod label").into_iter().collect(),
        service_account: "service account".to_owned(),
        container: String::new(),
        break_glass: String::new(),
    };
    assert_eq!(context(request), expected);
    assert_eq!(context(v1::Context::default()), Context::default());
}

/// An answer whose last violation is the deciding one.
fn answer_with(violations: usize) -> Answer {
    let violation = |n: usize| {
        let rule = format!("rule-{n}").into();
        let mut violation = Violation::new(rule, Action::Deny, Condition::Unscanned);
        violation.deciding = n + 1 == violations;
        violation
    };
    let decision = Decision {
        action: Action::Deny,
        rule: Some("rule".into()),
        violations: (0..violations).map(violation).collect(),
        exemptions: Vec::new(),
        break_glass: None,
        notices: Vec::new(),
        changes_at: None,
        policy_revision: "r".into(),
    };
    let decided = Decided {
        context: Context::default(),
        image: "reg.io/app:v1".parse().unwrap(),
        subjects: Vec::new(),
        decision,
        took: Duration::ZERO,
    };
    Answer {
        decided: vec![decided],
        policy: Arc::new(Policy::default_policy()),
        evaluated_at: datetime!(2026-08-01 12:00:00.25 UTC),
        max_age: Duration::from_millis(1_500),
    }
}

#[test]
fn violations_past_their_bound_are_counted_and_the_deciding_one_is_kept() {
    for count in [MAX_VIOLATIONS, MAX_VIOLATIONS + 1] {
        let answer = answer(&answer_with(count));
        let decision = &answer.decisions[0];
        assert_eq!(decision.violations.len(), MAX_VIOLATIONS);
        assert_eq!(decision.violations_total as usize, count);
        assert!(decision.violations[0].deciding);
        assert_eq!(decision.violations[0].rule, format!("rule-{}", count - 1));
        assert!(decision.violations[1..].iter().all(|violation| !violation.deciding));
        let first = "reg.io/app:v1: No valid vulnerability report was found\n";
        assert!(decision.message.starts_with(first), "{}", decision.message);
        let rule = format!("\ndenied by rule: rule-{}\n", count - 1);
        assert!(decision.message.contains(&rule), "{}", decision.message);
    }
}

#[test]
fn times_and_spans_keep_their_fractions() {
    let answer = answer(&answer_with(1));
    let (at, age) = (answer.evaluated_at.unwrap(), answer.max_age.unwrap());
    assert_eq!((at.seconds, at.nanos), (1_785_585_600, 250_000_000));
    assert_eq!((age.seconds, age.nanos), (1, 500_000_000));
    // Before 1970 the fraction still counts forwards, as protobuf has it.
    let at = timestamp(datetime!(1969-12-31 23:59:59.75 UTC));
    assert_eq!((at.seconds, at.nanos), (-1, 750_000_000));
}
