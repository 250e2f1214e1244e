use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::review::given::{containers, created, images, pod, pod_of, read_value, updated};
use crate::review::{FailPolicy, Source, mutated};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn decided(action: Action, digest: &str) -> Known<'_> {
    Known::Decided(Decision {
        action,
        image: "docker.io/library/a:latest".into(),
        digest: digest.into(),
        rule: "".into(),
        message: "".into(),
        notices: Vec::new().into(),
        source: Source::Service,
    })
}

/// The patch of an object whose images are all decided about so.
fn patch(review: &Value, known: &Known<'_>) -> Value {
    let review = read_value(review).unwrap();
    let outcome = Outcome {
        images: vec![known.clone(); 10],
        fail_policy: FailPolicy::Deny,
        policy_revision: "".into(),
    };
    let written = mutated(&review, &outcome).to_json().unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    let response = &written["response"];
    assert_eq!(response["allowed"], true, "others may change it yet");
    let Some(patch) = response["patch"].as_str() else {
        assert_eq!(response.get("patchType"), None);
        return json!([]);
    };
    assert_eq!(response["patchType"], "JSONPatch");
    serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap()
}

/// What an API server makes of an object.
fn apply(object: &Value, patch: &Value) -> Value {
    let mut object = object.clone();
    for change in patch.as_array().unwrap() {
        let place = object.pointer_mut(change["path"].as_str().unwrap()).unwrap();
        match change["op"].as_str().unwrap() {
            "test" => assert_eq!(*place, change["value"]),
            "replace" => *place = change["value"].clone(),
            other => panic!("{other}"),
        }
    }
    object
}

#[test]
fn t070_every_tag_of_a_pod_becomes_the_digest_that_was_decided_about() {
    let spec = json!({
        "initContainers": containers(&["a"]),
        "containers": containers(&["reg.io:5000/a:v1", "reg.io/a@sha256:bbbb"]),
        "ephemeralContainers": containers(&["a:v2"]),
        "volumes": [{"name": "v", "image": {"reference": "a:v3"}}],
        "sidecars": [{"name": "s", "image": "a:v4"}],
    });
    let before = pod(&spec);
    let patch = patch(&created("", "Pod", &before), &decided(Action::Allow, DIGEST));
    let first = json!({"op": "test", "path": "/spec/initContainers/0/image", "value": "a"});
    assert_eq!(patch[0], first);
    let after = apply(&before, &patch);
    let pinned = |name: &str| format!("{name}@{DIGEST}");
    assert_eq!(after["spec"]["initContainers"][0]["image"], pinned("a"));
    assert_eq!(after["spec"]["containers"][0]["image"], pinned("reg.io:5000/a:v1"));
    assert_eq!(after["spec"]["containers"][1]["image"], "reg.io/a@sha256:bbbb", "has a digest");
    assert_eq!(after["spec"]["ephemeralContainers"][0]["image"], pinned("a:v2"));
    assert_eq!(after["spec"]["volumes"][0]["image"]["reference"], pinned("a:v3"));
    assert_eq!(after["spec"]["sidecars"][0]["image"], "a:v4", "not known to be an image");
}

#[test]
fn t070_what_is_pinned_is_not_pinned_again() {
    let before = pod_of(&["a", "b:v1"]);
    let known = decided(Action::Audit, DIGEST);
    let after = apply(&before, &patch(&created("", "Pod", &before), &known));
    assert_eq!(patch(&created("", "Pod", &after), &known), json!([]));
    // A changed pod: what it had before stays as it is.
    let mut changed = after.clone();
    changed["spec"]["containers"][0]["image"] = json!("a:v2");
    let patch = patch(&updated("", "Pod", &after, &changed), &known);
    assert_eq!(patch.as_array().unwrap().len(), 2);
    assert_eq!(patch[1]["value"], format!("a:v2@{DIGEST}"));
}

#[test]
fn t070_only_pods_are_pinned_and_only_to_what_may_run() {
    let template = json!({"spec": {"containers": containers(&["a"])}});
    let deployment = created("apps", "Deployment", &json!({"spec": {"template": template}}));
    assert_eq!(patch(&deployment, &decided(Action::Allow, DIGEST)), json!([]));
    let pod = created("", "Pod", &pod_of(&["a"]));
    let upper = DIGEST.to_uppercase().replace("SHA", "sha");
    for known in [
        decided(Action::Deny, DIGEST),
        decided(Action::Allow, ""),
        decided(Action::Allow, DIGEST.get(1..).unwrap()),
        decided(Action::Allow, DIGEST.get(..70).unwrap()),
        decided(Action::Allow, &format!("{DIGEST}a")),
        decided(Action::Allow, &upper),
        Known::Unknown(crate::review::Cause::Deadline),
    ] {
        assert_eq!(patch(&pod, &known), json!([]), "{known:?}");
    }
}

#[test]
fn t070_what_a_justification_may_let_run_is_pinned_though_it_is_denied() {
    let mut pod = pod_of(&["a"]);
    pod["metadata"]["annotations"] = json!({"portcullis.dev/break-glass": "INC-1"});
    let patch = patch(&created("", "Pod", &pod), &decided(Action::Deny, DIGEST));
    assert_eq!(patch[1]["value"], format!("a@{DIGEST}"));
}

#[test]
fn t071_an_image_that_another_webhook_puts_there_is_asked_about() {
    let before = pod_of(&["a"]);
    let known = decided(Action::Allow, DIGEST);
    let mut after = apply(&before, &patch(&created("", "Pod", &before), &known));
    assert_eq!(images(&created("", "Pod", &after)), [format!("a@{DIGEST}")]);
    after["spec"]["containers"][0]["image"] = json!("evil");
    let beside = json!({"name": "injected", "image": "proxy"});
    after["spec"]["containers"].as_array_mut().unwrap().push(beside);
    assert_eq!(images(&created("", "Pod", &after)), ["evil", "proxy"]);
}
