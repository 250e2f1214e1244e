//! What an explanation says reaches the caller.

use super::*;

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::decide::decide;
use portcullis_core::evidence::{Evidence, Source, Subject};
use portcullis_core::image::Digest;
use portcullis_core::policy::{self, Policy};
use prost::Message as _;
use time::macros::datetime;

use super::super::tests::told;

const RULES: &str = "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  breakGlass: [{name: on-call}]
  exemptions:
    - {name: old, owner: team, reason: none, until: 2026-01-01, match: [{field: namespace, operator: equals, values: [shop]}]}
  rules:
    - {name: block, action: deny, blockUnscannedImages: true, maxAllowed: {high: 0}}
    - {name: dev, maxAllowed: {low: 0}, scope: {match: [{field: namespace, operator: equals, values: [dev]}]}}
";

fn answered(break_glass: &str) -> Answer {
    let source = policy::Source { file: "r".to_owned(), text: RULES.to_owned() };
    let policy: Policy = policy::parse(&[source]).unwrap();
    let now = datetime!(2026-08-01 12:00 UTC);
    let subjects = vec![Subject {
        digest: Some(Digest::of(b"image")),
        platform: None,
        evidence: Arc::new(Evidence::Missing),
        fetched_at: now,
        source: Source::Registry,
    }];
    let context = Context {
        namespace: "shop".to_owned(),
        break_glass: break_glass.to_owned(),
        ..Context::default()
    };
    let image = "reg.io/app:v1".parse().unwrap();
    let decision = decide(&policy, &image, &subjects, &context, now);
    let container = "".into();
    let decided = Decided { container, image, subjects, decision, took: Duration::ZERO };
    Answer {
        context: Arc::new(context),
        decided: vec![decided],
        policy: Arc::new(policy),
        evaluated_at: now,
        max_age: Duration::ZERO,
        depends: &[],
        purpose: Default::default(),
    }
}

#[test]
fn an_explanation_is_given_to_whoever_asks() {
    let answer = answered("");
    assert_eq!(told(&answer, Detail::Plain).decisions[0].explanation, None);
    let decision = told(&answer, Detail::Explained).decisions.remove(0);
    assert_eq!(decision.action(), v1::Action::Deny);
    let told = decision.explanation.unwrap();
    assert_eq!((&*told.evaluation, told.rules_total), ("firstMatch", 2));
    let standings: Vec<_> = told.rules.iter().map(|r| (&*r.name, &*r.standing)).collect();
    assert_eq!(standings, [("block", "in_scope"), ("dev", "out_of_scope")]);
    let mismatch = told.rules[1].mismatch.as_ref().unwrap();
    assert_eq!((&*mismatch.field, mismatch.actual.as_deref()), ("namespace", Some("shop")));
    assert_eq!(mismatch.values, ["dev"]);
    let condition = &told.conditions[0];
    assert_eq!((&*condition.condition, condition.limit), ("unscanned", None));
    assert!(condition.met && condition.deciding);
    assert_eq!((&*told.nearly[0].name, &*told.nearly[0].obstacle), ("old", "ended"));
    assert_eq!((&*told.manifests[0].status, told.manifests[0].decided), ("missing", true));
    assert_eq!(told.break_glass, "possible");
    let remedy = told.remedy.unwrap();
    assert_eq!((&*remedy.steps[0].kind, &*remedy.steps[0].condition), ("evidence", "unscanned"));
}

#[test]
fn break_glass_that_could_not_be_recorded_explains_a_denial() {
    let mut answer = answered("INC-1");
    let lifted = told(&answer, Detail::Explained).decisions.remove(0);
    assert_eq!(lifted.action(), v1::Action::Audit);
    assert_eq!(lifted.explanation.unwrap().break_glass, "lifted");
    let decided = answer.decided.pop().unwrap();
    let decision = decided.decision.clone().without_break_glass();
    answer.decided.push(Decided { decision, ..decided });
    let refused = told(&answer, Detail::Explained).decisions.remove(0);
    assert_eq!(refused.action(), v1::Action::Deny);
    assert_eq!(refused.explanation.unwrap().break_glass, "possible");
}

#[test]
fn so_many_containers_are_explained_and_no_more() {
    let container = v1::Container { name: "c".to_owned(), image: "busybox".to_owned() };
    let of = |count: usize, explain: bool| {
        let containers = vec![container.clone(); count];
        let request = v1::CheckRequest { containers, explain, ..Default::default() };
        super::super::question(&request.encode_to_vec())
    };
    assert!(of(MAX_EXPLAINED, true).is_ok());
    assert!(of(MAX_EXPLAINED + 1, false).is_ok());
    let refused = of(MAX_EXPLAINED + 1, true).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("`explain`"), "{refused}");
}
