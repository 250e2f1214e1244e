//! The chain from an image to who vouches for what is said of it, step by step.

use portcullis_core::image::Digest;
use portcullis_core::referrers::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use portcullis_proto::v1;
use portcullis_proto::v1::evidence_service_client::EvidenceServiceClient;
use portcullis_server::grpc::convert::MAX_ATTACHED;
use portcullis_server::inspect::MAX_INSPECTIONS;
use portcullis_testkit::attach::attach_report;
use portcullis_testkit::image::{index, platform_image};
use portcullis_testkit::keys::Authority;
use portcullis_testkit::registry::{Fault, Route};
use portcullis_testkit::report::TrivyReport;
use portcullis_testkit::tamper;
use serde_json::json;
use time::Duration;
use tonic::Code;

use crate::world::*;

async fn try_inspect(world: &World, image: &str) -> Result<v1::GetEvidenceResponse, tonic::Status> {
    let mut client = EvidenceServiceClient::new(world.channel.clone());
    let mut request = tonic::Request::new(v1::GetEvidenceRequest {
        image: image.to_owned(),
        platforms: Vec::new(),
    });
    request.set_timeout(std::time::Duration::from_secs(20));
    client.get_evidence(request).await.map(tonic::Response::into_inner)
}

async fn inspect(world: &World, image: &str) -> v1::GetEvidenceResponse {
    try_inspect(world, image).await.unwrap()
}

/// The one artifact that is attached to the one manifest.
#[track_caller]
fn only(answer: &v1::GetEvidenceResponse) -> &v1::AttachedArtifact {
    let [manifest] = answer.manifests.as_slice() else { panic!("{answer:#?}") };
    let [artifact] = manifest.artifacts.as_slice() else { panic!("{answer:#?}") };
    artifact
}

#[track_caller]
fn verdict_of<'a>(signature: &'a v1::InspectedSignature, check: &str) -> &'a str {
    let found = signature.checks.iter().find(|c| c.name == check);
    &found.unwrap_or_else(|| panic!("no {check} in {signature:#?}")).verdict
}

#[tokio::test]
async fn a_good_chain_is_shown_whole() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let answer = inspect(&world, &image.name).await;
    let manifest = &answer.manifests[0];
    let evidence = manifest.evidence.as_ref().unwrap();
    assert_eq!(
        (evidence.status(), evidence.digest.as_str()),
        (Verified, &*image.digest.to_string())
    );
    let content = world.registry.manifest("it/app", image.digest).unwrap();
    let size = content.bytes.len() as u64;
    assert_eq!((manifest.media_type.as_str(), manifest.size), (OCI_MANIFEST, size));

    let artifact = only(&answer);
    assert_eq!((artifact.role.as_str(), artifact.verdict.as_str()), ("report", "accepted"));
    assert_eq!(artifact.report.as_ref().unwrap().counts.unwrap().critical, 1);
    let report: Digest = artifact.digest.parse().unwrap();
    let held = world.registry.manifest("it/app", report).unwrap();
    assert_eq!(artifact.size, held.bytes.len() as u64);
    let layer = artifact.layer.as_ref().unwrap();
    let blob = world.registry.blob("it/app", layer.digest.parse().unwrap()).unwrap();
    assert_eq!(layer.size, blob.len() as u64);

    let [signature] = artifact.signatures.as_slice() else { panic!("{artifact:#?}") };
    assert_eq!((signature.verdict.as_str(), signature.detail.as_str()), ("accepted", ""));
    assert_eq!((signature.algorithm.as_str(), signature.scheme.as_str()), ("ES256", "notary.x509"));
    assert!(signature.checks.iter().all(|check| check.verdict == "passed"), "{signature:#?}");
    for check in ["report_subject", "integrity", "signed_target", "authenticity", "identity"] {
        assert_eq!(verdict_of(signature, check), "passed");
    }
    let subjects: Vec<_> = signature.certificates.iter().map(|c| c.subject.as_str()).collect();
    assert!(
        subjects[0].contains("CN=scanner") && subjects[1].contains("CN=it root"),
        "{subjects:?}"
    );
    assert_eq!(signature.certificates[0].store, "");
    assert_eq!(signature.certificates[1].store, "ca:it");
    assert_eq!(signature.certificates[0].fingerprint.len(), 64);
}

#[tokio::test]
async fn who_is_not_trusted_is_shown_with_the_step_that_failed() {
    let world = World::new().await;
    let stranger = Authority::new("stranger", NOW).unwrap();
    let key = stranger.issue("somebody").unwrap().signing_key().unwrap();
    let image = world.image("app");
    let report = attach_report(&world.registry, "it/app", image.digest, &clean()).unwrap();
    world.sign("it/app", report, &key);
    let answer = inspect(&world, &image.name).await;
    let artifact = only(&answer);
    assert_eq!(
        (artifact.verdict.as_str(), artifact.reason.as_str()),
        ("rejected", "untrusted_signer")
    );
    assert!(artifact.report.is_none());
    let [signature] = artifact.signatures.as_slice() else { panic!("{artifact:#?}") };
    assert_eq!(verdict_of(signature, "integrity"), "passed");
    assert_eq!(verdict_of(signature, "authenticity"), "failed");
    assert_eq!(signature.checks.last().unwrap().verdict, "failed");
    // Whoever it is, is shown.
    assert!(signature.certificates[0].subject.contains("CN=somebody"), "{signature:#?}");
    assert!(signature.certificates.iter().all(|c| c.store.is_empty()));
}

#[tokio::test]
async fn what_is_unsigned_or_changed_afterwards_says_so() {
    let world = World::new().await;
    let image = world.image("unsigned");
    attach_report(&world.registry, "it/unsigned", image.digest, &clean()).unwrap();
    let answer = inspect(&world, &image.name).await;
    let artifact = only(&answer);
    assert_eq!((artifact.verdict.as_str(), artifact.reason.as_str()), ("rejected", "unsigned"));
    assert!(artifact.layer.is_some() && artifact.signatures.is_empty());

    let image = world.image("tampered");
    let report = world.report("it/tampered", image.digest, &critical());
    tamper::replace_content(&world.registry, "it/tampered", report, "{}").unwrap();
    let answer = inspect(&world, &image.name).await;
    let rejected: Vec<_> = answer.manifests[0]
        .artifacts
        .iter()
        .filter(|artifact| artifact.verdict == "rejected")
        .flat_map(|artifact| &artifact.signatures)
        .collect();
    assert!(!rejected.is_empty(), "{answer:#?}");
    assert!(rejected.iter().all(|s| s.checks.last().unwrap().verdict == "failed"), "{answer:#?}");
}

#[tokio::test]
async fn an_index_is_shown_with_its_platforms_and_a_report_with_its_successor() {
    let world = World::new().await;
    let pushed = |name: &str| {
        let platform = name.parse().unwrap();
        let digest = platform_image(&world.registry, "it/multi", "", &platform, name).unwrap();
        (platform, digest)
    };
    let platforms = [pushed("linux/amd64"), pushed("linux/arm64")];
    index(&world.registry, "it/multi", "v1", &platforms).unwrap();
    let older = TrivyReport::new(SCANNED - Duration::hours(1));
    world.report("it/multi", platforms[1].1, &older);
    world.report("it/multi", platforms[1].1, &critical());

    let image = format!("{}/it/multi:v1", world.registry.host());
    let answer = inspect(&world, &image).await;
    let [own, amd64, arm64] = answer.manifests.as_slice() else { panic!("{answer:#?}") };
    let platform = |m: &v1::InspectedManifest| m.evidence.as_ref().unwrap().platform.clone();
    assert_eq!([own, amd64, arm64].map(platform), ["", "linux/amd64", "linux/arm64"]);
    assert_eq!((own.media_type.as_str(), arm64.media_type.as_str()), (OCI_INDEX, OCI_MANIFEST));
    assert!(arm64.size > 0);
    assert_eq!(amd64.evidence.as_ref().unwrap().status(), Missing);
    let mut verdicts: Vec<_> = arm64.artifacts.iter().map(|a| a.verdict.as_str()).collect();
    verdicts.sort_unstable();
    assert_eq!(verdicts, ["accepted", "superseded"]);
}

#[tokio::test]
async fn what_is_no_report_is_listed_and_not_fetched() {
    let world = World::new().await;
    let image = world.image("app");
    let subject = world.registry.manifest("it/app", image.digest).unwrap();
    let empty = world.registry.put_blob("it/app", "{}");
    let other = |n: usize| {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": format!("text/\u{1b}[31m{n}"),
            "config": { "mediaType": OCI_EMPTY, "digest": empty, "size": 2 },
            "layers": [],
            "subject": {
                "mediaType": subject.media_type, "digest": image.digest, "size": subject.bytes.len(),
            },
        });
        world.registry.put_manifest("it/app", "", manifest.to_string(), OCI_MANIFEST)
    };
    let first = other(0);
    let answer = inspect(&world, &image.name).await;
    let artifact = only(&answer);
    assert_eq!((artifact.role.as_str(), artifact.verdict.as_str()), ("other", "not_looked_at"));
    assert_eq!(artifact.artifact_type, "text/\\u{1b}[31m0");
    assert_eq!(world.requests(&first.to_string()), 0);
    for n in 1..=MAX_ATTACHED {
        other(n);
    }
    let answer = inspect(&world, &image.name).await;
    assert_eq!(answer.manifests[0].artifacts.len(), MAX_ATTACHED);
    assert_eq!(answer.manifests[0].artifacts_total as usize, MAX_ATTACHED + 1);
}

#[tokio::test]
async fn a_registry_that_does_not_tell_is_shown_as_that() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    world.registry.fault(Route::Blob, Fault::Close);
    let answer = inspect(&world, &image.name).await;
    let artifact = only(&answer);
    assert_eq!(
        (artifact.verdict.as_str(), artifact.reason.as_str()),
        ("unavailable", "unreachable")
    );
    assert_eq!(answer.manifests[0].evidence.as_ref().unwrap().status(), Unavailable);

    world.registry.fault(Route::Any, Fault::Close);
    let answer = inspect(&world, &image.name).await;
    let [manifest] = answer.manifests.as_slice() else { panic!("{answer:#?}") };
    assert_eq!(manifest.evidence.as_ref().unwrap().status(), Unavailable);
    assert!(manifest.artifacts.is_empty());

    let mut client = EvidenceServiceClient::new(world.channel.clone());
    let platforms = vec!["linux".to_owned()];
    let request = v1::GetEvidenceRequest { image: image.name.clone(), platforms };
    assert_eq!(client.get_evidence(request).await.unwrap_err().code(), Code::InvalidArgument);
    let status = try_inspect(&world, "not an image").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_inspection_changes_nothing_that_is_remembered() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    inspect(&world, &image.name).await;
    let decision = world.decide(&image.name).await;
    assert_eq!(decision.evidence[0].source(), EvidenceSource::Registry);
}

#[tokio::test]
async fn what_was_seen_before_counts_for_an_inspection_too() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    let report = world.registry.referrers("it/app", image.digest)[0];
    world.registry.delete("it/app", report);
    let answer = inspect(&world, &image.name).await;
    assert_eq!(answer.manifests[0].evidence.as_ref().unwrap().status(), Withheld);
}

#[tokio::test]
async fn there_is_no_inspection_one_past_their_bound() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    world.registry.fault(Route::Any, Fault::Hang);
    let before = world.registry.requests().len();
    let all: Vec<_> = (0..MAX_INSPECTIONS)
        .map(|_| {
            let (channel, name) = (world.channel.clone(), image.name.clone());
            tokio::spawn(async move {
                let request = v1::GetEvidenceRequest { image: name, platforms: Vec::new() };
                EvidenceServiceClient::new(channel).get_evidence(request).await
            })
        })
        .collect();
    eventually("all are asking the registry", async || {
        (world.registry.requests().len() >= before + MAX_INSPECTIONS).then_some(())
    })
    .await;
    let status = try_inspect(&world, &image.name).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    all.iter().for_each(tokio::task::JoinHandle::abort);
}
