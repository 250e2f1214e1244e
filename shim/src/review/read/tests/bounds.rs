use serde_json::{Value, json};

use super::super::*;
use super::fault;
use crate::review::given::{created, images, pod, pod_of};
use crate::review::{MAX_CONTEXT, MAX_DEPTH, MAX_REVIEW, MAX_VALUES};

#[test]
fn t065_a_review_past_its_bound_is_an_error_and_never_empty() {
    let mut review = created("", "Pod", &pod_of(&["a"]));
    review["request"]["options"]["pad"] = json!("");
    let length = serde_json::to_vec(&review).unwrap().len();
    review["request"]["options"]["pad"] = json!("x".repeat(MAX_REVIEW - length));
    let mut text = serde_json::to_vec(&review).unwrap();
    assert_eq!(text.len(), MAX_REVIEW);
    assert!(matches!(read(&text, &Settings::default()).unwrap().asked, Asked::Images(_)));
    // With a space behind it, what fits is a review by itself.
    text.push(b' ');
    let error = read(&text, &Settings::default()).unwrap_err();
    assert_eq!((error.fault.word(), error.uid.is_some()), ("too_large", true));
    // An API server writes the uid first.
    let beginning = br#"{"kind":"AdmissionReview","request":{"uid":"u-1","kind":{"group":"","ver"#;
    let error = ReviewError::too_large(beginning);
    assert_eq!((error.fault.word(), error.uid.as_deref()), ("too_large", Some("u-1")));
    assert_eq!(ReviewError::too_large(b"{\"request\":{\"ui").uid, None);
    for cut in [0, 1, 10, text.len() / 2] {
        let error = read(&text[..cut], &Settings::default()).unwrap_err();
        assert_eq!(error.fault.word(), "malformed");
    }
}

#[test]
fn t065_depth_values_images_names_and_labels_have_bounds() {
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    // The pod is at the third level, a member of it at the fourth.
    let with = |name: &str, value: Value| {
        let mut pod = pod_of(&["a"]);
        pod[name] = value;
        created("", "Pod", &pod)
    };
    assert_eq!(images(&with("x", deep(MAX_DEPTH - 3))), ["a"]);
    assert_eq!(fault(&with("x", deep(MAX_DEPTH - 2))), "too_many");
    assert_eq!(fault(&with("x", deep(1000))), "too_many");

    let base = count(&with("x", json!([])));
    assert_eq!(images(&with("x", vec![1; MAX_VALUES - base].into())), ["a"]);
    assert_eq!(fault(&with("x", vec![1; MAX_VALUES - base + 1].into())), "too_many");

    let many = |count: usize| created("", "Pod", &pod_of(&vec!["a"; count]));
    assert_eq!(images(&many(MAX_IMAGES)).len(), MAX_IMAGES);
    assert_eq!(fault(&many(MAX_IMAGES + 1)), "too_many");

    let long = |length: usize| created("", "Pod", &pod_of(&[&"x".repeat(length)]));
    assert_eq!(images(&long(MAX_IMAGE))[0].len(), MAX_IMAGE);
    assert_eq!(fault(&long(MAX_IMAGE + 1)), "too_many");

    let named = |length: usize| {
        let container = json!({"name": "x".repeat(length), "image": "a"});
        created("", "Pod", &pod(&json!({"containers": [container]})))
    };
    assert_eq!(images(&named(MAX_CONTAINER)), ["a"]);
    assert_eq!(fault(&named(MAX_CONTAINER + 1)), "too_many");

    let labelled = |length: usize| {
        let mut pod = pod_of(&["a"]);
        pod["metadata"]["labels"] = json!({"": "x".repeat(length)});
        created("", "Pod", &pod)
    };
    // `shop`, `Pod`, `web`, `web`, `default` and what an entry takes.
    let rest = 4 + 3 + 3 + 3 + 7 + 16;
    assert_eq!(images(&labelled(MAX_CONTEXT - rest)), ["a"]);
    assert_eq!(fault(&labelled(MAX_CONTEXT - rest + 1)), "too_many");
}

/// How many values there are.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

#[test]
fn what_kubernetes_notes_of_fields_is_passed_over() {
    let mut pod = pod_of(&["a"]);
    pod["metadata"]["managedFields"] = vec![1; MAX_VALUES].into();
    assert_eq!(images(&created("", "Pod", &pod)), ["a"]);
}
