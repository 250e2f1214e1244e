//! Reviews for tests, as an API server writes them.

use serde_json::{Value, json};

use super::{Asked, Question, Review, ReviewError, Settings, read};

/// A review of an object that is made.
pub(super) fn created(group: &str, kind: &str, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": "things"},
            "requestKind": {"group": group, "version": "v1", "kind": kind},
            "name": "web",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// A review of an object that is changed.
pub(super) fn updated(group: &str, kind: &str, old: &Value, new: &Value) -> Value {
    let mut review = created(group, kind, new);
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = old.clone();
    review
}

/// A pod with this spec.
pub(super) fn pod(spec: &Value) -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": spec,
    })
}

/// A pod with these images in containers `c0`, `c1` and so on.
pub(super) fn pod_of(images: &[&str]) -> Value {
    pod(&json!({"containers": containers(images)}))
}

/// Containers `c0`, `c1` and so on with these images.
pub(super) fn containers(images: &[&str]) -> Value {
    let named = |(at, image)| json!({"name": format!("c{at}"), "image": image});
    images.iter().enumerate().map(named).collect()
}

pub(super) fn read_value(review: &Value) -> Result<Review, ReviewError> {
    read(&serde_json::to_vec(review).unwrap(), &Settings::default())
}

/// What is asked about images.
#[track_caller]
pub(super) fn question(review: &Value) -> Question {
    asked(review, &Settings::default())
}

#[track_caller]
pub(super) fn asked(review: &Value, settings: &Settings) -> Question {
    match read(&serde_json::to_vec(review).unwrap(), settings).unwrap().asked {
        Asked::Images(question) => *question,
        Asked::Nothing(why) => panic!("nothing is asked: {why:?}"),
    }
}

/// The images that are asked about.
#[track_caller]
pub(super) fn images(review: &Value) -> Vec<String> {
    question(review).images.into_iter().map(|image| image.image).collect()
}
