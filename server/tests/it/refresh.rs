//! `Refresh`: the registry is asked now, whatever is remembered.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use portcullis_proto::v1;
use portcullis_proto::v1::evidence_service_client::EvidenceServiceClient;
use portcullis_testkit::registry::{Fault, Route};
use tonic::Code;

use crate::gate::Gate;
use crate::world::*;

#[cfg(test)]
impl World {
    async fn try_refresh(&self, image: &str) -> Result<v1::RefreshResponse, tonic::Status> {
        let request = v1::RefreshRequest { image: image.to_owned(), platforms: Vec::new() };
        let mut client = EvidenceServiceClient::new(self.channel.clone());
        client.refresh(request).await.map(tonic::Response::into_inner)
    }

    /// Of the one manifest of an image: the outcome, and the status before and after.
    async fn refresh(&self, image: &str) -> (String, Option<EvidenceStatus>, EvidenceStatus) {
        let answer = self.try_refresh(image).await.unwrap();
        let [manifest] = answer.manifests.as_slice() else { panic!("{answer:?}") };
        let status = |evidence: &v1::Evidence| evidence.status();
        let after = manifest.after.as_ref().map(status).unwrap();
        (manifest.outcome.clone(), manifest.before.as_ref().map(status), after)
    }
}

#[tokio::test]
async fn t079_an_absence_that_is_remembered_ends_with_a_refresh() {
    let world = World::new().await;
    let image = world.image("app");
    assert_evidence(&world.decide(&image.name).await, Missing, "");
    world.report("it/app", image.digest, &clean());
    assert_evidence(&world.decide(&image.name).await, Missing, "");
    let changed = ("changed".to_owned(), Some(Missing), Verified);
    assert_eq!(world.refresh(&image.name).await, changed);
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.evidence[0].source(), EvidenceSource::Memory);
    let unchanged = ("unchanged".to_owned(), Some(Verified), Verified);
    assert_eq!(world.refresh(&image.name).await, unchanged);
}

#[tokio::test]
async fn what_is_attached_to_a_digest_is_asked_for_beside_the_manifest() {
    let mut site = Site::new().await;
    let gate = Gate::before(&mut site).await;
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    gate.hold("/manifests/");
    let listed = async {
        let is_listed = async || (world.requests("/referrers/") > 0).then_some(());
        eventually("the list of what is attached", is_listed).await;
        gate.open();
    };
    let pinned = image.pinned();
    let (told, ()) = tokio::join!(world.refresh(&pinned), listed);
    assert_eq!(told, ("changed".to_owned(), None, Verified));
}

#[tokio::test]
async fn what_was_never_asked_about_is_told_as_new() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let answer = world.try_refresh(&image.name).await.unwrap();
    let [manifest] = answer.manifests.as_slice() else { panic!("{answer:?}") };
    assert_eq!((manifest.outcome.as_str(), &manifest.before), ("changed", &None));
    let after = manifest.after.as_ref().unwrap();
    assert_eq!(after.digest, image.digest.to_string());
    assert_eq!(after.reports[0].counts.unwrap().critical, 1);
    assert!(after.reports[0].scanned_at.is_some());
    // It is remembered.
    let asked = world.requests("/v2/");
    assert_eq!(world.decide(&image.name).await.action(), Action::Deny);
    assert_eq!(world.requests("/v2/"), asked);
}

#[tokio::test]
async fn a_registry_that_does_not_answer_takes_nothing_away() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    world.registry.fault(
        Route::Any,
        Fault::Status(StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new(), Bytes::new()),
    );
    let (outcome, before, after) = world.refresh(&image.pinned()).await;
    assert_eq!((outcome.as_str(), before, after), ("failed", Some(Verified), Verified));
    let decision = world.decide(&image.name).await;
    assert_eq!((decision.evidence[0].status(), decision.action()), (Verified, Action::Allow));
}

#[tokio::test]
async fn what_cannot_be_resolved_is_told_so() {
    let world = World::new().await;
    let (outcome, before, after) =
        world.refresh(&format!("{}/it/none:v1", world.registry.host())).await;
    assert_eq!((outcome.as_str(), before, after), ("failed", None, Unavailable));
    for image in ["", "UPPER/case", &"x".repeat(1025)] {
        assert_eq!(world.try_refresh(image).await.unwrap_err().code(), Code::InvalidArgument);
    }
}
