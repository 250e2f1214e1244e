//! What references and indexes name.

use portcullis_core::evidence::{Reason, Rejection};

use portcullis_testkit::clock::TestClock;
use time::macros::datetime;

use super::*;
use crate::evidence::Asked as ByDigest;
use crate::evidence::store::{StoreConfig, StoreKey};
use crate::registry::{Fetched, HostConfig, RegistryConfig, Scheme};
use portcullis_core::referrers::{OCI_INDEX, OCI_MANIFEST};

fn fetched(index: &str) -> Fetched {
    Fetched {
        bytes: index.to_owned().into(),
        media_type: OCI_INDEX.to_owned(),
        digest: Digest::of(index.as_bytes()),
    }
}

fn index(platforms: &[(&str, &str)]) -> String {
    let entry = |(os, architecture): &(&str, &str)| {
        let digest = Digest::of(format!("{os}/{architecture}").as_bytes());
        format!(
            r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":2,
            "platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
        )
    };
    let entries: Vec<_> = platforms.iter().map(entry).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

#[track_caller]
fn check(listed: &[(&str, &str)], expected: &[&str]) {
    let read = read(&fetched(&index(listed))).unwrap();
    let taken = read.taken_by(&Nodes::default());
    let names: Vec<_> = taken.iter().map(|(p, _)| p.to_string()).collect();
    assert_eq!(names, expected);
}

#[test]
fn the_platforms_that_a_cluster_can_run_are_chosen() {
    let arm_amd = [("linux", "arm64"), ("unknown", "unknown"), ("linux", "amd64")];
    check(&arm_amd, &["linux/amd64", "linux/arm64"]);
    check(&[("windows", "amd64"), ("linux", "amd64")], &["linux/amd64"]);
    check(&[("windows", "amd64")], &["windows/amd64"]);
    check(&[("linux", "amd64"), ("", "amd64")], &["any/any", "linux/amd64"]);
    check(&[], &[]);
}

#[test]
fn nodes_of_another_system_take_what_is_for_it() {
    let listed = [("windows", "amd64"), ("linux", "amd64"), ("linux", "arm64")];
    let read = read(&fetched(&index(&listed))).unwrap();
    let taken = |node: &str| {
        let taken = read.taken_by(&Nodes::new([node.parse().unwrap()]));
        taken.iter().map(|(p, _)| p.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(taken("windows/amd64"), ["windows/amd64"]);
    assert_eq!(taken("linux/arm64"), ["linux/arm64"]);
}

#[test]
fn an_index_within_an_index_is_refused() {
    let nested = index(&[("linux", "amd64")]).replace(OCI_MANIFEST, OCI_INDEX);
    let refused = read(&fetched(&nested)).unwrap_err();
    assert!(matches!(
        refused.as_ref(),
        Evidence::Rejected(Rejection { reason: Reason::Malformed, .. })
    ));
}

#[test]
fn an_index_is_refused_one_platform_past_its_bound() {
    let names: Vec<_> = (0..=MAX_PLATFORMS).map(|n| format!("arch{n}")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("linux", name.as_str())).collect();
    let parse = |n: usize| read(&fetched(&index(entries.get(..n).unwrap())));
    assert_eq!(parse(MAX_PLATFORMS).unwrap().platforms.len(), MAX_PLATFORMS);
    let refused = parse(MAX_PLATFORMS + 1).unwrap_err();
    assert!(matches!(
        refused.as_ref(),
        Evidence::Rejected(Rejection { reason: Reason::TooMany, .. })
    ));
}

#[test]
fn with_a_digest_a_name_is_hashed_as_the_evidence_of_it_is() {
    let kept: Sieve<Key, ()> = Sieve::new(0);
    let image: Reference = format!("reg.io/app:v1@{}", Digest::of(b"x")).parse().unwrap();
    let digest = image.digest().unwrap();
    let evidence = kept.hash(&ByDigest { name: image.name(), digest: &digest });
    assert_eq!(kept.hash(&Hashed::of(&image)), evidence);
    assert_eq!(Sieve::<Key, ()>::new(0).hash(&Hashed::of(&image)), evidence);
    // Also where the name is hashed once for many digests.
    let within = sought::Repository::of(&image, kept.hasher());
    let other = Digest::of(b"y");
    assert_eq!(within.at(digest).hash, evidence);
    assert_eq!(within.at(other).hash, kept.hash(&Hashed::of(&image.at(other))));
    assert_eq!(
        (within.at(other).hash_of(digest), within.at(digest).hash_of(digest)),
        (None, Some(evidence))
    );
    // As it is remembered: without a tag.
    let key = Key { access: Arc::from(""), image: image.at(digest) };
    assert_eq!(kept.hash(&key), evidence);
    let tagged: Reference = "reg.io/app:v1".parse().unwrap();
    assert_ne!(
        kept.hash(&Hashed::of(&tagged)),
        kept.hash(&Hashed::of(&"reg.io/app:v2".parse().unwrap()))
    );
}

/// What is in use is asked about again beside use, also after a search that was lost.
#[tokio::test]
async fn a_search_in_the_background_that_is_lost_is_tried_again() {
    let now = datetime!(2026-08-01 12:00 UTC);
    // Whose tasks are dropped as soon as they are begun.
    let gone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = gone.handle().clone();
    gone.shutdown_background();
    let resolver = Resolver::new(
        Registry::new(RegistryConfig::default()).unwrap(),
        Store::none(),
        ResolveConfig::default(),
        Arc::new(TestClock::new(now)),
        TaskTracker::new(),
        handle,
    );
    let (image, access): (Reference, _) = ("reg.io/app:v1".parse().unwrap(), Arc::from(""));
    let key = Key { access: Arc::clone(&access), image: image.clone() };
    let resolved = Resolved { digest: Digest::of(b"image"), platforms: Vec::new() };
    let until = now + Duration::from_secs(5);
    let fresh = Fresh {
        answer: Ok(Arc::new(resolved)),
        until,
        confirmed_at: now,
        source: Source::Registry,
    };
    resolver.0.keep(&key, &Plan { fresh, due: now, failures: 0 });
    assert!(resolver.peek(&image, &access).is_some());
    assert!(resolver.0.flights.is_empty());
    let look = |entry: &Entry| entry.is_asking.load(std::sync::atomic::Ordering::Relaxed);
    let is_asking = resolver.0.kept.get(resolver.0.kept.hash(&key), |other| *other == key, look);
    assert_eq!(is_asking, Some(false));
}

#[tokio::test]
async fn t082_who_joins_a_search_that_had_no_place_begins_one() {
    let resolver = Resolver::new(
        Registry::new(RegistryConfig::default()).unwrap(),
        Store::none(),
        ResolveConfig::default(),
        Arc::new(TestClock::new(datetime!(2026-08-01 12:00 UTC))),
        TaskTracker::new(),
        Handle::current(),
    );
    let caller = |port: u16| Caller::of(([127, 0, 0, 1], port).into());
    let take = || resolver.0.places.take(caller(1), "reg.io").ok();
    let _taken: Vec<_> = std::iter::from_fn(take).collect();
    // Where nobody listens.
    let (image, access): (Reference, _) = ("localhost:1/app:v1".parse().unwrap(), Arc::from(""));
    let soon = Instant::now() + Duration::from_secs(5);
    let ask = |port| resolver.resolve(&image, &access, caller(port), soon);
    let (first, joined) = tokio::join!(ask(1), ask(2));
    let refusal = "for this caller";
    assert!(format!("{:?}", first.answer).contains(refusal), "{:?}", first.answer);
    assert!(!format!("{:?}", joined.answer).contains(refusal), "{:?}", joined.answer);
}

#[tokio::test]
async fn t079_what_is_asked_while_it_changes_is_in_doubt_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { folder: Some(folder.path().to_owned()), ..StoreConfig::default() };
    let open = async || {
        let store = Store::open(&config, &Arc::default(), Handle::current());
        store.opened(Duration::from_secs(60)).await;
        store
    };
    let registry = portcullis_testkit::registry::Registry::start().await.unwrap();
    for tag in ["v1", "v2"] {
        portcullis_testkit::image::image(&registry, "it/app", tag, "app").unwrap();
    }
    let name =
        |tag: &str| format!("{}/it/app:{tag}", registry.host()).parse::<Reference>().unwrap();
    let (image, other, access) = (name("v1"), name("v2"), Arc::from(""));
    let (store, clock) = (open().await, Arc::new(TestClock::new(datetime!(2026-08-01 12:00 UTC))));
    let plain = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
    let (hosts, tasks) = ([(registry.host().to_owned(), plain)].into(), TaskTracker::new());
    let resolver = Resolver::new(
        Registry::new(RegistryConfig { hosts, ..RegistryConfig::default() }).unwrap(),
        store.clone(),
        ResolveConfig::default(),
        Arc::clone(&clock) as Arc<dyn Clock>,
        tasks.clone(),
        Handle::current(),
    );
    // So that there is time while it answers.
    registry.set_latency(Duration::from_millis(400));
    let soon = Instant::now() + Duration::from_secs(60);
    let ask =
        async |image: &Reference| resolver.resolve(image, &access, Caller::default(), soon).await;
    let change = async {
        while registry.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        clock.advance(Duration::from_secs(1));
        resolver.expire(&image, &access);
        clock.advance(Duration::from_secs(1));
    };
    let (asked, ()) = tokio::join!(ask(&image), change);
    asked.answer.unwrap();
    ask(&other).await.answer.unwrap();
    store.close();
    drop((store, resolver));
    tasks.close();
    tasks.wait().await;
    let store = open().await;
    for (image, is_doubted) in [(&image, true), (&other, false)] {
        let stored = store.find(&StoreKey::name(image, &access)).await.unwrap();
        assert_eq!(stored.is_doubted, is_doubted, "{image}");
    }
}
