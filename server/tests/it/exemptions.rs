//! Exemptions, from the rule file to the answer and the event.

use std::time::Duration;

use portcullis_proto::v1;
use serde_json::json;

use crate::stream::{Asked, action};
use crate::world::*;

/// An exemption of what [`critical`] finds, with `more`, before the rule of [`DENY`].
fn exempting(matching: &str, more: &str) -> String {
    let exemption = format!(
        "spec:\n  exemptions:\n    - name: zlib-waiver\n      owner: team@example.com\n      \
         reason: not reachable\n      match: [{matching}]\n      {more}\n"
    );
    DENY.replace("spec:\n", &exemption)
}

const ZLIB: &str = "{field: vulnerability, operator: equals, values: [CVE-2022-37434]}";
const ACTIVE: &str = "portcullis_exemptions{state=\"active\"}";
const PENDING: &str = "portcullis_exemptions{state=\"pending\"}";
const EXPIRED: &str = "portcullis_exemptions{state=\"expired\"}";

async fn site(rules: &str) -> Site {
    let site = Site::new().await;
    site.write_rules(rules);
    site
}

/// Waits until the numbers of exemptions are these.
async fn until_counted(world: &World, expected: [(&str, f64); 3]) {
    eventually("a count of exemptions", async || {
        for (state, count) in expected {
            if world.metric(state).await != count {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test]
async fn an_exemption_that_was_applied_is_named_in_the_answer_and_in_the_event() {
    let mut site = site(&exempting(ZLIB, "until: 2026-12-31\n      ticket: SEC-12")).await;
    let path = site.path("events.jsonl");
    site.config.events = Some(path.clone());
    let world = site.start().await;
    let image = world.scanned("app", &critical());
    let decision = world.decide(&image.name).await;
    assert_eq!(decision.action(), Action::Allow);
    let expected = v1::AppliedExemption {
        name: "zlib-waiver".to_owned(),
        owner: "team@example.com".to_owned(),
        reason: "not reachable".to_owned(),
        ticket: "SEC-12".to_owned(),
        // The end of that day.
        until: Some(prost_types::Timestamp { seconds: 1_798_761_600, nanos: 0 }),
        rule: "good-only".to_owned(),
        digest: image.digest.to_string(),
        finding_ids: vec!["CVE-2022-37434".to_owned()],
        findings_total: 1,
        ..v1::AppliedExemption::default()
    };
    assert_eq!((decision.exemptions, decision.exemptions_total), (vec![expected], 1));
    let applied = world.metric("portcullis_exemptions_applied_total").await;
    assert!((applied - 1.0).abs() < f64::EPSILON, "{applied}");

    // What changes nothing is not named.
    let other = world.decide(&world.scanned("other", &clean()).name).await;
    assert_eq!(other.exemptions, []);
    let _site = world.stop().await;
    let events = lines(&path);
    let expected = json!([{
        "name": "zlib-waiver",
        "owner": "team@example.com",
        "reason": "not reachable",
        "ticket": "SEC-12",
        "until": "2027-01-01T00:00:00Z",
        "rule": "good-only",
        "subject": image.digest.to_string(),
        "ids": ["CVE-2022-37434"],
        "total": 1,
    }]);
    assert_eq!(events[0]["exemptions"], expected);
    assert_eq!(events[1]["exemptions"], json!([]));
}

#[tokio::test]
async fn an_exemption_ends_at_its_second_in_every_path() {
    let world = site(&exempting(ZLIB, "until: 2026-08-01T12:00:30Z")).await.start().await;
    let image = world.scanned("app", &critical());
    let mut stream = Asked::begin(&world).await;
    world.ask(&image.pinned()).await;
    for (after, expected, left) in [
        (0, Action::Allow, 30),
        (29_000, Action::Allow, 1),
        (29_999, Action::Allow, 0),
        (30_000, Action::Deny, 60),
    ] {
        world.clock.set(NOW + Duration::from_millis(after));
        // By digest, so that nothing but the exemption ends before a minute.
        let answer = world.ask(&image.pinned()).await;
        assert_eq!(answer.action(), expected, "after {after} ms");
        // Only the clock changed the answer.
        assert_eq!(answer.decisions[0].evidence[0].source(), EvidenceSource::Memory);
        assert_eq!(answer.max_age.unwrap().seconds, left, "after {after} ms");
        stream.ask(after, Some(question(&image.pinned()))).await;
        assert_eq!(action(&stream.next().await.1), expected, "after {after} ms");
    }
    until_counted(&world, [(ACTIVE, 0.0), (PENDING, 0.0), (EXPIRED, 1.0)]).await;
}

#[tokio::test]
async fn an_exemption_begins_at_its_second() {
    let world = site(&exempting(ZLIB, "from: 2026-08-01T12:00:30Z")).await.start().await;
    let image = world.scanned("app", &critical());
    let answer = world.ask(&image.pinned()).await;
    assert_eq!((answer.action(), answer.max_age.unwrap().seconds), (Action::Deny, 30));
    until_counted(&world, [(ACTIVE, 0.0), (PENDING, 1.0), (EXPIRED, 0.0)]).await;
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    until_counted(&world, [(ACTIVE, 1.0), (PENDING, 0.0), (EXPIRED, 0.0)]).await;
}

#[tokio::test]
async fn an_image_may_be_exempt_from_being_scanned() {
    let matching = "{field: namespace, operator: equals, values: [shop]}";
    let world = site(&exempting(matching, "ticket: SEC-12")).await.start().await;
    let image = world.image("unscanned");
    let ask = |namespace: &str| {
        let context = v1::Context { namespace: namespace.to_owned(), ..v1::Context::default() };
        world.try_ask(v1::CheckRequest { context: Some(context), ..question(&image.name) })
    };
    let (exempt, other) = (ask("shop").await.unwrap(), ask("other").await.unwrap());
    assert_eq!((exempt.action(), other.action()), (Action::Allow, Action::Deny));
    assert_eq!(exempt.decisions[0].exemptions[0].condition, "unscanned");
    assert_eq!(exempt.decisions[0].exemptions[0].findings_total, 0);
    assert_eq!(other.decisions[0].exemptions, []);
    // Whoever keeps the answer keeps it for this namespace.
    assert_eq!(exempt.vary, ["namespace"]);
}
