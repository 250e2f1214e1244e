//! Made-up keys, and attestations that they signed: what tests of cosign share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::{
    Attestation, BUNDLE, CosignEntry, CosignError, CosignTrust, DSSE, Request, SignatureError,
    Trust, Verdict, Verified, examine, unreadable,
};
use crate::findings::COSIGN_VULN_V1;
use crate::image::Digest;
use crate::referrers::IN_TOTO;

pub(super) const SCOPE: &str = "reg.io/team/app";
pub(super) const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

pub(super) fn image() -> Digest {
    Digest::of(b"an image")
}

/// A statement about [`image`]. Tests change one thing in it.
pub(super) fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": COSIGN_VULN_V1,
        "subject": [{"name": SCOPE, "digest": {"sha256": image().hex()}}],
        "predicate": {"scanner": {}, "metadata": {}},
    })
}

pub(super) fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key is made")
}

/// What is signed, in the words of the specification.
pub(super) fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    [head.as_bytes(), payload].concat()
}

/// A DSSE envelope around `payload`, with the signature of `key`.
pub(super) fn envelope(key: &KeyPair, payload: &[u8]) -> Value {
    let signature = key.sign(&pae(payload)).expect("it is signed");
    json!({
        "payloadType": IN_TOTO,
        "payload": STANDARD.encode(payload),
        "signatures": [{"keyid": "", "sig": STANDARD.encode(signature)}],
    })
}

/// The bundle that cosign 3 makes of it.
pub(super) fn bundle(key: &KeyPair, payload: &[u8]) -> Value {
    let hint = Digest::of(&key.subject_public_key_info());
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": STANDARD.encode(hint.as_bytes())}},
        "dsseEnvelope": envelope(key, payload),
    })
}

pub(super) fn entry(name: &str, scope: &str, key: &KeyPair) -> CosignEntry {
    let key = Some(key.public_key_pem().into_bytes());
    let (name, scopes) = (name.to_owned(), vec![scope.to_owned()]);
    CosignEntry { name, scopes, key, ..CosignEntry::default() }
}

#[track_caller]
pub(super) fn trust(entries: &[CosignEntry]) -> Trust {
    Trust::nobody().with_cosign(CosignTrust::parse(entries).expect("the entries are good"))
}

pub(super) fn read(document: &Value) -> Result<Attestation, CosignError> {
    let media_type = if document.get("mediaType").is_some() { BUNDLE } else { DSSE };
    Attestation::parse(&Bytes::from(document.to_string()), media_type)
}

/// Reads and verifies it as being about `subject` in the repository `scope`. The checks must tell
/// what the outcome is.
#[track_caller]
pub(super) fn check(
    document: &Value,
    scope: &str,
    subject: Digest,
    trust: &Trust,
) -> Result<Verified, CosignError> {
    let report = Digest::of(b"its manifest");
    let examination = match read(document) {
        Ok(read) => examine(&Request { scope, subject, report, attestation: &read }, trust, NOW),
        Err(error) => unreadable(error),
    };
    let last = examination.checks.last().expect("something was checked");
    assert_eq!(last.verdict == Verdict::Passed, examination.outcome.is_ok(), "{examination:?}");
    examination.outcome.map_err(|error| match error {
        SignatureError::Cosign(error) => error,
        other => panic!("{other}"),
    })
}
