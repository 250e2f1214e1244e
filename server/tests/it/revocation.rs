//! Signers whose certificates name an OCSP responder: revoked, not known, and known without asking.

use std::collections::BTreeSet;
use std::fs;

use futures_util::future::join_all;
use portcullis_core::signature::RevocationQuestion;
use portcullis_core::signature::revocation::Inquiry;
use portcullis_core::signature::sign::SigningKey;
use portcullis_server::revocation::MAX_LIFE;
use portcullis_testkit::attach::attach_report;
use portcullis_testkit::keys::{Authority, Issued, Leaf, Sources};
use portcullis_testkit::responder::{OcspAnswer, Reply, Responder, Standing};
use time::OffsetDateTime;

use crate::world::*;

const REVOKED: Standing = Standing::Revoked { at: SCANNED, reason: Some(1), invalid_since: None };

/// A service before a responder, and a signer who names that.
struct Case {
    world: World,
    responder: Responder,
    issued: Issued,
    key: SigningKey,
}

impl Case {
    /// One under a trust policy that enforces revocation.
    async fn new() -> Self {
        Self::with("").await
    }

    /// One under a trust policy with this after its level.
    async fn with(more: &str) -> Self {
        let (mut site, responder) = (Site::new().await, Responder::start().await.unwrap());
        site.config.revocation.hosts = BTreeSet::from([responder.host()]);
        let path = site.path("trustpolicy.json");
        let policy = fs::read_to_string(&path).unwrap();
        let strict = r#""level": "strict""#;
        assert!(policy.contains(strict), "{policy}");
        fs::write(&path, policy.replace(strict, &format!("{strict}{more}"))).unwrap();
        let issued = issued(&site.authority, &responder);
        let key = issued.signing_key().unwrap();
        Self { world: site.start().await, responder, issued, key }
    }

    /// Pushes an image with a clean report by the signer.
    fn image(&self, name: &str) -> Image {
        let image = self.world.image(name);
        let (registry, report) = (&self.world.registry, clean());
        let report = attach_report(registry, &image.repository, image.digest, &report).unwrap();
        self.world.sign(&image.repository, report, &self.key);
        image
    }

    /// The responder says so from now on, as of `now`.
    fn says(&self, standing: Standing, now: OffsetDateTime) {
        let question = RevocationQuestion {
            subject: String::new(),
            certificate: self.issued.chain[0].clone(),
            issuer: self.issued.chain[1].clone(),
            ocsp: Vec::new(),
            crl: Vec::new(),
            freshest_crl: Vec::new(),
        };
        let request = Inquiry::new(&question).unwrap().ocsp_request();
        let answer = OcspAnswer::new(standing, now);
        let response = self.world.authority.ocsp(&request, &answer).unwrap();
        self.responder.ocsp(move |_| Reply::Bytes(response.clone()));
    }
}

fn issued(authority: &Authority, responder: &Responder) -> Issued {
    let revocation = Sources { ocsp: vec![responder.ocsp_url()], ..Sources::default() };
    authority.issue_leaf(&Leaf { revocation, ..authority.leaf("scanner").unwrap() }).unwrap()
}

#[tokio::test]
async fn a_report_by_a_revoked_signer_is_rejected() {
    let case = Case::new().await;
    case.says(REVOKED, NOW);
    let decision = case.world.decide(&case.image("app").name).await;
    assert_evidence(&decision, Rejected, "bad_signature: certificate `");
    assert!(decision.evidence[0].detail.contains("was revoked at 2026-"), "{decision:?}");
    assert!(decision.evidence[0].detail.contains("(keyCompromise)"), "{decision:?}");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn what_a_responder_does_not_tell_is_unavailable_until_it_does() {
    let case = Case::new().await;
    case.responder.ocsp(|_| Reply::Status(503));
    let image = case.image("app");
    let decision = case.world.decide(&image.name).await;
    assert_evidence(&decision, Unavailable, "revocation: it is not known whether certificate `");
    assert!(decision.evidence[0].detail.contains("answered with status 503"), "{decision:?}");
    case.says(Standing::Good, NOW);
    case.world.clock.advance(std::time::Duration::from_secs(60));
    assert_evidence(&case.world.decide(&image.name).await, Verified, "");
}

#[tokio::test]
async fn what_is_only_logged_is_a_notice() {
    let case = Case::with(r#", "override": {"revocation": "log"}"#).await;
    case.responder.ocsp(|_| Reply::Status(503));
    let decision = case.world.decide(&case.image("app").name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.action(), Action::Allow);
    let notice = "it is not known whether certificate `";
    let notices = &decision.notices;
    assert!(notices.iter().any(|text| text.contains(notice)), "{notices:?}");
}

#[tokio::test]
async fn nobody_is_asked_where_the_policy_skips_it() {
    let case = Case::with(r#", "override": {"revocation": "skip"}"#).await;
    case.says(REVOKED, NOW);
    assert_evidence(&case.world.decide(&case.image("app").name).await, Verified, "");
    assert!(case.responder.requests().is_empty());
}

#[tokio::test]
async fn nobody_is_asked_about_a_signer_who_is_not_trusted() {
    let mut case = Case::new().await;
    let stranger = Authority::new("stranger", NOW).unwrap();
    case.key = issued(&stranger, &case.responder).signing_key().unwrap();
    let decision = case.world.decide(&case.image("app").name).await;
    assert_evidence(&decision, Rejected, "untrusted_signer: ");
    assert!(case.responder.requests().is_empty());
}

#[tokio::test]
async fn a_responder_is_asked_once_whatever_is_asked_at_the_same_time_and_later() {
    let case = Case::new().await;
    case.says(Standing::Good, NOW);
    let images: Vec<_> = (0..20).map(|n| case.image(&format!("app{n}"))).collect();
    let questions = (0..100).map(|n| case.world.decide(&images[n % images.len()].name));
    for decision in join_all(questions).await {
        assert_evidence(&decision, Verified, "");
    }
    assert_eq!(case.responder.requests(), ["POST /ocsp"]);
    case.world.clock.advance(case.world.config.memory.ttl);
    for image in &images {
        assert_evidence(&case.world.decide(&image.name).await, Verified, "");
    }
    assert_eq!(case.responder.requests().len(), 1);
}

#[tokio::test]
async fn a_signer_who_is_revoked_later_is_rejected_then() {
    let case = Case::new().await;
    case.says(Standing::Good, NOW);
    let image = case.image("app");
    assert_evidence(&case.world.decide(&image.name).await, Verified, "");
    case.says(REVOKED, NOW + MAX_LIFE);
    case.world.clock.advance(MAX_LIFE);
    let decision = case.world.decide(&image.name).await;
    assert_evidence(&decision, Rejected, "bad_signature: certificate `");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn a_good_signature_beside_one_that_is_not_known_suffices() {
    let case = Case::new().await;
    case.responder.ocsp(|_| Reply::Status(503));
    let image = case.image("app");
    let report = case.world.registry.referrers(&image.repository, image.digest)[0];
    assert_evidence(&case.world.decide(&image.name).await, Unavailable, "revocation: ");
    case.world.sign(&image.repository, report, &case.world.key);
    case.world.clock.advance(case.world.config.memory.failure_ttl);
    assert_evidence(&case.world.decide(&image.name).await, Verified, "");
}
