//! What an API server traces goes on at the service.

use super::world::{Site, pod};

#[tokio::test]
async fn the_trace_of_an_api_server_is_handed_on_to_the_service() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let site = Site::new().await;
    let shim = site.start_without_near("").await;
    // The second is longer than any version has it, and the third has none.
    let too_long = "0".repeat(portcullis_client::MAX_TRACEPARENT + 1);
    for (number, trace) in [Some(PARENT), Some(&too_long), None].into_iter().enumerate() {
        let review = pod("web", &format!("registry.example/good:{number}")).to_string();
        let mut post = shim.client.post(shim.url("/validate")).body(review);
        if let Some(trace) = trace {
            post = post.header("traceparent", trace);
        }
        assert_eq!(post.send().await.unwrap().status(), 200);
    }
    assert_eq!(*site.fake.state.traces.lock(), [Some(PARENT.to_owned()), None, None]);
}
