mod bounds;
mod model;

use super::key::Digest;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const REPLICA: u64 = 1;

fn digest(number: u8) -> Digest {
    [number; 32]
}

fn named(number: u8) -> String {
    format!("sha256:{}", format!("{number:02x}").repeat(32))
}

fn container(name: &str, image: &str) -> v1::Container {
    v1::Container { name: name.to_owned(), image: image.to_owned() }
}

fn request() -> v1::CheckRequest {
    let labels = |value: &str| [("app".to_owned(), value.to_owned())].into();
    let context = v1::Context {
        cluster: "c".to_owned(),
        cloud: Some(v1::Cloud {
            provider: "azure".to_owned(),
            account: "a".to_owned(),
            region: "r".to_owned(),
        }),
        namespace: "n".to_owned(),
        namespace_labels: labels("n"),
        workload: Some(v1::Workload { kind: "Deployment".to_owned(), name: "w".to_owned() }),
        pod: "p".to_owned(),
        pod_labels: labels("p"),
        service_account: "s".to_owned(),
        break_glass: String::new(),
        platforms: vec!["linux/amd64".to_owned()],
    };
    let containers = vec![container("main", "app:v1")];
    v1::CheckRequest { context: Some(context), containers, ..v1::CheckRequest::default() }
}

/// An answer about an index, `digests` being itself and its platforms.
fn response(vary: &[&str], digests: &[u8]) -> Arc<v1::CheckResponse> {
    let evidence =
        digests.iter().map(|n| v1::Evidence { digest: named(*n), ..v1::Evidence::default() });
    let decision = v1::Decision {
        digest: digests.first().map(|n| named(*n)).unwrap_or_default(),
        evidence: evidence.collect(),
        ..v1::Decision::default()
    };
    Arc::new(v1::CheckResponse {
        action: v1::Action::Allow.into(),
        decisions: vec![decision],
        policy_revision: "r1".to_owned(),
        evaluated_at: Some(prost_types::Timestamp { seconds: 1_000, nanos: 0 }),
        max_age: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        vary: vary.iter().map(|word| (*word).to_owned()).collect(),
        ..v1::CheckResponse::default()
    })
}

/// What a replica says.
fn news(revision: &str, digests: &[u8]) -> v1::WatchResponse {
    v1::WatchResponse {
        position: vec![7; 16],
        policy_revision: revision.to_owned(),
        digests: digests.iter().map(|n| digest(*n).to_vec()).collect(),
        resync: false,
        more: false,
    }
}

/// A cache that hears [`REPLICA`], and the time.
fn cache() -> (NearCache, Instant) {
    let (near, now) = (NearCache::new(1 << 20), Instant::now());
    near.heard(REPLICA, &v1::WatchResponse { resync: true, ..news("r1", &[]) }, now);
    (near, now)
}

fn keep(near: &NearCache, request: &v1::CheckRequest, response: &Arc<v1::CheckResponse>) {
    let now = Instant::now();
    let ticket = near.ticket(REPLICA, now).unwrap();
    near.keep(&ticket, request, response, now);
}

/// A request that differs from [`request`] in one field of the context, with the word for it.
fn changed() -> Vec<(&'static str, v1::CheckRequest)> {
    fn with(change: impl Fn(&mut v1::Context)) -> v1::CheckRequest {
        let mut request = request();
        change(request.context.as_mut().unwrap());
        request
    }
    fn cloud(context: &mut v1::Context) -> &mut v1::Cloud {
        context.cloud.as_mut().unwrap()
    }
    let other = || "other".to_owned();
    vec![
        ("provider", with(|c| cloud(c).provider = other())),
        ("account", with(|c| cloud(c).account = other())),
        ("region", with(|c| cloud(c).region = other())),
        ("cluster", with(|c| c.cluster = other())),
        ("namespace", with(|c| c.namespace = other())),
        ("namespace_labels", with(|c| _ = c.namespace_labels.insert("app".to_owned(), other()))),
        ("namespace_labels", with(|c| _ = c.namespace_labels.insert(other(), other()))),
        ("workload", with(|c| c.workload.as_mut().unwrap().kind = other())),
        ("workload", with(|c| c.workload.as_mut().unwrap().name = other())),
        ("pod", with(|c| c.pod = other())),
        ("pod_labels", with(|c| c.pod_labels.clear())),
        ("service_account", with(|c| c.service_account = other())),
        ("platforms", with(|c| c.platforms.push("linux/arm64".to_owned()))),
        ("platforms", with(|c| c.platforms.clear())),
    ]
}

const WORDS: [&str; 11] = [
    "provider",
    "account",
    "region",
    "cluster",
    "namespace",
    "namespace_labels",
    "workload",
    "pod",
    "pod_labels",
    "service_account",
    "platforms",
];

/// Every set of fields, and every field of it and outside of it.
#[test]
fn a_field_that_the_answer_varies_with_makes_a_miss_and_any_other_a_hit() {
    let changed = changed();
    for bits in 0_u32..1 << WORDS.len() {
        let (near, now) = cache();
        let chosen = WORDS.iter().enumerate().filter(|(n, _)| bits & 1 << n != 0);
        let vary: Vec<_> = chosen.map(|(_, word)| *word).collect();
        keep(&near, &request(), &response(&vary, &[1]));
        assert!(near.find(&request(), now).is_some());
        for (word, request) in &changed {
            let is_hit = near.find(request, now).is_some();
            assert_eq!(is_hit, !vary.contains(word), "{word} of {vary:?}");
        }
    }
}

#[test]
fn other_containers_are_another_question() {
    let (near, now) = cache();
    let of = |containers: &[(&str, &str)]| {
        let containers = containers.iter().map(|(name, image)| container(name, image)).collect();
        v1::CheckRequest { containers, ..request() }
    };
    // Words about containers say nothing that the key does not hold.
    let response = response(&["container", "image", "registry", "repository", "break_glass"], &[1]);
    keep(&near, &of(&[("a", "x"), ("b", "y")]), &response);
    assert!(near.find(&of(&[("a", "x"), ("b", "y")]), now).is_some());
    for other in [
        &[("b", "y"), ("a", "x")][..],
        &[("a", "x")],
        &[("a", "x"), ("b", "z")],
        &[("a", "x"), ("c", "y")],
        &[("ax", ""), ("b", "y")],
        &[("a", "x"), ("b", "y"), ("", "")],
    ] {
        assert!(near.find(&of(other), now).is_none(), "{other:?}");
    }
}

#[test]
fn text_that_moves_from_one_field_to_the_next_is_another_question() {
    let (near, now) = cache();
    let of = |cluster: &str, namespace: &str| {
        let (cluster, namespace) = (cluster.to_owned(), namespace.to_owned());
        let context = v1::Context { cluster, namespace, ..v1::Context::default() };
        v1::CheckRequest { context: Some(context), ..request() }
    };
    keep(&near, &of("ab", "c"), &response(&["cluster", "namespace"], &[1]));
    assert!(near.find(&of("ab", "c"), now).is_some());
    assert!(near.find(&of("a", "bc"), now).is_none());
    assert!(near.find(&of("abc", ""), now).is_none());
}

#[test]
fn what_may_not_be_kept_is_not() {
    let plain = response(&[], &[1]);
    let but = |change: &dyn Fn(&mut v1::CheckResponse)| {
        let mut response = v1::CheckResponse::clone(&plain);
        change(&mut response);
        Arc::new(response)
    };
    let age = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let (near, now) = cache();
    for response in [
        but(&|r| r.max_age = None),
        but(&|r| r.max_age = age(0, 0)),
        but(&|r| r.max_age = age(-1, 0)),
        but(&|r| r.evaluated_at = None),
        but(&|r| r.vary.push("moon".to_owned())),
        but(&|r| r.policy_revision = "r0".to_owned()),
        but(&|r| r.decisions[0].digest.clear()),
        but(&|r| r.decisions[0].digest = named(1).replace("sha256", "sha512")),
        but(&|r| r.decisions[0].evidence[0].digest.push('0')),
    ] {
        keep(&near, &request(), &response);
        assert!(near.find(&request(), now).is_none(), "{response:?}");
    }
    keep(&near, &request(), &plain);
    assert!(near.find(&request(), now).is_some());
}

#[test]
fn a_justification_and_an_explanation_are_always_asked_for() {
    let (near, now) = cache();
    let mut justified = request();
    justified.context.as_mut().unwrap().break_glass = "it burns".to_owned();
    let explained = v1::CheckRequest { explain: true, ..request() };
    for request in [&justified, &explained] {
        keep(&near, request, &response(&["break_glass"], &[1]));
        assert_eq!(near.stats().entries, 0);
    }
    keep(&near, &request(), &response(&["break_glass"], &[1]));
    assert!(near.find(&request(), now).is_some());
    assert!(near.find(&justified, now).is_none());
    assert!(near.find(&explained, now).is_none());
    // White space is no justification, for the service neither.
    justified.context.as_mut().unwrap().break_glass = "  ".to_owned();
    assert!(near.find(&justified, now).is_some());
}

/// The time that the question took is taken off: the answer may be from its very beginning.
#[tokio::test(start_paused = true)]
async fn t156_an_answer_is_used_until_its_age_is_over_and_no_longer() {
    let (near, asked) = cache();
    let ticket = near.ticket(REPLICA, asked).unwrap();
    let response = response(&[], &[1]);
    tokio::time::advance(SECOND * 2).await;
    near.keep(&ticket, &request(), &response, Instant::now());
    let end = asked + SECOND * 60;
    let heard_late = end - SECOND;
    near.heard(REPLICA, &news("r1", &[]), heard_late);
    assert!(near.find(&request(), end - Duration::from_nanos(1)).is_some());
    assert!(near.find(&request(), end).is_none());
    assert_eq!(near.stats().entries, 0);
    // One that was under way for longer than it holds is not kept at all.
    near.keep(&ticket, &request(), &response, end);
    assert_eq!(near.stats().entries, 0);
}

#[test]
fn a_change_of_a_platform_drops_the_answer_about_its_index_and_no_other() {
    let (near, now) = cache();
    let other = v1::CheckRequest { containers: vec![container("main", "db:v1")], ..request() };
    keep(&near, &request(), &response(&[], &[1, 2, 3]));
    keep(&near, &other, &response(&[], &[4, 2]));
    near.heard(REPLICA, &news("r1", &[9]), now);
    assert_eq!(near.stats().entries, 2);
    near.heard(REPLICA, &news("r1", &[3]), now);
    assert!(near.find(&request(), now).is_none());
    assert!(near.find(&other, now).is_some());
    near.heard(REPLICA, &news("r1", &[2]), now);
    assert!(near.find(&other, now).is_none());
    assert_eq!((near.stats().entries, near.stats().bytes, near.stats().dropped), (0, 0, 2));
}

#[test]
fn another_policy_drops_what_was_decided_by_the_one_before() {
    let (near, now) = cache();
    near.heard(2, &news("r1", &[]), now);
    keep(&near, &request(), &response(&[], &[1]));
    // Of another replica: what ours says is by the policy before.
    near.heard(2, &news("r2", &[]), now);
    assert!(near.find(&request(), now).is_none());
    keep(&near, &request(), &response(&[], &[1]));
    assert!(near.find(&request(), now).is_none());

    near.heard(REPLICA, &news("r2", &[]), now);
    let mut new = v1::CheckResponse::clone(&response(&[], &[1]));
    new.policy_revision = "r2".to_owned();
    keep(&near, &request(), &Arc::new(new));
    assert!(near.find(&request(), now).is_some());
}

/// Rules that come with new replicas, as a rollout of pods has them.
#[test]
fn a_policy_that_no_replica_has_any_more_does_not_keep_others_out() {
    let (near, now) = cache();
    near.heard(REPLICA, &news("r2", &[]), now);
    near.heard(2, &news("r1", &[]), now);
    let ticket = near.ticket(2, now).unwrap();
    near.keep(&ticket, &request(), &response(&[], &[1]), now);
    assert_eq!(near.stats().entries, 0);
    near.forget(REPLICA);
    let ticket = near.ticket(2, now).unwrap();
    near.keep(&ticket, &request(), &response(&[], &[1]), now);
    assert!(near.find(&request(), now).is_some());
}

#[test]
fn missed_changes_drop_what_is_of_their_replica() {
    let (near, now) = cache();
    near.heard(2, &news("r1", &[]), now);
    let other = v1::CheckRequest { containers: vec![container("main", "db:v1")], ..request() };
    keep(&near, &request(), &response(&[], &[1]));
    near.keep(&near.ticket(2, now).unwrap(), &other, &response(&[], &[2]), now);
    near.heard(REPLICA, &v1::WatchResponse { resync: true, ..news("r1", &[]) }, now);
    assert!(near.find(&request(), now).is_none());
    assert!(near.find(&other, now).is_some());
    near.forget(2);
    assert_eq!(near.stats().entries, 0);
}

#[test]
fn a_change_that_cannot_be_read_is_of_everything() {
    let (near, now) = cache();
    keep(&near, &request(), &response(&[], &[1]));
    let ticket = near.ticket(REPLICA, now).unwrap();
    near.heard(REPLICA, &v1::WatchResponse { digests: vec![vec![1; 31]], ..news("r1", &[]) }, now);
    near.keep(&ticket, &request(), &response(&[], &[1]), now);
    assert_eq!(near.stats().entries, 0);
}

#[test]
fn t088_nothing_is_used_while_nothing_is_heard() {
    let (near, now) = cache();
    keep(&near, &request(), &response(&[], &[1]));
    let silent = now + STALL;
    assert!(near.find(&request(), silent - Duration::from_nanos(1)).is_some());
    assert!(near.find(&request(), silent).is_none());
    assert!(near.ticket(REPLICA, silent).is_none());
    // It was not missed what changed, and so it is as good as before.
    near.heard(REPLICA, &news("r1", &[]), silent);
    assert!(near.find(&request(), silent).is_some());

    near.lost(REPLICA);
    assert!(near.find(&request(), silent).is_none());
    assert!(near.ticket(REPLICA, silent).is_none());
    assert_eq!(near.position(REPLICA), [7; 16]);
    // What was missed comes in parts; only after the last is it known what holds.
    near.heard(REPLICA, &v1::WatchResponse { more: true, ..news("r1", &[8]) }, silent);
    assert!(near.find(&request(), silent).is_none());
    near.heard(REPLICA, &news("r1", &[9]), silent);
    assert!(near.find(&request(), silent).is_some());
}

#[test]
fn an_answer_that_was_under_way_while_something_changed_is_not_kept() {
    let check = |change: &dyn Fn(&NearCache, Instant), is_kept: bool| {
        let (near, now) = cache();
        near.heard(2, &news("r1", &[]), now);
        let ticket = near.ticket(REPLICA, now).unwrap();
        change(&near, now);
        near.keep(&ticket, &request(), &response(&[], &[1, 2]), now);
        assert_eq!(near.find(&request(), now).is_some(), is_kept);
    };
    check(&|_, _| {}, true);
    check(&|near, now| near.heard(REPLICA, &news("r1", &[3]), now), true);
    check(&|near, now| near.heard(REPLICA, &news("r1", &[2]), now), false);
    check(&|near, now| near.heard(2, &news("r1", &[1]), now), false);
    check(&|near, now| near.heard(2, &news("r2", &[]), now), false);
    check(&|near, _| near.lost(REPLICA), false);
    check(&|near, _| near.forget(REPLICA), false);
    let resync = v1::WatchResponse { resync: true, ..news("r1", &[]) };
    check(&|near, now| near.heard(REPLICA, &resync, now), false);
    check(&|near, now| near.heard(2, &resync, now), true);
    // There and back: what was asked for between may be of either.
    let there_and_back = |near: &NearCache, now| {
        near.heard(REPLICA, &news("r2", &[]), now);
        near.heard(REPLICA, &news("r1", &[]), now);
    };
    check(&there_and_back, false);
    // More changes than are remembered.
    let many = v1::WatchResponse { digests: vec![vec![9; 32]; 20_000], ..news("r1", &[]) };
    check(&|near, now| near.heard(REPLICA, &many, now), false);
}

#[test]
fn an_older_answer_does_not_replace_a_newer_one() {
    let (near, now) = cache();
    let at = |seconds, action: v1::Action| {
        let mut response = v1::CheckResponse::clone(&response(&[], &[1]));
        response.evaluated_at = Some(prost_types::Timestamp { seconds, nanos: 0 });
        response.action = action.into();
        Arc::new(response)
    };
    keep(&near, &request(), &at(2, v1::Action::Deny));
    keep(&near, &request(), &at(1, v1::Action::Allow));
    assert_eq!(near.find(&request(), now).unwrap().action(), v1::Action::Deny);
    keep(&near, &request(), &at(3, v1::Action::Audit));
    assert_eq!(near.find(&request(), now).unwrap().action(), v1::Action::Audit);
    assert_eq!(near.stats().entries, 1);
}
