//! `portcullis rules check`.

use std::path::{Path, PathBuf};

use super::command::{Ran, run};
use super::world::write;

const GOOD: &str = "apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - name: good
      action: deny
      maxAllowed: {critical: 0}
";

/// The largest rule file, in bytes.
const MAX_FILE: usize = 4 * 1024 * 1024;

#[track_caller]
fn check(paths: &[&Path], more: &[&str]) -> Ran {
    let paths = paths.iter().map(|path| path.to_str().unwrap());
    run(&["rules", "check"]
        .into_iter()
        .chain(paths)
        .chain(more.iter().copied())
        .collect::<Vec<_>>())
}

/// One file of this content, in a folder.
fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "rules.yaml", content);
    (folder, path)
}

#[test]
fn good_rules_are_usable() {
    let (folder, path) = file(GOOD);
    for named in [path.as_path(), folder.path()] {
        let ran = check(&[named], &[]).ends_with(0);
        assert!(ran.stdout.starts_with("1 rule is usable, revision "), "{ran:#?}");
    }
    let json = check(&[&path], &["--output", "json"]).ends_with(0).json();
    assert_eq!((&json["usable"], &json["rules"]), (&true.into(), &1.into()));
    assert!(json["revision"].is_string() && json["errors"] == serde_json::json!([]), "{json}");
}

#[test]
fn the_examples_are_usable() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rules");
    check(&[&examples], &[]).ends_with(0);
}

#[test]
fn every_fault_is_shown_with_line_and_column() {
    let (_folder, path) = file(GOOD.replace("action: deny", "actoin: deny"));
    let ran = check(&[&path], &[]).ends_with(1);
    let place = format!("{}:6:7: error: unknown field `actoin`", path.display());
    assert!(ran.stdout.starts_with(&place), "{ran:#?}");
    let json = check(&[&path], &["--output", "json"]).ends_with(1).json();
    let error = &json["errors"][0];
    assert_eq!(json["usable"], false);
    assert_eq!((&error["line"], &error["column"]), (&6.into(), &7.into()));
}

#[test]
fn a_fault_in_one_file_of_two_is_shown_under_its_name() {
    let (folder, good) = file(GOOD);
    let bad = write(folder.path(), "b.yaml", GOOD.replace("good", "bad").replace("deny", "dney"));
    let ran = check(&[&good, &bad], &[]).ends_with(1);
    assert!(ran.stdout.starts_with(&format!("{}:6:", bad.display())), "{ran:#?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:#?}");
}

#[test]
fn a_shadowed_rule_is_a_warning() {
    let audit = "    - name: also\n      action: audit\n      maxAllowed: {high: 0}\n";
    let (_folder, path) = file(format!("{GOOD}{audit}"));
    let ran = check(&[&path], &[]).ends_with(0);
    assert!(ran.stdout.contains(": warning: "), "{ran:#?}");
}

#[test]
fn an_exemption_that_has_ended_is_a_warning() {
    let exemption = "  exemptions:
    - name: old
      match: [{field: pod, operator: equals, values: [a]}]
      until: 2020-01-01
      owner: me
      reason: none
";
    let (_folder, path) = file(format!("{GOOD}{exemption}"));
    let ran = check(&[&path], &[]).ends_with(0);
    assert!(ran.stdout.contains(":9:7: warning: exemption `old` ended at 2020-01-02"), "{ran:#?}");
}

#[test]
fn the_schema_is_printed_as_it_is_shipped() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.schema.json");
    let ran = run(&["rules", "schema"]).ends_with(0);
    assert_eq!(ran.stdout, std::fs::read_to_string(shipped).unwrap());
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    check(&[&folder.path().join("none.yaml")], &[]).complains_of(&["none.yaml`", "No such file"]);
    check(&[folder.path()], &[]).complains_of(&["no `.yaml` or `.yml` file"]);
}

#[test]
fn a_pipe_in_a_folder_is_named_and_not_waited_for() {
    let (folder, _path) = file(GOOD);
    let pipe = folder.path().join("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    check(&[folder.path()], &[]).complains_of(&["pipe.yaml` is not a file", "move it"]);
}

#[test]
fn the_largest_file_is_read_and_one_byte_more_is_not() {
    let comment = "#".repeat(MAX_FILE - GOOD.len());
    let (_folder, path) = file(GOOD.to_owned() + &comment);
    check(&[&path], &[]).ends_with(0);
    let (_folder, path) = file(GOOD.to_owned() + &comment + "#");
    check(&[&path], &[]).complains_of(&["rules.yaml`", "4194305 bytes long", "4194304 allowed"]);
}

#[test]
fn what_is_not_yaml_is_refused() {
    let (_folder, path) = file([0x80, 0xff, 0x00, 0xc3]);
    check(&[&path], &[]).complains_of(&["rules.yaml` is not UTF-8 text"]);
    let (_folder, path) = file([0; 100]);
    let ran = check(&[&path], &[]).ends_with(1);
    assert!(ran.stdout.contains("rules.yaml:1:1: error: the file is not readable"), "{ran:#?}");
    let (_folder, path) = file("");
    let ran = check(&[&path], &[]).ends_with(1);
    // It has no line that could be shown.
    assert!(ran.stdout.contains("rules.yaml: error: the file holds no document"), "{ran:#?}");
}

/// The YAML blocks of a document that hold rules.
fn documented(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("kind: Policy")).map(str::to_owned).collect()
}

#[test]
fn the_rules_in_the_documents_are_usable() {
    for document in ["README.md", "docs/configuration.md"] {
        let blocks = documented(document);
        assert_eq!(blocks.len(), 1, "{document}");
        for block in blocks {
            let (_folder, path) = file(&block);
            check(&[&path], &[]).ends_with(0);
        }
    }
}
