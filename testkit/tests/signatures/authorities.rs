//! Timestamping authorities: whom nobody trusts, and who may not, or no longer, stamp.

use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_core::signature::sign::Format;
use portcullis_core::signature::{
    CheckName, Examination, RevocationQuestion, RevocationStatus, Revocations, Rule,
    SignatureError, StoreKind, TimestampError, Verdict,
};
use portcullis_testkit::tsa::{CODE_SIGNING, TIMESTAMPING, TsaPlan, purposes};
use rcgen::{BasicConstraints, CertificateParams, CrlDistributionPoint, IsCa, KeyUsagePurpose};
use serde_json::{Value, json};
use time::Duration;
use time::macros::datetime;

use crate::site::*;
use crate::world::*;

#[test]
fn t013_an_authority_that_is_not_below_a_trusted_root_is_refused() {
    let site = Site::good();
    let strangers = Site::good();
    for format in FORMATS {
        let envelope = site.stamped(format, SIGNED, |_| {});
        for tsa in [strangers.tsa.root(), site.chain.root()] {
            let roots = [(StoreKind::Ca, site.chain.root()), (StoreKind::Tsa, tsa)];
            let error = verified(format, &envelope, &trust(&strict(), &roots), LATER);
            refused(error.map(drop), |e| matches!(e, TimestampError::Untrusted { .. }));
        }
        // A root that is trusted to issue signers is not one that is trusted for time.
        let roots = [
            (StoreKind::Ca, site.chain.root()),
            (StoreKind::SigningAuthority, site.tsa.root()),
            (StoreKind::Tsa, strangers.tsa.root()),
        ];
        verified(format, &envelope, &trust(&strict(), &roots), LATER).unwrap_err();
    }
    // Its root within the token makes nobody trust it.
    let error = site.said(SIGNED, |plan| {
        *plan = strangers.tsa.plan(b"", SIGNED).unwrap();
    });
    error.unwrap_err();
}

#[test]
fn t013_a_certificate_that_is_not_for_timestamps_is_refused() {
    let check = |change: fn(&mut CertificateParams), expected: Rule| {
        let site = Site::new(|_| {}, |tsa| change(&mut tsa.leaf));
        refused(
            site.said(SIGNED, |_| {}),
            |e| matches!(e, TimestampError::Rule { rule, .. } if *rule == expected),
        );
    };
    let purpose = Rule::TimestampPurpose;
    check(|leaf| leaf.custom_extensions.clear(), purpose.clone());
    check(|leaf| leaf.custom_extensions = vec![purposes(false, &[TIMESTAMPING])], purpose.clone());
    check(|leaf| leaf.custom_extensions = vec![purposes(true, &[CODE_SIGNING])], purpose.clone());
    check(
        |leaf| leaf.custom_extensions = vec![purposes(true, &[TIMESTAMPING, CODE_SIGNING])],
        purpose,
    );
    check(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), Rule::LeafIsCa);
    check(|leaf| leaf.key_usages.clear(), Rule::NoKeyUsage);
    check(|leaf| leaf.key_usages.push(KeyUsagePurpose::KeyEncipherment), Rule::LeafKeyUsage);
    let root = Site::new(|_| {}, |tsa| tsa.root.key_usages = vec![KeyUsagePurpose::CrlSign]);
    refused(root.said(SIGNED, |_| {}), |e| {
        matches!(e, TimestampError::Rule { rule: Rule::KeyCertSign, .. })
    });
}

#[test]
fn an_authority_must_have_been_valid_when_it_stamped() {
    let ended = |params: fn(&mut TsaPlan) -> &mut CertificateParams| {
        let site = Site::new(|_| {}, |tsa| params(tsa).not_after = SIGNED);
        site.said(SIGNED - Duration::SECOND, |_| {}).unwrap();
        site.said(SIGNED, |_| {})
    };
    refused(ended(|tsa| &mut tsa.leaf), outside("CN=clock,"));
    refused(ended(|tsa| &mut tsa.root), outside("CN=clock root"));
    // And when it says that it signed.
    let site = Site::good();
    site.said(SIGNED, |plan| plan.signing_time = Some(SIGNED)).unwrap();
    let long_ago = datetime!(2020-01-01 00:00 UTC);
    refused(site.said(SIGNED, |plan| plan.signing_time = Some(long_ago)), outside("CN=clock,"));
}

/// Says the same of every certificate, and counts.
struct Says(RevocationStatus, AtomicUsize);

impl Revocations for Says {
    fn status(&self, question: &RevocationQuestion) -> RevocationStatus {
        assert!(question.subject.starts_with("CN=clock,"), "{question:?}");
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.clone()
    }
}

#[test]
fn t013_a_revoked_authority_is_refused_whatever_the_policy_says_of_signers() {
    let site = Site::new(
        |_| {},
        |tsa| {
            let uris = vec!["http://crl.example/a".to_owned()];
            tsa.leaf.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        },
    );
    let skip = json!({"level": "strict", "override": {"revocation": "skip"}});
    let envelope = site.stamped(Format::Jws, SIGNED, |_| {});
    let said = |status, verification: &Value| -> (Examination, usize) {
        let says = Says(status, AtomicUsize::new(0));
        let trust = site.trust(verification);
        let examination = examined(Format::Jws, &envelope, &trust, &says, LATER);
        (examination, says.1.into_inner())
    };
    let revoked = || RevocationStatus::Revoked { at: LATER, reason: None, invalid_since: None };
    for verification in [&strict(), &skip] {
        said(RevocationStatus::Good, verification).0.outcome.unwrap();
        let error = said(revoked(), verification).0.outcome.unwrap_err();
        assert!(
            matches!(&error, SignatureError::Revoked { subject, .. }
                if subject.starts_with("CN=clock,")),
            "{error:?}"
        );
        let unknown = RevocationStatus::Unknown { detail: "nobody answered".to_owned() };
        let error = said(unknown, verification).0.outcome.unwrap_err();
        assert!(error.is_undecided());
        assert!(error.to_string().contains(r#"{"authenticTimestamp": "log"}"#), "{error}");
        let (pending, _) = said(RevocationStatus::Pending, verification);
        let timestamp = pending.checks.iter().find(|c| c.name == CheckName::AuthenticTimestamp);
        assert_eq!(timestamp.unwrap().verdict, Verdict::Pending);
        let error = pending.outcome.unwrap_err();
        let SignatureError::RevocationPending { questions } = error else { panic!("{error:?}") };
        assert_eq!(questions.len(), 1);
    }
    let log = json!({"level": "strict", "override": {"authenticTimestamp": "log"}});
    assert_eq!(said(revoked(), &log).0.outcome.unwrap().notices().len(), 1);

    // Nobody asks about an authority that is not trusted, or a time that does not fit.
    let strangers = Site::good();
    let roots = [(StoreKind::Ca, site.chain.root()), (StoreKind::Tsa, strangers.tsa.root())];
    let says = Says(RevocationStatus::Pending, AtomicUsize::new(0));
    let untrusted = examined(Format::Jws, &envelope, &trust(&strict(), &roots), &says, LATER);
    untrusted.outcome.unwrap_err();
    let misfit = site.stamped(Format::Jws, NOW + Duration::days(400), |_| {});
    let misfit = examined(Format::Jws, &misfit, &site.trust(&strict()), &says, LATER);
    misfit.outcome.unwrap_err();
    assert_eq!(says.1.into_inner(), 0);
}
