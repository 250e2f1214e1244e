//! An inspection in, the message that shows it out.

use portcullis_core::decide::printable;
use portcullis_core::evidence::Rejection;
use portcullis_core::referrers::{CREATED, Descriptor};
use portcullis_core::signature::{CertificateFacts, Check};
use portcullis_proto::v1;

use super::{count, digest, evidence, report, timestamp};
use crate::evidence::collect::{Attached, Failure, Outcome, SeenSignature};
use crate::inspect::{Inspected, Inspection};

/// The most artifacts of one manifest in a message.
pub const MAX_ATTACHED: usize = 256;
/// The longest foreign text in a message, in bytes.
const MAX_FOREIGN: usize = 256;

pub(crate) fn inspection(inspection: &Inspection) -> v1::GetEvidenceResponse {
    v1::GetEvidenceResponse {
        image: inspection.image.to_string(),
        manifests: inspection.manifests.iter().map(manifest).collect(),
        evaluated_at: Some(timestamp(inspection.evaluated_at)),
        trust_revision: inspection.trust.to_string(),
    }
}

fn manifest(inspected: &Inspected) -> v1::InspectedManifest {
    let Inspected { subject, document, attached } = inspected;
    let (media_type, size) = document.clone().unwrap_or_default();
    v1::InspectedManifest {
        evidence: Some(evidence(subject)),
        media_type: foreign(&media_type),
        size,
        artifacts: attached.iter().take(MAX_ATTACHED).map(artifact).collect(),
        artifacts_total: count(attached.len()),
    }
}

fn artifact(attached: &Attached) -> v1::AttachedArtifact {
    let Attached { descriptor, role, layer, signatures, outcome } = attached;
    let (reason, detail) = match outcome {
        Outcome::Failed(failure) => why(failure),
        Outcome::Unreadable(Some(rejection)) => rejected(rejection),
        Outcome::Unreadable(None) => {
            (String::new(), "it is no VEX document that can be used".to_owned())
        }
        _ => (String::new(), String::new()),
    };
    v1::AttachedArtifact {
        digest: digest(Some(descriptor.digest)),
        artifact_type: foreign(descriptor.artifact_type.as_deref().unwrap_or_default()),
        size: descriptor.size,
        role: role.as_str().to_owned(),
        verdict: outcome.as_str().to_owned(),
        reason,
        detail,
        layer: layer.as_ref().map(blob),
        report: match outcome {
            Outcome::Report(good) | Outcome::Superseded(good) => Some(report(good)),
            _ => None,
        },
        vex_statements: match outcome {
            Outcome::Vex(statements) => count(statements.vex.statements.len()),
            _ => 0,
        },
        signatures: signatures.iter().map(signature).collect(),
        created: foreign(descriptor.annotations.get(CREATED).map_or("", String::as_str)),
    }
}

fn signature(seen: &SeenSignature) -> v1::InspectedSignature {
    let SeenSignature { descriptor, layer, checks, certificates, envelope, failure } = seen;
    let (reason, detail) = failure.as_ref().map(why).unwrap_or_default();
    v1::InspectedSignature {
        digest: digest(Some(descriptor.digest)),
        size: descriptor.size,
        envelope: layer.as_ref().map(blob),
        verdict: match failure {
            None => "accepted",
            Some(Failure::Rejected(_)) => "rejected",
            Some(Failure::Unavailable(_)) => "unavailable",
            Some(Failure::TooMuch) => "not_looked_at",
        }
        .to_owned(),
        reason,
        detail,
        checks: checks.iter().map(check).collect(),
        certificates: certificates.iter().map(certificate).collect(),
        algorithm: envelope.as_ref().map_or("", |e| e.algorithm.name()).to_owned(),
        scheme: envelope.as_ref().map_or("", |e| e.scheme.as_str()).to_owned(),
        signed_at: envelope.as_ref().map(|e| timestamp(e.signing_time)),
        expires_at: envelope.as_ref().and_then(|e| e.expiry).map(timestamp),
    }
}

fn check(check: &Check) -> v1::VerificationCheck {
    v1::VerificationCheck {
        name: check.name.as_str().to_owned(),
        verdict: check.verdict.as_str().to_owned(),
        detail: check.detail.clone().unwrap_or_default(),
    }
}

fn certificate(facts: &CertificateFacts) -> v1::Certificate {
    v1::Certificate {
        subject: facts.subject.clone(),
        issuer: facts.issuer.clone(),
        serial: facts.serial.clone(),
        not_before: Some(timestamp(facts.not_before)),
        not_after: Some(timestamp(facts.not_after)),
        fingerprint: facts.fingerprint.clone(),
        key: facts.key.clone(),
        store: facts.store.clone().unwrap_or_default(),
    }
}

fn blob(descriptor: &Descriptor) -> v1::Blob {
    v1::Blob {
        media_type: foreign(&descriptor.media_type),
        digest: digest(Some(descriptor.digest)),
        size: descriptor.size,
    }
}

fn why(failure: &Failure) -> (String, String) {
    match failure {
        Failure::Rejected(rejection) => rejected(rejection),
        Failure::Unavailable(cause) => (cause.kind.as_str().to_owned(), cause.detail.clone()),
        Failure::TooMuch => (
            String::new(),
            "one search looks at no more, as many as there are before it".to_owned(),
        ),
    }
}

fn rejected(rejection: &Rejection) -> (String, String) {
    (rejection.reason.as_str().to_owned(), rejection.detail.clone())
}

fn foreign(text: &str) -> String {
    printable(text, MAX_FOREIGN)
}
