//! Envelopes with one thing wrong in each, rightly signed where that is possible.

use serde_json::{Value, json};

use super::super::sign::{Format, SigningKey, Target};
use super::super::testing::{Plan, SIGNED_AT, forge_jws, headers};
use super::*;
use crate::image::Digest;

mod cose;

const NOTARY: &str = "io.cncf.notary.";

fn key() -> SigningKey {
    Plan::default().make().signing_key()
}

/// What opening a JWS says whose protected header was changed before it was signed.
#[track_caller]
fn protected(change: impl FnOnce(&mut Value), expected: fn(&EnvelopeError) -> bool) {
    let mut protected = headers();
    change(&mut protected);
    refused(&forge_jws(&key(), &protected.to_string(), b"{}").to_string(), expected);
}

#[track_caller]
fn refused(envelope: &str, expected: fn(&EnvelopeError) -> bool) {
    let error = Envelope::open(envelope.as_bytes(), JOSE).expect_err("it is refused");
    assert!(expected(&error), "{error:?}");
}

fn name(short: &str) -> String {
    format!("{NOTARY}{short}")
}

#[test]
fn good_headers_are_opened() {
    let envelope = forge_jws(&key(), &headers().to_string(), b"{}").to_string();
    let envelope = Envelope::open(envelope.as_bytes(), JOSE).unwrap();
    assert_eq!(envelope.payload(), b"{}");
    assert_eq!(envelope.scheme(), Scheme::X509);
    assert_eq!(envelope.signing_time(), time::macros::datetime!(2026-05-01 12:30 UTC));
    assert_eq!(envelope.expiry(), None);
}

#[test]
fn the_signing_authority_scheme_has_its_own_time() {
    let mut protected = headers();
    protected[name("signingScheme")] = "notary.x509.signingAuthority".into();
    protected.as_object_mut().unwrap().remove(&name("signingTime"));
    protected[name("authenticSigningTime")] = "2026-04-01T02:00:00.9+02:00".into();
    protected["crit"] = json!([name("authenticSigningTime"), name("signingScheme")]);
    let envelope = forge_jws(&key(), &protected.to_string(), b"{}").to_string();
    let envelope = Envelope::open(envelope.as_bytes(), JOSE).unwrap();
    assert_eq!(envelope.scheme(), Scheme::SigningAuthority);
    assert_eq!(envelope.signing_time(), time::macros::datetime!(2026-04-01 00:00 UTC));
}

#[test]
fn critical_headers_are_exactly_those_that_must_be() {
    protected(
        |h| h["crit"] = json!([name("signingScheme"), "new"]),
        |e| matches!(e, EnvelopeError::UnknownCritical(n) if n == "new"),
    );
    // Present, and still not understood.
    protected(
        |h| {
            h["new"] = "value".into();
            h["crit"] = json!([name("signingScheme"), "new"]);
        },
        |e| matches!(e, EnvelopeError::UnknownCritical(n) if n == "new"),
    );
    protected(
        |h| h["crit"] = json!([name("signingScheme"), name("signingTime")]),
        |e| matches!(e, EnvelopeError::UnknownCritical(_)),
    );
    protected(
        |h| h["crit"] = json!([name("signingScheme"), name("expiry")]),
        |e| matches!(e, EnvelopeError::CriticalAbsent(n) if n.ends_with(".expiry")),
    );
    protected(
        |h| h[name("expiry")] = "2026-12-01T00:00:00Z".into(),
        |e| matches!(e, EnvelopeError::NotCritical(EXPIRY)),
    );
    protected(|h| h["crit"] = json!([]), |e| matches!(e, EnvelopeError::NotCritical(SCHEME)));
    protected(
        |h| h["crit"] = json!([name("signingScheme"), name("signingScheme")]),
        |e| matches!(e, EnvelopeError::Header { problem: "is listed as critical twice", .. }),
    );
    for crit in [json!(null), json!("x"), json!([1]), json!({}), json!(name("signingScheme"))] {
        protected(|h| h["crit"] = crit, |e| matches!(e, EnvelopeError::Header { .. }));
    }
}

#[test]
fn a_signature_that_needs_a_plugin_is_refused_as_such() {
    for crit in [
        json!([name("signingScheme"), name("verificationPlugin"), "SomeKey"]),
        json!([name("signingScheme")]),
    ] {
        protected(
            |h| {
                h[name("verificationPlugin")] = "com.example".into();
                h["crit"] = crit;
            },
            |e| matches!(e, EnvelopeError::Plugin(plugin) if plugin == "com.example"),
        );
    }
    protected(
        |h| h[name("verificationPluginMinVersion")] = "1.0.0".into(),
        |e| matches!(e, EnvelopeError::Plugin(_)),
    );
}

#[test]
fn each_header_must_be_there_and_of_its_type() {
    for needed in ["alg", "cty", "crit", "io.cncf.notary.signingScheme"] {
        protected(
            |h| drop(h.as_object_mut().unwrap().remove(needed)),
            |e| matches!(e, EnvelopeError::Header { .. } | EnvelopeError::CriticalAbsent(_)),
        );
        protected(|h| h[needed] = json!(7), |e| matches!(e, EnvelopeError::Header { .. }));
    }
    protected(
        |h| h["cty"] = "application/json".into(),
        |e| matches!(e, EnvelopeError::ContentType(_)),
    );
    for scheme in ["", "notary.x509.other", "Notary.x509"] {
        protected(
            |h| h[name("signingScheme")] = scheme.into(),
            |e| matches!(e, EnvelopeError::Scheme(_)),
        );
    }
    // The last ones are in the range of the notation, and not of UTC or of certificates.
    for time in [
        json!("yesterday"),
        json!(0),
        json!(null),
        json!("2026-05-01"),
        json!("9999-12-31T23:59:59-23:59"),
        json!("0000-01-01T00:00:00+23:59"),
        json!("1969-12-31T23:59:59Z"),
    ] {
        protected(
            |h| h[name("signingTime")] = time.clone(),
            |e| matches!(e, EnvelopeError::Header { .. }),
        );
    }
    protected(
        |h| drop(h.as_object_mut().unwrap().remove(&name("signingTime"))),
        |e| matches!(e, EnvelopeError::Header { problem: p, .. } if p.contains("is needed")),
    );
    protected(
        |h| {
            h[name("authenticSigningTime")] = "2026-05-01T12:30:00Z".into();
            h["crit"] = json!([name("signingScheme"), name("authenticSigningTime")]);
        },
        |e| matches!(e, EnvelopeError::Header { problem: p, .. } if p.contains("must not be")),
    );
}

#[test]
fn the_algorithm_follows_from_the_key() {
    for other in ["ES384", "ES512", "PS256"] {
        protected(
            |h| h["alg"] = other.into(),
            |e| matches!(e, EnvelopeError::AlgorithmMismatch { .. }),
        );
    }
    for unknown in ["none", "HS256", "RS256", "es256", ""] {
        protected(|h| h["alg"] = unknown.into(), |e| matches!(e, EnvelopeError::Algorithm(_)));
    }
}

#[test]
fn an_expiry_must_be_after_the_signing_time() {
    for (expiry, good) in [("2026-05-01T12:30:00Z", false), ("2026-05-01T12:30:01Z", true)] {
        let mut protected = headers();
        protected[name("expiry")] = expiry.into();
        protected["crit"] = json!([name("signingScheme"), name("expiry")]);
        let envelope = forge_jws(&key(), &protected.to_string(), b"{}").to_string();
        let opened = Envelope::open(envelope.as_bytes(), JOSE);
        match opened {
            Ok(envelope) => assert!(good && envelope.expiry().is_some()),
            Err(error) => assert!(!good && matches!(error, EnvelopeError::Expiry), "{error:?}"),
        }
    }
}

#[test]
fn a_jws_has_one_reading() {
    let json = |e: &EnvelopeError| matches!(e, EnvelopeError::Json { .. });
    let good = forge_jws(&key(), &headers().to_string(), b"{}");
    for text in ["", "{", "[]", "null"] {
        refused(text, json);
    }
    // What serde would read as a struct, too.
    let list = json!(["payload", "protected", "header", "signature"].map(|m| good[m].clone()));
    refused(&list.to_string(), json);
    // A key twice, in the whole and in the protected header.
    refused(&good.to_string().replacen('{', r#"{"payload":"e30","#, 1), json);
    let twice = headers().to_string().replacen('{', r#"{"alg":"none","#, 1);
    refused(&forge_jws(&key(), &twice, b"{}").to_string(), json);
    for member in ["payload", "protected", "header", "signature"] {
        let mut less = good.clone();
        less.as_object_mut().unwrap().remove(member);
        refused(&less.to_string(), |e| matches!(e, EnvelopeError::Header { .. }));
    }
    let mut general = good.clone();
    general["signatures"] = json!([]);
    refused(&general.to_string(), |e| matches!(e, EnvelopeError::Header { .. }));
    let mut both = good.clone();
    both["header"]["alg"] = "ES256".into();
    refused(&both.to_string(), |e| matches!(e, EnvelopeError::Header { .. }));
    let mut unprotected = good;
    unprotected["header"]["crit"] = json!([]);
    refused(&unprotected.to_string(), |e| matches!(e, EnvelopeError::Header { .. }));
}

#[test]
fn base64_has_one_spelling() {
    let good = forge_jws(&key(), &headers().to_string(), b"{}");
    for member in ["payload", "protected", "signature"] {
        for change in
            [|t: &str| format!("{t}="), |t: &str| format!("{t}\n"), |t: &str| format!("+{t}")]
        {
            let mut bad = good.clone();
            bad[member] = change(good[member].as_str().unwrap()).into();
            refused(&bad.to_string(), |e| matches!(e, EnvelopeError::Base64 { .. }));
        }
    }
    // Bits at the end that no byte has: `e30` is `{}`, and so would `e31` be.
    let mut bits = good.clone();
    bits["payload"] = "e31".into();
    refused(&bits.to_string(), |e| matches!(e, EnvelopeError::Base64 { .. }));
    let mut chain = good.clone();
    let leaf = good["header"]["x5c"][0].as_str().unwrap();
    chain["header"]["x5c"][0] = leaf.replace('=', "").replace('+', "-").replace('/', "_").into();
    if chain != good {
        refused(&chain.to_string(), |e| matches!(e, EnvelopeError::Base64 { .. }));
    }
    for x5c in [json!(null), json!("x"), json!([1])] {
        let mut bad = good.clone();
        bad["header"]["x5c"] = x5c;
        refused(&bad.to_string(), |e| matches!(e, EnvelopeError::Header { .. }));
    }
    let mut empty = good;
    empty["header"]["x5c"] = json!([]);
    refused(&empty.to_string(), |e| matches!(e, EnvelopeError::Chain(CertificateError::Empty)));
}

#[test]
fn the_signature_covers_the_payload_and_the_headers() {
    let fails = |e: &EnvelopeError| matches!(e, EnvelopeError::Signature);
    let good = forge_jws(&key(), &headers().to_string(), b"{}");
    let other = forge_jws(&key(), &headers().to_string().replacen("12:30", "12:31", 1), b"[]");
    for member in ["payload", "protected", "signature", "header"] {
        let mut bad = good.clone();
        bad[member] = other[member].clone();
        refused(&bad.to_string(), fails);
    }
    for signature in ["", "AAAA"] {
        let mut bad = good.clone();
        bad["signature"] = signature.into();
        refused(&bad.to_string(), fails);
    }
}

#[test]
fn an_envelope_is_refused_one_byte_past_its_bound() {
    let mut bytes = forge_jws(&key(), &headers().to_string(), b"{}").to_string().into_bytes();
    bytes.resize(MAX_ENVELOPE, b' ');
    Envelope::open(&bytes, JOSE).unwrap();
    bytes.push(b' ');
    let error = Envelope::open(&bytes, JOSE).unwrap_err();
    assert!(matches!(error, EnvelopeError::TooLarge { .. }), "{error:?}");
}

#[test]
fn other_media_types_are_refused() {
    for media_type in ["", "application/json", "application/jose", "application/jose+json;a=b"] {
        let error = Envelope::open(b"{}", media_type).unwrap_err();
        assert!(matches!(error, EnvelopeError::MediaType(_)), "{error:?}");
    }
}

#[test]
fn no_flipped_bit_is_accepted() {
    let key = key();
    let target = Target { media_type: "a/b".to_owned(), digest: Digest::of(b""), size: 1 };
    for format in [Format::Jws, Format::Cose] {
        let good = key.sign(format, &target, SIGNED_AT, None).unwrap();
        let open = |bytes: &[u8]| Envelope::open(bytes, format.media_type());
        let payload = open(&good).unwrap().payload().to_vec();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1 << (i % 8);
            // The signing agent is covered by nothing, so that some flips change nothing.
            if let Ok(envelope) = open(&bad) {
                assert_eq!(envelope.payload(), payload);
                assert_eq!(envelope.signing_time(), open(&good).unwrap().signing_time());
            }
        }
    }
}
