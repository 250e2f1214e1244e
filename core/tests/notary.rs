//! Real data of the Notary Project: what its own tools made, accept and refuse.
//!
//! The data is not part of this repository. Where it is absent, these tests say so and pass.

#![expect(
    clippy::disallowed_methods,
    reason = "core does no IO; this test of it reads files, found by an environment variable"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes the functions that tests share for production code"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::cbor::value::Value as Cbor;
use coset::{CborSerializable as _, CoseSign1, Label, TaggedCborSerializable as _};
use portcullis_core::image::Digest;
use portcullis_core::signature::envelope::{COSE, Envelope, EnvelopeError, JOSE, Scheme};
use portcullis_core::signature::sign::{Format, SigningKey, Target};
use portcullis_core::signature::{
    IdentityError, StatementError, StoreError, StoreFile, StoreKind, Trust, TrustError,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

/// The folder `notary` of the shared data, if it is there.
fn data() -> Option<PathBuf> {
    let base = std::env::var_os("PORTCULLIS_SHARED_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let notary = base.join("notary");
    if notary.is_dir() {
        return Some(notary);
    }
    // Not by `println!`, which the test harness keeps to itself.
    let skipped = format!("SKIPPED: there is no Notary Project data at {}\n", notary.display());
    std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
    None
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn envelopes_of_the_reference_implementation_are_opened() {
    let Some(data) = data() else { return };
    let check = |file: &str, media_type, scheme, time: OffsetDateTime, subject: &str| {
        let envelope = Envelope::open(&read(&data.join("envelopes").join(file)), media_type)
            .unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!(envelope.scheme(), scheme, "{file}");
        assert_eq!(envelope.signing_time(), time, "{file}");
        assert_eq!(envelope.subject(), subject, "{file}");
        let payload: Value = serde_json::from_slice(envelope.payload()).unwrap();
        assert!(payload["targetArtifact"]["digest"].is_string(), "{file}");
    };
    let alpine = "CN=alpine,O=Notary,L=Seattle,ST=WA,C=US";
    let root = "CN=Notation Test Root,O=Notary,L=Seattle,ST=WA,C=US";
    let long_ago = datetime!(2020-11-09 07:00 UTC);
    let (x509, authority) = (Scheme::X509, Scheme::SigningAuthority);
    check("jws_signature.sig", JOSE, x509, datetime!(2023-03-14 08:10:02 UTC), alpine);
    check("cose_signature.sig", COSE, x509, datetime!(2023-03-14 04:45:22 UTC), alpine);
    check("jwsWithTimestamp.sig", JOSE, x509, datetime!(2024-06-18 06:29:33 UTC), alpine);
    check("coseWithTimestamp.sig", COSE, x509, datetime!(2024-06-18 06:27:11 UTC), alpine);
    check("withoutTimestamp.sig", JOSE, x509, datetime!(2024-06-18 09:08:35 UTC), alpine);
    check("ca_valid_sig_env.json", JOSE, x509, long_ago, root);
    check("sa_valid_sig_env.json", JOSE, authority, long_ago, root);
}

#[test]
fn envelopes_that_the_reference_implementation_refuses_are_refused() {
    let Some(data) = data() else { return };
    let open = |file: &str| {
        Envelope::open(&read(&data.join("envelopes").join(file)), JOSE).expect_err(file)
    };
    // Its payload is no base64.
    let error = open("ca_invalid_sig_env.json");
    assert!(matches!(error, EnvelopeError::Base64 { part: "payload", .. }), "{error:?}");
    let error = open("ca_plugin_sig_env.json");
    assert!(matches!(&error, EnvelopeError::Plugin(name) if name == "plugin-name"), "{error:?}");

    let mut envelope: Value =
        serde_json::from_slice(&read(&data.join("envelopes/ca_valid_sig_env.json"))).unwrap();
    envelope["payload"] = URL_SAFE_NO_PAD.encode(r#"{"targetArtifact":{}}"#).into();
    let error = Envelope::open(envelope.to_string().as_bytes(), JOSE).unwrap_err();
    assert!(matches!(error, EnvelopeError::Signature), "{error:?}");
}

#[test]
fn every_byte_of_real_envelopes_counts() {
    let Some(data) = data() else { return };
    for (file, media_type) in [("cose_signature.sig", COSE), ("jws_signature.sig", JOSE)] {
        let good = read(&data.join("envelopes").join(file));
        let payload = Envelope::open(&good, media_type).unwrap().payload().to_vec();
        for i in 0..good.len() {
            assert!(Envelope::open(&good[..i], media_type).is_err(), "{file} cut at {i}");
            let mut bad = good.clone();
            bad[i] ^= 1;
            // The signing agent is covered by nothing.
            if let Ok(envelope) = Envelope::open(&bad, media_type) {
                assert_eq!(envelope.payload(), payload, "{file}, byte {i}");
            }
        }
    }
}

/// The vectors have one critical header of their own, which must be refused, and no certificates. Without what is their
/// own, their protected headers are those that we write, byte for byte.
#[test]
fn the_protected_headers_are_those_of_the_conformance_vectors() {
    let Some(data) = data() else { return };
    let own = |error: &EnvelopeError| matches!(error, EnvelopeError::UnknownCritical(name) if name == "signedCritKey1");
    let bytes = read(&data.join("conformance/jws.json"));
    let mut jws: Value = serde_json::from_slice(&bytes).unwrap();
    jws["header"]["x5c"] = json!([]);
    assert!(own(&Envelope::open(jws.to_string().as_bytes(), JOSE).unwrap_err()));
    let protected = URL_SAFE_NO_PAD.decode(jws["protected"].as_str().unwrap()).unwrap();
    let mut expected: BTreeMap<String, Value> = serde_json::from_slice(&protected).unwrap();
    expected.retain(|name, _| !name.starts_with("signed"));
    expected
        .insert("crit".into(), json!(["io.cncf.notary.signingScheme", "io.cncf.notary.expiry",]));
    let ours = sign(
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        Format::Jws,
        datetime!(2022-08-29 13:50 UTC),
        datetime!(2099-08-30 13:50 UTC),
    );
    let ours: Value = serde_json::from_slice(&ours).unwrap();
    let ours = URL_SAFE_NO_PAD.decode(ours["protected"].as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(ours).unwrap(), serde_json::to_string(&expected).unwrap());

    let vector: Value = serde_json::from_slice(&read(&data.join("conformance/cose.json"))).unwrap();
    let bytes = hex(vector["expectedOutput"]["cborHex"].as_str().unwrap());
    let mut message = CoseSign1::from_tagged_slice(&bytes).unwrap();
    message.unprotected.rest.push((Label::Int(33), Cbor::Array(Vec::new())));
    assert!(own(&Envelope::open(&message.to_tagged_vec().unwrap(), COSE).unwrap_err()));
    let expected = hex(vector["protectedHeaders"]["cborHex"].as_str().unwrap());
    let expected = Cbor::from_slice(&expected).unwrap().into_map().unwrap();
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|(name, _)| !name.as_text().is_some_and(|name| name.starts_with("signed")))
        .map(|(name, value)| match value {
            Cbor::Array(critical) => (name, Cbor::Array(critical[..2].to_vec())),
            value => (name, value),
        })
        .collect();
    let ours = sign(
        rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA384, rcgen::RsaKeySize::_3072),
        Format::Cose,
        OffsetDateTime::from_unix_timestamp(1_661_321_924).unwrap(),
        OffsetDateTime::from_unix_timestamp(1_661_408_324).unwrap(),
    );
    let ours = CoseSign1::from_tagged_slice(&ours).unwrap().protected.original_data.unwrap();
    assert_eq!(ours, Cbor::Map(expected).to_vec().unwrap());
}

fn sign(
    key: Result<rcgen::KeyPair, rcgen::Error>,
    format: Format,
    signed_at: OffsetDateTime,
    expiry: OffsetDateTime,
) -> Vec<u8> {
    let key = key.unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key).unwrap();
    let key = SigningKey::from_pem(key.serialize_pem().as_bytes(), certificate.pem().as_bytes());
    let target = Target { media_type: "a/b".into(), digest: Digest::of(b""), size: 0 };
    key.unwrap().sign(format, &target, signed_at, Some(expiry)).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let bytes = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |b, digit| b * 16 + digit));
    bytes.map(|byte| u8::try_from(byte).unwrap()).collect()
}

#[test]
fn trust_policies_are_read_as_notation_reads_them() {
    let Some(data) = data() else { return };
    let root = read(&data.join("truststore/x509/ca/valid-trust-store/NotationTestRoot.pem"));
    let store = |kind| StoreFile {
        kind,
        store: "e2e".into(),
        file: "NotationTestRoot.pem".into(),
        bytes: root.clone(),
    };
    let stores = [StoreKind::Ca, StoreKind::Tsa].map(store);
    let parse = |file: &str| Trust::parse(&read(&data.join("trustpolicies").join(file)), &stores);
    for (file, warnings) in [
        ("trustpolicy.json", 0),
        ("permissive_trustpolicy.json", 0),
        ("valid_trusted_identity_trustpolicy.json", 0),
        ("timestamp_after_cert_expiry_trustpolicy.json", 0),
        ("multi_statements_with_wildcard_registry_scope_trustpolicy.json", 0),
        // Those that demand less than is enforced here.
        ("audit_trustpolicy.json", 1),
        ("skip_trustpolicy.json", 1),
        ("override_strict_trustpolicy.json", 1),
    ] {
        let trust = parse(file).unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!(trust.warnings().len(), warnings, "{file}: {:?}", trust.warnings());
    }
    let refused = |file: &str, expected: fn(&TrustError) -> bool| {
        let error = parse(file).expect_err(file);
        assert!(expected(&error), "{file}: {error:?}");
    };
    refused("invalid_format_trustpolicy.json", |e| matches!(e, TrustError::Malformed(_)));
    refused(
        "overlapped_registry_scope_trustpolicy.json",
        |e| matches!(e, TrustError::DuplicateScope(scope) if scope == "localhost:5000/test-repo6"),
    );
    let statement = |file: &str, expected: fn(&StatementError) -> bool| match parse(file) {
        Err(TrustError::Statement { name, source }) if name == "e2e" => {
            assert!(expected(&source), "{file}: {source:?}");
        }
        other => panic!("{file}: {other:?}"),
    };
    statement(
        "override_integrity_for_permissive_trustpolicy.json",
        |e| matches!(e, StatementError::Action { check, .. } if check == "integrity"),
    );
    statement("wildcard_plus_other_registry_scope_trustpolicy.json", |e| {
        matches!(e, StatementError::WildcardScope)
    });
    statement("overlapped_trusted_identity_trustpolicy.json", |e| {
        matches!(e, StatementError::Overlap(..))
    });
    statement("missing_state_trusted_identity_trustpolicy.json", |e| {
        let StatementError::Name { source, .. } = e else { return false };
        matches!(source, IdentityError::Incomplete { attribute: "ST", .. })
    });
}

#[test]
fn trust_stores_are_read_as_notation_reads_them() {
    let Some(data) = data() else { return };
    let skip = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "none",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "skip"},
        }],
    });
    let parse = |path: &str| {
        let mut parts = path.split('/');
        let file = StoreFile {
            kind: parts.next().unwrap().parse().unwrap(),
            store: parts.next().unwrap().into(),
            file: parts.next().unwrap().into(),
            bytes: read(&data.join("truststore/x509").join(path)),
        };
        Trust::parse(skip.to_string().as_bytes(), &[file])
    };
    for path in [
        "ca/valid-trust-store/GlobalSign.der",
        "ca/valid-trust-store/GlobalSignRootCA.crt",
        "ca/valid-trust-store/NotationTestRoot.pem",
        "ca/valid-trust-store/wabbit-networks.io.crt",
        "ca/valid-trust-store-self-signed/openssl-minimum-self-signed.pem",
        "signingAuthority/valid-trust-store/NotationTestRoot.pem",
        "tsa/test-timestamp/globalsignRoot.cer",
    ] {
        parse(path).unwrap_or_else(|error| panic!("{path}: {error:?}"));
    }
    let error = parse("ca/trust-store-with-leaf-certs/non-ca.crt").unwrap_err();
    assert!(matches!(error, TrustError::Stores(StoreError::NotAnchor { .. })), "{error:?}");
}
