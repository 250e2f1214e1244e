//! Answers that were given without the service are told to it, once.

use std::time::Duration;

use portcullis_proto::v1::{Action, AnsweredBy};
use serde_json::json;

use super::fake::{Act, DIGEST};
use super::world::{Site, eventually, pod};

const KEEP: &str = "failPolicy: {default: allow, namespaces: {payments: deny}}\n\
    context: {cluster: east}\nlastKnown: {file: known}\nreports: {file: reports}\n";
const SOON: &str = "/validate?timeout=1s";

fn pinned(name: &str) -> String {
    format!("registry.example/{name}@{DIGEST}")
}

#[tokio::test]
async fn an_admission_that_the_near_cache_answers_is_told_and_one_of_the_service_is_not() {
    let site = Site::new().await;
    let shim = site.start("").await;
    shim.until_near(&site.fake).await;
    for _ in 0..3 {
        shim.post("/validate", &pod("web", &pinned("bad"))).await;
    }
    eventually(async || site.fake.told().len() == 2).await;
    assert_eq!(site.fake.asked(), 1);
    let told = site.fake.state.told.lock().clone();
    assert_eq!(told[1].number, told[0].number + 1);
    let one = &told[0];
    assert_eq!((one.answered_by(), &*one.cause), (AnsweredBy::NearCache, ""));
    assert_eq!((&*one.policy_revision, one.evaluated_at.unwrap().seconds), ("r1", 1));
    let container = &one.containers[0];
    assert_eq!((&*container.rule, &*container.reason), ("good-only", "it is bad"));
    assert_eq!((container.action(), &*container.digest), (Action::Deny, DIGEST));
    let context = one.context.as_ref().unwrap();
    assert_eq!((&*context.namespace, &*context.pod), ("web", "web"));
    eventually(async || shim.metric("portcullis_shim_reports_waiting").await == 0).await;
    let metric = async |name: &str| shim.metric(&format!("portcullis_shim_{name}_total")).await;
    assert_eq!(metric("reports_sent").await, metric("reports").await);
}

#[tokio::test]
async fn t157_what_was_answered_in_an_outage_is_told_after_it_and_after_a_restart() {
    let site = Site::new().await;
    let shim = site.start_without_near(KEEP).await;
    shim.post("/validate", &pod("payments", &pinned("good"))).await;
    site.fake.act(Act::Hang);
    shim.post(SOON, &pod("payments", &pinned("good"))).await;
    assert!(!shim.post(SOON, &pod("payments", &pinned("new"))).await.allowed());
    assert!(shim.post(SOON, &pod("web", &pinned("new"))).await.allowed());
    // By these nothing is admitted.
    let mut dry = pod("web", &pinned("dry"));
    dry["request"]["dryRun"] = json!(true);
    shim.post(SOON, &dry).await;
    shim.post("/mutate?timeout=1s", &pod("web", &pinned("mutated"))).await;
    assert_eq!(shim.metric("portcullis_shim_reports_waiting").await, 3);
    shim.app.stop().await;
    assert!(site.fake.told().is_empty());
    site.fake.act(Act::Answer);
    let shim = site.start_without_near(KEEP).await;
    eventually(async || site.fake.told().len() == 3).await;
    let (known, policy) = (AnsweredBy::LastKnown, AnsweredBy::FailPolicy);
    let expected = [(known, pinned("good")), (policy, pinned("new")), (policy, pinned("new"))];
    assert_eq!(site.fake.told(), expected);
    let actions: Vec<_> =
        site.fake.state.told.lock().iter().map(|one| one.containers[0].action).collect();
    assert_eq!(actions, [1, 3, 1]);
    eventually(async || shim.metric("portcullis_shim_reports_waiting").await == 0).await;
    // What was told is not told again.
    shim.app.stop().await;
    let shim = site.start_without_near(KEEP).await;
    assert_eq!(shim.metric("portcullis_shim_reports_waiting").await, 0);
    shim.app.stop().await;
    assert_eq!(site.fake.told().len(), 3);
}

#[tokio::test]
async fn t160_a_service_that_takes_no_reports_slows_no_review_and_the_room_is_bounded() {
    let site = Site::new().await;
    let shim = site.start("reports: {maxBytes: 2048}\n").await;
    shim.until_near(&site.fake).await;
    shim.post("/validate", &pod("web", &pinned("good"))).await;
    let metric = async |name: &str| shim.metric(&format!("portcullis_shim_reports{name}")).await;
    let (made, sent) = (metric("_total").await, metric("_sent_total").await);
    site.fake.act(Act::Hang);
    for _ in 0..20 {
        // Nobody waits for the service.
        assert!(shim.post("/validate", &pod("web", &pinned("good"))).await.allowed());
    }
    let (dropped, waiting) = (metric("_dropped_total").await, metric("_waiting").await);
    assert!(dropped > 0 && waiting > 0, "{dropped} {waiting}");
    assert_eq!(metric("_total").await - made, 20);
    assert_eq!(metric("_sent_total").await, sent);
    assert_eq!(dropped + waiting, 20);
    // The near cache has half of it.
    assert!(metric("_waiting_size_bytes").await <= 1024);
    assert_eq!(site.fake.asked(), 1);
}

#[tokio::test]
async fn one_report_that_is_not_taken_takes_no_other_with_it() {
    let site = Site::new().await;
    let shim = site.start("").await;
    shim.until_near(&site.fake).await;
    let post = async |image: &str| {
        shim.post("/validate", &pod("web", &pinned(image))).await;
    };
    for image in ["good", "odd"] {
        post(image).await;
    }
    site.fake.act(Act::Refuse);
    // They are gathered before they are sent.
    for image in ["good", "odd", "good"] {
        post(image).await;
    }
    eventually(async || shim.metric("portcullis_shim_reports_waiting").await == 0).await;
    assert_eq!(shim.metric("portcullis_shim_reports_dropped_total").await, 1);
    let images: Vec<_> = site.fake.told().into_iter().map(|(_, image)| image).collect();
    assert_eq!(images, [pinned("good"), pinned("good")]);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_whether_it_was_allowed_or_not() {
    for (unreadable, action) in [("allow", Action::Allow), ("deny", Action::Deny)] {
        let site = Site::new().await;
        let more = format!("reviews: {{unreadable: {unreadable}}}\ncontext: {{cluster: east}}\n");
        let shim = site.start(&more).await;
        let mut odd = pod("web", &pinned("good"));
        odd["request"]["object"]["spec"]["containers"] = json!("none");
        let answer = shim.post("/validate", &odd).await;
        assert_eq!(answer.allowed(), action == Action::Allow, "{answer:?}");
        // By these nothing is admitted, or nothing is looked at.
        shim.post("/mutate", &odd).await;
        odd["request"]["namespace"] = json!("kube-system");
        shim.post("/validate", &odd).await;
        odd["request"]["namespace"] = json!("dry");
        odd["request"]["dryRun"] = json!(true);
        shim.post("/validate", &odd).await;
        eventually(async || site.fake.told().len() == 1).await;
        let one = site.fake.state.told.lock()[0].clone();
        assert_eq!((one.answered_by(), &*one.cause), (AnsweredBy::FailPolicy, "malformed"));
        let container = &one.containers[0];
        assert_eq!((container.action(), &*container.image), (action, ""));
        assert!(container.reason.contains("containers"), "{}", container.reason);
        let context = one.context.unwrap();
        assert_eq!((&*context.cluster, &*context.namespace, &*context.pod), ("east", "web", "web"));
        assert_eq!(shim.metric("portcullis_shim_reports_total").await, 1);
    }
}

#[tokio::test]
async fn t141_a_panic_costs_its_review_which_is_denied_and_told_and_no_other() {
    let site = Site::new().await;
    let shim = site.start_without_near("").await;
    *site.ahead.lock() = Duration::MAX;
    let lost = shim.post("/validate", &pod("web", &pinned("good"))).await;
    assert!(!lost.allowed());
    assert!(lost.message().contains("failed while it looked at the review"), "{lost:?}");
    assert_eq!(shim.metric("portcullis_shim_refused_total{reason=\"lost\"}").await, 1);
    assert!(shim.post("/validate", &pod("web", &pinned("good"))).await.allowed());
    eventually(async || site.fake.told().len() == 1).await;
    let one = site.fake.state.told.lock()[0].clone();
    assert_eq!((one.answered_by(), &*one.cause), (AnsweredBy::FailPolicy, "lost"));
    assert_eq!(one.containers[0].action(), Action::Deny);
    assert_eq!(one.context.unwrap().pod, "web");
}

#[tokio::test]
async fn what_waits_at_the_end_is_sent_though_calls_fail() {
    let site = Site::new().await;
    let shim = site.start_without_near("").await;
    site.fake.act(Act::Forbid);
    assert!(shim.post(SOON, &pod("web", &pinned("new"))).await.allowed());
    eventually(async || *site.fake.state.calls.lock() > 0).await;
    let before = *site.fake.state.calls.lock();
    tokio::join!(shim.app.stop(), async {
        // The first of these may have been under way.
        eventually(async || *site.fake.state.calls.lock() >= before + 2).await;
        assert!(site.fake.told().is_empty());
        site.fake.act(Act::Answer);
    });
    assert_eq!(site.fake.told(), [(AnsweredBy::FailPolicy, pinned("new"))]);
}
