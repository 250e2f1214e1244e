//! What is decided about images whose registry behaves.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::image::{Digest, Platform};
use portcullis_core::signature::sign::Format;
use portcullis_testkit::attach::{attach_report, sign};
use portcullis_testkit::image::{index, platform_image};
use portcullis_testkit::keys::{KeyKind, Leaf};
use portcullis_testkit::registry::Referrers;
use portcullis_testkit::samples::{self, samples};

use crate::world::*;

#[tokio::test]
async fn each_sample_gets_its_action_from_the_registry_and_then_from_memory() {
    let site = Site::new().await;
    site.write_rules(samples::rules());
    let samples = samples(&site.registry, &site.authority, NOW).unwrap();
    let world = site.start().await;
    // The evidence is that of the last manifest: the worse platform of the index.
    let expected = BTreeMap::from([
        ("clean", (Action::Allow, "", Verified, "")),
        ("critical", (Action::Deny, "max_allowed", Verified, "")),
        ("accepted", (Action::Allow, "", Verified, "")),
        ("unscanned", (Action::Deny, "unscanned", Missing, "")),
        ("unsigned", (Action::Deny, "rejected", Rejected, "unsigned: ")),
        ("tampered", (Action::Deny, "rejected", Rejected, "wrong_subject: ")),
        ("multi", (Action::Deny, "max_allowed", Verified, "")),
    ]);
    assert_eq!(samples.len(), expected.len());
    for source in [EvidenceSource::Registry, EvidenceSource::Memory] {
        let before = world.registry.requests().len();
        for sample in &samples {
            let (action, condition, status, detail) = expected[sample.name];
            let decision = world.decide(&sample.reference).await;
            let name = sample.name;
            assert_eq!(decision.action(), action, "{name}");
            let rule = if action == Action::Deny { "no-known-high-risk" } else { "" };
            assert_eq!(decision.rule, rule, "{name}");
            assert_eq!(decision.message.is_empty(), action == Action::Allow, "{name}");
            let deciding = decision.violations.first().map_or("", |v| v.condition.as_str());
            assert_eq!(deciding, condition, "{name}");
            let evidence = decision.evidence.last().unwrap();
            assert_eq!(evidence.status(), status, "{name}");
            assert!(evidence.detail.starts_with(detail), "{name}: {}", evidence.detail);
            assert!(decision.evidence.iter().all(|e| e.source() == source), "{name}");
        }
        let asked = world.registry.requests().len() > before;
        assert_eq!(asked, source == EvidenceSource::Registry);
    }
}

#[tokio::test]
async fn a_decision_names_the_digest_the_signer_and_the_findings() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let decision = world.decide(&image.name).await;
    assert_eq!(decision.container, "main");
    assert_eq!(decision.image, image.name);
    assert_eq!(decision.digest, image.digest.to_string());
    assert_eq!(decision.violations_total, 2);
    let violation = &decision.violations[0];
    assert!(violation.deciding);
    assert_eq!(violation.findings[0].id, "CVE-2022-37434");
    assert_eq!(violation.findings[0].fixed, ["1.2.12"]);
    let report = &decision.evidence[0].reports[0];
    assert!(report.signer.contains("CN=scanner"), "{}", report.signer);
    assert_eq!(report.scanned_at.unwrap().seconds, SCANNED.unix_timestamp());
    assert_eq!(report.counts.unwrap().critical, 1);
}

#[tokio::test]
async fn t074_a_repointed_tag_is_decided_on_its_own_facts_once_its_time_is_over() {
    let site = Site::new().await;
    let ttl = site.config.resolve.tag_ttl;
    let world = site.start().await;
    let good = world.scanned("app", &clean());
    assert_eq!(world.decide(&good.name).await.action(), Action::Allow);

    let bad = platform(&world, "linux/amd64", "bad");
    world.report("it/app", bad, &critical());
    world.registry.retag("it/app", "v1", bad);
    world.clock.advance(ttl - Duration::from_millis(1));
    let before = world.decide(&good.name).await;
    assert_eq!((before.action(), before.digest), (Action::Allow, good.digest.to_string()));
    world.clock.advance(Duration::from_millis(1));
    let after = world.decide(&good.name).await;
    assert_eq!((after.action(), after.digest), (Action::Deny, bad.to_string()));
    // What the tag was is still what it was.
    assert_eq!(world.decide(&good.pinned()).await.action(), Action::Allow);
}

#[tokio::test]
async fn a_digest_is_decided_whatever_tag_stands_beside_it() {
    let world = World::new().await;
    world.scanned("app", &clean());
    let bad = platform(&world, "linux/amd64", "bad");
    world.report("it/app", bad, &critical());
    let host = world.registry.host();
    for name in [format!("{host}/it/app:v1@{bad}"), format!("{host}/it/app@{bad}")] {
        let decision = world.decide(&name).await;
        assert_eq!((decision.action(), decision.digest), (Action::Deny, bad.to_string()));
    }
    assert_eq!(world.requests("/manifests/v1"), 0);
}

#[tokio::test]
async fn t033_the_worst_platform_of_an_index_decides_and_is_named() {
    let world = World::new().await;
    let (name, [amd64, arm64, index]) = pushed_index(&world);
    world.report("it/multi", amd64, &clean());
    world.report("it/multi", arm64, &critical());
    let decision = world.decide(&name).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(decision.digest, index.to_string());
    let violation = &decision.violations[0];
    assert_eq!(violation.platform, "linux/arm64");
    assert_eq!(violation.digest, arm64.to_string());
    assert!(decision.message.contains("(linux/arm64)"), "{}", decision.message);
    let evidence = decision.evidence.iter().map(|e| (e.platform.as_str(), e.status()));
    let expected = [("", Missing), ("linux/amd64", Verified), ("linux/arm64", Verified)];
    assert_eq!(evidence.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn t033_a_platform_without_a_report_is_unscanned_unless_the_index_has_one() {
    let world = World::new().await;
    let (name, [amd64, _, index]) = pushed_index(&world);
    world.report("it/multi", amd64, &clean());
    let decision = world.decide(&name).await;
    assert_eq!(decision.violations[0].condition, "unscanned");
    assert_eq!(decision.violations[0].platform, "linux/arm64");

    world.report("it/multi", index, &clean());
    world.clock.advance(world.config.memory.negative_ttl);
    assert_eq!(world.decide(&name).await.action(), Action::Allow);
}

#[tokio::test]
async fn a_report_on_the_index_does_not_hide_that_of_a_platform() {
    let world = World::new().await;
    let (name, [_, arm64, index]) = pushed_index(&world);
    world.report("it/multi", index, &clean());
    world.report("it/multi", arm64, &critical());
    let decision = world.decide(&name).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_eq!(decision.violations[0].platform, "linux/arm64");
}

/// The report vouches for what the index names by digest, and only where the index is what is asked for.
#[tokio::test]
async fn t034_a_report_on_an_index_is_for_what_is_in_that_index() {
    let world = World::new().await;
    let (name, [amd64, arm64, index]) = pushed_index(&world);
    world.report("it/multi", index, &clean());
    assert_eq!(world.decide(&name).await.action(), Action::Allow);
    let host = world.registry.host();
    for digest in [amd64, arm64] {
        let decision = world.decide(&format!("{host}/it/multi@{digest}")).await;
        assert_evidence(&decision, Missing, "");
        assert_eq!(decision.action(), Action::Deny);
    }
    // Another index with one of the platforms has no report, and none of its platforms.
    let platform: Platform = "linux/arm64".parse().unwrap();
    portcullis_testkit::image::index(&world.registry, "it/multi", "v2", &[(platform, arm64)])
        .unwrap();
    let decision = world.decide(&format!("{host}/it/multi:v2")).await;
    assert_eq!(decision.action(), Action::Deny);
    assert!(decision.evidence.iter().all(|e| e.status() == Missing));
}

#[tokio::test]
async fn signatures_of_every_kind_of_key_are_believed_in_both_formats() {
    let world = World::new().await;
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::P521, KeyKind::Rsa2048] {
        let leaf = Leaf { kind, ..world.authority.leaf("scanner").unwrap() };
        let key = world.authority.issue_leaf(&leaf).unwrap().signing_key().unwrap();
        for format in [Format::Jws, Format::Cose] {
            let image = world.image(&format!("{kind:?}-{format:?}").to_lowercase());
            let (registry, repository) = (&world.registry, &image.repository);
            let report = attach_report(registry, repository, image.digest, &clean()).unwrap();
            sign(registry, repository, report, &key, format, SCANNED).unwrap();
            let decision = world.decide(&image.name).await;
            assert_evidence(&decision, Verified, "");
            assert_eq!(decision.action(), Action::Allow);
        }
    }
}

#[tokio::test]
async fn every_way_of_listing_what_is_attached_leads_to_the_report() {
    for mode in [
        Referrers::Api,
        Referrers::Unfiltered,
        Referrers::Harbor,
        Referrers::Absent,
        Referrers::GitLab,
    ] {
        let world = World::new().await;
        world.registry.set_referrers(mode);
        let scanned = world.scanned("scanned", &critical());
        let unscanned = world.image("unscanned");
        if mode == Referrers::GitLab {
            // It answers the subject itself where the list would be: nothing is attached.
            assert_evidence(&world.decide(&scanned.name).await, Missing, "");
        } else {
            assert_evidence(&world.decide(&scanned.name).await, Verified, "");
        }
        assert_evidence(&world.decide(&unscanned.name).await, Missing, "");
    }
}

#[tokio::test]
async fn the_newest_report_of_a_scanner_counts() {
    let world = World::new().await;
    let image = world.scanned("app", &critical());
    let rescanned = portcullis_testkit::report::TrivyReport::new(NOW);
    world.report(&image.repository, image.digest, &rescanned);
    assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
}

fn platform(world: &World, platform: &str, seed: &str) -> Digest {
    let platform: Platform = platform.parse().unwrap();
    platform_image(&world.registry, "it/app", "", &platform, seed).unwrap()
}

/// An index of two platforms without reports: its name, and the digests of both and of itself.
fn pushed_index(world: &World) -> (String, [Digest; 3]) {
    let registry = &world.registry;
    let push = |platform: &str| {
        let platform: Platform = platform.parse().unwrap();
        let digest = platform_image(registry, "it/multi", "", &platform, "multi").unwrap();
        (platform, digest)
    };
    let (amd64, arm64) = (push("linux/amd64"), push("linux/arm64"));
    let digests = [amd64.1, arm64.1];
    let index = index(registry, "it/multi", "v1", &[amd64, arm64]).unwrap();
    (format!("{}/it/multi:v1", registry.host()), [digests[0], digests[1], index])
}
