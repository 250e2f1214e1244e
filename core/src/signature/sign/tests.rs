//! Keys and chains that may sign, and what they sign.

use serde_json::Value;

use super::super::envelope::Envelope;
use super::super::testing::{KeyKind, Made, NOT_AFTER, NOT_BEFORE, Plan, SIGNED_AT, pem};
use super::*;

fn target() -> Target {
    Target { media_type: "a/b".to_owned(), digest: Digest::of(b"manifest"), size: 8 }
}

fn read(made: &Made, key_pem: &str) -> Result<SigningKey, SignError> {
    SigningKey::from_pem(key_pem.as_bytes(), pem(&made.chain).as_bytes())
}

#[test]
fn the_payload_names_the_target() {
    let key = Plan::default().make().signing_key();
    for format in [Format::Jws, Format::Cose] {
        let bytes = key.sign(format, &target(), SIGNED_AT, Some(NOT_AFTER)).unwrap();
        let envelope = Envelope::open(&bytes, format.media_type()).unwrap();
        let payload: Value = serde_json::from_slice(envelope.payload()).unwrap();
        let digest = Digest::of(b"manifest").to_string();
        let expected = serde_json::json!({
            "targetArtifact": {"mediaType": "a/b", "digest": digest, "size": 8},
        });
        assert_eq!(payload, expected);
        assert_eq!(envelope.expiry(), Some(NOT_AFTER));
        let agent = String::from_utf8_lossy(&bytes).contains(AGENT);
        assert!(agent, "{format:?} names its signing agent");
    }
}

#[test]
fn a_key_must_be_that_of_the_leaf() {
    let (made, other) = (Plan::default().make(), Plan::default().make());
    read(&made, &made.key_pem).unwrap();
    assert!(matches!(read(&made, &other.key_pem), Err(SignError::KeyMismatch)));
    let curve = Plan::with(|plan| plan.leaf_key = KeyKind::P384).make();
    assert!(matches!(read(&made, &curve.key_pem), Err(SignError::Key { .. })));
    let rsa = Plan::with(|plan| plan.leaf_key = KeyKind::Rsa2048).make();
    assert!(matches!(read(&made, &rsa.key_pem), Err(SignError::Key { .. })));
    assert!(matches!(read(&rsa, &made.key_pem), Err(SignError::Key { .. })));
    let other = Plan::with(|plan| plan.leaf_key = KeyKind::Rsa2048).make();
    assert!(matches!(read(&rsa, &other.key_pem), Err(SignError::KeyMismatch)));
    for text in ["", "text", &pem(&made.chain)] {
        assert!(matches!(read(&made, text), Err(SignError::KeyPem(_))), "{text}");
    }
}

#[test]
fn older_forms_of_keys_are_read_too() {
    let der = |made: &Made| {
        PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).unwrap().secret_der().to_vec()
    };
    // The older form is the OCTET STRING at the end of PKCS#8 (RFC 5958, section 2).
    let sec1 = |made: &Made| {
        let der = der(made);
        let start = der.windows(3).rposition(|w| w == [2, 1, 1]).unwrap() - 2;
        let length = usize::from(der[start + 1]) + 2;
        wrap("EC PRIVATE KEY", &der[start..start + length])
    };
    let pkcs1 = |made: &Made| {
        let der = der(made);
        let start =
            der.windows(2).enumerate().filter(|(_, w)| *w == [0x30, 0x82]).nth(1).unwrap().0;
        wrap("RSA PRIVATE KEY", &der[start..])
    };
    let ec = Plan::default().make();
    read(&ec, &sec1(&ec)).unwrap().sign(Format::Jws, &target(), SIGNED_AT, None).unwrap();
    let rsa = Plan::with(|plan| plan.leaf_key = KeyKind::Rsa2048).make();
    read(&rsa, &pkcs1(&rsa)).unwrap().sign(Format::Cose, &target(), SIGNED_AT, None).unwrap();
}

fn wrap(label: &str, der: &[u8]) -> String {
    pem(&[der.to_vec()]).replace("CERTIFICATE", label)
}

#[test]
fn a_chain_that_would_not_verify_does_not_sign() {
    let made = Plan::default().make();
    let from = |chain: &str| SigningKey::from_pem(made.key_pem.as_bytes(), chain.as_bytes());
    assert!(matches!(from(""), Err(SignError::Chain(CertificateError::Empty))));
    let no_root = pem(&made.chain[..2]);
    assert!(matches!(from(&no_root), Err(SignError::Chain(CertificateError::NoRoot { .. }))));
    let broken = pem(&made.chain).replacen("END", "EMD", 1);
    assert!(from(&broken).is_err());
    let many = pem(&vec![made.chain[0].clone(); MAX_CHAIN + 1]);
    assert!(matches!(from(&many), Err(SignError::Chain(CertificateError::TooMany { .. }))));
}

#[test]
fn times_must_fit_the_certificates_and_each_other() {
    let key = Plan::default().make().signing_key();
    let second = time::Duration::SECOND;
    let sign = |at, expiry| key.sign(Format::Jws, &target(), at, expiry);
    sign(NOT_BEFORE, None).unwrap();
    sign(NOT_AFTER, None).unwrap();
    assert!(matches!(sign(NOT_BEFORE - second, None), Err(SignError::NotValid(_))));
    assert!(matches!(sign(NOT_AFTER + second, None), Err(SignError::NotValid(_))));
    assert!(matches!(sign(SIGNED_AT, Some(SIGNED_AT)), Err(SignError::Expiry)));
    // The same second is too early, too.
    let half = time::Duration::milliseconds(400);
    assert!(matches!(sign(SIGNED_AT, Some(SIGNED_AT + half)), Err(SignError::Expiry)));
    sign(SIGNED_AT, Some(SIGNED_AT + second)).unwrap();
    let local = SIGNED_AT.to_offset(time::macros::offset!(+8));
    let envelope = Envelope::open(&sign(local, None).unwrap(), JOSE).unwrap();
    assert_eq!(envelope.signing_time(), time::macros::datetime!(2026-05-01 12:30 UTC));
}

#[test]
fn thumbprints_are_those_of_the_chain_and_the_key_is_not_printed() {
    let made = Plan::default().make();
    let key = made.signing_key();
    let expected: Vec<_> = made.chain.iter().map(|der| Digest::of(der).hex()).collect();
    assert_eq!(key.thumbprints(), expected);
    assert_eq!(format!("{key:?}"), r#"SigningKey { subject: "CN=scanner,O=acme,ST=WA,C=US", .. }"#);
}
