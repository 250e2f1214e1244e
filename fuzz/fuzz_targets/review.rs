//! What an API server sends to the webhook: whatever it is, it is read within its bounds, and no image of a
//! pod is passed over.
//!
//! The files themselves are compiled, as the crate that they are of would bring its HTTP server.
#![allow(dead_code, reason = "the webhook uses more of it")]
#![allow(unused_imports, reason = "the webhook uses more of it")]

#[path = "../../shim/src/review/answer.rs"]
mod answer;
#[path = "../../shim/src/review/bounds.rs"]
mod bounds;
#[path = "../../shim/src/review/context.rs"]
mod context;
#[path = "../../shim/src/review/error.rs"]
mod error;
#[path = "../../shim/src/review/json.rs"]
mod json;
#[path = "../../shim/src/review/kinds.rs"]
mod kinds;
#[path = "../../shim/src/review/outcome.rs"]
mod outcome;
#[path = "../../shim/src/review/pin.rs"]
mod pin;
#[path = "../../shim/src/review/pod.rs"]
mod pod;
#[path = "../../shim/src/review/question.rs"]
mod question;
#[path = "../../shim/src/review/read.rs"]
mod read;
#[path = "../../shim/src/review/response.rs"]
mod response;
#[path = "../../shim/src/review/settings.rs"]
mod settings;
#[path = "../../shim/src/review/text.rs"]
mod text;
#[path = "../../shim/src/review/tree.rs"]
mod tree;

use serde_json::Value;

use self::bounds::*;
use self::outcome::{Action, Decision, FailPolicy, Known, Outcome, Source};
use self::question::{Asked, Question, Review};

/// Reads a review, and answers it as if all images were bad, and as if all were good.
pub fn admission(bytes: &[u8]) {
    let settings = settings();
    let review = match read::read(bytes, &settings) {
        Ok(review) => review,
        Err(error) => {
            if let Some(response) = answer::unreadable(&error, &settings) {
                assert!(!response.allowed && response.message.len() <= MAX_MESSAGE);
            }
            return;
        }
    };
    // What is passed over may have numbers that others refuse.
    let Ok(object) = serde_json::from_slice::<Value>(bytes) else { return };
    let object = &object["request"]["object"];
    match &review.asked {
        Asked::Images(question) => asked(&review, question, object, &settings),
        Asked::Nothing(question::Untouched::None) if review.object.kind == "Pod" => {
            assert!(named(object).is_empty());
        }
        Asked::Nothing(_) => {}
    }
}

fn settings() -> settings::Settings {
    let text = r#"{"customKinds": [{"group": "g", "kind": "K", "podTemplates": ["t[*]"],
                    "podSpecs": ["s"], "images": ["i[*].image"]}]}"#;
    serde_json::from_str(text).expect("settings")
}

fn asked(review: &Review, question: &Question, object: &Value, settings: &settings::Settings) {
    assert!(question.images.len() <= MAX_IMAGES);
    for image in &question.images {
        let there = object.pointer(&image.pointer).and_then(Value::as_str);
        assert_eq!(there, Some(&*image.image));
        assert!(image.image.len() <= MAX_IMAGE && image.container.len() <= MAX_CONTAINER);
    }
    if review.operation == question::Operation::Create && review.object.kind == "Pod" {
        for image in named(object) {
            assert!(question.images.iter().any(|found| found.image == image), "{image}");
        }
    }
    let digest = format!("sha256:{}", "a".repeat(64));
    let all = |action| Outcome {
        images: question
            .images
            .iter()
            .map(|image| {
                Known::Decided(Decision {
                    action,
                    image: image.image.as_str().into(),
                    digest: digest.as_str().into(),
                    rule: "rule".into(),
                    message: format!("{}\nmore", image.container).into(),
                    notices: vec![image.image.clone()].into(),
                    source: Source::Service,
                })
            })
            .collect(),
        fail_policy: FailPolicy::Deny,
        policy_revision: "".into(),
    };
    let none = Outcome { images: Vec::new(), ..all(Action::Allow) };
    for outcome in [all(Action::Deny), none] {
        let response = answer::validated(review, &outcome, settings);
        assert_eq!(response.allowed, review.object.kind != "Pod");
        assert!(response.message.len() <= MAX_MESSAGE);
        assert!(response.warnings.len() <= MAX_WARNINGS);
        assert!(response.warnings.iter().all(|text| text.len() <= MAX_WARNING));
        assert!(response.to_json().is_ok());
    }
    let patched = answer::mutated(review, &all(Action::Allow)).patch;
    assert!(patched.len() <= 2 * question.images.len());
}

/// The images of a pod's containers, found without care for anything else.
fn named(object: &Value) -> Vec<&str> {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let lists = lists.iter().filter_map(|list| object["spec"][list].as_array()).flatten();
    let images = lists.filter_map(|container| container["image"].as_str());
    images.filter(|image| !image.trim().is_empty()).collect()
}
