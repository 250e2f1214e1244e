//! What is parsed of foreign bytes in, whether a fuzz target parses them too out.
//!
//! `.ci/fuzz SECONDS` runs each target; `.ci/run` does so for a few seconds at each change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What others write and we parse (CASES T142), and the target that parses it.
const PARSED: [(&str, &str); 24] = [
    ("an image reference or a digest", "reference"),
    ("a manifest or an index", "manifest"),
    ("a signature of Notary", "envelope"),
    ("a signature of cosign", "bundle"),
    ("an envelope of attestations, and the statement in it", "dsse"),
    ("a certificate", "certificate"),
    ("a revocation list", "crl"),
    ("an answer about revocation", "ocsp"),
    ("a time stamp", "timestamp"),
    ("a trust policy", "trust_policy"),
    ("a report of Trivy", "report"),
    ("a report of Grype", "grype"),
    ("a report in SARIF", "sarif"),
    ("a report in CycloneDX", "cyclonedx"),
    ("a VEX document", "openvex"),
    ("`WWW-Authenticate`", "challenge"),
    ("`Link`", "link"),
    ("`Retry-After`", "retry_after"),
    ("a token", "token"),
    ("a rule file", "rules"),
    ("a label selector", "selector"),
    ("an event of a registry", "event"),
    ("a question, as it comes over the wire", "message"),
    ("a review of an API server", "admission_review"),
];

#[test]
fn t142_what_others_write_has_a_fuzz_target_that_is_run() {
    let targets = targets();
    let manifest = read("fuzz/Cargo.toml");
    let built: BTreeSet<_> = manifest
        .split("[[bin]]")
        .skip(1)
        .map(|bin| bin.split('"').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(built, targets, "what is built is not what there is");
    let without: Vec<_> = PARSED.iter().filter(|(_, target)| !targets.contains(*target)).collect();
    assert!(without.is_empty(), "{without:?}");
    assert!(read(".ci/fuzz").contains("cargo \"$toolchain\" fuzz list"), "not all are run");
    assert!(read(".ci/run").contains(".ci/fuzz "), "no change runs them");
}

/// The names of the files with a target.
#[cfg(test)]
fn targets() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| fs::read_to_string(path).unwrap().contains("fuzz_target!("));
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[cfg(test)]
fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

#[cfg(test)]
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
