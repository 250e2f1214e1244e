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

/// More than a year, of which `trouble` lasts from the first week to the tenth month. The configuration that has
/// none is believed at every look; until how many days after its begin the other is.
async fn outlasts(cause: &str, trouble: impl Fn(&Cluster, bool)) -> i64 {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    settle(&mut one).await;
    let (before, mut believed, mut shown) = (bundle_of(&cluster, &pins()), 0, BTreeSet::new());
    for day in 0..400 {
        cluster.clock.fetch_add(24 * 3600, Ordering::SeqCst);
        if day == 7 || day == 300 {
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
        if (7..300).contains(&day) {
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
    assert!(shown.len() >= 15, "{cause}: {} certificates", shown.len());
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
    // The authority is renewed after 240 days, when what is shown has 10 left: it is until 5 are.
    assert_eq!([forbidden, hidden, conflict], [243; 3]);
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
