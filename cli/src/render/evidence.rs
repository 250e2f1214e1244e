//! What is attached to an image, and what of it is believed, as a tree or as JSON.

use std::io;

use portcullis_proto::v1;
use serde_json::{Value, json};

use super::tree::{Ink, Mark, Node, draw};
use super::{age, json_document, json_evidence, status_word, time_text, write};
use crate::args::Output;

/// Writes the chain from an image to who vouches for what is said of it.
pub(crate) fn evidence(answer: &v1::GetEvidenceResponse, output: Output) -> io::Result<()> {
    match output {
        Output::Json => json_document(&json_answer(answer)),
        Output::Table => write(&draw(&tree(answer), Ink::of_output())),
    }
}

fn tree(answer: &v1::GetEvidenceResponse) -> Node {
    let mut root = Node::plain(&answer.image);
    let Some((own, platforms)) = answer.manifests.split_first() else {
        return root;
    };
    let mut own = manifest(own);
    for platform in platforms {
        own.add(manifest(platform));
    }
    root.add(own);
    let at = time_text(answer.evaluated_at.as_ref()).unwrap_or_default();
    root.with(Node::plain(format!("looked at {at}, trust {}", answer.trust_revision)))
}

fn manifest(manifest: &v1::InspectedManifest) -> Node {
    let nothing = v1::Evidence::default();
    let evidence = manifest.evidence.as_ref().unwrap_or(&nothing);
    let status = evidence.status();
    let mark = match status {
        v1::EvidenceStatus::Verified => Mark::Good,
        v1::EvidenceStatus::Missing => Mark::Doubt,
        _ => Mark::Bad,
    };
    let what = if evidence.platform.is_empty() { "image" } else { evidence.platform.as_str() };
    let mut text = what.to_owned();
    if !evidence.digest.is_empty() {
        text.push_str(&format!(" {}", evidence.digest));
    }
    let about = of(&manifest.media_type, manifest.size);
    if !about.is_empty() {
        text.push_str(&format!(" ({about})"));
    }
    text.push_str(&format!(": {}", status_word(status)));
    if !evidence.detail.is_empty() {
        text.push_str(&format!(", {}", evidence.detail));
    }
    let mut node = Node::new(mark, text);
    if status != v1::EvidenceStatus::Unspecified
        && manifest.artifacts.is_empty()
        && manifest.size > 0
    {
        node.add(Node::plain("nothing is attached"));
    }
    for attached in &manifest.artifacts {
        node.add(artifact(attached));
    }
    let more = (manifest.artifacts_total as usize).saturating_sub(manifest.artifacts.len());
    if more > 0 {
        node.add(Node::plain(format!("and {more} more attached")));
    }
    node
}

fn artifact(attached: &v1::AttachedArtifact) -> Node {
    let mark = match attached.verdict.as_str() {
        "accepted" => Mark::Good,
        "rejected" | "unreadable" | "unavailable" => Mark::Bad,
        _ if attached.role == "other" => Mark::None,
        _ => Mark::Doubt,
    };
    let mut node = Node::new(
        mark,
        format!(
            "{} {} ({}): {}",
            if attached.role == "other" { "artifact" } else { &attached.role },
            attached.digest,
            of(&attached.artifact_type, attached.size),
            verdict(&attached.verdict, &attached.reason, &attached.detail),
        ),
    );
    if !attached.created.is_empty() {
        node.add(Node::plain(format!("created {}, as its annotation claims", attached.created)));
    }
    if let Some(layer) = &attached.layer {
        node.add(blob("layer", layer));
    }
    if let Some(report) = &attached.report {
        node.add(Node::plain(summary(report)));
    }
    if attached.role == "vex" && attached.verdict == "accepted" {
        node.add(Node::plain(format!("{} statements", attached.vex_statements)));
    }
    for signed in &attached.signatures {
        node.add(signature(signed));
    }
    node
}

fn summary(report: &v1::Report) -> String {
    let counts = report.counts.unwrap_or_default();
    let counts = [
        (counts.critical, "critical"),
        (counts.high, "high"),
        (counts.medium, "medium"),
        (counts.low, "low"),
        (counts.negligible, "negligible"),
        (counts.unknown, "unknown"),
    ];
    let counts: Vec<_> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let counts = if counts.is_empty() { "no findings".to_owned() } else { counts.join(", ") };
    let at = time_text(report.scanned_at.as_ref()).unwrap_or_default();
    let age = report.scanned_at.as_ref().map(age).unwrap_or_default();
    format!("scanned by {} at {at} ({age}): {counts}", report.scanner)
}

fn signature(signed: &v1::InspectedSignature) -> Node {
    let mark = match signed.verdict.as_str() {
        "accepted" => Mark::Good,
        "not_looked_at" => Mark::Doubt,
        _ => Mark::Bad,
    };
    let mut node = Node::new(
        mark,
        format!(
            "signature {} ({} bytes): {}",
            signed.digest,
            signed.size,
            verdict(&signed.verdict, &signed.reason, &signed.detail)
        ),
    );
    if let Some(envelope) = &signed.envelope {
        node.add(blob("envelope", envelope));
    }
    if let Some(at) = time_text(signed.signed_at.as_ref()) {
        let expires = match time_text(signed.expires_at.as_ref()) {
            Some(expires) => format!(", expires {expires}"),
            None => String::new(),
        };
        let how = [signed.algorithm.as_str(), signed.scheme.as_str()].join(", ");
        node.add(Node::plain(format!("signed {at}{expires} ({how})")));
    }
    for check in &signed.checks {
        node.add(step(check));
    }
    if !signed.certificates.is_empty() {
        let certificates = signed.certificates.iter().map(certificate);
        node.add(certificates.fold(Node::plain("certificates, leaf first"), Node::with));
    }
    node
}

fn step(check: &v1::VerificationCheck) -> Node {
    let mark = match check.verdict.as_str() {
        "passed" => Mark::Good,
        "logged" | "skipped" | "pending" => Mark::Doubt,
        _ => Mark::Bad,
    };
    let mut text = check.name.replace('_', " ");
    if check.verdict != "passed" {
        text.push_str(&format!(": {}", check.verdict));
    }
    if !check.detail.is_empty() {
        text.push_str(&format!(": {}", check.detail));
    }
    Node::new(mark, text)
}

fn certificate(certificate: &v1::Certificate) -> Node {
    let from = time_text(certificate.not_before.as_ref()).unwrap_or_default();
    let until = time_text(certificate.not_after.as_ref()).unwrap_or_default();
    let mark = if certificate.store.is_empty() { Mark::None } else { Mark::Good };
    let trusted = match certificate.store.as_str() {
        "" => String::new(),
        store => format!(", in trust store {store}"),
    };
    Node::new(mark, format!("{}{trusted}", certificate.subject))
        .with(Node::plain(format!(
            "issued by {}, serial {}",
            certificate.issuer, certificate.serial
        )))
        .with(Node::plain(format!("valid {from} to {until}, key {}", certificate.key)))
        .with(Node::plain(format!("sha256 {}", certificate.fingerprint)))
}

fn blob(what: &str, blob: &v1::Blob) -> Node {
    Node::plain(format!("{what} {} ({})", blob.digest, of(&blob.media_type, blob.size)))
}

/// Media type and length, as far as they are known.
fn of(media_type: &str, size: u64) -> String {
    match (media_type, size) {
        ("", 0) => String::new(),
        ("", size) => format!("{size} bytes"),
        (media_type, size) => format!("{media_type}, {size} bytes"),
    }
}

fn verdict(verdict: &str, reason: &str, detail: &str) -> String {
    let verdict = verdict.replace('_', " ");
    match (reason, detail) {
        ("", "") => verdict,
        ("", detail) => format!("{verdict}: {detail}"),
        (reason, "") => format!("{verdict}, {reason}"),
        (reason, detail) => format!("{verdict}, {reason}: {detail}"),
    }
}

fn json_answer(answer: &v1::GetEvidenceResponse) -> Value {
    json!({
        "image": answer.image,
        "evaluated_at": time_text(answer.evaluated_at.as_ref()),
        "trust_revision": answer.trust_revision,
        "manifests": answer.manifests.iter().map(|m| json!({
            "evidence": m.evidence.as_ref().map(json_evidence),
            "media_type": m.media_type,
            "size": m.size,
            "artifacts_total": m.artifacts_total,
            "artifacts": m.artifacts.iter().map(json_artifact).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn json_artifact(attached: &v1::AttachedArtifact) -> Value {
    json!({
        "digest": attached.digest,
        "artifact_type": attached.artifact_type,
        "size": attached.size,
        "created": attached.created,
        "role": attached.role,
        "verdict": attached.verdict,
        "reason": attached.reason,
        "detail": attached.detail,
        "layer": attached.layer.as_ref().map(json_blob),
        "report": attached.report.as_ref().map(super::json_report),
        "vex_statements": attached.vex_statements,
        "signatures": attached.signatures.iter().map(json_signature).collect::<Vec<_>>(),
    })
}

fn json_signature(signed: &v1::InspectedSignature) -> Value {
    json!({
        "digest": signed.digest,
        "size": signed.size,
        "envelope": signed.envelope.as_ref().map(json_blob),
        "verdict": signed.verdict,
        "reason": signed.reason,
        "detail": signed.detail,
        "algorithm": signed.algorithm,
        "scheme": signed.scheme,
        "signed_at": time_text(signed.signed_at.as_ref()),
        "expires_at": time_text(signed.expires_at.as_ref()),
        "checks": signed.checks.iter().map(|check| json!({
            "name": check.name, "verdict": check.verdict, "detail": check.detail,
        })).collect::<Vec<_>>(),
        "certificates": signed.certificates.iter().map(|certificate| json!({
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "serial": certificate.serial,
            "not_before": time_text(certificate.not_before.as_ref()),
            "not_after": time_text(certificate.not_after.as_ref()),
            "fingerprint": certificate.fingerprint,
            "key": certificate.key,
            "store": certificate.store,
        })).collect::<Vec<_>>(),
    })
}

fn json_blob(blob: &v1::Blob) -> Value {
    json!({"media_type": blob.media_type, "digest": blob.digest, "size": blob.size})
}
