//! What registries tell: a report is pushed, an event comes, and the next question knows of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use portcullis_core::findings::Severity;
use portcullis_core::image::Digest;
use portcullis_server::hooks::config::{GuardConfig, HooksConfig, SourceConfig};
use portcullis_server::hooks::dialect::Dialect;
use portcullis_server::hooks::scope::Scope;
use portcullis_server::hooks::secret_file::SecretFile;
use portcullis_testkit::registry::{Fault, Referrers, Registry, Route};
use portcullis_testkit::report::TrivyReport;
use serde_json::{Value, json};

use crate::world::*;

/// Who sends, by name. `own` says of its registry what the test says, the others what the event says.
const SOURCES: [(&str, Dialect); 8] = [
    ("acr", Dialect::Acr),
    ("event-grid", Dialect::EventGrid),
    ("ecr", Dialect::Ecr),
    ("google", Dialect::GooglePubsub),
    ("distribution", Dialect::Distribution),
    ("harbor", Dialect::Harbor),
    ("zot", Dialect::Zot),
    ("quay", Dialect::Quay),
];

#[cfg(test)]
pub(crate) async fn site() -> Site {
    let mut site = Site::new().await;
    std::fs::write(site.path("secret"), "s3cret").unwrap();
    let secret = SecretFile::open(&site.path("secret")).unwrap();
    let source = |dialect| {
        // The hosts of these are derived from an account, or are nowhere.
        let own = matches!(dialect, Dialect::Ecr | Dialect::Zot);
        let registry = own.then(|| site.registry.host().to_owned());
        let scope = Scope { registry, repositories: vec!["it".to_owned()] };
        SourceConfig { dialect, guard: GuardConfig::Bearer(secret.clone()), scope }
    };
    let sources: BTreeMap<_, _> =
        SOURCES.map(|(name, dialect)| (name.to_owned(), source(dialect))).into();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    site.config.hooks = HooksConfig { listen, tls: None, sources };
    site
}

#[cfg(test)]
impl World {
    async fn tell(&self, source: &str, ce_type: Option<&str>, body: &Value) -> u16 {
        let address = self.app.hooks_address().unwrap();
        let mut request = reqwest::Client::new()
            .post(format!("http://{address}/v1/events/{source}"))
            .bearer_auth("s3cret");
        if let Some(ce_type) = ce_type {
            request = request.header("ce-type", ce_type);
        }
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    }

    /// Waits until `image` is known to have a verified report, which it had not.
    async fn until_verified(&self, image: &str) {
        eventually("the report that was told of", async || {
            let decision = self.decide(image).await;
            (decision.evidence[0].status() == Verified).then_some(())
        })
        .await;
    }

    async fn refreshes(&self, reason: &str, outcome: &str) -> f64 {
        let name = "portcullis_refreshes_total";
        self.metric(&format!("{name}{{reason=\"{reason}\",outcome=\"{outcome}\"}}")).await
    }
}

/// A push of `digest`, or a scan of it, as each source tells it.
#[cfg(test)]
fn event(source: &str, host: &str, repository: &str, digest: Digest, scan: bool) -> Value {
    let digest = digest.to_string();
    let target = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
        "repository": repository,
    });
    let webhook = json!({"action": "push", "target": target, "request": {"host": host}});
    match source {
        "acr" => webhook,
        "event-grid" => {
            json!([{"eventType": "Microsoft.ContainerRegistry.ImagePushed", "data": webhook}])
        }
        "ecr" if scan => json!({
            "detail-type": "ECR Image Scan", "account": "123456789012", "region": "us-east-1",
            "detail": {"scan-status": "COMPLETE", "repository-name": repository, "image-digest": digest},
        }),
        "ecr" => json!({
            "detail-type": "ECR Image Action", "account": "123456789012", "region": "us-east-1",
            "detail": {
                "result": "SUCCESS", "action-type": "PUSH", "repository-name": repository,
                "image-digest": digest,
            },
        }),
        "google" => json!({"action": "INSERT", "digest": format!("{host}/{repository}@{digest}")}),
        "distribution" => json!({ "events": [webhook] }),
        "harbor" => json!({
            "type": if scan { "SCANNING_COMPLETED" } else { "PUSH_ARTIFACT" },
            "event_data": {
                "resources": [{"digest": digest, "resource_url": format!("{host}/{repository}@{digest}")}],
                "repository": {"repo_full_name": repository},
            },
        }),
        _ => json!({
            "type": if scan { "zotregistry.image.scanned" } else { "zotregistry.image.updated" },
            "data": {"name": repository, "reference": "", "digest": digest},
        }),
    }
}

#[tokio::test]
async fn t079_a_report_that_a_registry_tells_of_is_in_the_next_answer() {
    for (source, _) in SOURCES.into_iter().filter(|(name, _)| *name != "quay") {
        let world = site().await.start().await;
        let image = world.image("app");
        let before = world.decide(&image.name).await;
        assert_evidence(&before, Missing, "");
        let report = world.report("it/app", image.digest, &clean());
        let signature = world.registry.referrers("it/app", report)[0];
        // That there is none is still remembered.
        assert_evidence(&world.decide(&image.name).await, Missing, "");
        // The signature is attached to the report, and the report to the image.
        let told = event(source, world.registry.host(), "it/app", signature, false);
        assert_eq!(world.tell(source, None, &told).await, 202, "{source}");
        world.until_verified(&image.name).await;
        let accepted =
            format!("portcullis_registry_events_total{{source=\"{source}\",outcome=\"accepted\"}}");
        assert_eq!(world.metric(&accepted).await, 1.0);
        assert_eq!(world.refreshes("event", "changed").await, 1.0);
    }
}

#[tokio::test]
async fn a_scan_is_of_the_image_itself() {
    for source in ["ecr", "harbor", "zot"] {
        let world = site().await.start().await;
        let image = world.image("app");
        assert_evidence(&world.decide(&image.name).await, Missing, "");
        world.report("it/app", image.digest, &clean());
        let told = event(source, world.registry.host(), "it/app", image.digest, true);
        assert_eq!(world.tell(source, None, &told).await, 202, "{source}");
        world.until_verified(&image.name).await;
    }
}

#[tokio::test]
async fn quay_tells_of_a_tag_and_what_it_named_is_looked_at() {
    let world = site().await.start().await;
    let image = world.image("app");
    assert_evidence(&world.decide(&image.name).await, Missing, "");
    world.report("it/app", image.digest, &clean());
    let told = json!({
        "repository": "it/app", "docker_url": format!("{}/it/app", world.registry.host()),
        "updated_tags": ["v1"],
    });
    assert_eq!(world.tell("quay", None, &told).await, 202);
    world.until_verified(&image.name).await;
}

#[tokio::test]
async fn a_tag_that_was_moved_is_resolved_again() {
    let world = site().await.start().await;
    let image = world.scanned("app", &critical());
    let old = world.decide(&image.name).await;
    assert_eq!(old.action(), Action::Deny);
    let fixed = portcullis_testkit::image::image(&world.registry, "it/app", "v1", "fixed").unwrap();
    world.report("it/app", fixed, &clean());
    let mut told = event("acr", world.registry.host(), "it/app", fixed, false);
    told["target"]["tag"] = json!("v1");
    assert_eq!(world.tell("acr", None, &told).await, 202);
    eventually("the new image", async || {
        (world.decide(&image.name).await.action() == Action::Allow).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_fallback_tag_names_its_subject_without_a_request() {
    let world = site().await.start().await;
    world.registry.set_referrers(Referrers::Absent);
    let image = world.image("app");
    assert_evidence(&world.decide(&image.name).await, Missing, "");
    world.report("it/app", image.digest, &clean());
    world.registry.clear_requests();
    let list = world.registry.tagged("it/app", &image.digest.fallback_tag()).unwrap();
    let mut told = event("distribution", world.registry.host(), "it/app", list, false);
    told["events"][0]["target"]["tag"] = json!(image.digest.fallback_tag());
    told["events"][0]["target"]["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    assert_eq!(world.tell("distribution", None, &told).await, 202);
    world.until_verified(&image.name).await;
    assert_eq!(world.requests(&format!("/manifests/{list}")), 0);
}

#[tokio::test]
async fn zot_sends_the_manifest_whose_subject_needs_no_request() {
    let world = site().await.start().await;
    let image = world.image("app");
    assert_evidence(&world.decide(&image.name).await, Missing, "");
    let report = world.report("it/app", image.digest, &clean());
    world.registry.clear_requests();
    let manifest = world.registry.manifest("it/app", report).unwrap();
    let data = json!({
        "name": "it/app", "reference": report.to_string(), "digest": report.to_string(),
        "manifest": String::from_utf8(manifest.bytes.to_vec()).unwrap(),
    });
    assert_eq!(world.tell("zot", Some("zotregistry.image.updated"), &data).await, 202);
    world.until_verified(&image.name).await;
    // Once, as what is attached to the image.
    assert_eq!(world.requests(&format!("/manifests/{report}")), 1);
}

#[tokio::test]
async fn what_nobody_asked_about_costs_two_requests_and_is_looked_at_when_it_is_asked_about() {
    let world = site().await.start().await;
    let image = world.image("app");
    let report = world.report("it/app", image.digest, &clean());
    let signature = world.registry.referrers("it/app", report)[0];
    let told = event("acr", world.registry.host(), "it/app", signature, false);
    assert_eq!(world.tell("acr", None, &told).await, 202);
    eventually("an event that was acted upon", async || {
        (world.refreshes("event", "forgotten").await > 0.0).then_some(())
    })
    .await;
    assert_eq!(world.requests("/v2/"), 2);
    assert_evidence(&world.decide(&image.name).await, Verified, "");
}

/// Nobody asked about it lately, and so it is looked at when somebody does: also by another process.
#[tokio::test]
async fn what_a_registry_told_of_is_looked_at_after_a_restart() {
    let mut site = site().await;
    site.config.store.folder = Some(site.folder.path().to_owned());
    site.config.refresh.asked_within = Duration::ZERO;
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    for name in [&image.name, &image.pinned()] {
        assert_eq!(world.decide(name).await.action(), Action::Allow);
    }
    world.clock.advance(Duration::from_secs(1));
    let fixed = portcullis_testkit::image::image(&world.registry, "it/app", "v1", "other").unwrap();
    let later = TrivyReport::new(SCANNED + Duration::from_secs(60))
        .finding("CVE-2022-37434", Severity::Critical, "zlib", "1.2.11", "1.2.12")
        .score(9.8);
    world.report("it/app", fixed, &later);
    world.report("it/app", image.digest, &later);
    for (digest, tag) in [(fixed, Some("v1")), (image.digest, None)] {
        let mut told = event("acr", world.registry.host(), "it/app", digest, false);
        if let Some(tag) = tag {
            told["target"]["tag"] = json!(tag);
        }
        assert_eq!(world.tell("acr", None, &told).await, 202);
    }
    eventually("events that were acted upon", async || {
        (world.refreshes("event", "forgotten").await > 1.0).then_some(())
    })
    .await;
    let world = world.stop().await.start().await;
    world.clock.advance(Duration::from_secs(1));
    for name in [&image.name, &image.pinned()] {
        assert_eq!(world.decide(name).await.action(), Action::Deny, "{name}");
    }
    // What is known now is known to the next.
    world.registry.clear_requests();
    let world = world.stop().await.start().await;
    for name in [&image.name, &image.pinned()] {
        assert_eq!(world.decide(name).await.action(), Action::Deny, "{name}");
    }
    assert_eq!(world.requests("/referrers/"), 0);
}

#[tokio::test]
async fn nothing_is_asked_for_whom_the_source_may_not_tell_of() {
    let world = site().await.start().await;
    let other = Registry::start().await.unwrap();
    let digest = Digest::of(b"x");
    for (host, repository) in [
        (other.host(), "it/app"),
        (world.registry.host(), "other/app"),
        (world.registry.host(), "it-evil/app"),
    ] {
        let told = event("acr", host, repository, digest, false);
        assert_eq!(world.tell("acr", None, &told).await, 202);
    }
    // Acted upon after those, if they were.
    let last = event("acr", world.registry.host(), "it/last", digest, false);
    assert_eq!(world.tell("acr", None, &last).await, 202);
    eventually("the last event", async || (world.requests("/it/last/") > 0).then_some(())).await;
    assert!(other.requests().is_empty());
    assert_eq!(world.requests("/other/") + world.requests("/it-evil/"), 0);
    let unlisted = r#"portcullis_registry_events_total{source="acr",outcome="unlisted"}"#;
    assert_eq!(world.metric(unlisted).await, 3.0);
}

#[tokio::test]
async fn an_event_while_the_registry_fails_takes_nothing_away() {
    let world = site().await.start().await;
    let image = world.scanned("app", &clean());
    assert_evidence(&world.decide(&image.name).await, Verified, "");
    world.registry.fault(
        Route::Any,
        Fault::Status(StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new(), Bytes::new()),
    );
    let mut told = event("acr", world.registry.host(), "it/app", image.digest, false);
    told["target"]["tag"] = json!("v1");
    assert_eq!(world.tell("acr", None, &told).await, 202);
    eventually("a refresh that failed", async || {
        (world.refreshes("event", "failed").await > 0.0).then_some(())
    })
    .await;
    let decision = world.decide(&image.name).await;
    assert_eq!(decision.evidence[0].status(), Verified);
    assert_eq!(decision.action(), Action::Allow);
}

#[tokio::test]
async fn without_sources_nothing_is_listened_on() {
    let world = World::new().await;
    assert_eq!(world.app.hooks_address(), None);
}
