//! Reviews as others wrote them, and as nobody thought of them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::given::{created, images, pod, question, updated};

/// Where an image is put.
#[derive(Debug, Clone)]
enum Spot {
    Init,
    Container,
    Ephemeral,
    Volume,
    /// Below members that no version of Kubernetes has yet, in lists or not.
    Unheard(Vec<(String, bool)>),
}

fn spot() -> impl Strategy<Value = Spot> {
    let unheard = prop::collection::vec(("new[A-Z][a-z]{0,5}", any::<bool>()), 1..5);
    prop_oneof![
        Just(Spot::Init),
        Just(Spot::Container),
        Just(Spot::Ephemeral),
        Just(Spot::Volume),
        unheard.prop_map(Spot::Unheard),
    ]
}

/// Members beside images, in every list.
fn noise() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"env": [{"name": "image", "value": "no"}], "imagePullPolicy": "Always"})),
        Just(json!({"resources": {"limits": {"image": "1"}}, "ports": [{"containerPort": 1}]})),
        Just(json!({"securityContext": {"privileged": true}, "args": ["image", "--image=no"]})),
    ]
}

fn push(spec: &mut Value, list: &str, mut element: Value, noise: &Value) {
    let members = noise.as_object().unwrap().clone();
    element.as_object_mut().unwrap().extend(members);
    match spec[list].as_array_mut() {
        Some(elements) => elements.push(element),
        None => spec[list] = json!([element]),
    }
}

/// The spec of a pod with these images at these spots.
fn spec(put: &[(Spot, String, Value)]) -> Value {
    let mut spec =
        json!({"nodeSelector": {"image": "no"}, "volumes": [{"name": "e", "emptyDir": {}}]});
    for (at, (spot, image, noise)) in put.iter().enumerate() {
        let container = json!({"name": format!("c{at}"), "image": image});
        match spot {
            Spot::Init => push(&mut spec, "initContainers", container, noise),
            Spot::Container => push(&mut spec, "containers", container, noise),
            Spot::Ephemeral => push(&mut spec, "ephemeralContainers", container, noise),
            Spot::Volume => {
                let volume = json!({"name": format!("v{at}"), "image": {"reference": image}});
                push(&mut spec, "volumes", volume, &json!({}));
            }
            Spot::Unheard(path) => {
                let below = path.iter().fold(container, |inner, (name, is_list)| {
                    let inner = if *is_list { json!([inner]) } else { inner };
                    json!({ name: inner })
                });
                spec[format!("newField{at}")] = below;
            }
        }
    }
    spec
}

fn put() -> impl Strategy<Value = Vec<(Spot, String, Value)>> {
    prop::collection::vec((spot(), "[a-z]{1,4}(:[a-z]{1,2})?", noise()), 1..12)
}

/// Where each kind has its template.
const WAYS: [(&str, &str, &[&str]); 4] = [
    ("", "Pod", &[]),
    ("", "PodTemplate", &["template"]),
    ("apps", "Deployment", &["spec", "template"]),
    ("batch", "CronJob", &["spec", "jobTemplate", "spec", "template"]),
];

fn object(way: &[&str], spec: &Value) -> Value {
    way.iter()
        .rev()
        .fold(json!({"metadata": {}, "spec": spec}), |inner, name| json!({ *name: inner }))
}

proptest! {
    #[test]
    fn wherever_an_image_is_put_it_is_found(put in put(), kind in 0..WAYS.len()) {
        let (group, kind, way) = WAYS[kind];
        let object = object(way, &spec(&put));
        let found = question(&created(group, kind, &object));
        for image in &found.images {
            let there = object.pointer(&image.pointer).and_then(Value::as_str);
            prop_assert_eq!(there, Some(&*image.image));
        }
        let mut found: Vec<_> = found.images.iter().map(|image| &image.image).collect();
        let mut expected: Vec<_> = put.iter().map(|(_, image, _)| image).collect();
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn of_a_changed_pod_each_image_that_is_put_there_is_found(old in put(), new in put()) {
        let with = |put: &[_]| pod(&spec(put));
        // One more, so that something is always asked.
        let more = (Spot::Container, "certainly-new".to_owned(), json!({}));
        let both: Vec<_> = old.iter().chain(&new).cloned().chain([more]).collect();
        let mut found = images(&updated("", "Pod", &with(&old), &with(&both)));
        let mut expected: Vec<_> = new.iter().map(|(_, image, _)| image.clone()).collect();
        expected.push("certainly-new".to_owned());
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn requests_that_others_publish_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/admission");
    if !folder.is_dir() {
        // Not by `println!`, which the test harness keeps to itself.
        let skipped = format!("SKIPPED: there is no {}\n", folder.display());
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    }
    let name = "ghcr.io/kubewarden/test-verify-image-signatures";
    let digest = "sha256:89102e348749bb17a6a651a4b2a17420e1a66d2a44a675b981973d49a5af3a5e";
    for (file, expected) in [
        ("cronjob_creation_signed.json", vec![format!("{name}:signed")]),
        ("deployment_creation_unsigned.json", vec![format!("{name}:unsigned")]),
        ("pod_creation_with_digest.json", vec![format!("nginx:v1.26@{digest}")]),
        ("pod_creation_with_init_container.json", vec!["init".to_owned(), "nginx".to_owned()]),
    ] {
        let request = fs::read(folder.join(file)).unwrap();
        let request: Value = serde_json::from_slice(&request).unwrap();
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
        });
        assert_eq!(images(&review), expected, "{file}");
    }
}
