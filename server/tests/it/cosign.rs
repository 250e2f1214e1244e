//! Attestations of cosign, in each of the forms in which they are attached.

use std::collections::HashMap;
use std::fs;

use http::{HeaderMap, StatusCode};
use portcullis_core::image::Digest;
use portcullis_core::referrers::{CREATED, OCI_EMPTY, OCI_MANIFEST};
use portcullis_core::signature::cosign::BUNDLE;
use portcullis_server::evidence::collect::{MAX_CANDIDATES, MAX_REPORTS, MAX_SIGNATURES};
use portcullis_server::registry::{Credentials, MirrorConfig, Scheme};
use portcullis_server::rules::CosignConfig;
use portcullis_server::rules::trust::TrustConfig;
use portcullis_testkit::attach::{Artifact, attach};
use portcullis_testkit::cosign::{CosignKey, attach_bundle, attach_envelope, attach_legacy};
use portcullis_testkit::registry::{Fault, Registry, Route};
use portcullis_testkit::report::TrivyReport;
use serde_json::{Value, json};

use crate::world::*;

const VULNS: &str = "https://in-toto.io/attestation/vulns/v0.2";
const SPDX: &str = "https://spdx.dev/Document";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The forms, from the newest to the oldest.
#[derive(Debug, Clone, Copy)]
enum Form {
    Bundle,
    /// A bundle whose registry gives the type of its config, with the annotations of cosign.
    BundleOfNoType,
    Envelope,
    Legacy,
}

const FORMS: [Form; 4] = [Form::Bundle, Form::BundleOfNoType, Form::Envelope, Form::Legacy];

/// A service that trusts a key of cosign for `scope`, and no certificates.
async fn site(scope: &str) -> (Site, CosignKey) {
    let mut site = Site::new().await;
    let key = CosignKey::generate().unwrap();
    fs::write(site.path("cosign.pub"), key.public_pem()).unwrap();
    site.config.rules.trust = TrustConfig::Nobody;
    site.config.rules.cosign = vec![CosignConfig {
        name: "scanner".to_owned(),
        scopes: vec![scope.to_owned()],
        key: Some(site.path("cosign.pub")),
        ..CosignConfig::default()
    }];
    (site, key)
}

impl Form {
    fn attach(self, site: &Site, image: &Image, key: &CosignKey, statement: &[u8], kind: &str) {
        let (registry, repository, subject) =
            (&site.registry, image.repository.as_str(), image.digest);
        let envelope = || key.envelope(statement).unwrap();
        let bundle = || key.bundle(statement).unwrap();
        match self {
            Self::Bundle => attach_bundle(registry, repository, subject, bundle(), kind).unwrap(),
            Self::BundleOfNoType => {
                let annotations = [
                    ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
                    ("dev.sigstore.bundle.predicateType".to_owned(), kind.to_owned()),
                ];
                let artifact = Artifact {
                    artifact_type: OCI_EMPTY.to_owned(),
                    media_type: BUNDLE.to_owned(),
                    layer: bundle().into(),
                    annotations: annotations.into(),
                };
                attach(registry, repository, subject, &artifact).unwrap()
            }
            Self::Envelope => {
                attach_envelope(registry, repository, subject, envelope(), kind).unwrap()
            }
            Self::Legacy => attach_legacy(registry, repository, subject, &[envelope()]).unwrap(),
        };
    }
}

fn statement(image: &Image, report: &TrivyReport) -> Vec<u8> {
    report.to_statement(&image.name, image.digest).unwrap()
}

/// A statement of another type about the image.
fn other(image: &Image, predicate_type: &str) -> Vec<u8> {
    let mut statement: Value = serde_json::from_slice(&statement(image, &clean())).unwrap();
    statement["predicateType"] = predicate_type.into();
    statement["predicate"] = json!({});
    statement.to_string().into_bytes()
}

#[tokio::test]
async fn attestations_are_evidence_however_they_are_attached() {
    for form in FORMS {
        let (site, key) = site("*").await;
        let (good, bad) = (site.image("good"), site.image("bad"));
        form.attach(&site, &good, &key, &statement(&good, &clean()), VULNS);
        form.attach(&site, &bad, &key, &statement(&bad, &critical()), VULNS);
        let world = site.start().await;
        let allowed = world.decide(&good.name).await;
        assert_evidence(&allowed, Verified, "");
        assert_eq!(allowed.action(), Action::Allow, "{form:?}");
        let report = &allowed.evidence[0].reports[0];
        assert_eq!(report.signer, "key:scanner");
        let denied = world.decide(&bad.name).await;
        assert_evidence(&denied, Verified, "");
        assert_eq!(denied.action(), Action::Deny, "{form:?}");
    }
}

/// Whoever pushes an attestation chooses the annotations of its manifest, and with them its place: the
/// newest report must be found behind as many as he likes, or none counts.
#[tokio::test]
async fn what_is_pushed_before_the_newest_attestation_does_not_hide_it() {
    let pushed = |site: &Site, image: &Image, layer: Vec<u8>, n: usize| {
        let annotations = [
            ("dev.sigstore.bundle.predicateType".to_owned(), VULNS.to_owned()),
            (CREATED.to_owned(), format!("2026-08-02T00:{:02}:{:02}Z", n / 60, n % 60)),
        ];
        let artifact = Artifact {
            artifact_type: BUNDLE.to_owned(),
            media_type: BUNDLE.to_owned(),
            layer: layer.into(),
            annotations: annotations.into(),
        };
        attach(&site.registry, &image.repository, image.digest, &artifact).unwrap();
    };
    for (junk, wrapped, expected) in [
        (MAX_REPORTS + 1, 0, Verified),
        (0, MAX_SIGNATURES - 1, Verified),
        (MAX_REPORTS + 1, 1, Verified),
        // Past the bounds nobody has looked at the newest, and so nothing counts.
        (MAX_CANDIDATES, 1, Rejected),
        (0, MAX_SIGNATURES, Rejected),
    ] {
        let (site, key) = site("*").await;
        let image = site.image("app");
        let old = statement(&image, &TrivyReport::new(SCANNED - time::Duration::days(1)));
        let of_another_type = other(&image, SPDX);
        for n in 0..junk {
            pushed(&site, &image, key.bundle(&of_another_type).unwrap(), n);
        }
        for n in 0..wrapped {
            pushed(&site, &image, key.bundle(&old).unwrap(), junk + n);
        }
        Form::Bundle.attach(&site, &image, &key, &statement(&image, &critical()), VULNS);
        let world = site.start().await;
        let decision = world.decide(&image.name).await;
        let status = decision.evidence[0].status();
        assert_eq!(status, expected, "{junk} {wrapped}: {}", decision.evidence[0].detail);
        assert_eq!(decision.action(), Action::Deny, "{junk} {wrapped}");
    }
}

#[tokio::test]
async fn t001_a_good_attestation_of_another_type_is_no_report() {
    for form in FORMS {
        for (stated, announced) in [(SPDX, SPDX), (SPDX, VULNS), (SIGN, SIGN), (SIGN, VULNS)] {
            let (site, key) = site("*").await;
            let image = site.image("app");
            form.attach(&site, &image, &key, &other(&image, stated), announced);
            let world = site.start().await;
            let decision = world.decide(&image.name).await;
            assert_evidence(&decision, Missing, "");
            assert_eq!(decision.action(), Action::Deny, "{form:?}");
        }
    }
}

#[tokio::test]
async fn t002_of_three_good_attestations_the_one_of_the_wanted_type_decides() {
    let (site, key) = site("*").await;
    let image = site.image("app");
    Form::Bundle.attach(&site, &image, &key, &other(&image, SPDX), SPDX);
    Form::Bundle.attach(&site, &image, &key, &statement(&image, &critical()), VULNS);
    Form::Bundle.attach(&site, &image, &key, &other(&image, SIGN), SIGN);
    let world = site.start().await;
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(decision.evidence[0].reports.len(), 1);
}

#[tokio::test]
async fn t003_t004_t008_what_is_not_a_trusted_statement_about_the_image_is_rejected() {
    type Make = fn(&Image, &Image) -> Vec<u8>;
    let about_other: Make = |_, other| statement(other, &clean());
    let about_image: Make = |image, _| statement(image, &clean());
    let no_statement: Make = |_, _| b"{}".to_vec();
    for form in FORMS {
        for (make, by_stranger, reason) in [
            (no_statement, false, "malformed: "),
            (about_other, false, "wrong_subject: "),
            (about_image, true, "untrusted_signer: "),
        ] {
            let (site, key) = site("*").await;
            let (image, other) = (site.image("app"), site.image("other"));
            let stranger = CosignKey::generate().unwrap();
            let signer = if by_stranger { &stranger } else { &key };
            form.attach(&site, &image, signer, &make(&image, &other), VULNS);
            let world = site.start().await;
            let decision = world.decide(&image.name).await;
            assert_evidence(&decision, Rejected, reason);
            assert_eq!(decision.action(), Action::Deny, "{form:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_bundle_is_a_bad_signature_and_does_not_hide_a_good_one() {
    let (site, key) = site("*").await;
    let (bad, both) = (site.image("bad"), site.image("both"));
    for image in [&bad, &both] {
        let forged: Value =
            serde_json::from_slice(&key.bundle(&statement(image, &clean())).unwrap()).unwrap();
        let mut true_one: Value =
            serde_json::from_slice(&key.bundle(&statement(image, &critical())).unwrap()).unwrap();
        true_one["dsseEnvelope"]["payload"] = forged["dsseEnvelope"]["payload"].clone();
        let bundle = true_one.to_string().into_bytes();
        attach_bundle(&site.registry, &image.repository, image.digest, bundle, VULNS).unwrap();
    }
    Form::Bundle.attach(&site, &both, &key, &statement(&both, &critical()), VULNS);
    let world = site.start().await;
    assert_evidence(&world.decide(&bad.name).await, Rejected, "bad_signature: ");
    let decision = world.decide(&both.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn each_layer_of_a_legacy_manifest_is_an_attestation() {
    let (site, key) = site("*").await;
    let image = site.image("app");
    let stranger = CosignKey::generate().unwrap();
    let layers = [
        stranger.envelope(&statement(&image, &clean())).unwrap(),
        key.envelope(&other(&image, SPDX)).unwrap(),
        key.envelope(&statement(&image, &critical())).unwrap(),
    ];
    attach_legacy(&site.registry, &image.repository, image.digest, &layers).unwrap();
    let world = site.start().await;
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.action(), Action::Deny);
    let report = &decision.evidence[0].reports[0];
    assert_eq!(report.digest, Digest::of(&layers[2]).to_string());
}

#[tokio::test]
async fn the_tag_of_attestations_is_asked_for_where_somebody_signs_them() {
    let (site, _key) = site("*").await;
    let host = site.registry.host().to_owned();
    let image = site.image("app");
    let world = site.start().await;
    assert_evidence(&world.decide(&image.name).await, Missing, "");
    assert_eq!(world.requests(".att"), 1);

    let (mut site, key) = self::site("*").await;
    site.config.rules.cosign[0].scopes = vec![format!("{host}/it/elsewhere")];
    let image = site.image("app");
    for form in FORMS {
        form.attach(&site, &image, &key, &statement(&image, &clean()), VULNS);
    }
    let world = site.start().await;
    // An in-toto artifact was looked at before there were attestations, and has no signature.
    assert_evidence(&world.decide(&image.name).await, Rejected, "unsigned: ");
    assert_eq!(world.requests(".att"), 0);
}

#[tokio::test]
async fn a_tag_of_attestations_that_cannot_be_read_is_not_none() {
    let status = |status| Fault::Status(status, HeaderMap::new(), "".into());
    for fault in [status(StatusCode::BAD_GATEWAY), status(StatusCode::FORBIDDEN), Fault::Html] {
        let (site, key) = site("*").await;
        let image = site.image("app");
        Form::Bundle.attach(&site, &image, &key, &statement(&image, &clean()), VULNS);
        site.registry.fault(Route::Tag(".att"), fault.clone());
        let world = site.start().await;
        let decision = world.decide(&image.name).await;
        assert_eq!(decision.evidence[0].status(), Unavailable, "{fault:?}: {decision:?}");
    }
    let (site, key) = site("*").await;
    let (alone, beside) = (site.image("alone"), site.image("beside"));
    for image in [&alone, &beside] {
        let tag = format!("{}.att", image.digest.fallback_tag());
        site.registry.put_manifest(&image.repository, &tag, "not JSON", OCI_MANIFEST);
    }
    Form::Bundle.attach(&site, &beside, &key, &statement(&beside, &clean()), VULNS);
    let world = site.start().await;
    // It holds no attestation, and nobody signed it.
    assert_evidence(&world.decide(&alone.name).await, Rejected, "unsigned: ");
    assert_evidence(&world.decide(&beside.name).await, Verified, "");
}

#[tokio::test]
async fn an_old_tag_of_attestations_at_a_mirror_hides_nothing() {
    let (mut site, key) = site("*").await;
    let image = site.image("app");
    let mirror = Registry::start().await.unwrap();
    let old = [key.envelope(&statement(&image, &clean())).unwrap()];
    attach_legacy(&mirror, &image.repository, image.digest, &old).unwrap();
    Form::Legacy.attach(&site, &image, &key, &statement(&image, &critical()), VULNS);
    let host = site.config.registry.hosts.get_mut(site.registry.host()).unwrap();
    host.mirrors.push(MirrorConfig {
        endpoint: mirror.host().to_owned(),
        scheme: Scheme::Http,
        credentials: Credentials::Anonymous,
        trusted_realm_hosts: Vec::new(),
        ca: Vec::new(),
    });
    let world = site.start().await;
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.action(), Action::Deny);
    // It was asked for the image.
    assert!(!mirror.requests().is_empty());
}

#[tokio::test]
async fn a_cold_question_about_a_bundle_asks_for_nothing_twice() {
    let (site, key) = site("*").await;
    let image = site.image("app");
    Form::Bundle.attach(&site, &image, &key, &statement(&image, &clean()), VULNS);
    let world = site.start().await;
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    let mut times: HashMap<String, usize> = HashMap::new();
    for request in world.registry.requests() {
        *times.entry(request.path).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    // The image, its referrers and its tag of attestations; the bundle's manifest and layer.
    assert_eq!(times.len(), 5, "{times:?}");
}
