//! What a cluster sees while its decision service is away.

use std::time::Duration;

use super::fake::{Act, DIGEST};
use super::world::{Answer, Site, eventually, pod};

const FAIL: &str = "failPolicy: {default: allow, namespaces: {payments: deny}}\n";
/// As an API server says how long it waits, so that tests do not wait long.
const SOON: &str = "/validate?timeout=1s";

fn pinned(name: &str) -> String {
    format!("registry.example/{name}@{DIGEST}")
}

#[tokio::test]
async fn t147_without_the_service_the_fail_policy_of_the_namespace_holds_and_everybody_is_told() {
    let site = Site::new().await;
    let shim = site.start(FAIL).await;
    site.fake.act(Act::Hang);
    let allowed = shim.post(SOON, &pod("web", &pinned("good"))).await;
    assert!(allowed.allowed());
    assert_ne!(allowed.warnings(), "null", "an allow is never silent");
    assert_eq!(allowed.annotation("decision"), "unknown", "{allowed:?}");
    assert_eq!(allowed.annotation("cause"), "deadline", "{allowed:?}");
    let denied = shim.post(SOON, &pod("payments", &pinned("good"))).await;
    assert!(!denied.allowed() && !denied.message().is_empty(), "{denied:?}");
    // A name that begins like it is another.
    assert!(shim.post(SOON, &pod("payments-2", &pinned("good"))).await.allowed());
    let counted = |instead: &str| {
        format!("portcullis_shim_unanswered_total{{cause=\"deadline\",instead=\"{instead}\"}}")
    };
    assert_eq!(shim.metric(&counted("allow")).await, 2);
    assert_eq!(shim.metric(&counted("deny")).await, 1);
}

#[tokio::test]
async fn t147_what_was_last_known_of_a_digest_holds_for_its_time_and_says_so() {
    let site = Site::new().await;
    // Without a near cache, as when its time is over.
    let shim = site.start_without_near(&format!("{FAIL}lastKnown: {{maxAge: 1h}}\n")).await;
    for image in ["good", "bad"] {
        shim.post("/validate", &pod("payments", &pinned(image))).await;
    }
    site.fake.act(Act::Hang);
    let known = |answer: &Answer| answer.annotation("source").to_owned();
    let good = shim.post(SOON, &pod("payments", &pinned("good"))).await;
    assert!(good.allowed(), "{good:?}");
    let bad = shim.post(SOON, &pod("payments", &pinned("bad"))).await;
    assert!(!bad.allowed() && bad.message().contains("it is bad"), "{bad:?}");
    let new = shim.post(SOON, &pod("payments", &pinned("new"))).await;
    assert!(!new.allowed(), "{new:?}");
    assert_eq!((known(&good), known(&bad)), ("last_known".to_owned(), "last_known".to_owned()));
    assert_ne!(good.warnings(), "null");
    *site.ahead.lock() = Duration::from_secs(3_601);
    let late = shim.post(SOON, &pod("payments", &pinned("good"))).await;
    assert!(!late.allowed(), "{late:?}");
}

/// A wrong certificate or name of the cluster stops no pod that the fail policy lets run, and is loud.
#[tokio::test]
async fn a_service_that_does_not_let_the_shim_ask_is_named_and_counted_apart() {
    let site = Site::new().await;
    let shim = site.start(FAIL).await;
    site.fake.act(Act::Forbid);
    let allowed = shim.post(SOON, &pod("web", &pinned("good"))).await;
    assert!(allowed.allowed());
    assert!(allowed.warnings().contains("does not let this cluster ask"), "{allowed:?}");
    assert_eq!(allowed.annotation("cause"), "forbidden", "{allowed:?}");
    let denied = shim.post(SOON, &pod("payments", &pinned("good"))).await;
    assert!(!denied.allowed() && denied.message().contains("does not let this cluster ask"));
    for instead in ["allow", "deny"] {
        let line = "portcullis_shim_unanswered_total{cause=\"forbidden\",";
        assert_eq!(shim.metric(&format!("{line}instead=\"{instead}\"}}")).await, 1);
    }
    // Another replica would say the same, and this one is there.
    assert_eq!(site.fake.asked(), 2);
    assert_eq!(shim.metric("portcullis_shim_service_away").await, 0);
}

#[tokio::test]
async fn t149_what_was_last_known_outlives_a_restart_in_its_own_cluster() {
    let site = Site::new().await;
    let keep = |cluster: &str| {
        format!("{FAIL}context: {{cluster: {cluster}}}\nlastKnown: {{file: known}}\n")
    };
    let shim = site.start(&keep("east")).await;
    shim.post("/validate", &pod("payments", &pinned("good"))).await;
    shim.app.stop().await;
    site.fake.act(Act::Hang);
    let shim = site.start(&keep("east")).await;
    assert!(shim.post(SOON, &pod("payments", &pinned("good"))).await.allowed());
    shim.app.stop().await;
    let shim = site.start(&keep("west")).await;
    assert!(!shim.post(SOON, &pod("payments", &pinned("good"))).await.allowed());
}

#[tokio::test]
async fn t148_a_service_that_does_not_answer_is_not_waited_for_by_everybody() {
    let site = Site::new().await;
    let shim = site.start(FAIL).await;
    site.fake.act(Act::Hang);
    for _ in 0..8 {
        assert!(shim.post(SOON, &pod("web", &pinned("good"))).await.allowed());
    }
    // Twice each at the most, and after the fifth one a second.
    assert!(site.fake.asked() <= 16, "{}", site.fake.asked());
    assert_eq!(shim.metric("portcullis_shim_service_away").await, 1);
    site.fake.act(Act::Answer);
    eventually(async || {
        shim.post(SOON, &pod("web", &pinned("good"))).await;
        shim.metric("portcullis_shim_service_away").await == 0
    })
    .await;
    let bad = shim.post(SOON, &pod("web", &pinned("bad"))).await;
    assert!(!bad.allowed(), "{bad:?}");
}

#[tokio::test]
async fn t148_who_waits_for_nothing_does_not_take_the_service_from_others() {
    let site = Site::new().await;
    let shim = site.start(FAIL).await;
    site.fake.act(Act::Hang);
    for _ in 0..8 {
        shim.post("/validate?timeout=60ms", &pod("web", &pinned("good"))).await;
    }
    assert_eq!(shim.metric("portcullis_shim_service_away").await, 0);
}

#[tokio::test]
async fn t150_namespaces_that_a_cluster_starts_from_are_not_asked_about() {
    let site = Site::new().await;
    let shim = site.start("failPolicy: {default: deny}\nexemptNamespaces: [calico-system]\n").await;
    site.fake.act(Act::Hang);
    for namespace in ["kube-system", "portcullis", "calico-system"] {
        let answer = shim.post(SOON, &pod(namespace, "registry.example/bad:v1")).await;
        assert!(answer.allowed(), "{namespace}: {answer:?}");
        assert_eq!(answer.annotation("cause"), "exempt_namespace");
    }
    assert_eq!(site.fake.asked(), 0);
    // Neither by a name that is like one, nor by a label (T064).
    let mut labelled = pod("web", "registry.example/bad:v1");
    labelled["request"]["object"]["metadata"]["labels"] = serde_json::json!({"portcullis.dev/ignore": "true", "kubernetes.io/metadata.name": "kube-system"});
    assert!(!shim.post(SOON, &labelled).await.allowed());
    assert!(!shim.post(SOON, &pod("kube-system-2", "registry.example/bad:v1")).await.allowed());
}
