use serde_json::{Value, json};

use crate::review::given::{asked, containers, created, pod, pod_of, question};
use crate::review::{Context, Settings, Workload};

fn workload(kind: &str, name: &str) -> Workload {
    Workload { kind: kind.to_owned(), name: name.to_owned() }
}

/// The context of a pod with this metadata.
#[track_caller]
fn of_pod(metadata: &Value) -> Context {
    let mut pod = pod_of(&["a"]);
    pod["metadata"] = metadata.clone();
    let mut review = created("", "Pod", &pod);
    review["request"]["name"] = json!(null);
    question(&review).context
}

#[test]
fn a_pod_belongs_to_its_controller_or_to_itself() {
    let owner = |kind: &str, controller: &Value| json!({"apiVersion": "v1", "kind": kind, "name": "web-1", "uid": "u", "controller": controller});
    let other = owner("ConfigMap", &json!(null));
    let owned = |by: &Value| of_pod(&json!({"name": "x", "ownerReferences": [other, by]})).workload;
    let set = owner("ReplicaSet", &json!(true));
    assert_eq!(owned(&set), workload("ReplicaSet", "web-1"));
    for not in [json!(false), json!(null), json!("true")] {
        assert_eq!(owned(&owner("ReplicaSet", &not)), workload("Pod", "x"));
    }
    assert_eq!(of_pod(&json!({"name": "x"})).workload, workload("Pod", "x"));
}

#[test]
fn what_makes_pods_belongs_to_what_made_it_by_a_template_alone() {
    let made = |kind: &str, by: &str| {
        let owner = json!({"kind": by, "name": "above", "controller": true});
        let object = json!({
            "metadata": {"name": "web", "ownerReferences": [owner]},
            "spec": {"template": {"spec": {"containers": containers(&["a"])}}},
        });
        let group = if kind == "Job" { "batch" } else { "apps" };
        question(&created(group, kind, &object)).context.workload
    };
    assert_eq!(made("ReplicaSet", "Deployment"), workload("Deployment", "above"));
    assert_eq!(made("Job", "CronJob"), workload("CronJob", "above"));
    assert_eq!(made("Deployment", "Shop"), workload("Deployment", "web"));
    assert_eq!(made("ReplicaSet", "CronJob"), workload("ReplicaSet", "web"));
}

#[test]
fn a_pod_has_its_name_or_what_it_is_generated_from() {
    assert_eq!(of_pod(&json!({"name": "web-x", "generateName": "web-"})).pod, "web-x");
    assert_eq!(of_pod(&json!({"generateName": "web-"})).pod, "web-");
    assert_eq!(of_pod(&json!({})).pod, "");
}

#[test]
fn a_pod_runs_as_its_service_account_or_as_default() {
    let account = |spec: &Value| {
        let mut spec = spec.clone();
        spec["containers"] = containers(&["a"]);
        question(&created("", "Pod", &pod(&spec))).context.service_account
    };
    assert_eq!(account(&json!({"serviceAccountName": "a", "serviceAccount": "b"})), "a");
    assert_eq!(account(&json!({"serviceAccountName": "", "serviceAccount": "b"})), "b");
    assert_eq!(account(&json!({})), "default");
}

#[test]
fn the_namespace_is_that_of_the_request_and_its_labels_those_of_the_settings() {
    let settings =
        json!({"namespaceLabels": {"shop": {"tier": "gold"}, "other": {"tier": "none"}}});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let mut pod = pod_of(&["a"]);
    pod["metadata"]["namespace"] = json!("other");
    let context = asked(&created("", "Pod", &pod), &settings).context;
    assert_eq!(context.namespace, "shop");
    assert_eq!(context.namespace_labels["tier"], "gold");
    let mut review = created("", "Pod", &pod);
    review["request"]["namespace"] = json!("unheard-of");
    assert_eq!(asked(&review, &settings).context.namespace_labels.len(), 0);
}

#[test]
fn why_a_pod_must_run_is_in_its_annotation() {
    let annotated = |key: &str| of_pod(&json!({"annotations": {key: "fire"}})).break_glass;
    assert_eq!(annotated("portcullis.dev/break-glass"), "fire");
    assert_eq!(annotated("portcullis.dev/other"), "");
    let settings = json!({"breakGlassAnnotation": "example.com/why"});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let template = |why: &str| {
        json!({"metadata": {"annotations": {"example.com/why": why}},
               "spec": {"containers": containers(&["a"])}})
    };
    let object = json!({"spec": {"template": template("flood")}});
    let context = asked(&created("apps", "Deployment", &object), &settings).context;
    assert_eq!(context.break_glass, "flood");
}
