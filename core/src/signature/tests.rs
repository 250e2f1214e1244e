//! The chain from a signature over a report to an image: each link, cut one at a time.

use bytes::Bytes;
use serde_json::json;
use time::macros::datetime;

use super::envelope::{EnvelopeError, MAX_ENVELOPE};
use super::sign::{Format, Target};
use super::testing::*;
use super::*;
use crate::evidence::Reason;
use crate::findings::MAX_REPORT;
use crate::referrers::{DOCKER_MANIFEST, NOTARY_SIGNATURE, OCI_INDEX, OCI_MANIFEST};

mod levels;
mod steps;

#[test]
fn a_signed_report_is_verified_with_every_kind_of_key_and_envelope() {
    use KeyKind::{P256, P384, P521, Rsa2048, Rsa3072, Rsa4096};
    for kind in [P256, P384, P521, Rsa2048, Rsa3072, Rsa4096] {
        let made = Plan::with(|plan| plan.leaf_key = kind).make();
        let key = made.signing_key();
        for format in [Format::Jws, Format::Cose] {
            let case = Case::new(&key, format, None);
            let verified = case
                .verify(&made.trust(), NOW)
                .unwrap_or_else(|error| panic!("{kind:?} {format:?}: {error:?}"));
            assert_eq!(verified.bytes(), &*case.report_blob);
            assert_eq!(verified.subject(), case.subject);
            assert_eq!(verified.report(), Digest::of(case.report.to_string().as_bytes()));
            assert_eq!(verified.media_type(), "application/json");
            assert_eq!(
                *verified.annotations(),
                [("a", "manifest"), ("b", "layer"), ("c", "layer")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            );
            assert!(verified.notices().is_empty());
            let signer = verified.signer();
            assert_eq!(signer.subject, "CN=scanner,O=acme,ST=WA,C=US");
            assert_eq!(signer.fingerprint, key.thumbprints()[0]);
            assert_eq!(signer.policy, "scanners");
            assert_eq!(signer.signed_at, Some(datetime!(2026-05-01 12:30 UTC)));
        }
    }
}

/// The default chain, its key and a signed case.
fn signed() -> (Made, Case) {
    let made = Plan::default().make();
    let case = Case::new(&made.signing_key(), Format::Jws, None);
    (made, case)
}

#[track_caller]
fn cut(change: impl FnOnce(&mut Case), expected: fn(&SignatureError) -> bool, reason: Reason) {
    let (made, mut case) = signed();
    case.verify(&made.trust(), NOW).expect("it is good before the change");
    change(&mut case);
    let error = case.verify(&made.trust(), NOW).expect_err("the link is cut");
    assert!(expected(&error), "{error:?}");
    assert_eq!(error.reason(), reason);
}

#[test]
fn a_report_on_another_image_is_refused() {
    let is = |e: &SignatureError| matches!(e, SignatureError::ReportSubject { .. });
    cut(|case| case.subject = Digest::of(b"other"), is, Reason::WrongSubject);
    // The report can only be changed to fit with its signature broken.
    cut(
        |case| case.report["subject"]["digest"] = json!(Digest::of(b"other")),
        is,
        Reason::WrongSubject,
    );
    cut(
        |case| drop(case.report.as_object_mut().unwrap().remove("subject")),
        |e| matches!(e, SignatureError::ReportSubject { about: None, .. }),
        Reason::WrongSubject,
    );
}

#[test]
fn a_changed_report_manifest_is_refused() {
    cut(
        |case| case.report["annotations"]["a"] = "other".into(),
        |e| matches!(e, SignatureError::SignatureSubject { .. }),
        Reason::WrongSubject,
    );
    // Even if the signature artifact is pushed anew for it.
    cut(
        |case| {
            case.report["annotations"]["a"] = "other".into();
            let manifest = case.report.to_string();
            case.signature["subject"] = descriptor(OCI_MANIFEST, manifest.as_bytes());
        },
        |e| matches!(e, SignatureError::Target { .. }),
        Reason::WrongSubject,
    );
}

#[test]
fn a_changed_report_is_refused() {
    let is = |e: &SignatureError| matches!(e, SignatureError::Blob { role: Role::Report, .. });
    for blob in [&br#"{"a":"REPORT"}"#[..], br#"{"a":"report"} "#, b""] {
        cut(|case| case.report_blob = blob.into(), is, Reason::BadSignature);
    }
    let envelope =
        |e: &SignatureError| matches!(e, SignatureError::Blob { role: Role::Signature, .. });
    cut(|case| case.envelope = Bytes::from_static(b"{}"), envelope, Reason::BadSignature);
}

#[test]
fn a_layer_size_that_is_not_the_real_one_is_refused() {
    // CASES T024.
    for size in [0_u64, 1 << 62] {
        cut(
            |case| case.signature["layers"][0]["size"] = size.into(),
            |e| matches!(e, SignatureError::Blob { role: Role::Signature, .. }),
            Reason::BadSignature,
        );
    }
    cut(
        |case| case.signature["layers"][0]["size"] = (-1).into(),
        |e| matches!(e, SignatureError::Manifest { role: Role::Signature, .. }),
        Reason::Malformed,
    );
}

#[test]
fn a_signature_on_something_else_is_refused() {
    cut(
        |case| case.signature["subject"]["digest"] = json!(case.subject),
        |e| matches!(e, SignatureError::SignatureSubject { about: Some(_), .. }),
        Reason::WrongSubject,
    );
    cut(
        |case| drop(case.signature.as_object_mut().unwrap().remove("subject")),
        |e| matches!(e, SignatureError::SignatureSubject { about: None, .. }),
        Reason::WrongSubject,
    );
    for (field, value) in [("size", json!(1)), ("mediaType", json!("a/b"))] {
        cut(
            |case| case.signature["subject"][field] = value,
            |e| matches!(e, SignatureError::SignatureDescriptor { .. }),
            Reason::WrongSubject,
        );
    }
}

#[test]
fn a_payload_that_names_something_else_is_refused() {
    let (made, case) = signed();
    let key = made.signing_key();
    let manifest = case.report.to_string();
    let check = |target: Target, expected: fn(&SignatureError) -> bool| {
        for format in [Format::Jws, Format::Cose] {
            let mut case = case.clone();
            let envelope = key.sign(format, &target, SIGNED_AT, None).unwrap();
            case.enclose(format.media_type(), envelope);
            let error = case.verify(&made.trust(), NOW).unwrap_err();
            assert!(expected(&error), "{error:?}");
            assert_eq!(error.reason(), Reason::WrongSubject);
        }
    };
    let good = Target {
        media_type: OCI_MANIFEST.to_owned(),
        digest: Digest::of(manifest.as_bytes()),
        size: manifest.len() as u64,
    };
    // A signature that the same signer made for the image itself.
    check(Target { digest: case.subject, ..good.clone() }, |e| {
        matches!(e, SignatureError::Target { .. })
    });
    check(Target { size: good.size + 1, ..good.clone() }, |e| {
        matches!(e, SignatureError::TargetDescriptor { .. })
    });
    check(Target { media_type: "a/b".to_owned(), ..good }, |e| {
        matches!(e, SignatureError::TargetDescriptor { .. })
    });
}

#[test]
fn a_payload_that_is_no_payload_is_refused() {
    let (made, case) = signed();
    let manifest = case.report.to_string();
    let target = json!({
        "mediaType": OCI_MANIFEST,
        "digest": Digest::of(manifest.as_bytes()),
        "size": manifest.len(),
    });
    let verify = |payload: &str| {
        let mut case = case.clone();
        let envelope = forge_jws(&made.signing_key(), &headers().to_string(), payload.as_bytes());
        case.enclose("application/jose+json", envelope.to_string().into_bytes());
        case.verify(&made.trust(), NOW)
    };
    let mut noted = target.clone();
    noted["annotations"] = json!({"a": "b"});
    verify(&json!({"targetArtifact": noted}).to_string()).unwrap();
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        target.to_string(),
        json!([target]).to_string(),
        json!({"targetArtifact": null}).to_string(),
        json!({"targetArtifact": [target["mediaType"], target["digest"], target["size"]]})
            .to_string(),
        format!(r#"{{"targetArtifact":{target},"targetArtifact":{target}}}"#),
    ] {
        let error = verify(&bad).unwrap_err();
        assert!(matches!(error, SignatureError::Payload(_)), "{bad:?} gave {error:?}");
    }
}

#[test]
fn a_manifest_has_one_reading_and_one_layer() {
    for role in [Role::Report, Role::Signature] {
        let manifest = |case: &mut Case, change: &dyn Fn(&mut serde_json::Value)| match role {
            Role::Report => change(&mut case.report),
            Role::Signature => change(&mut case.signature),
        };
        let layers = |e: &SignatureError| matches!(e, SignatureError::Layers { .. });
        cut(|case| manifest(case, &|m| m["layers"] = json!([])), layers, Reason::Malformed);
        let double = |m: &mut serde_json::Value| {
            let layer = m["layers"][0].clone();
            m["layers"].as_array_mut().unwrap().push(layer);
        };
        cut(|case| manifest(case, &double), layers, Reason::Malformed);
        let unreadable = |e: &SignatureError| matches!(e, SignatureError::Manifest { .. });
        cut(|case| manifest(case, &|m| m["manifests"] = json!([])), unreadable, Reason::Malformed);
        cut(|case| manifest(case, &|m| *m = json!("text")), unreadable, Reason::Malformed);
    }
    let declared = |e: &SignatureError| matches!(e, SignatureError::Manifest { .. });
    cut(|case| case.report_type = DOCKER_MANIFEST.to_owned(), declared, Reason::Malformed);
    cut(|case| case.signature_type = "application/json".to_owned(), declared, Reason::Malformed);
    cut(
        |case| {
            case.report = json!({"mediaType": OCI_INDEX, "manifests": []});
            case.report_type = OCI_INDEX.to_owned();
        },
        |e| matches!(e, SignatureError::Index { role: Role::Report }),
        Reason::Malformed,
    );
    cut(
        |case| case.signature["annotations"] = json!({"a": "b".repeat(4 << 20)}),
        |e| matches!(e, SignatureError::Manifest { .. }),
        Reason::TooLarge,
    );
}

#[test]
fn only_signature_artifacts_with_an_envelope_are_read() {
    cut(
        |case| case.signature["artifactType"] = "application/vnd.other".into(),
        |e| matches!(e, SignatureError::ArtifactType(_)),
        Reason::Malformed,
    );
    for media_type in ["application/json", "application/cose"] {
        cut(
            |case| case.signature["layers"][0]["mediaType"] = media_type.into(),
            |e| matches!(e, SignatureError::Envelope(_)),
            Reason::BadSignature,
        );
    }
    // Older pushers state the artifact type in the config.
    let (made, mut case) = signed();
    case.signature.as_object_mut().unwrap().remove("artifactType");
    case.signature["config"]["mediaType"] = NOTARY_SIGNATURE.into();
    case.verify(&made.trust(), NOW).unwrap();
}

#[test]
fn blobs_are_refused_one_byte_past_their_bounds() {
    cut(
        |case| case.report_blob = vec![0; MAX_REPORT + 1].into(),
        |e| matches!(e, SignatureError::ReportTooLarge { .. }),
        Reason::TooLarge,
    );
    cut(
        |case| case.report_blob = vec![0; MAX_REPORT].into(),
        |e| matches!(e, SignatureError::Blob { .. }),
        Reason::BadSignature,
    );
    cut(
        |case| case.enclose("application/jose+json", vec![b' '; MAX_ENVELOPE + 1]),
        |e| matches!(e, SignatureError::Envelope(EnvelopeError::TooLarge { .. })),
        Reason::TooLarge,
    );
}
