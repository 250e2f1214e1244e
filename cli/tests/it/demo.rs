//! `portcullis demo` and the help.

use std::collections::BTreeSet;

use serde_json::Value;

use super::command::run;

const ACTIONS: [(&str, &str); 7] = [
    ("clean", "allow"),
    ("critical", "deny"),
    ("accepted", "allow"),
    ("unscanned", "deny"),
    ("unsigned", "deny"),
    ("tampered", "deny"),
    ("multi", "deny"),
];

#[test]
fn the_demo_in_json_has_the_documented_shape_and_actions() {
    let document = run(&["demo", "--once", "--output", "json"]).ends_with(0).json();
    let checks = document["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 2 * ACTIONS.len());
    for (at, check) in checks.iter().enumerate() {
        let (name, action) = ACTIONS[at % ACTIONS.len()];
        assert!(check["image"].as_str().unwrap().ends_with(&format!("/demo/{name}:1.0")));
        assert_eq!(check["action"], action, "{name}");
        has_the_shape(check);
        let source = if at < ACTIONS.len() { "registry" } else { "memory" };
        assert_eq!(check["evidence"]["source"], source, "{name}");
    }
}

#[track_caller]
fn has_the_shape(check: &Value) {
    let keys: BTreeSet<_> = check.as_object().unwrap().keys().map(String::as_str).collect();
    for key in ["image", "digest", "action", "rule", "violations", "evidence", "took_us"] {
        assert!(keys.contains(key), "`{key}` is not in {keys:?}");
    }
    let denied = check["action"] == "deny";
    assert!(check["digest"].as_str().unwrap().starts_with("sha256:"), "{check}");
    assert_eq!(check["rule"], if denied { "no-known-high-risk" } else { "" });
    assert_eq!(!check["violations"].as_array().unwrap().is_empty(), denied, "{check}");
    assert!(check["evidence"]["status"].is_string(), "{check}");
    assert!(check["took_us"].as_u64().unwrap() > 0, "{check}");
}

#[test]
fn the_demo_in_a_pipe_has_no_escape_codes() {
    let ran = run(&["demo", "--once"]).ends_with(0);
    for (name, _) in ACTIONS {
        assert!(ran.stdout.contains(&format!("/demo/{name}")), "{name}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\x1b'), "{:?}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn the_demo_leaves_no_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = super::command::portcullis(&["demo", "--once"]);
    assert!(command.env("TMPDIR", folder.path()).output().unwrap().status.success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_listens_on_loopback_only() {
    run(&["demo", "--once", "--listen", "0.0.0.0:0"]).complains_of(&["`0.0.0.0:0`", "loopback"]);
}

#[test]
fn every_command_has_help() {
    let commands: [&[&str]; 7] =
        [&[], &["demo"], &["serve"], &["check"], &["attach"], &["rules"], &["rules", "check"]];
    for command in commands {
        let ran = run(&[command, &["--help"]].concat()).ends_with(0);
        assert!(ran.stdout.contains("Usage: portcullis"), "{ran:#?}");
        assert!(!ran.stdout.contains('\x1b'), "{ran:#?}");
    }
}
