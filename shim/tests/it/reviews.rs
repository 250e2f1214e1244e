//! Reviews of a cluster whose decision service answers.

use super::fake::{Act, DIGEST};
use super::world::{Site, eventually, pod};

#[tokio::test]
async fn a_pod_runs_if_the_service_says_so_over_both_versions_of_http() {
    let site = Site::new().await;
    let shim = site.start("").await;
    let old = site.client().http1_only().build().unwrap();
    for client in [&shim.client, &old] {
        let good = shim.post_by(client, "/validate", &pod("web", "registry.example/good:v1")).await;
        assert!(good.allowed(), "{good:?}");
        let bad = shim.post_by(client, "/validate", &pod("web", "registry.example/bad:v1")).await;
        assert!(!bad.allowed() && bad.message().contains("it is bad"), "{bad:?}");
        assert_eq!(bad.0["status"]["code"], 403);
        assert_eq!(bad.annotation("rules"), "good-only");
    }
}

#[tokio::test]
async fn the_question_says_where_the_image_would_run() {
    let site = Site::new().await;
    let place = "context: {cluster: east, provider: aws, account: a1, region: r1, platforms: [linux/arm64]}\n";
    let shim = site.start(place).await;
    shim.post("/validate", &pod("web", "registry.example/good:v1")).await;
    let asked = site.fake.state.asked.lock().clone();
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    let context = asked.context.as_ref().unwrap();
    let cloud = context.cloud.as_ref().unwrap();
    assert_eq!((context.cluster.as_str(), context.namespace.as_str()), ("east", "web"));
    assert_eq!(
        (cloud.provider.as_str(), cloud.account.as_str(), cloud.region.as_str()),
        ("aws", "a1", "r1")
    );
    assert_eq!((context.pod.as_str(), context.service_account.as_str()), ("web", "runner"));
    assert_eq!(context.pod_labels["app"], "web");
    assert_eq!(context.platforms, ["linux/arm64"]);
    assert_eq!(asked.containers[0].image, "registry.example/good:v1");
}

#[tokio::test]
async fn an_answer_that_holds_is_given_again_without_a_question() {
    let site = Site::new().await;
    let shim = site.start("").await;
    // Until its changes are heard, nothing is kept.
    eventually(async || {
        assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
        shim.metric("portcullis_shim_near_hits_total").await > 0
    })
    .await;
    let asked = site.fake.asked();
    let answer = shim.post("/validate", &pod("web", "registry.example/good:v1")).await;
    assert_eq!((answer.allowed(), site.fake.asked()), (true, asked));
    assert!(shim.post("/validate", &pod("other", "registry.example/good:v1")).await.allowed());
    assert_eq!(site.fake.asked(), asked + 1);
}

#[tokio::test]
async fn a_tag_is_pinned_to_the_digest_that_was_decided_about() {
    let site = Site::new().await;
    let shim = site.start("").await;
    let answer = shim.post("/mutate", &pod("web", "registry.example/good:v1")).await;
    assert!(answer.allowed() && answer.0["patchType"] == "JSONPatch", "{answer:?}");
    let pinned = format!("registry.example/good:v1@{DIGEST}");
    assert!(shim.post("/mutate", &pod("web", &pinned)).await.0["patch"].is_null());
}

#[tokio::test]
async fn what_the_service_refuses_to_read_is_denied_whatever_the_fail_policy() {
    let site = Site::new().await;
    let shim = site.start("failPolicy: {default: allow}\n").await;
    site.fake.act(Act::Refuse);
    let answer = shim.post("/validate", &pod("web", "registry.example/good:v1")).await;
    assert!(!answer.allowed() && answer.message().contains("no reference"), "{answer:?}");
    assert_eq!(
        shim.metric("portcullis_shim_unanswered_total{cause=\"refused\",instead=\"deny\"}").await,
        1
    );
}

#[tokio::test]
async fn a_review_of_an_exempt_namespace_need_not_be_understood() {
    let site = Site::new().await;
    let shim = site.start("").await;
    let unheard = |namespace: &str| {
        let mut review = pod(namespace, "registry.example/good:v1");
        review["request"]["kind"] =
            serde_json::json!({"group": "apps", "kind": "ControllerRevision"});
        review
    };
    let answer = shim.post("/validate", &unheard("kube-system")).await;
    assert!(answer.allowed() && answer.annotation("cause") == "exempt_namespace", "{answer:?}");
    let answer = shim.post("/validate", &unheard("web")).await;
    assert!(!answer.allowed() && answer.message().contains("customKinds"), "{answer:?}");
}

#[tokio::test]
async fn paths_and_methods_are_those_of_a_webhook() {
    let site = Site::new().await;
    let shim = site.start("").await;
    let get = shim.client.get(shim.url("/validate")).send().await.unwrap();
    assert_eq!(get.status(), 405);
    let other = shim.client.post(shim.url("/other")).body("{}").send().await.unwrap();
    assert_eq!(other.status(), 404);
    assert!(other.text().await.unwrap().contains("there are /validate, /mutate"));
    let posted = shim.client.post(shim.url("/livez")).body("{}").send().await.unwrap();
    assert_eq!(posted.status(), 405);
    let live = shim.client.get(shim.url("/livez")).send().await.unwrap();
    assert_eq!(live.status(), 200);
    let none = shim.client.post(shim.url("/validate")).body("{}").send().await.unwrap();
    assert_eq!(none.status(), 400);
    assert_eq!(shim.get("/nothing").await.0, 404);
}
