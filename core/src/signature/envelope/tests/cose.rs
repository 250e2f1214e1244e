//! COSE envelopes with one thing wrong in each, rightly signed where that is possible.

use coset::cbor::value::Value as Cbor;
use coset::{
    CoseSign1Builder, Header, Label, RegisteredLabel, RegisteredLabelWithPrivate,
    TaggedCborSerializable as _, iana,
};

use super::super::*;
use super::key;

/// What opening a COSE envelope says whose headers were changed, the first before it was signed.
#[track_caller]
fn cose(
    change: impl FnOnce(&mut Header, &mut Header),
    expected: fn(&Result<Envelope, EnvelopeError>) -> bool,
) {
    let opened = Envelope::open(&forge_cose(change), COSE);
    assert!(expected(&opened), "{opened:?}");
}

fn forge_cose(change: impl FnOnce(&mut Header, &mut Header)) -> Vec<u8> {
    let key = key();
    let (_, _, chain) = key.sign_raw(b"");
    let chain = chain.into_iter().map(Cbor::Bytes).collect();
    let mut protected = Header {
        alg: Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::ES256)),
        crit: vec![critical(SCHEME)],
        content_type: Some(RegisteredLabel::Text(PAYLOAD.to_owned())),
        rest: vec![
            (label(SCHEME), "notary.x509".into()),
            (label(SIGNING_TIME), Cbor::Tag(1, Box::new(1_777_638_600.into()))),
        ],
        ..Header::default()
    };
    let mut unprotected =
        Header { rest: vec![(Label::Int(33), Cbor::Array(chain))], ..Header::default() };
    change(&mut protected, &mut unprotected);
    CoseSign1Builder::new()
        .protected(protected)
        .unprotected(unprotected)
        .payload(b"{}".to_vec())
        .create_signature(&[], |signed| key.sign_raw(signed).1)
        .build()
        .to_tagged_vec()
        .unwrap()
}

fn critical(name: &str) -> RegisteredLabelWithPrivate<iana::HeaderParameter> {
    RegisteredLabelWithPrivate::Text(name.to_owned())
}

fn label(name: &str) -> Label {
    Label::Text(name.to_owned())
}

fn is_header_error(opened: &Result<Envelope, EnvelopeError>) -> bool {
    matches!(opened, Err(EnvelopeError::Header { .. }))
}

#[test]
fn cose_headers_follow_the_same_rules() {
    cose(|_, _| {}, |o| o.is_ok());
    cose(
        |p, _| p.crit.push(critical("new")),
        |o| matches!(o, Err(EnvelopeError::UnknownCritical(n)) if n == "new"),
    );
    cose(
        |p, _| p.crit.push(RegisteredLabelWithPrivate::Assigned(iana::HeaderParameter::Kid)),
        |o| matches!(o, Err(EnvelopeError::UnknownCritical(n)) if n == "4"),
    );
    cose(
        |p, _| p.crit.push(critical(EXPIRY)),
        |o| matches!(o, Err(EnvelopeError::CriticalAbsent(_))),
    );
    cose(|p, _| p.crit.clear(), |o| matches!(o, Err(EnvelopeError::NotCritical(SCHEME))));
    cose(
        |p, _| p.rest.push((label(PLUGIN), "com.example".into())),
        |o| matches!(o, Err(EnvelopeError::Plugin(_))),
    );
    cose(|p, _| p.alg = None, is_header_error);
    cose(
        |p, _| p.alg = Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)),
        |o| matches!(o, Err(EnvelopeError::Algorithm(_))),
    );
    cose(
        |p, _| p.alg = Some(RegisteredLabelWithPrivate::Text("ES256".to_owned())),
        |o| matches!(o, Err(EnvelopeError::Algorithm(_))),
    );
    cose(
        |p, _| p.alg = Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::ES512)),
        |o| matches!(o, Err(EnvelopeError::AlgorithmMismatch { .. })),
    );
    cose(|p, _| p.content_type = None, is_header_error);
    cose(
        |p, _| {
            p.content_type = Some(RegisteredLabel::Assigned(iana::CoapContentFormat::Json));
        },
        |o| matches!(o, Err(EnvelopeError::ContentType(_))),
    );
    cose(|p, _| drop(p.rest.remove(0)), is_header_error);
    cose(|p, _| p.rest[0].1 = 1.into(), is_header_error);
}

#[test]
fn cose_times_have_tag_1_and_whole_seconds() {
    for time in [
        Cbor::from(1_777_638_600),
        Cbor::Tag(0, Box::new("2026-05-01T12:30:00Z".into())),
        Cbor::Tag(1, Box::new(1_777_638_600.5.into())),
        Cbor::Tag(1, Box::new(u64::MAX.into())),
        Cbor::Tag(1, Box::new(i64::MAX.into())),
        Cbor::Tag(1, Box::new((-1).into())),
        Cbor::Tag(1, Box::new(Cbor::Null)),
        Cbor::Null,
    ] {
        cose(|p, _| p.rest[1].1 = time, is_header_error);
    }
}

#[test]
fn what_decides_is_in_the_protected_cose_header() {
    cose(|p, u| u.alg = p.alg.take(), is_header_error);
    cose(|p, u| u.alg.clone_from(&p.alg), is_header_error);
    cose(|_, u| u.crit = vec![critical(SCHEME)], is_header_error);
    cose(|p, u| u.content_type.clone_from(&p.content_type), is_header_error);
    cose(|p, u| u.rest.push(p.rest[0].clone()), is_header_error);
    cose(|p, u| u.rest.push(p.rest.remove(1)), is_header_error);
}

#[test]
fn a_cose_chain_is_an_array_or_one_certificate() {
    let alone = |u: &mut Header| u.rest[0].1 = u.rest[0].1.as_array().unwrap()[0].clone();
    // The leaf alone is read, and is not its own root.
    cose(
        |_, u| alone(u),
        |o| matches!(o, Err(EnvelopeError::Chain(CertificateError::NoRoot { .. }))),
    );
    cose(|_, u| u.rest.clear(), is_header_error);
    cose(|_, u| u.rest[0].1 = Cbor::Array(vec!["text".into()]), is_header_error);
    cose(
        |_, u| u.rest[0].1 = Cbor::Array(vec![]),
        |o| matches!(o, Err(EnvelopeError::Chain(CertificateError::Empty))),
    );
}

#[test]
fn cose_bytes_have_one_reading_and_are_covered() {
    let good = forge_cose(|_, _| {});
    let cbor = |bytes: &[u8]| {
        let error = Envelope::open(bytes, COSE).unwrap_err();
        assert!(matches!(error, EnvelopeError::Cbor(_)), "{error:?}");
    };
    cbor(b"");
    cbor(&good[1..]);
    cbor(&good[..good.len() - 1]);
    cbor(&[good.as_slice(), &[0]].concat());
    // An array, a map, a text and a byte string of 2^62 elements: nothing is allocated for them.
    for major in [0x9b, 0xbb, 0x7b, 0x5b] {
        cbor(&[0xd2, major, 0x40, 0, 0, 0, 0, 0, 0, 0]);
    }
    cbor(&[&[0xd2][..], &[0x81; 100_000]].concat());
    let mut last = good;
    *last.last_mut().unwrap() ^= 1;
    assert!(matches!(Envelope::open(&last, COSE), Err(EnvelopeError::Signature)));
}
