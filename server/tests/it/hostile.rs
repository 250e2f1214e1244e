//! What the catalogue of cases blames on registries, against the whole service (CASES, T005 to T049).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use portcullis_core::image::Digest;
use portcullis_core::referrers::{OCI_EMPTY, OCI_MANIFEST};
use portcullis_testkit::attach::{Artifact, TRIVY, attach};
use portcullis_testkit::registry::{Fault, Registry, Route};
use serde_json::json;

use crate::world::*;

fn header(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
}

/// Attaches a signed artifact with this layer to a new image, and decides about it.
async fn decide_about(world: &World, layer: Bytes) -> portcullis_proto::v1::Decision {
    let image = world.image("app");
    let (artifact_type, media_type) = (TRIVY.to_owned(), TRIVY.to_owned());
    let artifact = Artifact { artifact_type, media_type, layer, annotations: BTreeMap::new() };
    let report = attach(&world.registry, &image.repository, image.digest, &artifact).unwrap();
    world.sign(&image.repository, report, &world.key);
    world.decide(&image.pinned()).await
}

#[tokio::test]
async fn t005_a_report_whose_bytes_are_not_those_that_are_listed_is_not_read() {
    let world = World::new().await;
    let image = world.image("app");
    world.report(&image.repository, image.digest, &critical());
    let other = world.image("other");
    let clean = world.report(&other.repository, other.digest, &clean());
    let bytes = world.registry.manifest(&other.repository, clean).unwrap().bytes;
    // The manifest of the image is asked for first.
    world.registry.fault_times(Route::Manifest, 1, Fault::ExtraHeaders(HeaderMap::new()));
    world.registry.fault(Route::Manifest, Fault::WrongBytes(bytes));
    let decision = world.decide(&image.pinned()).await;
    assert_evidence(&decision, Unavailable, "protocol: ");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn t006_no_digest_is_asked_for_by_head_or_believed_in_a_header() {
    let world = World::new().await;
    let image = world.scanned("app", &clean());
    let lie = header(
        "docker-content-digest",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    );
    world.registry.fault(Route::Any, Fault::ExtraHeaders(lie));
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.evidence[0].digest, image.digest.to_string());
    assert!(world.registry.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn t023_pages_that_do_not_end_or_lead_away_are_no_list() {
    let elsewhere = Registry::start().await.unwrap();
    let away = format!("<http://{}/v2/>; rel=\"next\"", elsewhere.host());
    for link in ["<>; rel=\"next\"", away.as_str()] {
        let world = World::new().await;
        let image = world.scanned("app", &clean());
        let next = HeaderValue::from_str(link).unwrap();
        let headers = HeaderMap::from_iter([(http::header::LINK, next)]);
        world.registry.fault(Route::Referrers, Fault::ExtraHeaders(headers));
        let decision = world.decide(&image.pinned()).await;
        assert_evidence(&decision, Unavailable, "protocol: ");
    }
    assert_eq!(elsewhere.requests(), []);
}

#[tokio::test]
async fn t023b_the_good_report_on_page_three_of_four_decides() {
    let world = World::new().await;
    let image = world.image("app");
    for number in 0..4 {
        let layer = Bytes::from(format!("unsigned {number}"));
        if number == 2 {
            world.report(&image.repository, image.digest, &clean());
            continue;
        }
        let (artifact_type, media_type) = (TRIVY.to_owned(), TRIVY.to_owned());
        let artifact = Artifact { artifact_type, media_type, layer, annotations: BTreeMap::new() };
        attach(&world.registry, &image.repository, image.digest, &artifact).unwrap();
    }
    world.registry.set_page_size(1);
    assert_evidence(&world.decide(&image.pinned()).await, Verified, "");
    assert_eq!(world.requests("skip=3"), 1);
}

#[tokio::test]
async fn t027_nothing_is_unpacked_and_no_encoding_is_taken() {
    // A gzip stream and a zstd frame, each as the content itself.
    for packed in [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], b"\x28\xb5\x2f\xfd\x04\0"] {
        let world = World::new().await;
        let decision = decide_about(&world, Bytes::from_static(packed)).await;
        assert_evidence(&decision, Rejected, "malformed: ");
    }
    for encoding in ["gzip", "zstd", "gzip, gzip", "br", "deflate"] {
        for route in [Route::Manifest, Route::Blob, Route::Referrers] {
            let world = World::new().await;
            let image = world.scanned("app", &clean());
            let encoded = header("content-encoding", encoding);
            world.registry.fault(route, Fault::ExtraHeaders(encoded));
            let decision = world.decide(&image.pinned()).await;
            assert_evidence(&decision, Unavailable, "protocol: ");
        }
    }
}

/// Every file under `folder`, with its length.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            all.extend(files(&entry.path()));
        } else {
            all.push((entry.path().display().to_string(), meta.len()));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn t030_an_archive_is_never_extracted() {
    let world = World::new().await;
    // The head of a tar with a member that leads out, as `tar` would write it.
    let mut member = vec![0; 1536];
    let name = b"../../../../../../tmp/portcullis-t030";
    member[..name.len()].copy_from_slice(name);
    member[100..107].copy_from_slice(b"0000644");
    member[124..135].copy_from_slice(b"00000000001");
    member[156] = b'0';
    member[257..262].copy_from_slice(b"ustar");
    member[512] = b'x';
    let before = files(world.folder.path());
    let decision = decide_about(&world, member.into()).await;
    assert_evidence(&decision, Rejected, "malformed: ");
    assert_eq!(files(world.folder.path()), before);
    assert!(!Path::new("/tmp/portcullis-t030").exists());
}

#[tokio::test]
async fn t044_a_foreign_layer_is_not_fetched_from_where_it_says() {
    let elsewhere = Registry::start().await.unwrap();
    let world = World::new().await;
    let image = world.image("app");
    let layer = Bytes::from_static(b"not in the registry");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": TRIVY,
        "config": { "mediaType": OCI_EMPTY, "digest": Digest::of(b"{}"), "size": 2 },
        "layers": [{
            "mediaType": TRIVY,
            "digest": Digest::of(&layer),
            "size": layer.len(),
            "urls": [format!("http://{}/v2/it/app/blobs/x", elsewhere.host())],
        }],
        "subject": { "mediaType": OCI_MANIFEST, "digest": image.digest, "size": 1 },
    });
    let bytes = manifest.to_string();
    let report = world.registry.put_manifest(&image.repository, "", bytes, OCI_MANIFEST);
    world.sign(&image.repository, report, &world.key);
    let decision = world.decide(&image.pinned()).await;
    assert_evidence(&decision, Rejected, "malformed: ");
    assert_eq!(elsewhere.requests(), []);
}
