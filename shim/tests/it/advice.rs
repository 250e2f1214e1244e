//! Reviews by which nothing is made yet.

use portcullis_proto::v1::Purpose;
use serde_json::json;

use super::fake::DIGEST;
use super::world::{Site, pod};

#[tokio::test]
async fn t068_a_dry_run_and_a_mutation_ask_for_advice_and_a_validation_does_not() {
    let site = Site::new().await;
    let shim = site.start("").await;
    shim.until_near(&site.fake).await;
    let image = format!("registry.example/good@{DIGEST}");
    let review = pod("web", &image);
    let mut dry = review.clone();
    dry["request"]["dryRun"] = json!(true);
    let purposes = || site.fake.state.asked.lock().iter().map(|r| r.purpose()).collect::<Vec<_>>();
    assert!(shim.post("/mutate", &review).await.allowed());
    assert!(shim.post("/validate", &dry).await.allowed());
    assert_eq!(purposes(), [Purpose::Advice]);
    // What was advised is not given to an admission.
    assert!(shim.post("/validate", &review).await.allowed());
    assert_eq!(purposes(), [Purpose::Advice, Purpose::Admission]);
}
