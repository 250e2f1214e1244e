//! Timestamps, good and with one fault each.

use portcullis_core::signature::sign::Format;
use portcullis_core::signature::{
    CheckName, MAX_TIMESTAMP, MAX_TIMESTAMP_CERTIFICATES, NotAsked, SignatureError, StoreKind,
    TimestampError, Verdict,
};
use portcullis_testkit::envelope::stamped;
use portcullis_testkit::tsa::{
    BASELINE_POLICY, CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_CERTIFICATE, SIGNING_TIME, TokenPlan,
    extension,
};
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::site::*;
use crate::world::*;

#[test]
fn a_good_timestamp_outlives_the_certificates() {
    let site = Site::good();
    site.said(SIGNED, |_| {}).unwrap();
    let late = LATER + Duration::days(365);
    for format in FORMATS {
        let envelope = site.stamped(format, SIGNED, |_| {});
        let examination = examined(format, &envelope, &site.trust(&strict()), &NotAsked, late);
        let check = |name| examination.checks.iter().find(|c| c.name == name).unwrap();
        let timestamp = check(CheckName::AuthenticTimestamp);
        assert_eq!(timestamp.verdict, Verdict::Passed);
        let detail = timestamp.detail.as_deref().unwrap();
        assert!(detail.contains("2026-06-01T12:00:00Z by `CN=clock,O=clock"), "{detail}");
        let facts = examination.timestamp.unwrap();
        assert_eq!((facts.at, facts.accuracy), (SIGNED, Duration::SECOND));
        let stores: Vec<_> = facts.certificates.iter().map(|c| c.store.as_deref()).collect();
        assert_eq!(stores, [None, Some("tsa:it")]);
        // Nothing ends with the certificates.
        assert_eq!(examination.outcome.unwrap().valid_until(), None);
        let bare = site.signed(format);
        let error = verified(format, &bare, &site.trust(&strict()), SIGNED).unwrap_err();
        assert!(matches!(error, SignatureError::Timestamp(TimestampError::Absent)), "{error:?}");
    }
}

#[test]
fn t011_a_time_outside_the_validity_of_the_key_is_refused() {
    let (from, until) = (NOW - Duration::DAY, NOW + Duration::days(365));
    let older = Site::new(
        |_| {},
        |tsa| {
            for params in [&mut tsa.leaf, &mut tsa.root] {
                params.not_before = datetime!(2020-01-01 00:00 UTC);
            }
        },
    );
    older.said(from + Duration::SECOND, |_| {}).unwrap();
    older.said(until - Duration::SECOND, |_| {}).unwrap();
    for at in [from, from - Duration::DAY, until, until + Duration::DAY] {
        refused(older.said(at, |_| {}), outside("CN=leaf"));
    }
    older.said(from, |plan| plan.accuracy = None).unwrap();
    older.said(until, |plan| plan.accuracy = Some(0)).unwrap();
    // This policy means a second where nothing is stated.
    let baseline = |accuracy| {
        move |plan: &mut TokenPlan| {
            plan.policy = BASELINE_POLICY.to_vec();
            plan.accuracy = accuracy;
        }
    };
    refused(older.said(from, baseline(None)), outside("CN=leaf"));
    refused(older.said(from, baseline(Some(0))), outside("CN=leaf"));
    older.said(from + Duration::SECOND, baseline(None)).unwrap();
    refused(older.said(from + Duration::SECOND, baseline(Some(2))), outside("CN=leaf"));
}

#[test]
fn t012_an_issuer_that_had_expired_at_signing_is_refused_and_one_that_expired_since_is_not() {
    let site = |at: OffsetDateTime| Site::new(|plan| plan.issuers[0].not_after = at, |_| {});
    refused(site(SIGNED - Duration::HOUR).said(SIGNED, |_| {}), outside("CN=intermediate"));
    let since = site(SIGNED + Duration::HOUR);
    since.said(SIGNED, |_| {}).unwrap();
    for format in FORMATS {
        let bare = since.signed(format);
        let trust = trust(&strict(), &[(StoreKind::Ca, since.chain.root())]);
        verified(format, &bare, &trust, SIGNED).unwrap();
        let error = verified(format, &bare, &trust, SIGNED + Duration::DAY).unwrap_err();
        assert!(
            matches!(&error, SignatureError::NotValid { subject, .. }
                if subject.starts_with("CN=intermediate")),
            "{error:?}"
        );
    }
}

#[test]
fn every_part_of_a_token_counts() {
    type Change = fn(&mut TokenPlan);
    type Expected = fn(&TimestampError) -> bool;
    let attribute: Expected = |e| matches!(e, TimestampError::Attribute(_));
    let malformed: Expected = |e| matches!(e, TimestampError::Malformed(_));
    let faults: [(&str, Change, Expected); 22] = [
        ("another signature", |p| p.imprint[0] ^= 1, |e| matches!(e, TimestampError::Imprint)),
        ("a short imprint", |p| p.imprint.truncate(31), |e| matches!(e, TimestampError::Imprint)),
        ("SHA-1", |p| p.hash = vec![0x2b, 14, 3, 2, 26], |e| matches!(e, TimestampError::Hash(_))),
        ("other content", |p| p.content_type = vec![0x2a, 3], malformed),
        ("version 2", |p| p.version = 2, malformed),
        ("a time without Z", |p| p.time.truncate(14), malformed),
        ("critical extension", |p| p.rest = extension(true), malformed),
        ("trailing bytes", |p| p.rest = vec![5, 0], malformed),
        ("spoilt", |p| p.spoilt = true, |e| matches!(e, TimestampError::Signature { .. })),
        (
            "other content signed",
            |p| p.message_digest = Some(vec![7; 32]),
            |e| matches!(e, TimestampError::Content),
        ),
        (
            "other type signed",
            |p| p.signed_content_type = vec![0x2a, 3],
            |e| matches!(e, TimestampError::Content),
        ),
        ("no type", |p| p.without = vec![CONTENT_TYPE], attribute),
        ("no digest", |p| p.without = vec![MESSAGE_DIGEST], attribute),
        ("no certificate hash", |p| p.without = vec![SIGNING_CERTIFICATE], attribute),
        ("type twice", |p| p.twice = vec![CONTENT_TYPE], attribute),
        ("digest twice", |p| p.twice = vec![MESSAGE_DIGEST], attribute),
        ("certificate hash twice", |p| p.twice = vec![SIGNING_CERTIFICATE], attribute),
        (
            "signing time twice",
            |p| {
                p.signing_time = Some(SIGNED);
                p.twice = vec![SIGNING_TIME];
            },
            attribute,
        ),
        (
            "another certificate hash",
            |p| p.certificate_hash[0] ^= 1,
            |e| matches!(e, TimestampError::NoSigner),
        ),
        ("another serial", |p| p.serial[3] ^= 1, |e| matches!(e, TimestampError::NoSigner)),
        ("no signer", |p| p.signers = 0, |e| matches!(e, TimestampError::Signers(0))),
        ("two signers", |p| p.signers = 2, |e| matches!(e, TimestampError::Signers(2))),
    ];
    let site = Site::good();
    for (fault, change, expected) in faults {
        let said = site.said(SIGNED, change);
        let Err(SignatureError::Timestamp(error)) = said else { panic!("{fault}: {said:?}") };
        assert!(expected(&error), "{fault}: {error:?}");
    }
    site.said(SIGNED, |plan| plan.rest = extension(false)).unwrap();
    site.said(SIGNED, |plan| plan.rest = Vec::new()).unwrap();
    let none = site.said(SIGNED, |plan| plan.certificates.clear());
    refused(none, |e| matches!(e, TimestampError::NoSigner));
    let garbage = site.said(SIGNED, |plan| plan.certificates.push(vec![0x30, 0]));
    refused(garbage, |e| matches!(e, TimestampError::Certificate(_)));
}

#[test]
fn no_changed_byte_of_a_token_moves_its_time() {
    let site = Site::good();
    let trust = site.trust(&strict());
    let signed = site.signed(Format::Jws);
    let mut token = Vec::new();
    stamped(Format::Jws, &signed, |signature| {
        token = site.tsa.stamp(signature, SIGNED)?;
        Ok(token.clone())
    })
    .unwrap();
    let mut accepted = 0;
    for i in 0..token.len() {
        let mut bad = token.clone();
        bad[i] ^= 1;
        let envelope = stamped(Format::Jws, &signed, |_| Ok(bad)).unwrap();
        let examination = examined(Format::Jws, &envelope, &trust, &NotAsked, LATER);
        if examination.outcome.is_ok() {
            accepted += 1;
            assert_eq!(examination.timestamp.unwrap().at, SIGNED, "byte {i}");
        }
    }
    // What nobody signs and nobody reads: the list of digest algorithms, and the digest's parameters.
    assert!(accepted < 32, "{accepted} bytes do not matter");
}

#[test]
fn a_token_is_refused_one_past_its_bounds() {
    let site = Site::good();
    let certificate = site.tsa.certificate().to_vec();
    let with = |count: usize| {
        let certificate = certificate.clone();
        site.said(SIGNED, move |plan| plan.certificates = vec![certificate.clone(); count])
    };
    with(MAX_TIMESTAMP_CERTIFICATES).unwrap();
    refused(with(MAX_TIMESTAMP_CERTIFICATES + 1), |e| {
        matches!(e, TimestampError::TooManyCertificates)
    });
    let sized = |length: usize| {
        let envelope = stamped(Format::Jws, &site.signed(Format::Jws), |_| Ok(vec![0; length]));
        let trust = site.trust(&strict());
        verified(Format::Jws, &envelope.unwrap(), &trust, LATER).map(drop)
    };
    refused(sized(MAX_TIMESTAMP), |e| matches!(e, TimestampError::Malformed(_)));
    refused(sized(MAX_TIMESTAMP + 1), |e| matches!(e, TimestampError::TooLarge { .. }));
}

#[test]
fn a_token_is_looked_at_when_the_policy_says_so() {
    let site = Site::good();
    let after = json!({"level": "strict", "verifyTimestamp": "afterCertExpiry"});
    let expired = NOW + Duration::days(366);
    for format in FORMATS {
        let bare = site.signed(format);
        let good = site.stamped(format, SIGNED, |_| {});
        let bad = site.stamped(format, SIGNED, |plan| plan.spoilt = true);
        let said = |envelope: &[u8], verification: &Value, now| {
            verified(format, envelope, &site.trust(verification), now)
        };
        for envelope in [&bare, &good, &bad] {
            let verified = said(envelope, &after, SIGNED).unwrap();
            // Then it is asked again.
            let end = NOW + Duration::days(365) + Duration::SECOND;
            assert_eq!(verified.valid_until(), Some(end));
        }
        said(&good, &after, expired).unwrap();
        for envelope in [&bare, &bad] {
            let error = said(envelope, &after, expired).unwrap_err();
            assert!(matches!(error, SignatureError::Timestamp(_)), "{error:?}");
            let error = said(envelope, &strict(), SIGNED).unwrap_err();
            assert!(matches!(error, SignatureError::Timestamp(_)), "{error:?}");
        }
        let logged = json!({"level": "strict", "override": {"authenticTimestamp": "log"}});
        assert_eq!(said(&bad, &logged, SIGNED).unwrap().notices().len(), 1);
        assert!(said(&good, &logged, SIGNED).unwrap().notices().is_empty());
        // Without a store for it nobody looks at it.
        let none = trust(&strict(), &[(StoreKind::Ca, site.chain.root())]);
        verified(format, &bad, &none, SIGNED).unwrap();
    }
}
