//! Every registry with every envelope and every format: what others attached and signed is read.

use std::fs;
use std::path::Path;
use std::process::Command;

use portcullis_core::findings::Severity;
use portcullis_testkit::attach::Artifact;
use portcullis_testkit::report::TrivyReport;
use serde_json::Value;

use super::host::{Peer, Registry, all_there, run};
use super::notary::Notary;

/// The finding that denies.
const CVE: &str = "CVE-2022-37434";

#[test]
fn without_the_referrers_api_every_format_is_read_from_every_envelope() {
    every_format(Peer::DockerRegistry);
}

#[test]
fn with_the_referrers_api_every_format_is_read_from_every_envelope() {
    every_format(Peer::Olareg);
}

fn every_format(peer: Peer) {
    if !all_there(&["oras", "crane", "notation", peer.program()], peer) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(peer, folder.path());
    let notary = Notary::new(folder.path());
    notary.generate("scanner");
    for envelope in ["jws", "cose"] {
        for format in ["statement", "trivy", "sarif", "grype"] {
            let image = format!("{}/{envelope}/{format}:v1", registry.host());
            let subject = registry.push_image(folder.path(), &image);
            let artifact = artifact(format, &subject);
            let report = attach(folder.path(), &image, &artifact);
            let repository = image.strip_suffix(":v1").unwrap();
            notary.sign(&registry, "scanner", envelope, &format!("{repository}@{report}"));
            let denied = notary.check(&registry, "scanner", &image);
            denied.is_denied_for(CVE);
            denied.names_signer("scanner");
        }
    }
}

/// A report with one critical finding.
fn artifact(format: &str, subject: &str) -> Artifact {
    let scanned = time::OffsetDateTime::now_utc() - time::Duration::hours(1);
    let report = TrivyReport::new(scanned)
        .finding(CVE, Severity::Critical, "zlib", "1.2.11", "1.2.12")
        .score(9.8);
    let subject = subject.parse().unwrap();
    match format {
        "statement" => Artifact::statement(&report, "team/app", subject),
        "trivy" => Artifact::trivy(&report, "team/app"),
        "sarif" => Artifact::sarif(&report, "team/app"),
        _ => Artifact::grype(&report),
    }
    .unwrap()
}

/// Attaches it with oras, and gives the digest of its manifest.
fn attach(folder: &Path, image: &str, artifact: &Artifact) -> String {
    fs::write(folder.join("report.json"), &artifact.layer).unwrap();
    let mut attach = Command::new("oras");
    attach.current_dir(folder).args(["attach", "--plain-http", "--format", "json"]);
    attach.args(["--artifact-type", &artifact.artifact_type]);
    for (key, value) in &artifact.annotations {
        attach.arg("--annotation").arg(format!("{key}={value}"));
    }
    attach.arg(image).arg(format!("report.json:{}", artifact.media_type));
    let answer: Value = serde_json::from_str(&run(&mut attach)).unwrap();
    answer["digest"].as_str().unwrap().to_owned()
}
