//! The command against programs that others wrote: registries, oras, crane, notation and cosign.
//!
//! Each registry holds an image; a report is attached by `oras attach` and signed by `notation sign`,
//! and the command must deny it, with the signer and the CVE. Without its signature, or under another
//! authority, it must be rejected evidence. And what `portcullis attach` signs, `notation verify` must
//! accept. What `cosign attest` of two versions attaches is denied by its key alone. Prometheus scrapes the
//! service, keeps its exemplars and evaluates the alerts; grpcurl and ghz ask it; a collector takes its traces.
//!
//! Where a program is not installed the tests say so and pass; with `PORTCULLIS_PEERS=required` they
//! fail. `.ci/tools` installs them.

use std::path::Path;

#[cfg(test)]
#[path = "peers/host.rs"]
mod host;
#[cfg(test)]
#[path = "peers/guarded.rs"]
mod guarded;
#[cfg(test)]
#[path = "peers/tokens.rs"]
mod tokens;
#[cfg(test)]
#[path = "peers/moto.rs"]
mod moto;
#[cfg(test)]
#[path = "peers/service.rs"]
mod service;
#[cfg(test)]
#[path = "peers/notary.rs"]
mod notary;
#[cfg(test)]
#[path = "peers/cosign.rs"]
mod cosign;
#[cfg(test)]
#[path = "peers/matrix.rs"]
mod matrix;
#[cfg(test)]
#[path = "peers/prometheus.rs"]
mod prometheus;
#[cfg(test)]
#[path = "peers/notified.rs"]
mod notified;
#[cfg(test)]
#[path = "peers/callers.rs"]
mod callers;
#[cfg(test)]
#[path = "peers/collector.rs"]
mod collector;

use cosign::{Cosign, Version};
use host::{Peer, Registry};
use notary::Notary;

const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

#[test]
fn a_registry_without_the_referrers_api() {
    story(Peer::DockerRegistry);
}

#[test]
fn a_registry_with_the_referrers_api() {
    story(Peer::Olareg);
}

#[test]
fn a_registry_with_passwords() {
    guarded::story();
}

#[test]
fn docker_registry_tells_that_a_report_was_pushed() {
    notified::story();
}

#[test]
fn t037_a_registry_behind_a_token_server() {
    tokens::story();
}

#[test]
fn t051_a_token_for_one_repository_opens_no_other() {
    tokens::one_repository();
}

#[test]
fn moto_as_the_token_services_of_aws() {
    moto::story();
}

#[test]
fn prometheus_as_who_scrapes_and_alerts() {
    prometheus::story();
}

#[test]
fn grpcurl_as_who_asks_by_hand() {
    callers::grpcurl();
}

#[test]
fn ghz_as_who_asks_much() {
    callers::ghz();
}

#[test]
fn an_opentelemetry_collector_as_who_takes_traces() {
    collector::story();
}

/// zot is a peer where it is installed; the module of it cannot be had everywhere.
#[test]
fn zot() {
    story(Peer::Zot);
}

#[cfg(test)]
fn story(peer: Peer) {
    if !host::all_there(&["oras", "crane", "notation", peer.program()], peer) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(peer, folder.path());
    for format in ["jws", "cose"] {
        signed_by_notation(&registry, &folder.path().join(format), format);
        signed_by_us(&registry, &folder.path().join(format!("own-{format}")), format);
    }
}

/// What oras attached and notation signed is believed; without the signature, or under another
/// authority, it is not.
#[cfg(test)]
fn signed_by_notation(registry: &Registry, folder: &Path, format: &str) {
    let notary = Notary::new(folder);
    let image = format!("{}/team/{format}:v1", registry.host());
    let subject = registry.push_image(folder, &image);
    let report = registry.attach_statement(folder, &image, &subject);
    notary.generate("scanner");
    notary.generate("stranger");

    let unsigned = notary.check(registry, "scanner", &image);
    unsigned.is_rejected("unsigned");

    let repository = image.strip_suffix(":v1").unwrap();
    notary.sign(registry, "scanner", format, &format!("{repository}@{report}"));
    let denied = notary.check(registry, "scanner", &image);
    denied.is_denied_for("CVE-2022-37434");
    denied.names_signer("CN=scanner");

    let stranger = notary.check(registry, "stranger", &image);
    stranger.is_rejected("untrusted_signer");

    registry.delete_referrers(folder, &format!("{repository}@{report}"));
    let removed = notary.check(registry, "scanner", &image);
    removed.is_rejected("unsigned");
}

/// What `portcullis attach` signs, notation accepts, and so do we.
#[cfg(test)]
fn signed_by_us(registry: &Registry, folder: &Path, format: &str) {
    let notary = Notary::new(folder);
    let image = format!("{}/own/{format}:v1", registry.host());
    registry.push_image(folder, &image);
    let (key, chain) = notary.own_authority("ours");
    let report = folder.join("trivy.json");
    std::fs::write(&report, host::trivy_report()).unwrap();
    let attached = host::run_json(
        PORTCULLIS,
        &[
            "attach",
            &image,
            "--plain-http",
            "--format",
            format,
            "--output",
            "json",
            "--report",
            report.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
            "--cert-chain",
            chain.to_str().unwrap(),
        ],
    );
    let digest = attached["report"].as_str().unwrap();
    let repository = image.strip_suffix(":v1").unwrap();
    notary.verify("ours", &format!("{repository}@{digest}"));
    let denied = notary.check(registry, "ours", &image);
    denied.is_denied_for("CVE-2022-37434");
    denied.names_signer("CN=ours");
}

#[test]
fn cosign_and_a_registry_without_the_referrers_api() {
    attested(Peer::DockerRegistry);
}

#[test]
fn cosign_and_a_registry_with_the_referrers_api() {
    attested(Peer::Olareg);
}

/// What cosign attests is believed by its key; under another key, or about another image (CASES T004),
/// it is not, and the signature of an image is no report.
#[cfg(test)]
fn attested(peer: Peer) {
    if !host::all_there(&["crane", "cosign", "cosign2", peer.program()], peer) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(peer, folder.path());
    let cosign = Cosign::new(folder.path());
    for (version, name) in [(Version::Bundle, "bundle"), (Version::Legacy, "legacy")] {
        let image = format!("{}/team/{name}:v1", registry.host());
        let repository = image.strip_suffix(":v1").unwrap();
        let digest = registry.push_image(folder.path(), &image);
        let pinned = format!("{repository}@{digest}");
        cosign.sign("scanner", &pinned);
        cosign.check(&registry, "scanner", &image).has_no_report();

        cosign.attest(version, "scanner", &pinned);
        let denied = cosign.check(&registry, "scanner", &image);
        denied.is_denied_for("CVE-2022-37434");
        denied.names_signer("key:scanner");
        cosign.check(&registry, "stranger", &image).is_rejected("untrusted_signer");
    }
    copied(&registry, &cosign, folder.path());
}

/// An attestation under the tag of another image.
#[cfg(test)]
fn copied(registry: &Registry, cosign: &Cosign, folder: &Path) {
    let repository = format!("{}/team/legacy", registry.host());
    let attested = registry.push_image(folder, &format!("{repository}:v1"));
    let other = registry.push_other_image(folder, &format!("{repository}:v2"));
    assert_ne!(attested, other);
    let tag = |digest: &str| format!("{repository}:{}.att", digest.replace(':', "-"));
    host::run(std::process::Command::new("crane").args([
        "copy",
        "--insecure",
        &tag(&attested),
        &tag(&other),
    ]));
    let answer = cosign.check(registry, "scanner", &format!("{repository}:v2"));
    answer.is_rejected("wrong_subject");
}
