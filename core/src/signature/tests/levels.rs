//! Whom a trust policy trusts, and what it enforces at each level.

use serde_json::json;
use time::Duration;
use time::macros::datetime;

use super::super::sign::Format;
use super::super::testing::*;
use super::super::*;
use super::signed;
use crate::evidence::Reason;
use crate::referrers::OCI_MANIFEST;

#[test]
fn a_chain_is_trusted_by_any_certificate_of_the_right_store() {
    let made = Plan::default().make();
    let case = Case::new(&made.signing_key(), Format::Cose, None);
    let verify = |file: StoreFile| {
        let name = format!("{}:{}", file.kind, file.store);
        let mut statement = statement();
        statement["trustStores"] = json!([name]);
        case.verify(&trust(&statement, &[file]), NOW)
    };
    verify(store(StoreKind::Ca, "acme", &made.chain[2])).unwrap();
    verify(store(StoreKind::Ca, "acme", &made.chain[1])).unwrap();
    let other = Plan::default().make();
    for file in [
        // Another CA of the same name, and the right one in the wrong store.
        store(StoreKind::Ca, "acme", other.root()),
        store(StoreKind::SigningAuthority, "acme", made.root()),
        store(StoreKind::Tsa, "acme", made.root()),
    ] {
        let error = verify(file).unwrap_err();
        assert!(matches!(error, SignatureError::UntrustedChain { store: "ca", .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::UntrustedSigner);
    }
    // One in a store that this statement does not name.
    let files =
        [store(StoreKind::Ca, "acme", other.root()), store(StoreKind::Ca, "unnamed", made.root())];
    case.verify(&trust(&statement(), &files), NOW).unwrap_err();
}

#[test]
fn a_self_signed_certificate_is_trusted_by_itself() {
    let made = Plan::with(|plan| plan.root = None).make();
    let case = Case::new(&made.signing_key(), Format::Jws, None);
    case.verify(&made.trust(), NOW).unwrap();
    case.verify(&Plan::with(|plan| plan.root = None).make().trust(), NOW).unwrap_err();
}

#[test]
fn only_trusted_identities_are_trusted() {
    let (made, case) = signed();
    let verify = |identity: &str| {
        let mut statement = statement();
        statement["trustedIdentities"] = json!([identity]);
        case.verify(&trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]), NOW)
    };
    verify("x509.subject: C=US, ST=WA, O=acme").unwrap();
    verify("x509.subject: C=US, ST=WA, O=acme, CN=scanner").unwrap();
    // That of the issuer is not the signer's.
    for identity in ["x509.subject: C=US, ST=WA, O=acme, CN=root", "aws.signer:arn"] {
        let error = verify(identity).unwrap_err();
        assert!(matches!(error, SignatureError::UntrustedIdentity { .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::UntrustedSigner);
    }
}

#[test]
fn a_name_that_identities_cannot_express_is_only_trusted_by_the_wildcard() {
    let made = Plan::with(|plan| {
        let email = rcgen::DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        plan.leaf.distinguished_name.push(email, "a@b");
    })
    .make();
    let case = Case::new(&made.signing_key(), Format::Jws, None);
    case.verify(&made.trust(), NOW).unwrap();
    let mut statement = statement();
    statement["trustedIdentities"] = json!(["x509.subject: C=US, ST=WA, O=acme"]);
    let trust = trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]);
    let error = case.verify(&trust, NOW).unwrap_err();
    let source = IdentityError::Hexadecimal(
        "1.2.840.113549.1.9.1=#614062,CN=scanner,O=acme,ST=WA,C=US".to_owned(),
    );
    assert!(
        matches!(&error, SignatureError::Identity { source: s, .. } if *s == source),
        "{error:?}"
    );
}

#[test]
fn trust_ends_at_the_scope() {
    let (made, mut case) = signed();
    let mut statement = statement();
    statement["registryScopes"] = json!(["reg.io/team/app", "reg.io/a"]);
    let trust = trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]);
    case.verify(&trust, NOW).unwrap();
    for scope in
        ["reg.io/team/app2", "reg.io/team", "reg.io/ab", "reg.io/a/x", "evil.io/team/app", "*", ""]
    {
        case.scope = scope.to_owned();
        let error = case.verify(&trust, NOW).unwrap_err();
        assert!(matches!(error, SignatureError::NoStatement { .. }), "{scope}: {error:?}");
        assert_eq!(error.reason(), Reason::UntrustedSigner);
    }
}

/// What a statement with this `signatureVerification` says at `now` of a chain and expiry.
fn at_level(
    made: &Made,
    expiry: Option<OffsetDateTime>,
    verification: &serde_json::Value,
    now: OffsetDateTime,
) -> Result<Verified, SignatureError> {
    let mut statement = statement();
    statement["signatureVerification"] = verification.clone();
    let trust = trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]);
    Case::new(&made.signing_key(), Format::Jws, expiry).verify(&trust, now)
}

#[test]
fn authenticity_is_enforced_at_every_level() {
    let (_, case) = signed();
    let stranger = Plan::default().make();
    for verification in
        [json!({"level": "audit"}), json!({"level": "strict", "override": {"authenticity": "log"}})]
    {
        let mut statement = statement();
        statement["signatureVerification"] = verification;
        let trust = trust(&statement, &[store(StoreKind::Ca, "acme", stranger.root())]);
        let error = case.verify(&trust, NOW).unwrap_err();
        assert!(
            matches!(error, SignatureError::UntrustedChain { demanded: Demanded::Log, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("always enforced"));
    }
}

#[test]
fn level_skip_verifies_nothing() {
    let (_, case) = signed();
    let skip = json!({
        "name": "none", "registryScopes": ["*"], "signatureVerification": {"level": "skip"},
    });
    let error = case.verify(&trust(&skip, &[]), NOW).unwrap_err();
    assert!(matches!(error, SignatureError::Skipped { .. }), "{error:?}");
    assert_eq!(error.reason(), Reason::UntrustedSigner);
}

#[test]
fn an_expired_signature_is_refused_or_noted() {
    let made = Plan::default().make();
    let expiry = datetime!(2026-05-10 00:00 UTC);
    let strict = json!({"level": "strict"});
    let before = expiry - Duration::SECOND;
    at_level(&made, Some(expiry), &strict, before).unwrap();
    for now in [expiry, NOW] {
        let error = at_level(&made, Some(expiry), &strict, now).unwrap_err();
        assert!(matches!(error, SignatureError::Expired { .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::BadSignature);
    }
    for verification in [
        json!({"level": "permissive"}),
        json!({"level": "audit"}),
        json!({"level": "strict", "override": {"expiry": "log"}}),
    ] {
        let verified = at_level(&made, Some(expiry), &verification, NOW).unwrap();
        assert_eq!(verified.notices().len(), 1, "{verification}");
        assert!(at_level(&made, Some(expiry), &verification, before).unwrap().notices().is_empty());
    }
    let enforced = json!({"level": "permissive", "override": {"expiry": "enforce"}});
    at_level(&made, Some(expiry), &enforced, NOW).unwrap_err();
}

#[test]
fn every_certificate_of_the_chain_must_be_valid_now() {
    let strict = json!({"level": "strict"});
    let late = datetime!(2026-05-15 00:00 UTC);
    let ended = |plan: &mut Plan, i: usize| match i {
        0 => plan.leaf.not_after = late,
        1 => plan.middle[0].not_after = late,
        _ => plan.root.as_mut().unwrap().not_after = late,
    };
    for (i, name) in ["CN=scanner", "CN=middle", "CN=root"].into_iter().enumerate() {
        let made = Plan::with(|plan| ended(plan, i)).make();
        at_level(&made, None, &strict, late).unwrap();
        let error = at_level(&made, None, &strict, NOW).unwrap_err();
        assert!(
            matches!(&error, SignatureError::NotValid { subject, at }
                if subject.starts_with(name) && *at == NOW),
            "{error:?}"
        );
        assert_eq!(error.reason(), Reason::BadSignature);
        let permissive = json!({"level": "permissive"});
        assert_eq!(at_level(&made, None, &permissive, NOW).unwrap().notices().len(), 1);
        let override_ = json!({"level": "strict", "override": {"authenticTimestamp": "log"}});
        assert_eq!(at_level(&made, None, &override_, NOW).unwrap().notices().len(), 1);
    }
    let made = Plan::default().make();
    at_level(&made, None, &strict, NOT_BEFORE).unwrap();
    at_level(&made, None, &strict, NOT_BEFORE - Duration::SECOND).unwrap_err();
}

#[test]
fn a_signature_without_the_timestamp_that_is_demanded_is_refused() {
    let (made, case) = signed();
    let verify = |verification: serde_json::Value, now| {
        let mut statement = statement();
        statement["trustStores"] = json!(["ca:acme", "tsa:acme"]);
        statement["signatureVerification"] = verification;
        let files = [StoreKind::Ca, StoreKind::Tsa].map(|kind| store(kind, "acme", made.root()));
        case.verify(&trust(&statement, &files), now)
    };
    let later = NOT_AFTER + Duration::SECOND;
    let always = verify(json!({"level": "strict"}), NOW).unwrap_err();
    assert!(matches!(always, SignatureError::Timestamp(TimestampError::Absent)), "{always:?}");
    assert_eq!(always.reason(), Reason::BadSignature);
    let after = json!({"level": "strict", "verifyTimestamp": "afterCertExpiry"});
    verify(after.clone(), NOW).unwrap();
    let expired = verify(after.clone(), later).unwrap_err();
    assert!(matches!(expired, SignatureError::Timestamp(TimestampError::Absent)), "{expired:?}");
    // Not yet valid is not expired.
    let early = verify(after, NOT_BEFORE - Duration::SECOND).unwrap_err();
    assert!(matches!(early, SignatureError::NotValid { .. }), "{early:?}");
    assert_eq!(verify(json!({"level": "permissive"}), NOW).unwrap().notices().len(), 1);
}

#[test]
fn a_signing_authority_vouches_for_its_time() {
    let made = Plan::default().make();
    let verify = |time: &str, kind: StoreKind| {
        let mut protected = headers();
        protected["io.cncf.notary.signingScheme"] = "notary.x509.signingAuthority".into();
        protected.as_object_mut().unwrap().remove("io.cncf.notary.signingTime");
        protected["io.cncf.notary.authenticSigningTime"] = time.into();
        protected["crit"] =
            json!(["io.cncf.notary.authenticSigningTime", "io.cncf.notary.signingScheme"]);
        let (_, mut case) = signed();
        let manifest = case.report.to_string();
        let target = descriptor(OCI_MANIFEST, manifest.as_bytes());
        let payload = json!({"targetArtifact": target}).to_string();
        let key = made.signing_key();
        let envelope = forge_jws(&key, &protected.to_string(), payload.as_bytes());
        case.enclose("application/jose+json", envelope.to_string().into_bytes());
        let mut statement = statement();
        statement["trustStores"] = json!([format!("{kind}:acme"), "tsa:acme"]);
        let files = [kind, StoreKind::Tsa].map(|kind| store(kind, "acme", made.root()));
        // Long after the certificates expired.
        case.verify(&trust(&statement, &files), datetime!(2030-01-01 00:00 UTC))
    };
    let authority = StoreKind::SigningAuthority;
    let verified = verify("2026-05-01T12:30:00Z", authority).unwrap();
    assert_eq!(verified.signer().signed_at, Some(datetime!(2026-05-01 12:30 UTC)));
    for time in ["2025-12-31T23:59:59Z", "2027-01-01T00:00:01Z"] {
        let error = verify(time, authority).unwrap_err();
        assert!(matches!(error, SignatureError::NotValid { .. }), "{error:?}");
    }
    let error = verify("2026-05-01T12:30:00Z", StoreKind::Ca).unwrap_err();
    assert!(
        matches!(error, SignatureError::UntrustedChain { store: "signingAuthority", .. }),
        "{error:?}"
    );
}
