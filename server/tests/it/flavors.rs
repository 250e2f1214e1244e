//! Every registry that people use, times what is attached: the same evidence from all of them.

use futures_util::future::join_all;
use portcullis_core::findings::Severity;
use portcullis_core::image::Digest;
use portcullis_server::registry::{Credentials, Secret};
use portcullis_testkit::registry::{Auth, Credentials as Given, FLAVORS, Flavor};

use crate::world::*;

/// A service before a registry of this kind, which lets in only whom it knows.
async fn world(flavor: Flavor) -> World {
    let mut site = Site::new().await;
    site.registry.set_flavor(flavor);
    // Two a page, where there are pages.
    site.registry.set_page_size(2);
    if flavor == Flavor::Ecr {
        let (username, password) = ("AWS".to_owned(), "canary-secret".to_owned());
        let host = site.config.registry.hosts.get_mut(site.registry.host()).unwrap();
        host.credentials = Credentials::Basic {
            username: username.clone(),
            password: Secret::new(password.clone()),
        };
        site.registry.set_auth(Auth::Basic(Given { username, password }));
    } else {
        site.registry.set_auth(Auth::AnonymousBearer);
    }
    site.start().await
}

#[tokio::test]
async fn each_registry_gives_the_evidence_that_it_has() {
    join_all(FLAVORS.map(|flavor| async move {
        let world = world(flavor).await;
        let image = world.scanned("app", &critical());
        // The newest is the last of several, on a later page where there are pages.
        for _ in 0..3 {
            let unsigned = portcullis_testkit::attach::attach_report(
                &world.registry,
                &image.repository,
                image.digest,
                &clean().finding("CVE-2020-0001", Severity::Low, "a", "1", "2"),
            );
            unsigned.unwrap();
        }
        let decision = world.decide(&image.pinned()).await;
        let [evidence] = decision.evidence.as_slice() else { panic!("{flavor:?}") };
        // GitLab has no place where a list of what is attached could be.
        let (status, condition) = match flavor {
            Flavor::GitLab => (Missing, "unscanned"),
            _ => (Verified, "max_allowed"),
        };
        assert_eq!(evidence.status(), status, "{flavor:?}: {}", evidence.detail);
        assert_eq!(decision.action(), Action::Deny, "{flavor:?}");
        assert_eq!(decision.violations[0].condition, condition, "{flavor:?}");
    }))
    .await;
}

#[tokio::test]
async fn each_registry_that_has_nothing_attached_says_so() {
    join_all(FLAVORS.map(|flavor| async move {
        let world = world(flavor).await;
        let image = world.image("bare");
        let decision = world.decide(&image.name).await;
        let [evidence] = decision.evidence.as_slice() else { panic!("{flavor:?}") };
        assert_eq!(evidence.status(), Missing, "{flavor:?}: {}", evidence.detail);
    }))
    .await;
}

#[tokio::test]
async fn a_subject_that_no_registry_knows_is_not_one_without_evidence() {
    join_all(FLAVORS.map(|flavor| async move {
        let world = world(flavor).await;
        let image = world.image("app");
        let absent = Digest::of(b"absent");
        let name = format!("{}@{absent}", image.name.strip_suffix(":v1").unwrap());
        let decision = world.decide(&name).await;
        let [evidence] = decision.evidence.as_slice() else { panic!("{flavor:?}") };
        assert_eq!(evidence.status(), Unavailable, "{flavor:?}: {}", evidence.detail);
        assert!(evidence.detail.starts_with("not_found: "), "{flavor:?}: {}", evidence.detail);
    }))
    .await;
}
