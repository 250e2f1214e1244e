mod bounds;

use serde_json::{Value, json};

use super::*;
use crate::review::given::{
    asked, containers, created, images, pod, pod_of, question, read_value, updated,
};
use crate::review::{MAX_UID, Workload};

/// The kinds of Kubernetes that make pods, with the way to their template.
const MAKERS: [(&str, &str, &str); 8] = [
    ("", "PodTemplate", "/template"),
    ("", "ReplicationController", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("apps", "Deployment", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
    ("batch", "Job", "/spec/template"),
];

/// An object that has `template` at `way`.
fn maker(way: &str, template: &Value) -> Value {
    let mut value = template.clone();
    for name in way.rsplit('/').filter(|name| !name.is_empty()) {
        value = json!({ name: value });
    }
    value["metadata"] = json!({"name": "web"});
    value
}

fn settings(yaml: &Value) -> Settings {
    serde_json::from_value(yaml.clone()).unwrap()
}

/// The word for what is wrong with a review.
#[track_caller]
fn fault(review: &Value) -> &'static str {
    read_value(review).unwrap_err().fault.word()
}

#[track_caller]
fn untouched(review: &Value) -> Untouched {
    match read_value(review).unwrap().asked {
        Asked::Nothing(why) => why,
        Asked::Images(question) => panic!("{question:?}"),
    }
}

#[test]
fn t057_init_containers_are_asked_about_whether_they_end_or_stay() {
    let spec = json!({
        "initContainers": [
            {"name": "once", "image": "one"},
            {"name": "beside", "image": "two", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "main", "image": "three"}],
    });
    let found = question(&created("", "Pod", &pod(&spec))).images;
    let found: Vec<_> = found.iter().map(|i| (i.place, &*i.container, &*i.image)).collect();
    let expected = [
        (Place::Init, "once", "one"),
        (Place::Init, "beside", "two"),
        (Place::Container, "main", "three"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn t058_an_ephemeral_container_is_asked_about_by_itself() {
    let old = pod_of(&["nginx"]);
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] =
        json!([{"name": "debug", "image": "evil", "targetContainerName": "c0"}]);
    let mut review = updated("", "Pod", &old, &new);
    review["request"]["subResource"] = json!("ephemeralcontainers");
    let question = question(&review);
    let [image] = &*question.images else { panic!("{question:?}") };
    assert_eq!((image.place, &*image.image), (Place::Ephemeral, "evil"));
    assert_eq!(image.pointer, "/spec/ephemeralContainers/0/image");
}

#[test]
fn t059_image_volumes_and_every_kind_with_a_template_are_asked_about() {
    let spec = json!({
        "containers": [{"name": "main", "image": "one"}],
        "volumes": [
            {"name": "disk", "rbd": {"image": "a-disk", "monitors": ["m"]}},
            {"name": "empty", "emptyDir": {}},
            {"name": "model", "image": {"reference": "two", "pullPolicy": "Always"}},
        ],
    });
    assert_eq!(images(&created("", "Pod", &pod(&spec))), ["one", "two"]);
    for (group, kind, way) in MAKERS {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": spec});
        let found = question(&created(group, kind, &maker(way, &template)));
        let pointers: Vec<_> = found.images.iter().map(|image| image.pointer.clone()).collect();
        let expected = ["/spec/containers/0/image", "/spec/volumes/2/image/reference"];
        assert_eq!(pointers, expected.map(|end| format!("{way}{end}")), "{kind}");
        assert_eq!(found.context.workload, Workload { kind: kind.into(), name: "web".into() });
        assert_eq!(found.context.pod_labels["app"], "web", "{kind}");
        assert_eq!(found.context.pod, "");
    }
}

#[test]
fn t059_an_image_in_a_field_that_is_not_known_is_asked_about() {
    let spec = json!({
        "containers": [
            {"name": "main", "image": "one", "checkpoint": {"restoreImage": "two"}},
        ],
        "sidecars": [{"name": "side", "image": "three"}],
        "futureVolumes": [{"name": "v", "image": {"reference": "four"}}],
        "preload": {"images": ["five", "six"]},
        "nodeSelector": {"image": "no-image"},
        "imagePullSecrets": [{"name": "no-image"}],
        "volumes": [{"name": "c", "csi": {"driver": "d", "volumeAttributes": {"image": "no"}}}],
    });
    let found = question(&created("", "Pod", &pod(&spec))).images;
    let mut named: Vec<_> = found.iter().map(|i| (&*i.image, &*i.container, i.place)).collect();
    named.sort_unstable();
    let unknown = Place::Unknown;
    let expected = [
        ("five", "images", unknown),
        ("four", "v", unknown),
        ("one", "main", Place::Container),
        ("six", "images", unknown),
        ("three", "side", unknown),
        ("two", "main", unknown),
    ];
    assert_eq!(named, expected);
}

#[test]
fn t060_pods_that_are_ending_and_images_that_are_changed_are_asked_about() {
    let mut ending = pod_of(&["nginx"]);
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(images(&created("", "Pod", &ending)), ["nginx"]);
    let mut changed = ending.clone();
    changed["spec"]["containers"][0]["image"] = json!("evil");
    assert_eq!(images(&updated("", "Pod", &ending, &changed)), ["evil"]);
    // As in another container it would be another thing that runs.
    let (one, two) = (pod_of(&["a", "b"]), pod_of(&["b", "b"]));
    assert_eq!(images(&updated("", "Pod", &one, &two)), ["b"]);
}

#[test]
fn t061_no_image_is_passed_over_for_its_name() {
    let names = ["evil.io/istio/proxyv2", "evil.io/linkerd-proxy", "registry.k8s.io/pause:3.10"];
    assert_eq!(images(&created("", "Pod", &pod_of(&names))), names);
    let named = json!({"containers": [{"name": "istio-proxy", "image": "evil.io/x"}]});
    assert_eq!(images(&created("", "Pod", &pod(&named))), ["evil.io/x"]);
}

#[test]
fn t062_what_leaves_all_images_as_they_are_is_not_asked_about() {
    let old = pod_of(&["a", "b"]);
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!([]);
    new["metadata"]["labels"]["new"] = json!("label");
    assert_eq!(untouched(&updated("", "Pod", &old, &new)), Untouched::Unchanged);
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers(&["a"])}});
    let old = maker("/spec/template", &template);
    let mut scaled = old.clone();
    scaled["spec"]["replicas"] = json!(0);
    assert_eq!(untouched(&updated("apps", "Deployment", &old, &scaled)), Untouched::Unchanged);
    let mut scale = updated("autoscaling", "Scale", &json!({}), &json!({}));
    scale["request"]["subResource"] = json!("scale");
    assert_eq!(untouched(&scale), Untouched::Subresource);
    for (operation, why) in [("DELETE", Untouched::Deleted), ("CONNECT", Untouched::Connected)] {
        let mut review = created("example.com", "Unheard", &json!(null));
        review["request"]["operation"] = json!(operation);
        review["request"]["oldObject"] = old.clone();
        assert_eq!(untouched(&review), why);
    }
}

#[test]
fn t062_a_template_whose_pods_would_be_others_is_asked_about() {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers(&["a"])}});
    let old = maker("/spec/template", &template);
    for (way, value) in [
        ("/spec/template/metadata/labels/a", json!("other")),
        ("/spec/template/spec/serviceAccountName", json!("other")),
    ] {
        let mut new = old.clone();
        let (holder, name) = way.rsplit_once('/').unwrap();
        new.pointer_mut(holder).unwrap()[name] = value;
        assert_eq!(images(&updated("apps", "Deployment", &old, &new)), ["a"], "{way}");
    }
    // What it was cannot be read, or is not told.
    for old in [json!(null), json!({"spec": {"template": 1}})] {
        let new = maker("/spec/template", &template);
        assert_eq!(images(&updated("apps", "Deployment", &old, &new)), ["a"]);
    }
}

#[test]
fn only_parts_without_images_are_passed_over() {
    for part in WITHOUT_IMAGES {
        let mut review = created("", "Pod", &pod_of(&["a"]));
        review["request"]["subResource"] = json!(part);
        assert_eq!(untouched(&review), Untouched::Subresource, "{part}");
    }
    for part in ["", "resize", "ephemeralcontainers", "unheard-of"] {
        let mut review = created("", "Pod", &pod_of(&["a"]));
        review["request"]["subResource"] = json!(part);
        assert_eq!(images(&review), ["a"], "{part}");
    }
}

#[test]
fn t068_what_is_no_review_of_an_object_is_an_error_with_its_uid() {
    let good = created("", "Pod", &pod_of(&["a"]));
    let with = |way: &str, value: Value| {
        let mut review = good.clone();
        let (holder, name) = way.rsplit_once('/').unwrap();
        review.pointer_mut(holder).unwrap()[name] = value;
        review
    };
    for (way, value, word) in [
        ("/apiVersion", json!("admission.k8s.io/v1beta1"), "unsupported_version"),
        ("/kind", json!("Pod"), "unsupported_version"),
        ("/request/kind/kind", json!("Unheard"), "unsupported_kind"),
        ("/request/kind", json!(null), "unsupported_kind"),
        ("/request/operation", json!("PATCH"), "malformed"),
        ("/request/object", json!(null), "malformed"),
        ("/request/object", json!([]), "malformed"),
        ("/request/object/kind", json!("Deployment"), "malformed"),
        ("/request/object/spec", json!(null), "malformed"),
        ("/request/object/spec/containers", json!({}), "malformed"),
        ("/request/object/spec/containers", json!(["a"]), "malformed"),
        ("/request/object/spec/containers", json!([{"name": "c", "image": 1}]), "malformed"),
        ("/request/object/spec/volumes", json!([{"image": "text"}]), "malformed"),
        ("/request/object/metadata/labels", json!({"a": 1}), "malformed"),
    ] {
        let error = read_value(&with(way, value)).unwrap_err();
        assert_eq!(error.fault.word(), word, "{way}: {error}");
        assert_eq!(error.uid.as_deref(), good["request"]["uid"].as_str(), "{way}");
        assert_eq!(error.seen.namespace.as_deref(), Some("shop"), "{way}");
    }
    for uid in [json!(null), json!(""), json!(7), json!("x".repeat(MAX_UID + 1))] {
        let error = read_value(&with("/request/uid", uid)).unwrap_err();
        assert_eq!((error.fault.word(), error.uid), ("malformed", None));
    }
    let longest = with("/request/uid", json!("x".repeat(MAX_UID)));
    assert_eq!(read_value(&longest).unwrap().uid.len(), MAX_UID);
}

#[test]
fn t068_a_dry_run_is_asked_about_and_marked() {
    let mut review = created("", "Pod", &pod_of(&["a"]));
    assert!(!read_value(&review).unwrap().dry_run);
    review["request"]["dryRun"] = json!(true);
    let read = read_value(&review).unwrap();
    assert!(read.dry_run && matches!(read.asked, Asked::Images(_)));
}

#[test]
fn a_review_with_a_name_twice_is_refused() {
    let text = serde_json::to_string(&created("", "Pod", &pod_of(&["good"]))).unwrap();
    let image = r#""image":"good""#;
    assert_eq!(text.matches(image).count(), 1);
    let twice = text.replace(image, r#""image":"good","image":"evil""#);
    let error = read(twice.as_bytes(), &Settings::default()).unwrap_err();
    assert_eq!(error.fault.word(), "malformed");
    let names: String = (0..40).map(|n| format!("\"n{n}\":1,")).collect();
    let many = text.replace(image, &format!("{names}\"image\":\"good\",\"image\":\"evil\""));
    assert!(read(many.as_bytes(), &Settings::default()).is_err());
    let escaped = text.replace(image, r#""image":"good","im\u0061ge":"evil""#);
    assert!(read(escaped.as_bytes(), &Settings::default()).is_err());
}

#[test]
fn a_place_without_an_image_is_kept_apart() {
    let spec = json!({
        "containers": [{"name": "a", "image": "a"}, {"name": "b"}, {"name": "c", "image": " "}],
        "volumes": [{"name": "v", "image": {}}],
    });
    let found = question(&created("", "Pod", &pod(&spec)));
    let blank: Vec<_> = found.blank.iter().map(|image| &*image.container).collect();
    assert_eq!((found.images.len(), &*blank), (1, ["b", "c", "v"].as_slice()));
    let spec = json!({"containers": [{"name": "b"}]});
    assert_eq!(question(&created("", "Pod", &pod(&spec))).blank.len(), 1);
    let maker = maker("/spec/template", &json!({"spec": spec}));
    assert_eq!(untouched(&created("apps", "Deployment", &maker)), Untouched::None);
}

#[test]
fn custom_kinds_have_images_where_they_are_configured() {
    let settings = settings(&json!({"customKinds": [
        {"group": "argoproj.io", "kind": "Rollout", "podTemplates": ["spec.template"]},
        {"group": "tekton.dev", "kind": "Task", "images": ["spec.steps[*].image"]},
        {"group": "ray.io", "kind": "RayCluster",
         "podTemplates": ["spec.head.template", "spec.workers[*].template"]},
        {"group": "example.com", "kind": "Bare", "podSpecs": ["spec.byName[*]"]},
    ]}));
    let template = |image: &str, team: &str| {
        json!({"metadata": {"labels": {"app": "web", "team": team}},
               "spec": {"containers": containers(&[image])}})
    };
    let pointers = |question: &Question| {
        question.images.iter().map(|image| image.pointer.clone()).collect::<Vec<_>>()
    };
    let rollout = json!({"spec": {"template": template("a", "x")}});
    let found = asked(&created("argoproj.io", "Rollout", &rollout), &settings);
    assert_eq!(pointers(&found), ["/spec/template/spec/containers/0/image"]);
    assert_eq!(found.context.pod_labels["team"], "x");

    let task = json!({"spec": {"steps": [{"image": "a"}, {"name": "no image"}, {"image": "b"}]}});
    let found = asked(&created("tekton.dev", "Task", &task), &settings);
    assert_eq!(pointers(&found), ["/spec/steps/0/image", "/spec/steps/2/image"]);

    let cluster = json!({"spec": {
        "head": {"template": template("a", "x")},
        "workers": [{"template": template("b", "x")}, {"template": template("c", "y")}],
    }});
    let found = asked(&created("ray.io", "RayCluster", &cluster), &settings);
    assert_eq!(found.images.len(), 3);
    let labels: Vec<_> = found.context.pod_labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["app"], "what they do not agree in");

    let bare = json!({"spec": {"byName": {"a/b~c": {"containers": containers(&["a"])}}}});
    let found = asked(&created("example.com", "Bare", &bare), &settings);
    assert_eq!(pointers(&found), ["/spec/byName/a~1b~0c/containers/0/image"]);

    let wrong = json!({"spec": {"steps": "none"}});
    let review = serde_json::to_vec(&created("tekton.dev", "Task", &wrong)).unwrap();
    assert_eq!(read(&review, &settings).unwrap_err().fault.word(), "malformed");
    let review = created("other.dev", "Task", &task);
    assert_eq!(fault(&review), "unsupported_kind", "a kind of another group");
}
