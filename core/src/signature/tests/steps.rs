//! What an examination tells of its steps, and what it makes of revoked certificates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use time::Duration;
use time::macros::datetime;

use super::super::sign::Format;
use super::super::testing::*;
use super::super::*;
use super::signed;
use crate::evidence::Reason;

/// The names and verdicts of an examination.
fn told(examination: &Examination) -> Vec<(CheckName, Verdict)> {
    examination.checks.iter().map(|check| (check.name, check.verdict)).collect()
}

#[test]
fn every_step_is_told_in_order() {
    let (made, case) = signed();
    let examination = case.examine(&made.trust(), &NotAsked, NOW);
    assert_eq!(told(&examination), CheckName::ALL.map(|name| (name, Verdict::Passed)));
    examination.outcome.unwrap();
    let envelope = examination.envelope.unwrap();
    assert_eq!(
        envelope,
        EnvelopeFacts {
            media_type: "application/jose+json".to_owned(),
            algorithm: Algorithm::Es256,
            scheme: envelope::Scheme::X509,
            signing_time: datetime!(2026-05-01 12:30 UTC),
            expiry: None,
        }
    );
    let certificates = examination.certificates;
    let names: Vec<_> = certificates.iter().map(|c| c.subject.split(',').next().unwrap()).collect();
    assert_eq!(names, ["CN=scanner", "CN=middle", "CN=root"]);
    let fingerprints: Vec<_> = certificates.iter().map(|c| c.fingerprint.clone()).collect();
    assert_eq!(fingerprints, made.signing_key().thumbprints());
    assert_eq!(certificates[0].issuer, certificates[1].subject);
    assert_eq!((certificates[0].not_before, certificates[0].not_after), (NOT_BEFORE, NOT_AFTER));
    assert_eq!(certificates[0].key, "P-256");
    assert!(!certificates[0].serial.is_empty());
    let stores: Vec<_> = certificates.iter().map(|c| c.store.as_deref()).collect();
    assert_eq!(stores, [None, None, Some("ca:acme")]);
}

/// The last check of an examination that fails, with its detail.
#[track_caller]
fn failed(examination: &Examination, expected: CheckName) -> String {
    let (last, before) = examination.checks.split_last().unwrap();
    assert_eq!((last.name, last.verdict), (expected, Verdict::Failed), "{last:?}");
    assert!(before.iter().all(|check| check.verdict == Verdict::Passed), "{before:?}");
    assert!(examination.outcome.is_err());
    last.detail.clone().unwrap()
}

#[test]
fn the_first_step_that_fails_is_the_last_one_told_and_says_why() {
    let (made, good) = signed();
    let examine = |change: fn(&mut Case)| {
        let mut case = good.clone();
        change(&mut case);
        case.examine(&made.trust(), &NotAsked, NOW)
    };
    let detail =
        failed(&examine(|case| case.report_blob = b"x"[..].into()), CheckName::ReportManifest);
    assert!(detail.contains("not what its manifest says"), "{detail}");
    failed(&examine(|case| case.subject = Digest::of(b"")), CheckName::ReportSubject);
    let detached = examine(|case| case.signature["subject"] = json!(null));
    failed(&detached, CheckName::SignatureManifest);
    let media_type = |case: &mut Case| {
        case.enclose("application/cose", case.envelope.to_vec());
    };
    failed(&examine(media_type), CheckName::Envelope);
}

#[test]
fn a_chain_that_nobody_trusts_is_shown() {
    let (_, case) = signed();
    let stranger = Plan::default().make();
    let examination = case.examine(&stranger.trust(), &NotAsked, NOW);
    let detail = failed(&examination, CheckName::Authenticity);
    assert!(detail.contains("scanners"), "{detail}");
    assert_eq!(examination.certificates.len(), 3);
    assert!(examination.certificates.iter().all(|c| c.store.is_none()));

    let nobody = case.examine(&Trust::nobody(), &NotAsked, NOW);
    failed(&nobody, CheckName::TrustStatement);
    assert_eq!(nobody.certificates.len(), 3);
}

#[test]
fn a_chain_that_may_not_sign_is_shown() {
    let good = Plan::default().make();
    let (_, mut case) = signed();
    let mut envelope: serde_json::Value = serde_json::from_slice(&case.envelope).unwrap();
    let chain = envelope["header"]["x5c"].as_array_mut().unwrap();
    chain.swap(1, 2);
    case.enclose("application/jose+json", envelope.to_string().into_bytes());
    let examination = case.examine(&good.trust(), &NotAsked, NOW);
    failed(&examination, CheckName::CertificateChain);
    assert_eq!(examination.certificates.len(), 3);
    assert!(examination.envelope.is_some());
}

#[test]
fn what_is_only_logged_and_what_is_skipped_is_told() {
    let made = Plan::default().make();
    let expiry = datetime!(2026-05-10 00:00 UTC);
    let case = Case::new(&made.signing_key(), Format::Cose, Some(expiry));
    let mut statement = statement();
    statement["signatureVerification"] =
        json!({"level": "strict", "override": {"expiry": "log", "revocation": "skip"}});
    let trust = trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]);
    let examination = case.examine(&trust, &NotAsked, NOW);
    let verdict = |name| examination.checks.iter().find(|c| c.name == name).unwrap().verdict;
    assert_eq!(verdict(CheckName::Expiry), Verdict::Logged);
    assert_eq!(verdict(CheckName::AuthenticTimestamp), Verdict::Passed);
    assert_eq!(verdict(CheckName::Revocation), Verdict::Skipped);
    assert_eq!(examination.outcome.unwrap().notices().len(), 1);
}

#[test]
fn a_report_is_verified_until_something_that_is_enforced_ends() {
    let early = datetime!(2026-09-01 00:00 UTC);
    let made = Plan::with(|plan| plan.middle[0].not_after = early).make();
    let until = |expiry, verification: serde_json::Value| {
        let mut statement = statement();
        statement["signatureVerification"] = verification;
        let trust = trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]);
        let case = Case::new(&made.signing_key(), Format::Jws, expiry);
        let until = case.verify(&trust, NOW).unwrap().valid_until();
        if let Some(until) = until {
            case.verify(&trust, until - Duration::NANOSECOND).unwrap();
            case.verify(&trust, until).unwrap_err();
        }
        until
    };
    let strict = json!({"level": "strict"});
    let expiry = datetime!(2026-08-01 00:00 UTC);
    let ended = early + Duration::SECOND;
    assert_eq!(until(None, strict.clone()), Some(ended));
    assert_eq!(until(Some(expiry), strict.clone()), Some(expiry));
    assert_eq!(until(Some(early + Duration::DAY), strict), Some(ended));
    let logged = |check: &str| json!({"level": "strict", "override": {check: "log"}});
    assert_eq!(until(Some(expiry), logged("expiry")), Some(ended));
    assert_eq!(until(Some(expiry), logged("authenticTimestamp")), Some(expiry));
    assert_eq!(until(None, logged("authenticTimestamp")), None);
    assert_eq!(until(Some(expiry), json!({"level": "permissive"})), None);
}

/// Knows what it is told, by the common name of a certificate, and counts what it was asked.
#[derive(Default)]
struct Known {
    statuses: BTreeMap<&'static str, RevocationStatus>,
    asked: AtomicUsize,
}

impl Known {
    fn of(statuses: impl IntoIterator<Item = (&'static str, RevocationStatus)>) -> Self {
        Self { statuses: statuses.into_iter().collect(), asked: AtomicUsize::new(0) }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Revocations for Known {
    fn status(&self, question: &RevocationQuestion) -> RevocationStatus {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let name = question.subject.split(',').next().unwrap();
        self.statuses.get(name).cloned().unwrap_or(RevocationStatus::Pending)
    }
}

fn crl(params: &mut rcgen::CertificateParams, url: &str) {
    let uris = vec![url.to_owned()];
    params.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris }];
}

/// Access description with method OCSP (…48.1) or caIssuers (…48.2), and the URI `http://a`.
fn access(params: &mut rcgen::CertificateParams, method: u8) {
    let mut der = vec![0x30, 0x16, 0x30, 0x14, 6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, method, 0x86, 8];
    der.extend_from_slice(b"http://a");
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&oid, der));
}

/// A distribution point of delta CRLs at `http://d`.
fn freshest(params: &mut rcgen::CertificateParams) {
    let mut der = vec![0x30, 0x10, 0x30, 0x0e, 0xa0, 0x0c, 0xa0, 0x0a, 0x86, 8];
    der.extend_from_slice(b"http://d");
    params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 46], der));
}

/// A chain of which the leaf and the one above it could be revoked.
fn revocable() -> (Made, Case) {
    let made = Plan::with(|plan| {
        access(&mut plan.leaf, 1);
        crl(&mut plan.leaf, "http://b");
        freshest(&mut plan.leaf);
        crl(&mut plan.middle[0], "http://c");
        crl(plan.root.as_mut().unwrap(), "http://root");
    })
    .make();
    let case = Case::new(&made.signing_key(), Format::Jws, None);
    (made, case)
}

fn revoked() -> RevocationStatus {
    let reason = Some("keyCompromise".to_owned());
    RevocationStatus::Revoked { at: datetime!(2026-05-20 00:00 UTC), reason, invalid_since: None }
}

fn unknown() -> RevocationStatus {
    RevocationStatus::Unknown { detail: "nobody answered".to_owned() }
}

#[test]
fn what_is_not_known_yet_is_pending_with_all_questions() {
    let (made, case) = revocable();
    let examination = case.examine(&made.trust(), &Known::default(), NOW);
    let last = examination.checks.last().unwrap();
    assert_eq!((last.name, last.verdict), (CheckName::Revocation, Verdict::Pending));
    let error = examination.outcome.unwrap_err();
    assert!(error.is_undecided());
    let SignatureError::RevocationPending { questions } = error else { panic!("{error:?}") };
    let [leaf, middle] = &questions[..] else { panic!("{questions:?}") };
    assert_eq!((&leaf.certificate, &leaf.issuer), (&made.chain[0], &made.chain[1]));
    assert_eq!((&middle.certificate, &middle.issuer), (&made.chain[1], &made.chain[2]));
    assert_eq!(
        (&leaf.ocsp[..], &leaf.crl[..]),
        (&["http://a".into()][..], &["http://b".into()][..])
    );
    assert_eq!(leaf.freshest_crl, ["http://d"]);
    assert_eq!((&middle.ocsp[..], &middle.crl[..]), (&[][..], &["http://c".to_owned()][..]));

    let good = [("CN=scanner", RevocationStatus::Good), ("CN=middle", RevocationStatus::Good)];
    case.examine(&made.trust(), &Known::of(good), NOW).outcome.unwrap();
}

#[test]
fn t013_a_revoked_certificate_is_refused_whatever_else_is_not_known() {
    let (made, case) = revocable();
    for (scanner, middle) in [
        (revoked(), RevocationStatus::Good),
        (RevocationStatus::Good, revoked()),
        (revoked(), RevocationStatus::Pending),
        (RevocationStatus::Pending, revoked()),
        (unknown(), revoked()),
    ] {
        let known = Known::of([("CN=scanner", scanner), ("CN=middle", middle)]);
        let error = case.examine(&made.trust(), &known, NOW).outcome.unwrap_err();
        assert!(matches!(&error, SignatureError::Revoked { .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::BadSignature);
        assert!(!error.is_undecided());
        assert!(error.to_string().contains("keyCompromise"), "{error}");
    }
}

#[test]
fn what_could_not_be_found_out_is_refused_noted_or_not_asked() {
    let (made, case) = revocable();
    let known = || Known::of([("CN=scanner", RevocationStatus::Good), ("CN=middle", unknown())]);
    let examine = |verification: serde_json::Value, known: &Known| {
        let mut statement = statement();
        statement["signatureVerification"] = verification;
        let trust = trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]);
        case.examine(&trust, known, NOW).outcome
    };
    let error = examine(json!({"level": "strict"}), &known()).unwrap_err();
    assert!(error.is_undecided());
    assert!(
        matches!(&error, SignatureError::RevocationUnknown { subject, detail, .. }
            if subject.starts_with("CN=middle") && detail == "nobody answered"),
        "{error:?}"
    );
    assert!(error.to_string().contains(r#""override": {"revocation": "log"}"#), "{error}");
    let log = json!({"level": "strict", "override": {"revocation": "log"}});
    for verification in [log.clone(), json!({"level": "permissive"})] {
        assert_eq!(examine(verification, &known()).unwrap().notices().len(), 1);
    }
    // What is to be told is asked first, too.
    let pending = examine(log.clone(), &Known::default()).unwrap_err();
    assert!(matches!(pending, SignatureError::RevocationPending { .. }), "{pending:?}");
    let revoked = Known::of([("CN=scanner", revoked()), ("CN=middle", unknown())]);
    assert_eq!(examine(log, &revoked).unwrap().notices().len(), 1);

    let skip = json!({"level": "strict", "override": {"revocation": "skip"}});
    let nobody = Known::default();
    assert!(examine(skip, &nobody).unwrap().notices().is_empty());
    assert_eq!(nobody.asked(), 0);
}

#[test]
fn nobody_is_asked_about_a_chain_that_is_not_trusted() {
    let (made, mut case) = revocable();
    let stranger = Plan::default().make();
    let known = Known::default();
    case.examine(&stranger.trust(), &known, NOW).outcome.unwrap_err();
    let mut statement = statement();
    statement["trustedIdentities"] = json!(["x509.subject: C=US, ST=WA, O=other"]);
    let trust = trust(&statement, &[store(StoreKind::Ca, "acme", made.root())]);
    case.examine(&trust, &known, NOW).outcome.unwrap_err();
    case.report["annotations"]["a"] = "other".into();
    case.examine(&made.trust(), &known, NOW).outcome.unwrap_err();
    let expired = Case::new(&made.signing_key(), Format::Jws, Some(NOW));
    expired.examine(&made.trust(), &known, NOW).outcome.unwrap_err();
    assert_eq!(known.asked(), 0);
}

#[test]
fn a_certificate_that_names_nobody_cannot_be_revoked() {
    let plans = [
        Plan::default(),
        Plan::with(|plan| crl(plan.root.as_mut().unwrap(), "http://root")),
        Plan::with(|plan| access(&mut plan.leaf, 2)),
    ];
    for plan in plans {
        let made = plan.make();
        let case = Case::new(&made.signing_key(), Format::Jws, None);
        let known = Known::default();
        case.examine(&made.trust(), &known, NOW).outcome.unwrap();
        assert_eq!(known.asked(), 0);
    }
    let (made, case) = revocable();
    let error = case.verify(&made.trust(), NOW).unwrap_err();
    assert!(matches!(error, SignatureError::RevocationUnknown { .. }), "{error:?}");
}
