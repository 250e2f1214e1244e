//! `portcullis refresh`: what was known and what is known now, as a table and as JSON.

use super::command::{Ran, run};
use super::world::{Service, World};

#[track_caller]
fn refresh(service: &Service, more: &[&str]) -> Ran {
    let url = service.url();
    run(&[&["refresh", "--server", &url, "--timeout", "20000"], more].concat())
}

#[test]
fn images_are_rows_of_what_was_and_what_is() {
    let world = World::new();
    let service = world.serve();
    let images = [world.image("clean"), world.image("unscanned")];
    let ran = refresh(&service, &images).ends_with(0);
    for words in [images[0], images[1], "changed", "nothing", "verified", "missing", "0 critical"] {
        assert!(ran.stdout.contains(words), "`{words}` is not in {}", ran.stdout);
    }
    // A pipe has no colours.
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:#?}");
    let again = refresh(&service, &images).ends_with(0);
    assert!(again.stdout.contains("unchanged"), "{again:#?}");
}

#[test]
fn the_answer_is_a_document_for_programs() {
    let world = World::new();
    let service = world.serve();
    let image = world.image("clean");
    let json = refresh(&service, &[image, "--output", "json"]).ends_with(0).json();
    let manifest = &json["images"][0]["manifests"][0];
    assert_eq!(json["images"][0]["image"], image);
    assert_eq!(manifest["outcome"], "changed");
    assert!(manifest["before"].is_null());
    assert_eq!(manifest["after"]["status"], "verified");
    assert!(manifest["after"]["reports"][0]["scanned_at"].is_string());
    let multi = refresh(&service, &[world.image("multi"), "--output", "json"]).ends_with(0).json();
    assert!(multi["images"][0]["manifests"].as_array().unwrap().len() > 1, "{multi:#}");
}

#[test]
fn a_registry_that_does_not_tell_is_another_exit_status() {
    let world = World::new();
    let service = world.serve();
    let (host, _folder) = world.without_registry();
    let image = format!("{host}/team/gone:v1");
    let ran = refresh(&service, &[&image]).ends_with(2);
    assert!(ran.stdout.contains("failed") && ran.stdout.contains("unavailable"), "{ran:#?}");
    run(&["refresh", "busybox", "--server", "http://127.0.0.1:1"])
        .complains_of(&["failed to reach the decision service at `http://127.0.0.1:1`"]);
    run(&["refresh", "BAD//", "--server", "http://127.0.0.1:1"])
        .complains_of(&["`BAD//` is not an image reference"]);
}
