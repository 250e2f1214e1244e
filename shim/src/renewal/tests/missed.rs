//! A configuration that cannot be looked after costs that one alone.

use super::troubles::failures;
use super::*;

/// By whom one configuration has us known.
fn bundle_of(cluster: &Cluster, object: &Object) -> String {
    let there = cluster.objects.lock()[object].clone();
    let webhooks = Webhooks::read(object, &there).unwrap();
    webhooks.bundles().next().unwrap().to_owned()
}

fn is_believed_at(cluster: &Cluster, object: &Object, one: &Keeper<Arc<Cluster>>) -> bool {
    is_believed_by(&bundle_of(cluster, object), cluster, one)
}

/// More than a year, of which `trouble` lasts from the first week to the thirteenth month. The configuration that
/// has none is believed at every look; until how many days after its begin the other is.
async fn outlasts(cause: &str, trouble: impl Fn(&Cluster, bool)) -> i64 {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    settle(&mut one).await;
    let (before, mut believed, mut shown) = (bundle_of(&cluster, &pins()), 0, BTreeSet::new());
    for day in 0..400 {
        cluster.clock.fetch_add(24 * 3600, Ordering::SeqCst);
        if day == 7 || day == 380 {
            trouble(&cluster, day == 7);
        }
        // Often enough for what waits to be shown.
        for _ in 0..2 {
            match one.look().await {
                Ok(_) => {}
                // As who runs it does.
                Err(error @ RenewalError::Conflict { .. }) => {
                    one.metrics.renewal_failed(error.as_str());
                }
                Err(error) => panic!("{cause}: {error} after {day} days"),
            }
            sleep(SETTLE).await;
        }
        assert!(is_believed_at(&cluster, &hooks(), &one), "{cause}: after {day} days");
        shown.insert(one.shown.clone().unwrap());
        if (7..380).contains(&day) {
            let is_missed = one.missed.objects() == [&pins()];
            let has_changed = cluster.held().unwrap().bundle() != before;
            assert!(is_missed || !has_changed || cause == "conflict", "{cause}: after {day} days");
            if is_believed_by(&before, &cluster, &one) {
                believed = day;
            }
        } else {
            assert!(is_believed(&cluster, &one), "{cause}: after {day} days");
            assert!(one.missed.objects().is_empty());
        }
    }
    // Some twenty, and none that would live no longer than the one before it.
    assert!((15..=25).contains(&shown.len()), "{cause}: {} certificates", shown.len());
    assert!(failures(&one.metrics, cause) > 100, "{cause}");
    believed
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_be_looked_after_costs_that_one_alone_and_as_late_as_may_be() {
    let set = |set: &Mutex<BTreeSet<Object>>, is_on| {
        if is_on {
            set.lock().insert(pins())
        } else {
            set.lock().remove(&pins())
        };
    };
    let forbidden = outlasts("forbidden", |cluster, is_on| set(&cluster.forbidden, is_on)).await;
    let hidden = outlasts("forbidden", |cluster, is_on| set(&cluster.hidden, is_on)).await;
    let conflict = outlasts("conflict", |cluster, is_on| set(&cluster.fought_over, is_on)).await;
    let malformed = |cluster: &Cluster, is_on: bool| {
        let mut there = cluster.objects.lock()[&pins()].clone();
        there["webhooks"][0]["name"] = if is_on { json!(7) } else { json!("pins") };
        cluster.set(pins(), there);
    };
    let malformed = {
        let cluster = Cluster::new();
        let mut one = replica(&cluster);
        settle(&mut one).await;
        malformed(&cluster, true);
        cluster.clock.fetch_add(25 * 24 * 3600, Ordering::SeqCst);
        settle(&mut one).await;
        assert_eq!(failures(&one.metrics, "answer"), 1);
        let is_new = one.shown == Some(cluster.held().unwrap().certificate.certificate);
        malformed(&cluster, false);
        is_new && is_believed(&cluster, &one)
    };
    assert!(malformed);
    // The authority lives for 360 days, and signs until what is shown has no more than 5 left.
    assert_eq!([forbidden, hidden, conflict], [353; 3]);
}

/// One that begins, and looks for as long as such a one takes to be ready.
async fn begun(cluster: &Arc<Cluster>) -> Keeper<Arc<Cluster>> {
    let mut replica = replica(cluster);
    for _ in 0..4 {
        // What is wrong with it is seen by what it shows.
        let _looked = replica.look().await;
        sleep(SETTLE).await;
    }
    replica
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_begins_shows_what_all_configurations_trust_though_one_is_in_trouble() {
    for trouble in [hooks(), pins()] {
        let cluster = Cluster::new();
        let mut one = replica(&cluster);
        settle(&mut one).await;
        cluster.forbidden.lock().insert(trouble.clone());
        // Until the authority has no more than a sixth of a certificate's life left.
        for day in 1..355 {
            cluster.clock.fetch_add(24 * 3600, Ordering::SeqCst);
            one.look().await.unwrap();
            for replica in [&one, &begun(&cluster).await] {
                for object in [hooks(), pins()] {
                    let is_believed = is_believed_at(&cluster, &object, replica);
                    assert!(is_believed, "{trouble} in trouble: {object} after {day} days");
                }
            }
        }
        // Then all do what the other trusts.
        cluster.clock.fetch_add(24 * 3600, Ordering::SeqCst);
        let other = if trouble == hooks() { pins() } else { hooks() };
        settle(&mut one).await;
        for replica in [&one, &begun(&cluster).await] {
            assert!(is_believed_at(&cluster, &other, replica));
            assert!(!is_believed_at(&cluster, &trouble, replica));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_begins_shows_nothing_while_a_configuration_trusts_another_authority() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    settle(&mut one).await;
    cluster.forbidden.lock().insert(hooks());
    // The key of what `hooks` trusts is lost.
    cluster.set(secret(), json!({"metadata": {}}));
    settle(&mut one).await;
    let mut again = begun(&cluster).await;
    assert!(is_believed_at(&cluster, &hooks(), &one) && is_believed_at(&cluster, &pins(), &one));
    assert_eq!((again.certificates.expires(), again.shown.clone()), (None, None));
    let error = again.look().await.unwrap_err();
    let (cause, text) = (error.as_str(), error.to_string());
    assert!(text.contains("ValidatingWebhookConfiguration `gate`"), "{text}");
    assert_eq!(cause, "untrusted");
    // As soon as that one is told of the other, it is shown.
    cluster.forbidden.lock().clear();
    settle(&mut again).await;
    assert!(is_believed(&cluster, &again));
}

#[tokio::test(start_paused = true)]
async fn a_lost_authority_is_waited_for_until_nobody_could_show_what_it_signed() {
    let cluster = Cluster::new();
    settle(&mut replica(&cluster)).await;
    cluster.forbidden.lock().insert(hooks());
    cluster.set(secret(), json!({"metadata": {}}));
    for (days, is_shown) in [(0, false), (354, false), (1, true)] {
        cluster.clock.fetch_add(days * 24 * 3600, Ordering::SeqCst);
        let again = begun(&cluster).await;
        assert_eq!(again.shown.is_some(), is_shown, "{days} days later");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_certificate_is_shown_though_a_configuration_cannot_be_told() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    cluster.forbidden.lock().insert(pins());
    assert_eq!(one.look().await.unwrap(), Looked::Waits(SETTLE));
    assert_eq!(one.shown, None);
    settle(&mut one).await;
    assert!(is_believed_at(&cluster, &hooks(), &one));
    assert_eq!(bundle_of(&cluster, &pins()), "");
    assert_eq!(failures(&one.metrics, "forbidden"), 3);
    // As soon as that one may be told, it is.
    cluster.forbidden.lock().clear();
    one.look().await.unwrap();
    assert!(is_believed(&cluster, &one) && one.missed.objects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_comes_late_is_waited_for_as_the_first() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    cluster.forbidden.lock().insert(pins());
    one.look().await.unwrap();
    sleep(SETTLE - Duration::from_secs(1)).await;
    cluster.forbidden.lock().clear();
    assert_eq!(one.look().await.unwrap(), Looked::Waits(SETTLE));
}
