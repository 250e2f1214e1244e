//! What the kubelet and Prometheus see.

use portcullis_testkit::registry::Registry;

use crate::world::*;

#[tokio::test]
async fn a_service_that_has_started_is_live_and_ready() {
    let world = World::new().await;
    assert_eq!(world.page("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(world.page("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(world.page("/other").await.0, 404);
    let admin = world.admin.clone();
    world.stop().await;
    assert!(reqwest::get(format!("{admin}/readyz")).await.is_err());
}

#[tokio::test]
async fn nothing_but_reading_is_answered() {
    let world = World::new().await;
    let client = reqwest::Client::new();
    for page in ["/livez", "/readyz", "/metrics"] {
        let url = format!("{}{page}", world.admin);
        assert_eq!(client.post(&url).body("x").send().await.unwrap().status(), 405);
        assert_eq!(client.delete(&url).send().await.unwrap().status(), 405);
        assert_eq!(client.head(&url).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn metrics_are_open_metrics_and_name_no_image() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    world.decide(&image.name).await;
    world.decide(&image.name).await;
    let unlisted = Registry::start().await.unwrap();
    world.decide(&format!("{}/it/secret:v1", unlisted.host())).await;

    // A search is counted until its task has ended.
    eventually("no search", async || {
        (world.metric("portcullis_flights").await == 0.0).then_some(())
    })
    .await;
    let request = reqwest::Client::new().get(format!("{}/metrics", world.admin));
    // As Prometheus asks.
    let request = request.header("accept", "application/openmetrics-text;version=1.0.0,*/*;q=0.1");
    let answer = request.send().await.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("portcullis_") || name.starts_with("process_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    for secret in ["it/app", "secret", "sha256:", &image.digest.hex(), "v1\"", unlisted.host()] {
        assert!(!text.contains(secret), "{secret}");
    }
    let host = world.registry.host();
    for (name, value) in [
        ("portcullis_decisions_total{action=\"deny\"}".to_owned(), 3.0),
        ("portcullis_check_duration_seconds_count".to_owned(), 3.0),
        ("portcullis_evidence_total{status=\"verified\",source=\"registry\"}".to_owned(), 1.0),
        ("portcullis_evidence_total{status=\"verified\",source=\"memory\"}".to_owned(), 1.0),
        (requests(host, "manifest", "ok"), 3.0),
        (requests(host, "referrers", "ok"), 2.0),
        (requests(host, "blob", "ok"), 2.0),
        ("portcullis_policy_rules".to_owned(), 1.0),
        ("portcullis_checks_in_flight".to_owned(), 0.0),
        ("portcullis_events_dropped_total".to_owned(), 0.0),
        ("portcullis_cache_entries{cache=\"evidence\"}".to_owned(), 1.0),
    ] {
        let found = text.lines().find_map(|l| l.strip_prefix(&name)?.strip_prefix(' '));
        let found: f64 = found.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap();
        assert!((found - value).abs() < f64::EPSILON, "{name} is {found}");
    }
}

fn requests(host: &str, route: &str, outcome: &str) -> String {
    format!(
        "portcullis_registry_requests_total{{host=\"{host}\",route=\"{route}\",outcome=\"{outcome}\"}}"
    )
}
