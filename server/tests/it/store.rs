//! A service that is started again: it knows what it knew, verifies it again, and takes no old word for a
//! new one.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use portcullis_testkit::registry::{Fault, Route};

use crate::world::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A site with a folder for data.
async fn site() -> Site {
    let mut site = Site::new().await;
    site.config.store.folder = Some(site.folder.path().to_owned());
    site.config.marks.folder = Some(site.folder.path().to_owned());
    site
}

fn down() -> Fault {
    Fault::Status(StatusCode::BAD_GATEWAY, HeaderMap::new(), bytes::Bytes::new())
}

fn denied() -> Fault {
    Fault::Status(StatusCode::FORBIDDEN, HeaderMap::new(), bytes::Bytes::new())
}

#[tokio::test]
async fn t108_after_a_restart_with_the_registry_down_the_service_answers_what_it_knew() {
    for (report, action) in [(clean(), Action::Allow), (critical(), Action::Deny)] {
        let world = site().await.start().await;
        let image = world.scanned("app", &report);
        assert_eq!(world.decide(&image.name).await.action(), action);
        world.registry.fault(Route::Any, down());
        world.clock.advance(MINUTE);
        let world = world.stop().await.start().await;

        // What is as fresh as it was is used without asking.
        let asked = world.requests("/");
        let decision = world.decide(&image.pinned()).await;
        assert_eq!((decision.action(), world.requests("/")), (action, asked));
        assert_evidence(&decision, Verified, "");
        assert_eq!(decision.evidence[0].fetched_at.as_ref().unwrap().seconds, NOW.unix_timestamp());
        // A tag is asked for sooner, and by its limit too.
        assert_eq!(world.decide(&image.name).await.action(), action);

        // What should have been confirmed is used on and marked.
        world.clock.advance(world.config.memory.ttl);
        let world = world.stop().await.start().await;
        for name in [image.name.clone(), image.pinned()] {
            let decision = world.decide(&name).await;
            assert_eq!(decision.action(), action, "{name}");
            assert_eq!(decision.evidence[0].source(), EvidenceSource::Stale);
        }
        // And there is a limit.
        world.clock.advance(world.config.memory.stale_ttl);
        let world = world.stop().await.start().await;
        assert_evidence(&world.decide(&image.pinned()).await, Unavailable, "unreachable: ");
    }
}

#[tokio::test]
async fn what_is_read_from_disk_says_so_and_is_asked_about_when_it_is_due() {
    let world = site().await.start().await;
    let image = world.scanned("app", &clean());
    world.decide(&image.pinned()).await;
    let world = world.stop().await.start().await;
    let decision = world.decide(&image.pinned()).await;
    assert_eq!(decision.evidence[0].source(), EvidenceSource::Store);
    assert_eq!(world.decide(&image.pinned()).await.evidence[0].source(), EvidenceSource::Memory);
    // A newer report counts as soon as it would have without a restart.
    world.report(&image.repository, image.digest, &critical());
    world.clock.advance(world.config.memory.ttl);
    let decision = world.decide(&image.pinned()).await;
    assert_eq!(decision.evidence[0].source(), EvidenceSource::Registry);
    assert_eq!(decision.action(), Action::Deny);
}

#[tokio::test]
async fn what_changed_before_the_end_is_what_is_known_after_it() {
    let world = site().await.start().await;
    let image = world.image("app");
    let report = world.report(&image.repository, image.digest, &clean());
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    world.registry.delete(&image.repository, report);
    world.clock.advance(world.config.memory.ttl);
    assert_evidence(&world.decide(&image.pinned()).await, Withheld, "");
    world.registry.fault(Route::Any, down());
    let world = world.stop().await.start().await;
    assert_evidence(&world.decide(&image.pinned()).await, Withheld, "");
}

#[tokio::test]
async fn t077_access_that_was_taken_away_does_not_come_back_with_a_restart() {
    let world = site().await.start().await;
    let image = world.scanned("app", &clean());
    world.decide(&image.pinned()).await;
    world.registry.fault(Route::Any, denied());
    world.clock.advance(world.config.resolve.access_ttl);
    assert_evidence(&world.decide(&image.pinned()).await, Unavailable, "denied: ");
    // Now that it cannot be asked, the last that it said of us counts.
    world.registry.clear_faults();
    world.registry.fault(Route::Any, down());
    let world = world.stop().await.start().await;
    let decision = world.decide(&image.pinned()).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_evidence(&decision, Unavailable, "unreachable: ");
}

#[tokio::test]
async fn whoever_is_trusted_no_longer_is_not_believed_from_disk() {
    let world = site().await.start().await;
    let image = world.scanned("app", &clean());
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    let other = portcullis_testkit::keys::Authority::new("it", NOW).unwrap();
    world.registry.fault(Route::Any, down());
    let site = world.stop().await;
    site.write_trust(&other);
    let world = site.start().await;
    let decision = world.decide(&image.pinned()).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_evidence(&decision, Rejected, "untrusted_signer: ");
}

#[tokio::test]
async fn a_store_that_was_tampered_with_cannot_make_an_allow() {
    let world = site().await.start().await;
    let image = world.scanned("app", &critical());
    assert_eq!(world.decide(&image.pinned()).await.action(), Action::Deny);
    world.registry.fault(Route::Any, down());
    let site = world.stop().await;
    let path = site.path("evidence.redb");
    // Each body in turn has another severity in it, as whoever may write the file can do.
    let bodies = redb::TableDefinition::<&[u8], &[u8]>::new("bodies");
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut changed = 0;
    {
        use redb::ReadableTable as _;
        let mut table = transaction.open_table(bodies).unwrap();
        let all: Vec<_> = table
            .iter()
            .unwrap()
            .map(|entry| entry.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())).unwrap())
            .collect();
        for (key, mut body) in all {
            let word = b"critical";
            while let Some(place) = body.windows(word.len()).position(|part| part == word) {
                body[place..place + word.len()].copy_from_slice(b"low     ");
                changed += 1;
            }
            table.insert(&*key, &*body).unwrap();
        }
    }
    transaction.commit().unwrap();
    drop(database);
    assert!(changed > 0);
    let world = site.start().await;
    let decision = world.decide(&image.pinned()).await;
    assert_eq!(decision.action(), Action::Deny);
    assert_evidence(&decision, Unavailable, "unreachable: ");
    assert!(world.metric(r#"portcullis_store_reads_total{outcome="rejected"}"#).await >= 1.0);
    // The registry sets it right.
    world.registry.clear_faults();
    world.clock.advance(MINUTE);
    assert_evidence(&world.decide(&image.pinned()).await, Verified, "");
}

#[tokio::test]
async fn t163_a_folder_that_cannot_be_used_changes_no_decision() {
    for name in ["missing", "rules.yaml"] {
        let mut site = site().await;
        site.config.store.folder = Some(site.path(name));
        let world = site.start().await;
        let image = world.scanned("app", &clean());
        assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
        assert!(world.metric("portcullis_store_failed_total").await >= 1.0);
        let world = world.stop().await.start().await;
        assert_eq!(world.decide(&image.name).await.action(), Action::Allow);
    }
}

#[tokio::test]
async fn after_a_restart_the_registry_is_not_asked_about_all_that_is_asked_for() {
    let world = site().await.start().await;
    let images: Vec<_> = (0..20).map(|n| world.scanned(&format!("app{n}"), &clean())).collect();
    for image in &images {
        assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    }
    let world = world.stop().await.start().await;
    let asked = world.requests("/");
    for image in &images {
        assert_eq!(world.decide(&image.pinned()).await.action(), Action::Allow);
    }
    assert_eq!(world.requests("/"), asked);
    assert!(world.metric(r#"portcullis_store_reads_total{outcome="hit"}"#).await >= 40.0);
}
