//! Reports of every format, and what is attached beside them.

use bytes::Bytes;
use portcullis_core::findings::{OPENVEX, VEX_MEDIA_TYPES};
use portcullis_core::image::Digest;
use portcullis_core::referrers::{CREATED, IN_TOTO, PREDICATE_TYPE};
use portcullis_server::evidence::collect::MAX_VEX;
use portcullis_testkit::attach::{Artifact, SARIF, attach};
use portcullis_testkit::keys::Authority;
use serde_json::{Value, json};

use crate::world::*;

/// An artifact that is called newer than every report.
fn artifact(artifact_type: &str, layer: &Value) -> Artifact {
    Artifact {
        artifact_type: artifact_type.to_owned(),
        media_type: artifact_type.to_owned(),
        layer: Bytes::from(layer.to_string()),
        annotations: [(CREATED.to_owned(), "2026-08-01T11:30:00Z".to_owned())].into(),
    }
}

fn attached(world: &World, image: &Image, artifact: &Artifact) -> Digest {
    let digest = attach(&world.registry, &image.repository, image.digest, artifact).unwrap();
    world.sign(&image.repository, digest, &world.key);
    digest
}

/// A document that clears the finding of [`critical`].
fn vex(products: &Value) -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": "security@example.com",
        "timestamp": "2026-08-01T11:00:00Z",
        "statements": [{
            "vulnerability": { "name": "CVE-2022-37434" },
            "products": products,
            "status": "not_affected",
            "justification": "vulnerable_code_not_present",
        }],
    })
}

fn own_vex(image: &Image) -> Artifact {
    let product = json!({ "@id": format!("pkg:oci/app@{}", image.digest) });
    artifact(VEX_MEDIA_TYPES[0], &vex(&json!([product])))
}

#[tokio::test]
async fn reports_of_other_formats_are_decided_on() {
    let world = World::new().await;
    for (name, report, action) in
        [("clean", clean(), Action::Allow), ("critical", critical(), Action::Deny)]
    {
        for (format, artifact) in [
            ("sarif", Artifact::sarif(&report, name).unwrap()),
            ("grype", Artifact::grype(&report).unwrap()),
        ] {
            let image = world.image(&format!("{name}-{format}"));
            attached(&world, &image, &artifact);
            let decision = world.decide(&image.name).await;
            assert_evidence(&decision, Verified, "");
            assert_eq!(decision.action(), action, "{name} {format}");
        }
    }
}

#[tokio::test]
async fn what_is_no_findings_report_is_neither_evidence_nor_in_its_way() {
    let world = World::new().await;
    let others = [
        artifact("application/vnd.cyclonedx+json", &json!({ "bomFormat": "CycloneDX" })),
        artifact(
            SARIF,
            &json!({
                "version": "2.1.0",
                "runs": [{ "tool": { "driver": { "name": "ShellCheck" } }, "results": [] }],
            }),
        ),
        artifact("application/json", &json!({ "tests": "passed" })),
    ];
    for (n, other) in others.iter().enumerate() {
        let alone = world.image(&format!("alone{n}"));
        attached(&world, &alone, other);
        let decision = world.decide(&alone.name).await;
        assert_evidence(&decision, Missing, "");
        assert_eq!(decision.action(), Action::Deny);

        let beside = world.scanned(&format!("beside{n}"), &clean());
        attached(&world, &beside, other);
        let decision = world.decide(&beside.name).await;
        assert_evidence(&decision, Verified, "");
        assert_eq!(decision.action(), Action::Allow);
    }
}

#[tokio::test]
async fn a_vex_document_that_is_believed_clears_a_finding() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    assert_eq!(world.decide(&image.name).await.action(), Action::Deny);

    let plain = world.scanned("plain", &critical());
    attached(&world, &plain, &own_vex(&plain));
    let decision = world.decide(&plain.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.action(), Action::Allow);

    for is_announced in [true, false] {
        let image = world.scanned(&format!("statement-{is_announced}"), &critical());
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": image.digest.hex() } }],
            "predicateType": OPENVEX,
            "predicate": vex(&json!([])),
        });
        let mut statement = artifact(IN_TOTO, &statement);
        if is_announced {
            statement.annotations.insert(PREDICATE_TYPE.to_owned(), OPENVEX.to_owned());
        }
        attached(&world, &image, &statement);
        let decision = world.decide(&image.name).await;
        assert_eq!(decision.action(), Action::Allow, "announced: {is_announced}");
    }
}

#[tokio::test]
async fn a_vex_document_that_is_not_believed_clears_nothing_and_rejects_nothing() {
    let world = World::new().await;
    let deny = async |name: &str, vex: &dyn Fn(&Image)| {
        let image = world.scanned(name, &critical());
        vex(&image);
        let decision = world.decide(&image.name).await;
        assert_evidence(&decision, Verified, "");
        assert_eq!(decision.action(), Action::Deny, "{name}");
    };
    let push = |image: &Image, artifact: &Artifact| {
        attach(&world.registry, &image.repository, image.digest, artifact).unwrap()
    };
    deny("unsigned", &|image| {
        push(image, &own_vex(image));
    })
    .await;
    let stranger = Authority::new("stranger", NOW).unwrap();
    let stranger = stranger.issue("scanner").unwrap().signing_key().unwrap();
    deny("stranger", &|image| {
        let vex = push(image, &own_vex(image));
        world.sign(&image.repository, vex, &stranger);
    })
    .await;
    deny("unreadable", &|image| {
        attached(&world, image, &artifact(VEX_MEDIA_TYPES[0], &json!({ "statements": 1 })));
    })
    .await;
    deny("other", &|image| {
        let other = json!([{ "@id": format!("pkg:oci/app@{}", Digest::of(b"other")) }]);
        attached(&world, image, &artifact(VEX_MEDIA_TYPES[0], &vex(&other)));
    })
    .await;
}

#[tokio::test]
async fn a_vex_document_that_cannot_be_read_takes_back_what_another_clears() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    attached(&world, &image, &own_vex(&image));
    attached(&world, &image, &artifact(VEX_MEDIA_TYPES[0], &json!({ "statements": 1 })));
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Verified, "");
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn a_vex_document_alone_is_no_report() {
    let world = World::new().await;
    let image = world.image("app");
    attached(&world, &image, &own_vex(&image));
    let decision = world.decide(&image.name).await;
    assert_evidence(&decision, Missing, "");
    assert_eq!(decision.action(), Action::Deny);
}

/// Of more than are looked at it is not known which is the newest.
#[tokio::test]
async fn vex_documents_past_their_bound_clear_nothing() {
    for (count, action) in [(MAX_VEX, Action::Allow), (MAX_VEX + 1, Action::Deny)] {
        let world = World::new().await;
        let image = world.scanned("app", &critical());
        for n in 0..count {
            let mut vex = own_vex(&image);
            vex.annotations.insert("number".to_owned(), n.to_string());
            attached(&world, &image, &vex);
        }
        let decision = world.decide(&image.name).await;
        assert_evidence(&decision, Verified, "");
        assert_eq!(decision.action(), action, "{count}");
    }
}
