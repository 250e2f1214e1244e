//! `portcullis explain`: why, and what would change it.

use super::command::{Ran, run};
use super::world::{Service, World};

#[track_caller]
fn explain(service: &Service, image: &str, more: &[&str]) -> Ran {
    let url = service.url();
    run(&[&["explain", image, "--server", &url, "--timeout", "20000"], more].concat())
}

#[test]
fn a_denial_is_explained_with_the_status_of_check() {
    let world = World::new();
    let service = world.serve();
    let ran = explain(&service, world.image("critical"), &[]).ends_with(2);
    for words in [
        "deny by rule no-known-high-risk",
        "rule: no-known-high-risk | action: deny | standing: in scope",
        "condition: max allowed critical",
        "deny, decides by CVE-2022-1292",
        "What would change the answer\n",
        "  upgrade ",
        "Break-glass: the policy does not permit it here",
    ] {
        assert!(ran.stdout.contains(words), "`{words}` is not in {ran:#?}");
    }
    let json =
        explain(&service, world.image("critical"), &["--output", "json"]).ends_with(2).json();
    assert_eq!(json["check"]["action"], "deny");
    assert_eq!(json["explanation"]["conditions"][0]["deciding"], true);
    assert_eq!(json["explanation"]["remedy"]["complete"], true);
    let json = explain(&service, world.image("clean"), &["--output", "json"]).ends_with(0).json();
    assert_eq!(json["check"]["action"], "allow");
    assert_eq!(json["explanation"]["remedy"], serde_json::Value::Null);
    let ran = explain(&service, world.image("unsigned"), &[]).ends_with(2);
    assert!(ran.stdout.contains("  sign the report with a key that is trusted"), "{ran:#?}");
}

#[test]
fn without_a_service_there_is_no_explanation() {
    run(&["explain", "busybox", "--server", "http://127.0.0.1:1"])
        .complains_of(&["failed to reach the decision service at `http://127.0.0.1:1`"]);
}
