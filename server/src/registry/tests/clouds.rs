//! The credentials of three clouds, against doubles of their token services that check as they do.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::evidence::CauseKind;
use portcullis_core::image::{Digest, Reference};
use portcullis_testkit::clock::TestClock;
use portcullis_testkit::cloud::ecr::{AwsKey, Ecr};
use portcullis_testkit::cloud::{Fault, Service};
use serde_json::json;
use time::macros::datetime;

use super::desk::{AWS, AZURE, Desk, GOOGLE, session_key};
use super::harness::soon;
use crate::registry::*;

/// Moves the time of credentials on. It stands still for that alone: connections are real, and nothing
/// is to time out while one is waited for.
pub(super) async fn later(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

fn image(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

async fn pull(registry: &Registry, host: &str, rest: &str) -> Result<Fetched, RegistryError> {
    registry.resolve(&image(host, rest), soon()).await
}

fn paths(service: &Service) -> Vec<String> {
    service.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
}

#[tokio::test]
async fn a_workload_of_azure_reads_its_registry_by_three_requests() {
    let desk = Desk::new();
    let (entra, acr) = (desk.entra().await, desk.acr().await);
    let registry = desk.client(AZURE, &acr.service, desk.azure(&entra));
    pull(&registry, AZURE, "app:v1").await.unwrap();
    let found = registry.referrers(&image(AZURE, "app"), Digest::of(b"x"), soon()).await.unwrap();
    assert!(found.is_empty());
    assert_eq!(paths(&entra.service), ["POST /11111111-2222/oauth2/v2.0/token"]);
    let asked = paths(&acr.service);
    assert_eq!(
        asked.get(..4).unwrap(),
        [
            "GET /v2/app/manifests/v1",
            "POST /oauth2/exchange",
            "POST /oauth2/token",
            "GET /v2/app/manifests/v1"
        ]
    );
    // Another repository needs another access token, and nothing else.
    pull(&registry, AZURE, "other:v1").await.unwrap();
    assert_eq!(entra.service.asked().len(), 1);
    let exchanges = paths(&acr.service).iter().filter(|p| p.ends_with("exchange")).count();
    assert_eq!(exchanges, 1);
    assert_eq!(&*registry.identity(&image(AZURE, "app")), "acr:11111111-2222/33333333-4444");
}

#[tokio::test]
async fn a_machine_of_azure_reads_its_registry_as_itself() {
    let desk = Desk::new();
    let (entra, acr) = (desk.entra().await, desk.acr().await);
    let config = AcrConfig::managed(Some("33333333-4444"), Some("11111111-2222")).unwrap();
    let who = Credentials::Acr(config.at(&entra.service.origin()).unwrap());
    pull(&desk.client(AZURE, &acr.service, who), AZURE, "app:v1").await.unwrap();
    assert_eq!(paths(&entra.service), ["GET /metadata/identity/oauth2/token"]);
}

#[tokio::test]
async fn tokens_of_azure_that_have_ended_are_renewed() {
    let desk = Desk::new();
    let (entra, acr) = (desk.entra().await, desk.acr().await);
    let registry = desk.client(AZURE, &acr.service, desk.azure(&entra));
    pull(&registry, AZURE, "app:v1").await.unwrap();
    // The registry forgets all that it gave, as after a restart of its own.
    acr.expire();
    let error = pull(&registry, AZURE, "app:v1").await.unwrap_err();
    assert_eq!(error.cause().kind, CauseKind::Denied);
    later(Duration::from_secs(61)).await;
    pull(&registry, AZURE, "app:v1").await.unwrap();
    // The platform has written another token, and Entra takes the old one no more.
    desk.write("canary-subject-2");
    entra.change(|application| {
        application.assertion = "canary-subject-2".to_owned();
        application.access_token = "canary-entra-access-2".to_owned();
    });
    acr.take("canary-entra-access-2");
    acr.expire();
    later(Duration::from_secs(3 * 3600)).await;
    desk.clock.advance(Duration::from_secs(3 * 3600));
    pull(&registry, AZURE, "app:v1").await.unwrap();
    assert_eq!(entra.service.asked().len(), 2);
}

#[tokio::test]
async fn what_a_token_service_answers_wrong_is_an_error_and_then_it_is_asked_again() {
    for (fault, kind) in [
        (Fault::Html, CauseKind::Protocol),
        (Fault::Huge(64 * 1024), CauseKind::Protocol),
        (Fault::Json(json!({"access_token": ""})), CauseKind::Protocol),
        (Fault::Json(json!({"access_token": "a\r\nX-Injected: b"})), CauseKind::Protocol),
        (Fault::Json(json!("canary-entra-access-1")), CauseKind::Protocol),
        (Fault::Status(302), CauseKind::Protocol),
        (Fault::Status(429), CauseKind::Throttled),
        (Fault::Status(403), CauseKind::Denied),
    ] {
        let desk = Desk::new();
        let (entra, acr) = (desk.entra().await, desk.acr().await);
        let registry = desk.client(AZURE, &acr.service, desk.azure(&entra));
        entra.service.fault(fault.clone());
        let error = pull(&registry, AZURE, "app:v1").await.unwrap_err();
        assert_eq!(error.cause().kind, kind, "{fault:?}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        // Left alone for a moment, then asked again.
        assert!(pull(&registry, AZURE, "app:v1").await.is_err());
        assert_eq!(entra.service.asked().len(), 1, "{fault:?}");
        later(Duration::from_secs(2)).await;
        pull(&registry, AZURE, "app:v1").await.unwrap();
    }
}

#[tokio::test]
async fn a_token_service_that_fails_once_is_asked_once_more() {
    let desk = Desk::new();
    let (entra, acr) = (desk.entra().await, desk.acr().await);
    let registry = desk.client(AZURE, &acr.service, desk.azure(&entra));
    entra.service.fault(Fault::Status(503));
    pull(&registry, AZURE, "app:v1").await.unwrap();
    assert_eq!(entra.service.asked().len(), 2);
}

#[tokio::test]
async fn t050_an_absurd_life_of_a_cloud_token_is_clamped() {
    for absurd in
        [json!(-1), json!(0), json!(1e12), json!("1000000000000"), json!("soon"), json!(null)]
    {
        let desk = Desk::new();
        let (entra, acr) = (desk.entra().await, desk.acr().await);
        entra.change(|application| application.expires_in = absurd.clone());
        let registry = desk.client(AZURE, &acr.service, desk.azure(&entra));
        pull(&registry, AZURE, "app:v1").await.unwrap();
        pull(&registry, AZURE, "other:v1").await.unwrap();
        assert_eq!(entra.service.asked().len(), 1, "{absurd}");
    }
}

#[tokio::test]
async fn a_role_of_aws_reads_its_registry_by_a_signed_request() {
    let desk = Desk::new();
    let (sts, ecr) = (desk.sts().await, desk.ecr(session_key()).await);
    let registry = desk.client(AWS, &ecr.service, desk.aws(&sts, &ecr));
    pull(&registry, AWS, "app:v1").await.unwrap();
    pull(&registry, AWS, "other:v1").await.unwrap();
    assert_eq!(sts.service.asked().len(), 1);
    assert_eq!(paths(&ecr.service).iter().filter(|p| *p == "POST /").count(), 1);
    let scope = registry.identity(&image(AWS, "app"));
    assert_eq!(&*scope, "ecr:role:arn:aws:iam::123456789012:role/reader");
}

#[tokio::test]
async fn a_pod_and_a_key_of_aws_read_their_registry_too() {
    let desk = Desk::new();
    let (sts, ecr) = (desk.sts().await, desk.ecr(session_key()).await);
    let uri = format!("{}v1/credentials", sts.service.origin());
    let who = AwsIdentity::container(&uri, Some(desk.file())).unwrap();
    let registry = desk.client(AWS, &ecr.service, desk.aws_as(who, &sts, &ecr));
    pull(&registry, AWS, "app:v1").await.unwrap();
    assert_eq!(paths(&sts.service), ["GET /v1/credentials"]);

    let (id, secret) = ("AKIDEXAMPLE".to_owned(), "canary-subject-1".to_owned());
    let ecr = desk.ecr(AwsKey { id: id.clone(), secret, session: None }).await;
    let who = AwsIdentity::Key { id, secret_file: desk.file() };
    let registry = desk.client(AWS, &ecr.service, desk.aws_as(who, &sts, &ecr));
    pull(&registry, AWS, "app:v1").await.unwrap();
}

#[tokio::test]
async fn what_aws_refuses_is_said_in_its_own_word_and_no_other() {
    let check = async |key: AwsKey, minutes: u64, code: &str| {
        let desk = Desk::new();
        let sts = desk.sts().await;
        let ahead = Arc::new(TestClock::new(datetime!(2026-08-01 12:00 UTC)));
        ahead.advance(Duration::from_secs(60 * minutes));
        let ecr = Ecr::start("eu-west-1", key, ahead).await.unwrap();
        let registry = desk.client(AWS, &ecr.service, desk.aws(&sts, &ecr));
        let error = pull(&registry, AWS, "app:v1").await.unwrap_err();
        let detail = error.cause().detail;
        assert_eq!(error.cause().kind, CauseKind::Denied, "{detail}");
        assert!(detail.contains(code) && !detail.contains("canary"), "{detail}");
    };
    let other = |change: fn(&mut AwsKey)| {
        let mut key = session_key();
        change(&mut key);
        key
    };
    check(other(|key| key.secret.push('x')), 0, "InvalidSignatureException").await;
    check(other(|key| key.id.push('X')), 0, "UnrecognizedClientException").await;
    check(other(|key| key.session = None), 0, "ExpiredTokenException").await;
    // The clocks are too far apart.
    check(session_key(), 6, "InvalidSignatureException").await;

    let desk = Desk::new();
    let (sts, ecr) = (desk.sts().await, desk.ecr(session_key()).await);
    desk.write("canary-subject-2");
    let registry = desk.client(AWS, &ecr.service, desk.aws(&sts, &ecr));
    let detail = pull(&registry, AWS, "app:v1").await.unwrap_err().cause().detail;
    assert!(detail.contains("InvalidIdentityToken") && !detail.contains("canary"), "{detail}");
}

#[tokio::test]
async fn a_password_of_aws_that_has_ended_is_renewed_after_403() {
    let desk = Desk::new();
    let (sts, ecr) = (desk.sts().await, desk.ecr(session_key()).await);
    let registry = desk.client(AWS, &ecr.service, desk.aws(&sts, &ecr));
    pull(&registry, AWS, "app:v1").await.unwrap();
    ecr.expire();
    later(Duration::from_secs(61)).await;
    pull(&registry, AWS, "app:v1").await.unwrap();
    assert_eq!(paths(&ecr.service).iter().filter(|p| *p == "POST /").count(), 2);
}

#[tokio::test]
async fn a_workload_of_google_reads_its_registry() {
    let desk = Desk::new();
    let google = desk.google().await;
    let account = "reader@p.iam.gserviceaccount.com";
    let who = GarConfig::metadata(account, Some(&google.service.origin())).unwrap();
    for who in
        [Credentials::Gar(who), desk.federated(&google, false), desk.federated(&google, true)]
    {
        let registry = desk.client(GOOGLE, &google.service, who);
        pull(&registry, GOOGLE, "p/app:v1").await.unwrap();
        pull(&registry, GOOGLE, "p/other:v1").await.unwrap();
    }
    let asked = paths(&google.service);
    let count = |path: &str| asked.iter().filter(|asked| asked.ends_with(path)).count();
    assert_eq!(
        count(&format!("GET /computeMetadata/v1/instance/service-accounts/{account}/token")),
        1
    );
    assert_eq!(count("POST /v1/token"), 2);
    assert_eq!(count("generateAccessToken"), 1);
    assert_eq!(count("GET /v2/token"), 6);
}

#[tokio::test]
async fn what_google_refuses_is_said_in_its_own_word_and_no_other() {
    let desk = Desk::new();
    let google = desk.google().await;
    desk.write("canary-subject-2");
    let registry = desk.client(GOOGLE, &google.service, desk.federated(&google, false));
    let detail = pull(&registry, GOOGLE, "p/app:v1").await.unwrap_err().cause().detail;
    assert!(detail.contains("invalid_grant") && !detail.contains("canary"), "{detail}");
    desk.write("canary-subject-1");
    google.change(|principal| principal.expires_in = json!("soon"));
    let registry = desk.client(GOOGLE, &google.service, desk.federated(&google, false));
    pull(&registry, GOOGLE, "p/app:v1").await.unwrap();
}

/// CASES T040: credentials of clouds are set up, and the image is somebody else's.
#[tokio::test]
async fn t040_no_token_is_made_for_a_registry_of_somebody_else() {
    let desk = Desk::new();
    let (entra, acr) = (desk.entra().await, desk.acr().await);
    let (sts, ecr, google) = (desk.sts().await, desk.ecr(session_key()).await, desk.google().await);
    let clouds = [
        ("*.azurecr.io", desk.azure(&entra)),
        ("*.dkr.ecr.*.amazonaws.com", desk.aws(&sts, &ecr)),
        ("*.pkg.dev", desk.federated(&google, true)),
    ];
    let evil = super::harness::serve(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        let realm =
            format!(r#"Bearer realm="http://{host}/oauth2/token",service="team.azurecr.io""#);
        super::harness::challenge(401, &realm)
    })
    .await;
    let patterns = clouds.clone().map(|(p, who)| (HostPattern::parse(p).unwrap(), who)).into();
    let mut config = super::harness::config(&[&evil]);
    config.patterns = patterns;
    let registry = Registry::new(config).unwrap();
    let result = registry.resolve(&evil.image("a:v1"), soon()).await;
    assert!(result.is_err());
    // A listed registry of somebody else's cannot be given a cloud's credentials at all.
    for (_, who) in &clouds {
        for host in ["evil.example", "evil-azurecr.io", "team.azurecr.io.evil.example"] {
            let settings = HostConfig { credentials: who.clone(), ..HostConfig::default() };
            let hosts = [(host.to_owned(), settings)].into();
            let config = RegistryConfig { hosts, ..RegistryConfig::default() };
            assert!(Registry::new(config).is_err(), "{host}");
        }
    }
    // Nor a mirror of a registry of the cloud's.
    let settings = HostConfig {
        endpoint: Some("mirror.example".to_owned()),
        credentials: desk.azure(&entra),
        ..HostConfig::default()
    };
    let hosts = [(AZURE.to_owned(), settings)].into();
    let registry = Registry::new(RegistryConfig { hosts, ..RegistryConfig::default() }).unwrap();
    let host = registry.exchange.hosts.find(AZURE).unwrap();
    let candidates = host.provider.candidates(AZURE, "app").await.unwrap();
    assert!(candidates.first().unwrap().get(&host).await.is_err());

    assert!(evil.log().await.iter().all(|seen| seen.authorization().is_none()));
    let services = [&entra.service, &acr.service, &sts.service, &ecr.service, &google.service];
    assert!(services.iter().all(|service| service.asked().is_empty()));
}
