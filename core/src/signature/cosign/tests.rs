use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use rcgen::{KeyPair, RsaKeySize};
use serde_json::{Value, json};

use super::testing::{
    SCOPE, bundle, check, entry, envelope, image, key, pae, read, statement, trust,
};
use super::{
    Attestation, BUNDLE, CosignEntry, CosignError, CosignTrust, CosignTrustError, DSSE,
    MAX_ATTESTATION, MAX_COSIGN_ENTRIES, MAX_DSSE_SIGNATURES, MAX_LOG_ENTRIES, MAX_TIMESTAMPS,
    Request, Trust, examine, is_attestation,
};
use crate::evidence::Reason;
use crate::findings::{COSIGN_VULN_V1, MAX_DIGESTS, MAX_SUBJECTS};
use crate::image::Digest;
use crate::referrers::IN_TOTO;

/// The reason for which an attestation of `document` is rejected, or `None` for a good one.
#[track_caller]
fn reason(document: &Value, trust: &Trust) -> Option<Reason> {
    check(document, SCOPE, image(), trust).err().map(|error| error.reason())
}

fn payload() -> Vec<u8> {
    statement().to_string().into_bytes()
}

#[test]
fn an_attestation_by_a_trusted_key_is_verified() {
    let key = key();
    let trust = trust(&[entry("scanner", "*", &key)]);
    for document in [envelope(&key, &payload()), bundle(&key, &payload())] {
        let verified = check(&document, SCOPE, image(), &trust).unwrap();
        assert_eq!(verified.bytes(), payload());
        assert_eq!(verified.subject(), image());
        assert_eq!(verified.report(), Digest::of(b"its manifest"));
        assert_eq!(verified.media_type(), IN_TOTO);
        assert!(verified.annotations().is_empty());
        let signer = verified.signer();
        assert_eq!((signer.subject.as_str(), signer.policy.as_str()), ("key:scanner", "scanner"));
        assert_eq!(signer.fingerprint.len(), 64);
        assert_eq!(signer.signed_at, None);
        assert_eq!(read(&document).unwrap().predicate_type(), COSIGN_VULN_V1);
    }
}

#[test]
fn keys_of_every_kind_that_cosign_has_are_read() {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    let of = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    for key in [
        of(&rcgen::PKCS_ECDSA_P256_SHA256),
        of(&rcgen::PKCS_ECDSA_P384_SHA384),
        of(&rcgen::PKCS_ECDSA_P521_SHA512),
        // As cosign 1 and 2 sign.
        of(&rcgen::PKCS_ECDSA_P521_SHA256),
        of(&rcgen::PKCS_ED25519),
        rsa(RsaKeySize::_2048),
        rsa(RsaKeySize::_3072),
    ] {
        let trust = trust(&[entry("scanner", "*", &key)]);
        assert_eq!(reason(&bundle(&key, &payload()), &trust), None, "{:?}", key.algorithm());
    }
}

#[test]
fn t008_a_key_that_no_entry_trusts_is_not_a_scanner() {
    let (scanner, image_author) = (key(), key());
    let trusted = trust(&[entry("scanner", "*", &scanner)]);
    for document in [envelope(&image_author, &payload()), bundle(&image_author, &payload())] {
        assert_eq!(reason(&document, &trusted), Some(Reason::UntrustedSigner));
    }
    let nobody = check(&bundle(&scanner, &payload()), SCOPE, image(), &Trust::nobody());
    assert!(matches!(nobody, Err(CosignError::NoEntry { .. })), "{nobody:?}");
}

#[test]
fn t009_a_scope_is_a_whole_repository_and_an_exact_one_beats_all() {
    let (one, all) = (key(), key());
    let trust = trust(&[entry("one", SCOPE, &one), entry("all", "*", &all)]);
    let ask = |key: &KeyPair, scope: &str| {
        check(&bundle(key, &payload()), scope, image(), &trust).map(|v| v.signer().policy.clone())
    };
    assert_eq!(ask(&one, SCOPE).unwrap(), "one");
    assert_eq!(ask(&all, SCOPE).unwrap_err().reason(), Reason::UntrustedSigner);
    for other in ["reg.io/team/app2", "reg.io/team", "reg.io/team/app/x", "reg.io.evil/team/app"] {
        assert_eq!(ask(&one, other).unwrap_err().reason(), Reason::UntrustedSigner, "{other}");
        assert_eq!(ask(&all, other).unwrap(), "all");
    }
    assert!(trust.cosign().covers("reg.io/any"));
    assert!(!super::testing::trust(&[entry("one", SCOPE, &one)]).cosign().covers("reg.io/any"));
}

#[test]
fn every_step_is_told() {
    let key = key();
    let trusted = trust(&[entry("scanner", SCOPE, &key)]);
    let told = |scope: &str, subject: Digest, document: &Value| -> Vec<_> {
        let (report, attestation) = (image(), &read(document).unwrap());
        let request = Request { scope, subject, report, attestation };
        let checks = examine(&request, &trusted, super::testing::NOW).checks;
        checks.iter().map(|check| (check.name.as_str(), check.verdict.as_str())).collect()
    };
    let good = bundle(&key, &payload());
    let all = ["envelope", "signed_target", "trust_statement", "authenticity", "identity"];
    assert_eq!(told(SCOPE, image(), &good), all.map(|name| (name, "passed")));
    let failed = |scope, subject, document| *told(scope, subject, document).last().unwrap();
    let other = Digest::of(b"another image");
    assert_eq!(failed(SCOPE, other, &good), ("signed_target", "failed"));
    assert_eq!(failed("reg.io/x", image(), &good), ("trust_statement", "failed"));
    let another = bundle(&super::testing::key(), &payload());
    assert_eq!(failed(SCOPE, image(), &another), ("authenticity", "failed"));
}

#[test]
fn several_entries_may_share_a_scope() {
    let (old, new) = (key(), key());
    let trust = trust(&[entry("old", "*", &old), entry("new", "*", &new)]);
    for (key, name) in [(&old, "key:old"), (&new, "key:new")] {
        let verified = check(&envelope(key, &payload()), SCOPE, image(), &trust).unwrap();
        assert_eq!(verified.signer().subject, name);
    }
}

#[test]
fn what_was_changed_after_signing_is_rejected() {
    let key = key();
    let trust = trust(&[entry("scanner", "*", &key)]);
    let mut other = statement();
    other["predicate"]["scanner"] = json!({"uri": "evil"});
    let other = other.to_string();
    let mut bare = envelope(&key, &payload());
    bare["payload"] = STANDARD.encode(&other).into();
    // Nothing says whose it claims to be.
    assert_eq!(reason(&bare, &trust), Some(Reason::UntrustedSigner));
    let mut whole = bundle(&key, &payload());
    whole["dsseEnvelope"]["payload"] = STANDARD.encode(&other).into();
    assert_eq!(reason(&whole, &trust), Some(Reason::BadSignature));
    let mut whole = bundle(&key, &payload());
    whole["dsseEnvelope"]["signatures"][0]["sig"] = STANDARD.encode([7; 70]).into();
    assert_eq!(reason(&whole, &trust), Some(Reason::BadSignature));
}

#[test]
fn what_is_signed_is_the_payload_with_its_type() {
    let key = key();
    let trust = trust(&[entry("scanner", "*", &key)]);
    let mut bare = envelope(&key, &payload());
    let naked = rcgen::SigningKey::sign(&key, &payload()).unwrap();
    bare["signatures"][0]["sig"] = STANDARD.encode(naked).into();
    assert_eq!(reason(&bare, &trust), Some(Reason::UntrustedSigner));
    let other_type = String::from_utf8(pae(&payload())).unwrap().replace("in-toto", "another");
    let signature = rcgen::SigningKey::sign(&key, other_type.as_bytes()).unwrap();
    bare["signatures"][0]["sig"] = STANDARD.encode(signature).into();
    assert_eq!(reason(&bare, &trust), Some(Reason::UntrustedSigner));
    let mut typed = envelope(&key, &payload());
    typed["payloadType"] = "application/json".into();
    assert_eq!(reason(&typed, &trust), Some(Reason::Malformed));
}

#[test]
fn t003_a_signed_payload_that_is_no_statement_is_malformed() {
    let key = key();
    let trust = trust(&[entry("scanner", "*", &key)]);
    let without = |member: &str| {
        let mut statement = statement();
        statement.as_object_mut().unwrap().remove(member);
        statement.to_string()
    };
    let twice = payload();
    let twice = String::from_utf8(twice).unwrap().replacen('{', r#"{"predicateType":"x","#, 1);
    for payload in [
        String::new(),
        "not JSON".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        without("_type"),
        without("predicateType"),
        twice,
    ] {
        for document in [envelope(&key, payload.as_bytes()), bundle(&key, payload.as_bytes())] {
            assert_eq!(reason(&document, &trust), Some(Reason::Malformed), "{payload}");
        }
    }
}

#[test]
fn t004_an_attestation_about_another_image_is_refused() {
    let key = key();
    let trust = trust(&[entry("scanner", "*", &key)]);
    let about = |subject: Value| {
        let mut statement = statement();
        statement["subject"] = subject;
        reason(&bundle(&key, statement.to_string().as_bytes()), &trust)
    };
    let digest = |algorithm: &str, hex: &str| json!([{"name": "x", "digest": {algorithm: hex}}]);
    let hex = image().hex();
    assert_eq!(about(digest("sha256", &hex)), None);
    for other in [
        digest("sha256", &Digest::of(b"another image").hex()),
        json!([]),
        Value::Null,
        digest("sha256", &hex.to_uppercase()),
        digest("sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        digest("sha512", &hex),
    ] {
        assert_eq!(about(other.clone()), Some(Reason::WrongSubject), "{other}");
    }
    let one_of_two = json!([
        {"name": "a", "digest": {"sha256": Digest::of(b"another image").hex()}},
        {"name": "b", "digest": {"sha256": hex}},
    ]);
    assert_eq!(about(one_of_two), None);
}

#[test]
fn t026_too_many_signatures_subjects_or_digests_are_refused_unverified() {
    // The bounds are those of reading, where there is no key to verify with.
    let key = key();
    let signed = |count: usize| {
        let mut bare = envelope(&key, &payload());
        bare["signatures"] = vec![bare["signatures"][0].clone(); count].into();
        read(&bare).err().map(|error| error.reason())
    };
    assert_eq!(signed(MAX_DSSE_SIGNATURES), None);
    assert_eq!(signed(MAX_DSSE_SIGNATURES + 1), Some(Reason::TooMany));
    assert_eq!(signed(10_000), Some(Reason::TooMany));
    assert_eq!(signed(0), Some(Reason::Unsigned));
    let about = |subjects: usize, digests: usize| {
        let digest: serde_json::Map<_, _> =
            (0..digests).map(|n| (format!("sha{n}"), "00".into())).collect();
        let mut statement = statement();
        statement["subject"] = vec![json!({"digest": digest}); subjects].into();
        let read = read(&envelope(&key, statement.to_string().as_bytes()));
        read.err().map(|error| error.reason())
    };
    assert_eq!(about(MAX_SUBJECTS, MAX_DIGESTS), None);
    assert_eq!(about(MAX_SUBJECTS + 1, 1), Some(Reason::TooLarge));
    assert_eq!(about(1, MAX_DIGESTS + 1), Some(Reason::TooLarge));
}

#[test]
fn a_bundle_keeps_its_bounds_and_its_shape() {
    let key = key();
    let trust = trust(&[entry("scanner", "*", &key)]);
    let with = |change: fn(&mut Value)| {
        let mut bundle = bundle(&key, &payload());
        change(&mut bundle);
        reason(&bundle, &trust)
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(
        with(|b| b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into()),
        None
    );
    let malformed = Some(Reason::Malformed);
    assert_eq!(
        with(|b| b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.4".into()),
        malformed
    );
    assert_eq!(with(|b| b["verificationMaterial"] = json!({})), malformed);
    assert_eq!(
        with(|b| b["verificationMaterial"]["certificate"] = json!({"rawBytes": ""})),
        malformed
    );
    assert_eq!(with(|b| b["dsseEnvelope"] = Value::Null), malformed);
    let two = |b: &mut Value| {
        let one = b["dsseEnvelope"]["signatures"][0].clone();
        b["dsseEnvelope"]["signatures"] = json!([one, one]);
    };
    assert_eq!(with(two), malformed);
    let logged = |b: &mut Value, count| {
        b["verificationMaterial"]["tlogEntries"] = vec![json!({}); count].into();
    };
    let stamped = |b: &mut Value, count| {
        let list = vec![json!({}); count];
        b["verificationMaterial"]["timestampVerificationData"] = json!({"rfc3161Timestamps": list});
    };
    let mut bundle = bundle(&key, &payload());
    logged(&mut bundle, MAX_LOG_ENTRIES);
    stamped(&mut bundle, MAX_TIMESTAMPS);
    assert_eq!(reason(&bundle, &trust), None);
    logged(&mut bundle, MAX_LOG_ENTRIES + 1);
    assert_eq!(reason(&bundle, &trust), Some(Reason::TooMany));
    logged(&mut bundle, 0);
    stamped(&mut bundle, MAX_TIMESTAMPS + 1);
    assert_eq!(reason(&bundle, &trust), Some(Reason::TooMany));
}

#[test]
fn an_envelope_has_one_reading() {
    let key = key();
    let trust = trust(&[entry("scanner", "*", &key)]);
    let bare = envelope(&key, &payload());
    let twice = bare.to_string().replacen('{', r#"{"payload":"e30=","#, 1);
    let read = Attestation::parse(&Bytes::from(twice), DSSE);
    assert!(matches!(read, Err(CosignError::Malformed(_))), "{read:?}");
    // The other alphabet of base64 says the same.
    let mut other = bare.clone();
    let (payload, signature) = (payload(), bare["signatures"][0]["sig"].as_str().unwrap());
    other["payload"] = URL_SAFE.encode(payload).into();
    other["signatures"][0]["sig"] = URL_SAFE.encode(STANDARD.decode(signature).unwrap()).into();
    assert_eq!(reason(&other, &trust), None);
    other["payload"] = "?".into();
    assert_eq!(reason(&other, &trust), Some(Reason::Malformed));
}

#[test]
fn an_attestation_is_read_up_to_its_bound() {
    let padded = |length: usize| {
        let mut bytes = envelope(&key(), &payload()).to_string().into_bytes();
        bytes.resize(length, b' ');
        Attestation::parse(&bytes.into(), DSSE).err().map(|error| error.reason())
    };
    assert_eq!(padded(MAX_ATTESTATION), None);
    assert_eq!(padded(MAX_ATTESTATION + 1), Some(Reason::TooLarge));
    let other = Attestation::parse(&Bytes::from_static(b"{}"), IN_TOTO);
    assert!(matches!(other, Err(CosignError::MediaType(_))), "{other:?}");
    assert!(is_attestation(DSSE) && is_attestation(BUNDLE) && !is_attestation(IN_TOTO));
}

/// The message of the error and of its causes.
#[track_caller]
fn refused(entries: &[CosignEntry]) -> String {
    let error: CosignTrustError = CosignTrust::parse(entries).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn an_entry_that_cannot_be_used_is_named() {
    let good = entry("scanner", "*", &key());
    let with = |change: fn(&mut CosignEntry)| {
        let mut entry = good.clone();
        change(&mut entry);
        refused(&[entry])
    };
    assert_eq!(with(|e| e.name.clear()), "a cosign entry has no name");
    assert!(with(|e| e.scopes.clear()).contains("`scanner` has no scopes"));
    assert!(with(|e| e.scopes = vec!["reg.io/a:tag".to_owned()]).contains("`reg.io/a:tag`"));
    assert!(with(|e| e.scopes.push("reg.io/a".to_owned())).contains("`*` cannot be combined"));
    assert!(with(|e| e.key = None).contains("`scanner` needs a `key`"));
    assert!(with(|e| e.key = Some(b"text".to_vec())).contains("has 0 public keys"));
    assert!(with(|e| e.key = Some(vec![b' '; super::MAX_COSIGN_FILE + 1])).contains("bytes long"));
    let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let with_key = |key: Vec<u8>| refused(&[CosignEntry { key: Some(key), ..good.clone() }]);
    assert!(with_key(pem.into()).contains("not a SubjectPublicKeyInfo"));
    let two = [good.key.clone().unwrap(), good.key.clone().unwrap()].concat();
    assert!(with_key(two).contains("has 2 public keys"));
    let private = key().serialize_pem().into_bytes();
    assert!(with_key(private).contains("has 0 public keys"));
    assert!(refused(&[good.clone(), good.clone()]).contains("two cosign entries"));
    let many = |count: usize| -> Vec<_> {
        (0..count).map(|n| CosignEntry { name: n.to_string(), ..good.clone() }).collect()
    };
    assert!(CosignTrust::parse(&many(MAX_COSIGN_ENTRIES)).is_ok());
    assert!(refused(&many(MAX_COSIGN_ENTRIES + 1)).contains("more than the 32 allowed"));
}

#[test]
fn whatever_changes_trust_changes_its_revision() {
    let (one, other) = (key(), key());
    let base = entry("scanner", "*", &one);
    let revision = |entries: &[CosignEntry]| trust(entries).revision();
    let all = [
        revision(&[]),
        revision(std::slice::from_ref(&base)),
        revision(&[entry("scanner", "*", &other)]),
        revision(&[entry("scanner", SCOPE, &one)]),
        revision(&[entry("scanner2", "*", &one)]),
        revision(&[base.clone(), entry("scanner2", "*", &one)]),
    ];
    for (n, revision) in all.iter().enumerate() {
        assert!(!all[..n].contains(revision), "{n}");
    }
    assert_eq!(revision(std::slice::from_ref(&base)), all[1]);
    assert_eq!(trust(&[]).revision(), Trust::nobody().revision());
    assert!(!trust(&[]).warnings().is_empty());
    assert!(trust(&[base]).warnings().is_empty());
}
