//! `portcullis evidence`: the chain as a tree and as JSON.

use super::command::{Ran, run};
use super::world::{Service, World};

#[track_caller]
fn evidence(service: &Service, image: &str, more: &[&str]) -> Ran {
    let url = service.url();
    run(&[&["evidence", image, "--server", &url, "--timeout", "20000"], more].concat())
}

#[test]
fn the_chain_is_a_tree_down_to_the_certificates() {
    let world = World::new();
    let service = world.serve();
    let ran = evidence(&service, world.image("clean"), &[]).ends_with(0);
    for words in [
        "└─ looked at ",
        "├─ ✓ image sha256:",
        ": verified\n",
        "✓ report sha256:",
        "│     ├─ layer sha256:",
        "scanned by trivy at ",
        "no findings",
        "✓ signature sha256:",
        "├─ envelope sha256:",
        "├─ ✓ integrity\n",
        "├─ ✓ authenticity",
        "└─ certificates, leaf first\n",
        ", in trust store ca:it\n",
    ] {
        assert!(ran.stdout.contains(words), "`{words}` is not in {}", ran.stdout);
    }
    let ran = evidence(&service, world.image("unsigned"), &[]).ends_with(2);
    assert!(ran.stdout.contains("rejected, unsigned: no signature is attached"), "{ran:#?}");
    let ran = evidence(&service, world.image("unscanned"), &[]).ends_with(2);
    assert!(ran.stdout.contains("nothing is attached"), "{ran:#?}");
    let ran = evidence(&service, world.image("multi"), &[]).ends_with(0);
    assert!(ran.stdout.contains("✓ linux/arm64 sha256:"), "{ran:#?}");
    // A pipe has no colours.
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:#?}");
}

#[test]
fn the_chain_is_a_document_for_programs() {
    let world = World::new();
    let service = world.serve();
    let json =
        evidence(&service, world.image("tampered"), &["--output", "json"]).ends_with(2).json();
    let artifact = &json["manifests"][0]["artifacts"][0];
    assert_eq!(artifact["role"], "report");
    assert_eq!(artifact["verdict"], "rejected");
    assert_eq!(artifact["reason"], "wrong_subject");
    let checks = artifact["signatures"][0]["checks"].as_array().unwrap();
    assert_eq!(checks.last().unwrap()["verdict"], "failed");
    assert_eq!(artifact["signatures"][0]["certificates"].as_array().unwrap().len(), 2);
}

#[test]
fn it_looks_from_here_with_the_configuration_of_a_service() {
    let world = World::new();
    let config = world.path("portcullis.yaml");
    let config = config.to_str().unwrap();
    let image = world.image("clean");
    run(&["evidence", image, "--config", config, "--timeout", "20000"]).ends_with(0);
    run(&["evidence", image, "--config", config, "--server", "http://127.0.0.1:1"])
        .complains_of(&["--config", "--server"]);
    run(&["evidence", "busybox", "--server", "http://127.0.0.1:1"])
        .complains_of(&["failed to reach the decision service at `http://127.0.0.1:1`"]);
}

#[test]
fn without_a_word_about_which_image_it_is_there_is_no_answer() {
    let world = World::new();
    let service = world.serve();
    let (host, _) = world.image("clean").split_once('/').unwrap();
    let ran = evidence(&service, &format!("{host}/nobody/nothing:v1"), &[]).ends_with(1);
    assert!(ran.stdout.contains("✗ image: "), "{ran:#?}");
}
