//! The client before the service itself: what it keeps is what the service says.

use std::time::Duration;

use portcullis_client::{Answer, Client, Config, NearCacheConfig};
use portcullis_proto::v1;
use portcullis_server::app::App;
use portcullis_testkit::keys::Authority;
use tokio::time::Instant;

use crate::world::*;

/// Rules that read the namespace, and deny there what they only look at elsewhere.
const BY_NAMESPACE: &str = "\
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - name: strict
      action: deny
      maxAllowed: {critical: 0}
      scope: {match: [{field: namespace, operator: equals, values: [prod]}]}
";
/// Rules that read nothing and deny nothing.
const LOOK: &str = "\
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - name: look
      maxAllowed: {critical: 0}
";
const NAMESPACES: [&str; 3] = ["prod", "test", ""];
/// Time that no test needs.
const LONG: Duration = Duration::from_secs(20);

#[cfg(test)]
fn client(addresses: &[std::net::SocketAddr]) -> Client {
    let near_cache = Some(NearCacheConfig::default());
    let targets = addresses.iter().map(|address| format!("http://{address}"));
    Client::start(&Config { near_cache, timeout: LONG, ..Config::new(targets) }).unwrap()
}

#[cfg(test)]
async fn ask(client: &Client, image: &str, namespace: &str) -> Answer {
    client.check_by(asked(image, namespace), Instant::now() + LONG).await.unwrap()
}

#[cfg(test)]
fn asked(image: &str, namespace: &str) -> v1::CheckRequest {
    let context = v1::Context { namespace: namespace.to_owned(), ..v1::Context::default() };
    v1::CheckRequest { context: Some(context), ..question(image) }
}

/// What of an answer does not tell when and from where it was given.
#[cfg(test)]
fn meaning(answer: &v1::CheckResponse) -> v1::CheckResponse {
    let mut answer = answer.clone();
    (answer.evaluated_at, answer.max_age) = (None, None);
    for evidence in answer.decisions.iter_mut().flat_map(|decision| &mut decision.evidence) {
        evidence.set_source(EvidenceSource::Unspecified);
        evidence.fetched_at = None;
    }
    answer
}

/// Waits until the client keeps answers: it hears the service then.
#[cfg(test)]
async fn until_kept(client: &Client, image: &str) {
    eventually("an answer that is kept", async || ask(client, image, "").await.near.then_some(()))
        .await;
}

#[tokio::test]
async fn what_is_kept_is_what_the_service_says_whatever_changes() {
    const STEPS: usize = 24;
    let world = World::new().await;
    let images = [world.scanned("good", &clean()), world.scanned("bad", &critical())];
    let other = Authority::new("other", NOW).unwrap();
    let client = client(&[world.app.address()]);
    until_kept(&client, &images[0].name).await;
    let mut hits = 0;
    for step in 0..STEPS {
        // Each change follows each other one at some step.
        match step * 7 % 10 {
            0 | 5 => world.write_rules(BY_NAMESPACE),
            1 | 6 => world.write_rules(LOOK),
            2 | 7 => world.write_rules(DENY),
            3 | 8 => world.write_trust(&other),
            _ => world.write_trust(&world.authority),
        }
        for image in &images {
            for namespace in NAMESPACES {
                let question = asked(&image.name, namespace);
                // A file is looked at in its own time; then what is kept and what is said agree.
                eventually("the same from near and from afar", async || {
                    let near = ask(&client, &image.name, namespace).await;
                    let fresh = world.try_ask(question.clone()).await.unwrap();
                    hits += usize::from(near.near);
                    (meaning(&near.response) == meaning(&fresh)).then_some(())
                })
                .await;
            }
        }
        // What is asked again now was kept.
        until_kept(&client, &images[0].name).await;
    }
    assert!(hits > 0, "nothing was kept");
}

/// A report comes, and a replica looks: who keeps answers asks again.
#[tokio::test]
async fn what_a_refresh_finds_is_told_to_who_keeps_answers() {
    let world = World::new().await;
    let image = world.image("app");
    let client = client(&[world.app.address()]);
    until_kept(&client, &image.name).await;
    let before = ask(&client, &image.name, "").await;
    assert_eq!((before.near, before.response.action()), (true, Action::Deny));
    world.report(&image.repository, image.digest, &clean());
    client
        .refresh(v1::RefreshRequest { image: image.name.clone(), ..Default::default() })
        .await
        .unwrap();
    eventually("an answer from the report", async || {
        let answer = ask(&client, &image.name, "").await;
        (answer.response.action() == Action::Allow).then_some(())
    })
    .await;
    assert!(client.stats().near.unwrap().dropped > 0);
}

/// An exemption ends at an instant, on every replica and near every caller.
#[tokio::test]
async fn t156_an_exemption_ends_on_three_replicas_and_near_their_caller_at_once() {
    const EXEMPT: &str = "spec:\n  exemptions:\n    - name: waiver\n      owner: a@example.com\n      \
        reason: it is\n      match: [{field: vulnerability, operator: equals, values: \
        [CVE-2022-37434]}]\n      until: 2026-08-01T12:00:10Z\n";
    let site = Site::new().await;
    site.write_rules(&DENY.replace("spec:\n", EXEMPT));
    let image = site.scanned("app", &critical());
    let mut apps = Vec::new();
    for _ in 0..3 {
        apps.push(App::start(site.config.clone(), site.clock.clone()).await.unwrap());
    }
    let addresses: Vec<_> = apps.iter().map(App::address).collect();
    let each: Vec<_> = addresses.iter().map(|address| client(&[*address])).collect();
    let end = NOW + Duration::from_secs(10);
    site.clock.set(end - Duration::from_secs(1));
    for client in &each {
        // Kept for the second that it holds, counted from before it was asked for.
        eventually("an answer that is kept", async || {
            let answer = ask(client, &image.name, "").await;
            let max_age = answer.response.max_age.unwrap();
            assert_eq!((max_age.seconds, max_age.nanos), (1, 0));
            assert_eq!(answer.response.action(), Action::Allow);
            answer.near.then_some(())
        })
        .await;
    }
    for after in [Duration::ZERO, Duration::from_secs(1)] {
        site.clock.set(end + after);
        for client in &each {
            // Our second is over in a second; what is asked for after it denies.
            eventually("a denial", async || {
                let answer = ask(client, &image.name, "").await;
                let is_denied = answer.response.action() == Action::Deny;
                assert!(is_denied || answer.near, "an exemption was applied after its end");
                is_denied.then_some(())
            })
            .await;
        }
    }
    // Who watches holds up the end of a service.
    drop(each);
    for app in apps {
        app.stop().await;
    }
}

/// Two replicas of which one is three quarters of a minute ahead: what does not end between their times they say
/// alike, and what does is over where it is over by the clock there.
#[tokio::test]
async fn t155_replicas_whose_clocks_differ_answer_alike_but_for_what_ends_between_their_times() {
    const APART: Duration = Duration::from_secs(45);
    const RULES: &str = "spec:\n  exemptions:\n\
        \x20   - {name: soon, owner: a@example.com, reason: it is, until: 2026-08-01T12:00:30Z, match: [\
        {field: vulnerability, operator: equals, values: [CVE-2022-37434]}, \
        {field: namespace, operator: equals, values: [soon]}]}\n\
        \x20   - {name: later, owner: a@example.com, reason: it is, until: 2026-08-01T13:00:00Z, match: [\
        {field: vulnerability, operator: equals, values: [CVE-2022-37434]}, \
        {field: namespace, operator: equals, values: [later]}]}\n";
    let site = Site::new().await;
    site.write_rules(&DENY.replace("spec:\n", RULES));
    let images = [site.scanned("bad", &critical()), site.scanned("good", &clean())];
    let ahead = std::sync::Arc::new(portcullis_testkit::clock::TestClock::new(NOW + APART));
    let apps = [
        App::start(site.config.clone(), site.clock.clone()).await.unwrap(),
        App::start(site.config.clone(), ahead).await.unwrap(),
    ];
    let clients = [client(&[apps[0].address()]), client(&[apps[1].address()])];
    for image in &images {
        for namespace in ["", "later", "soon"] {
            let mut said = Vec::new();
            for client in &clients {
                said.push(ask(client, &image.name, namespace).await.response.action());
            }
            let ends_between = namespace == "soon" && image.name == images[0].name;
            let expected = if ends_between { [Action::Allow, Action::Deny] } else { [said[0]; 2] };
            assert_eq!(said, expected, "{} in `{namespace}`", image.name);
        }
    }
    drop(clients);
    for app in apps {
        app.stop().await;
    }
}
