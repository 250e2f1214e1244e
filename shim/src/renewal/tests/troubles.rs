//! What others do to our objects, and how often it is tried again.

use super::*;

/// How many looks failed for this cause.
pub(super) fn failures(metrics: &Metrics, cause: &str) -> u32 {
    let text = metrics.encode().unwrap();
    let line = format!("portcullis_shim_renewal_failures_total{{cause=\"{cause}\"}} ");
    let found = text.lines().find_map(|l| l.strip_prefix(&line)?.parse::<u32>().ok());
    found.unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_and_ended_by_a_stop() {
    let cluster = Cluster::new();
    for object in [hooks(), pins()] {
        cluster.objects.lock().remove(&object);
    }
    let one = replica(&cluster);
    let (metrics, certificates) = (Arc::clone(&one.metrics), Arc::clone(&one.certificates));
    let stop = CancellationToken::new();
    let running = tokio::spawn(one.run(stop.clone()));
    sleep(Duration::from_secs(60)).await;
    // Half a second at the most, then twice as long each time, up to ten; and half of that at the least.
    let count = failures(&metrics, "absent");
    assert!((10..=17).contains(&count), "{count}");
    let hook = json!({"name": "pods", "clientConfig": {}});
    cluster.set(hooks(), json!({"metadata": {}, "webhooks": [hook]}));
    sleep(Duration::from_secs(20)).await;
    assert!(certificates.expires().is_some());
    // Also while the API server says nothing.
    *cluster.is_away.lock() = true;
    sleep(Duration::from_secs(20)).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_never_quick_enough_asks_ever_more_seldom_and_is_counted() {
    let cluster = Cluster::new();
    cluster.fought_over.lock().extend([secret(), hooks(), pins()]);
    let one = replica(&cluster);
    let (metrics, certificates) = (Arc::clone(&one.metrics), Arc::clone(&one.certificates));
    let stop = CancellationToken::new();
    let running = tokio::spawn(one.run(stop.clone()));
    sleep(Duration::from_secs(60)).await;
    // 300 without a longer pause each time.
    let count = failures(&metrics, "conflict");
    assert!((11..=20).contains(&count), "{count}");
    cluster.fought_over.lock().clear();
    sleep(Duration::from_secs(20)).await;
    assert!(certificates.expires().is_some());
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn a_pause_is_longer_each_time_up_to_a_bound_and_no_two_replicas_keep_step() {
    let longest = Duration::from_secs(10);
    let mut count = 0;
    for most in [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000].map(Duration::from_millis) {
        let before = count;
        let pauses: Vec<_> = (0..32)
            .map(|_| {
                count = before;
                later(AGAIN, &mut count, longest)
            })
            .collect();
        assert!(pauses.iter().all(|pause| *pause <= most && *pause >= most / 2), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
    }
    for _ in 0..100 {
        later(AGAIN, &mut count, longest);
    }
    assert_eq!(count, MAX_DOUBLED);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_not_there_stops_no_renewal_and_is_told_when_it_is_back() {
    let cluster = Cluster::new();
    let mut one = replica(&cluster);
    settle(&mut one).await;
    let (shown, there) = (one.shown.clone(), cluster.objects.lock().remove(&pins()));
    cluster.clock.fetch_add(25 * 24 * 3600, Ordering::SeqCst);
    assert_eq!(failures(&one.metrics, "absent"), 0);
    settle(&mut one).await;
    assert!(one.shown != shown && is_believed(&cluster, &one));
    assert_eq!(one.missed.objects(), [&pins()]);
    assert_eq!(failures(&one.metrics, "absent"), 1);
    // As `helm upgrade` makes it again.
    let mut there = there.unwrap();
    there["webhooks"][0]["clientConfig"] = json!({"service": {}});
    cluster.set(pins(), there);
    settle(&mut one).await;
    assert!(is_believed(&cluster, &one) && one.missed.objects().is_empty());
    // Without any nobody is known to be asked by.
    for object in [hooks(), pins()] {
        cluster.objects.lock().remove(&object);
    }
    assert!(matches!(one.look().await, Err(RenewalError::Absent { .. })));
    // That it cannot be read is said, where the other is not there.
    cluster.set(hooks(), json!({"metadata": {}, "webhooks": [{"clientConfig": {}}]}));
    assert!(matches!(one.look().await, Err(RenewalError::Malformed(object)) if object == hooks()));
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_before_takes_no_authority_away_that_a_replica_shows() {
    let cluster = Cluster::new();
    let (mut one, mut other) = (replica(&cluster), replica(&cluster));
    settle(&mut one).await;
    let backup = cluster.objects.lock()[&secret()].clone();
    let first = cluster.held().unwrap().authority.certificate;
    cluster.clock.fetch_add(10 * 24 * 3600, Ordering::SeqCst);
    cluster.set(secret(), json!({"metadata": {}}));
    for replica in [&mut one, &mut other] {
        settle(replica).await;
    }
    let second = cluster.held().unwrap().authority.certificate;
    assert!(first != second);
    // What API servers trust as if by us, and is of somebody else, is taken away as ever.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let foreign = params.self_signed(&key).unwrap().pem();
    let mut hooks_there = cluster.objects.lock()[&hooks()].clone();
    let text = encoded(&(cluster.bundle() + &foreign));
    hooks_there["webhooks"][0]["clientConfig"]["caBundle"] = text.into();
    cluster.set(hooks(), hooks_there);
    cluster.set(secret(), backup);
    one.look().await.unwrap();
    assert!(is_believed(&cluster, &one) && is_believed(&cluster, &other));
    let held = cluster.held().unwrap();
    assert_eq!((held.authority.certificate, held.old), (first, vec![second.clone()]));
    assert!(!cluster.bundle().contains(foreign.trim()));
    // All go back to what is held, and nothing is written again and again.
    for replica in [&mut one, &mut other] {
        settle(replica).await;
        assert!(is_believed(&cluster, replica));
    }
    assert_eq!(one.shown, other.shown);
    let version = cluster.version.load(Ordering::SeqCst);
    one.look().await.unwrap();
    assert_eq!(cluster.version.load(Ordering::SeqCst), version);
    // It is trusted until it ends, as what was renewed in order.
    cluster.clock.fetch_add(361 * 24 * 3600, Ordering::SeqCst);
    settle(&mut one).await;
    assert!(!cluster.bundle().contains(second.trim()));
}

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
