use serde_json::{Value, json};

use super::*;

fn read(settings: &Value) -> Result<Settings, String> {
    serde_json::from_value(settings.clone()).map_err(|error| error.to_string())
}

#[test]
fn by_default_pods_are_denied_and_controllers_warned() {
    let settings = read(&json!({})).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.pods, Enforcement::Deny);
    assert_eq!(settings.controllers, Enforcement::Warn);
    assert_eq!(settings.unreadable, FailPolicy::Deny);
    let all = json!({"pods": "warn", "controllers": "deny", "unreadable": "allow"});
    let settings = read(&all).unwrap();
    assert_eq!(settings.pods, Enforcement::Warn);
    assert_eq!(settings.controllers, Enforcement::Deny);
    assert_eq!(settings.unreadable, FailPolicy::Allow);
    assert!(read(&json!({"pod": "deny"})).unwrap_err().contains("unknown field `pod`"));
    assert!(read(&json!({"pods": "ignore"})).is_err());
}

#[test]
fn a_path_is_names_and_lists() {
    for good in ["spec", "spec.template.spec", "spec.steps[*].image", "a[*][*].b-c_d"] {
        assert_eq!(good.parse::<ImagePath>().unwrap().to_string(), good);
    }
    let steps = |count: usize| vec!["a"; count].join(".");
    assert!(steps(MAX_STEPS).parse::<ImagePath>().is_ok());
    assert!("a".repeat(MAX_PATH).parse::<ImagePath>().is_ok());
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "[*]",
        "a[0]",
        "a[*",
        "a[*]b",
        "a b",
        "a/b",
        "a\"",
        "$.a",
        &*steps(MAX_STEPS + 1),
        &*"a".repeat(MAX_PATH + 1),
    ] {
        let error = bad.parse::<ImagePath>().unwrap_err();
        assert_eq!(error, SettingsError::Path(bad.to_owned()));
    }
}

#[test]
fn custom_kinds_are_each_there_once_and_have_paths() {
    let kind = |kind: &str, paths: usize| json!({"group": "g", "kind": kind, "images": vec!["a.b"; paths]});
    let kinds = |kinds: &[Value]| read(&json!({"customKinds": kinds}));
    let settings = kinds(&[kind("A", 1), kind("B", MAX_PATHS)]).unwrap();
    assert_eq!(settings.custom_kinds.find("g", "B").unwrap().images.len(), MAX_PATHS);
    assert!(settings.custom_kinds.find("", "B").is_none());
    for (wrong, told) in [
        (vec![kind("A", 0)], "has 0 paths"),
        (vec![kind("A", MAX_PATHS + 1)], "has 17 paths"),
        (vec![kind("", 1)], "has no `kind`"),
        (vec![kind("A", 1), kind("B", 1), kind("A", 1)], "`A` is there twice"),
    ] {
        let error = kinds(&wrong).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
    let many = |count: usize| (0..count).map(|n| kind(&format!("K{n}"), 1)).collect::<Vec<_>>();
    assert!(kinds(&many(MAX_CUSTOM_KINDS)).is_ok());
    assert!(kinds(&many(MAX_CUSTOM_KINDS + 1)).unwrap_err().contains("257 custom kinds"));
}

#[test]
fn the_key_of_an_annotation_is_checked() {
    let key = |key: &str| read(&json!({"breakGlassAnnotation": key}));
    assert!(key(&"a".repeat(MAX_KEY)).is_ok());
    for bad in ["", "a b", "ä", &*"a".repeat(MAX_KEY + 1)] {
        assert!(key(bad).is_err(), "{bad}");
    }
}
