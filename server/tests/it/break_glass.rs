//! A denial is lifted for who says why, where the policy permits it, once that is on disk.

use std::path::Path;

use portcullis_core::decide::MAX_JUSTIFICATION;
use portcullis_proto::v1;
use portcullis_proto::v1::check_stream_response::Result as Outcome;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::stream::Asked;
use crate::world::*;

const WHY: &str = "outage 4711";

/// [`DENY`], and break-glass in the namespace `shop`.
fn permitting() -> String {
    let entry = "spec:\n  breakGlass:\n    - name: on-call\n      \
                 scope: {match: [{field: namespace, operator: equals, values: [shop]}]}\n";
    DENY.replace("spec:\n", entry)
}

/// A site with these rules that records into `events.jsonl`.
async fn site(rules: &str) -> Site {
    let mut site = Site::new().await;
    site.write_rules(rules);
    site.config.events = Some(site.path("events.jsonl"));
    site
}

fn justified(image: &str, namespace: &str, why: &str) -> v1::CheckRequest {
    let context = v1::Context {
        namespace: namespace.to_owned(),
        break_glass: why.to_owned(),
        ..v1::Context::default()
    };
    v1::CheckRequest { context: Some(context), ..question(image) }
}

async fn counted(world: &World, outcome: &str) -> f64 {
    world.metric(&format!("portcullis_break_glass_total{{outcome=\"{outcome}\"}}")).await
}

/// It is denied, and says that the reason was in vain.
#[track_caller]
fn assert_refused(answer: &v1::CheckResponse) {
    assert_eq!(answer.action(), Action::Deny);
    let decision = &answer.decisions[0];
    assert_eq!(decision.break_glass, None);
    assert_eq!(decision.notice_details[0].kind, "break_glass_refused");
    assert_eq!(decision.notice_details[0].message, decision.notices[0]);
    assert_eq!(decision.rule, "good-only");
}

#[tokio::test]
async fn a_lifted_denial_is_in_the_event_file_when_its_answer_comes() {
    let world = site(&permitting()).await.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.try_ask(justified(&image.name, "shop", "\u{1b}[1moutage")).await.unwrap();
    assert_eq!(answer.action(), Action::Audit);
    let decision = &answer.decisions[0];
    let lifted = decision.break_glass.clone().unwrap();
    assert_eq!((&*lifted.name, &*lifted.justification), ("on-call", "\\u{1b}[1moutage"));
    // What it would have been.
    assert_eq!(decision.rule, "good-only");
    assert_eq!(decision.violations[0].action(), Action::Deny);
    // The service still runs, and nothing had to be waited for.
    let events = lines(&world.path("events.jsonl"));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["action"], "audit");
    assert_eq!(events[0]["rule"], "good-only");
    assert_eq!(events[0]["break_glass"], "on-call");
    assert_eq!(events[0]["justification"], "\\u{1b}[1moutage");
    assert!((counted(&world, "used").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_denial_is_lifted_in_a_stream_too() {
    let world = site(&permitting()).await.start().await;
    let image = world.scanned("app", &critical());
    let mut stream = Asked::begin(&world).await;
    stream.ask(1, Some(justified(&image.name, "shop", WHY))).await;
    let (_, Outcome::Check(answer)) = stream.next().await else { panic!("no answer") };
    assert_eq!(answer.action(), Action::Audit);
    assert_eq!(lines(&world.path("events.jsonl"))[0]["break_glass"], "on-call");
}

#[tokio::test]
async fn where_the_policy_does_not_permit_it_the_denial_stands() {
    let world = site(&permitting()).await.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.try_ask(justified(&image.name, "other", WHY)).await.unwrap();
    assert_refused(&answer);
    assert!((counted(&world, "not_permitted").await - 1.0).abs() < f64::EPSILON);
    // What needs no break-glass is not changed by it.
    let good = world.scanned("good", &clean());
    let answer = world.try_ask(justified(&good.name, "shop", WHY)).await.unwrap();
    assert_eq!(answer.action(), Action::Allow);
    assert_eq!(answer.decisions[0].break_glass, None);
    assert_eq!(answer.decisions[0].notices, Vec::<String>::new());
    let site = world.stop().await;
    let events = lines(&site.path("events.jsonl"));
    assert_eq!((&events[0]["action"], &events[0]["justification"]), (&"deny".into(), &WHY.into()));
    assert_eq!(events[0]["break_glass"], serde_json::Value::Null);
    assert_eq!(events[0]["notices"][0]["kind"], "break_glass_refused");
}

#[tokio::test]
async fn where_it_cannot_be_recorded_the_denial_stands() {
    for events in [None, Some("/dev/full"), Some("/dev/null")] {
        if events.is_some_and(|device| !Path::new(device).exists()) {
            println!("skipped: this system has no {events:?}");
            continue;
        }
        let mut site = site(&permitting()).await;
        site.config.events = events.map(Into::into);
        let world = site.start().await;
        let image = world.scanned("app", &critical());
        let answer = world.try_ask(justified(&image.name, "shop", WHY)).await.unwrap();
        assert_refused(&answer);
        assert!((counted(&world, "not_recorded").await - 1.0).abs() < f64::EPSILON);
    }
}

#[tokio::test]
async fn an_answer_is_never_kept_across_a_justification() {
    let world = site(&permitting()).await.start().await;
    let image = world.scanned("app", &critical());
    let plain = world.try_ask(justified(&image.pinned(), "shop", "")).await.unwrap();
    let lifted = world.try_ask(justified(&image.pinned(), "shop", WHY)).await.unwrap();
    assert_eq!((plain.action(), lifted.action()), (Action::Deny, Action::Audit));
    for answer in [&plain, &lifted] {
        assert_eq!(answer.vary, ["namespace", "break_glass"]);
    }
    assert_eq!(plain.max_age.unwrap().seconds, 60);
    assert_eq!(lifted.max_age.unwrap(), prost_types::Duration::default());
    // White space is no reason.
    let blank = world.try_ask(justified(&image.pinned(), "shop", " \n")).await.unwrap();
    assert_eq!((blank.action(), blank.max_age.unwrap().seconds), (Action::Deny, 60));

    // Where nothing permits it, nobody needs to tell such questions apart; to keep what was answered
    // to one is no good all the same.
    let world = site(DENY).await.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.try_ask(justified(&image.pinned(), "shop", WHY)).await.unwrap();
    assert_eq!(answer.vary, Vec::<String>::new());
    assert_eq!(answer.max_age.unwrap(), prost_types::Duration::default());
    assert_refused(&answer);
}

#[tokio::test]
async fn a_justification_past_its_bound_is_an_invalid_argument() {
    let world = site(&permitting()).await.start().await;
    let image = world.scanned("app", &critical());
    let ask = |length| world.try_ask(justified(&image.name, "shop", &"x".repeat(length)));
    assert_eq!(ask(MAX_JUSTIFICATION).await.unwrap().action(), Action::Audit);
    let refused = ask(MAX_JUSTIFICATION + 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "context.break_glass");
}
