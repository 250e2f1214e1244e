use std::sync::Arc;
use std::time::Duration;

use portcullis_core::signature::revocation::{MAX_OCSP_RESPONSE, MAX_SOURCES};
use portcullis_testkit::clock::TestClock;
use portcullis_testkit::keys::{Authority, Issued, Leaf, Sources as Named};
use portcullis_testkit::responder::{Entry, List, OcspAnswer, Reply, Responder, Standing};
use time::macros::datetime;

use super::*;
use crate::registry::RegistryConfig;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);
const BEFORE: OffsetDateTime = datetime!(2026-07-01 12:00 UTC);
const REVOKED: Standing = Standing::Revoked { at: BEFORE, reason: Some(1), invalid_since: None };

struct World {
    responder: Responder,
    authority: Arc<Authority>,
    issued: Issued,
    question: RevocationQuestion,
    clock: Arc<TestClock>,
    revocation: Revocation,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

impl World {
    /// A certificate that names an OCSP responder.
    async fn with_ocsp() -> Self {
        Self::new(|responder| Named { ocsp: vec![responder.ocsp_url()], ..Named::default() }).await
    }

    /// A certificate that names a CRL.
    async fn with_crl() -> Self {
        Self::new(|responder| Named { crl: vec![responder.crl_url()], ..Named::default() }).await
    }

    async fn new(named: impl Fn(&Responder) -> Named) -> Self {
        Self::configured(named, |responder| BTreeSet::from([responder.host()])).await
    }

    async fn configured(
        named: impl Fn(&Responder) -> Named,
        hosts: impl Fn(&Responder) -> BTreeSet<String>,
    ) -> Self {
        let responder = Responder::start().await.unwrap();
        let authority = Arc::new(Authority::new("acme", NOW).unwrap());
        let named = named(&responder);
        let leaf = Leaf { revocation: named.clone(), ..authority.leaf("scanner").unwrap() };
        let issued = authority.issue_leaf(&leaf).unwrap();
        let question = RevocationQuestion {
            subject: "CN=scanner".to_owned(),
            certificate: issued.chain[0].clone(),
            issuer: issued.chain[1].clone(),
            ocsp: named.ocsp,
            crl: named.crl,
            freshest_crl: named.freshest_crl,
        };
        let config = RevocationConfig {
            hosts: hosts(&responder),
            // The machine of the tests may be slow.
            ocsp_timeout: Duration::from_secs(20),
            crl_timeout: Duration::from_secs(20),
        };
        let downloads = Downloads::new(&RegistryConfig::default(), &config.hosts).unwrap();
        let (clock, metrics) = (Arc::new(TestClock::new(NOW)), Arc::new(Metrics::new()));
        let tasks = TaskTracker::new();
        let (port, count) = (Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&metrics));
        let revocation = Revocation::new(downloads, &config, port, count, tasks.clone());
        Self { responder, authority, issued, question, clock, revocation, tasks, metrics }
    }

    /// Answers OCSP so from now on, as of the clock's time.
    fn ocsp(&self, standing: Standing) {
        let (authority, clock) = (Arc::clone(&self.authority), Arc::clone(&self.clock));
        self.responder.ocsp(move |request| {
            let answer = OcspAnswer::new(standing, clock.now());
            Reply::Bytes(authority.ocsp(request, &answer).unwrap())
        });
    }

    fn crl(&self, list: &List) -> Reply {
        Reply::Bytes(self.authority.crl(list).unwrap())
    }

    fn entry(&self) -> Entry {
        Entry::new(self.issued.serial().unwrap(), BEFORE)
    }

    fn status(&self) -> RevocationStatus {
        self.revocation.status(&self.question)
    }

    /// What is known after asking.
    async fn asked(&self) -> RevocationStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.revocation.ask(std::slice::from_ref(&self.question), deadline).await;
        self.status()
    }

    /// That it is not known, and why.
    #[track_caller]
    fn check_unknown(status: RevocationStatus, why: &str) {
        let RevocationStatus::Unknown { detail } = status else { panic!("{status:?}") };
        assert!(detail.contains(why), "{detail}");
    }

    /// Waits until nothing is asked any more.
    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

#[tokio::test]
async fn what_is_not_known_is_pending_and_then_known_without_asking_again() {
    let world = World::with_ocsp().await;
    world.ocsp(Standing::Good);
    assert_eq!(world.status(), RevocationStatus::Pending);
    assert_eq!(world.asked().await, RevocationStatus::Good);
    for _ in 0..3 {
        assert_eq!(world.status(), RevocationStatus::Good);
        // Also not by whoever found it pending before it was known.
        assert_eq!(world.asked().await, RevocationStatus::Good);
    }
    assert_eq!(world.responder.requests(), ["POST /ocsp"]);
    let text = world.metrics.encode().unwrap();
    let counted = r#"portcullis_revocation_checks_total{method="ocsp",outcome="good"} 1"#;
    assert!(text.contains(counted), "{text}");
}

#[tokio::test]
async fn many_who_ask_at_once_make_one_request() {
    let world = World::with_ocsp().await;
    world.ocsp(REVOKED);
    let statuses = join_all((0..100).map(|_| world.asked())).await;
    let is_revoked = |status: &_| matches!(status, RevocationStatus::Revoked { .. });
    assert!(statuses.iter().all(is_revoked), "{statuses:?}");
    assert_eq!(world.responder.requests().len(), 1);
}

#[tokio::test]
async fn what_is_in_use_is_asked_again_before_its_time_is_over() {
    let world = World::with_ocsp().await;
    world.ocsp(Standing::Good);
    world.asked().await;
    // An answer for a day is used for half a day, and asked again after three quarters of that.
    world.clock.advance(MAX_LIFE / 2 - Duration::from_secs(1));
    assert_eq!(world.status(), RevocationStatus::Good);
    world.settle().await;
    assert_eq!(world.responder.requests().len(), 1);
    world.clock.advance(MAX_LIFE / 4 + Duration::from_secs(1));
    world.ocsp(REVOKED);
    assert_eq!(world.status(), RevocationStatus::Good);
    world.settle().await;
    assert!(matches!(world.status(), RevocationStatus::Revoked { .. }));
    assert_eq!(world.responder.requests().len(), 2);
}

#[tokio::test]
async fn an_answer_holds_until_its_end_though_nobody_repeats_it() {
    let world = World::with_ocsp().await;
    world.ocsp(Standing::Good);
    world.asked().await;
    world.responder.ocsp(|_| Reply::Status(503));
    world.clock.advance(MAX_LIFE - Duration::from_secs(1));
    assert_eq!(world.status(), RevocationStatus::Good);
    world.settle().await;
    // Asked, in vain, and the answer still holds; the failure is backed off.
    assert_eq!(world.status(), RevocationStatus::Good);
    world.settle().await;
    assert_eq!(world.responder.requests().len(), 2);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.status(), RevocationStatus::Pending);
    World::check_unknown(world.asked().await, "status 503");
}

#[tokio::test]
async fn a_failure_is_backed_off_and_never_good() {
    let world = World::with_ocsp().await;
    world.responder.ocsp(|_| Reply::Status(500));
    World::check_unknown(world.asked().await, "answered with status 500");
    World::check_unknown(world.status(), "answered with status 500");
    assert_eq!(world.responder.requests().len(), 1);
    world.clock.advance(FIRST_BACKOFF * 2);
    assert_eq!(world.status(), RevocationStatus::Pending);
    world.asked().await;
    // The second one in a row is backed off for longer.
    world.clock.advance(FIRST_BACKOFF + Duration::from_secs(1));
    World::check_unknown(world.status(), "answered with status 500");
    world.clock.advance(FIRST_BACKOFF * 2);
    world.ocsp(Standing::Good);
    assert_eq!(world.asked().await, RevocationStatus::Good);
}

#[tokio::test]
async fn an_answer_that_is_soon_over_is_used_for_a_minute() {
    let world = World::with_ocsp().await;
    let authority = Arc::clone(&world.authority);
    world.responder.ocsp(move |request| {
        let good = OcspAnswer { next_update: Some(NOW), ..OcspAnswer::new(Standing::Good, NOW) };
        Reply::Bytes(authority.ocsp(request, &good).unwrap())
    });
    assert_eq!(world.asked().await, RevocationStatus::Good);
    world.clock.advance(MIN_LIFE);
    assert_eq!(world.status(), RevocationStatus::Pending);
    World::check_unknown(world.asked().await, "which is not now");
}

#[tokio::test]
async fn lists_are_asked_where_no_responder_is_named_or_none_knows() {
    let world = World::with_crl().await;
    world.responder.crl(world.crl(&List::new(vec![world.entry()], NOW)));
    assert!(matches!(world.asked().await, RevocationStatus::Revoked { .. }));
    assert_eq!(world.responder.requests(), ["GET /complete.crl"]);
    for down in [false, true] {
        let world = World::new(|responder| Named {
            ocsp: vec![responder.ocsp_url()],
            crl: vec![responder.crl_url()],
            ..Named::default()
        })
        .await;
        world.ocsp(Standing::Unknown);
        if down {
            world.responder.ocsp(|_| Reply::Status(503));
        }
        world.responder.crl(world.crl(&List::new(vec![], NOW)));
        assert_eq!(world.asked().await, RevocationStatus::Good);
        assert_eq!(world.responder.requests(), ["POST /ocsp", "GET /complete.crl"]);
        let world = World::new(|responder| Named {
            ocsp: vec![responder.ocsp_url()],
            crl: vec![responder.crl_url()],
            ..Named::default()
        })
        .await;
        world.ocsp(Standing::Good);
        assert_eq!(world.asked().await, RevocationStatus::Good);
        assert_eq!(world.responder.requests(), ["POST /ocsp"]);
    }
}

#[tokio::test]
async fn who_is_known_to_nobody_is_not_good() {
    let world = World::with_ocsp().await;
    world.ocsp(Standing::Unknown);
    World::check_unknown(world.asked().await, "does not know the certificate");
}

#[tokio::test]
async fn changes_to_a_list_are_asked_too_and_missed_if_they_are_not_there() {
    for by_certificate in [true, false] {
        let world = World::new(|responder| Named {
            crl: vec![responder.crl_url()],
            freshest_crl: if by_certificate { vec![responder.delta_url()] } else { vec![] },
            ..Named::default()
        })
        .await;
        let mut complete = List::new(vec![], NOW);
        if !by_certificate {
            complete.freshest = vec![world.responder.delta_url()];
        }
        world.responder.crl(world.crl(&complete));
        World::check_unknown(world.asked().await, "there is no delta CRL");
        let changes = List::new(vec![world.entry()], NOW);
        let changes = List { base: Some(5), number: 6, ..changes };
        world.responder.delta(world.crl(&changes));
        world.clock.advance(FIRST_BACKOFF * 2);
        assert!(matches!(world.asked().await, RevocationStatus::Revoked { .. }));
        let round = ["GET /complete.crl", "GET /delta.crl"];
        assert_eq!(world.responder.requests(), [round, round].concat());
    }
}

#[tokio::test]
async fn the_first_of_several_responders_that_answers_counts() {
    let world = World::new(|responder| Named {
        ocsp: vec![format!("http://{}/gone", responder.host()), responder.ocsp_url()],
        ..Named::default()
    })
    .await;
    world.ocsp(Standing::Good);
    assert_eq!(world.asked().await, RevocationStatus::Good);
    assert_eq!(world.responder.requests(), ["POST /gone", "POST /ocsp"]);
}

#[tokio::test]
async fn no_more_responders_are_asked_than_the_bound() {
    let world = World::new(|responder| Named {
        ocsp: vec![format!("http://{}/gone", responder.host()); MAX_SOURCES + 1],
        ..Named::default()
    })
    .await;
    World::check_unknown(world.asked().await, "status 404");
    assert_eq!(world.responder.requests().len(), MAX_SOURCES);
}

#[tokio::test]
async fn a_responder_that_hangs_is_not_waited_for_longer_than_is_configured() {
    let responder = Responder::start().await.unwrap();
    responder.ocsp(|_| Reply::Hang);
    let named = Named { ocsp: vec![responder.ocsp_url()], ..Named::default() };
    let mut world = World::new(|_| named.clone()).await;
    let config = RevocationConfig {
        hosts: BTreeSet::from([responder.host()]),
        ocsp_timeout: Duration::from_millis(1),
        crl_timeout: Duration::from_millis(1),
    };
    let downloads = Downloads::new(&RegistryConfig::default(), &config.hosts).unwrap();
    let (clock, metrics) = (world.clock.clone(), world.metrics.clone());
    world.revocation = Revocation::new(downloads, &config, clock, metrics, world.tasks.clone());
    World::check_unknown(world.asked().await, "no answer within 0.001 s");
}

#[tokio::test]
async fn whoever_asks_does_not_wait_longer_than_he_may() {
    let world = World::with_ocsp().await;
    world.responder.ocsp(|_| Reply::Hang);
    world.revocation.ask(std::slice::from_ref(&world.question), Instant::now()).await;
    assert_eq!(world.status(), RevocationStatus::Pending);
}

#[tokio::test]
async fn t045_an_address_inside_is_not_asked_unless_it_is_listed() {
    let ocsp = |responder: &Responder| Named {
        ocsp: vec![responder.ocsp_url(), "http://169.254.169.254/latest".to_owned()],
        ..Named::default()
    };
    let world = World::configured(ocsp, |_| BTreeSet::new()).await;
    world.ocsp(Standing::Good);
    World::check_unknown(world.asked().await, "has no public address");
    // Listed with another port, or by name.
    for host in ["127.0.0.1", "127.0.0.1:1", "localhost"] {
        let world = World::configured(ocsp, |_| BTreeSet::from([host.to_owned()])).await;
        World::check_unknown(world.asked().await, "has no public address");
        assert!(world.responder.requests().is_empty());
    }
    let name = |responder: &Responder| Named {
        ocsp: vec![responder.ocsp_url().replace("127.0.0.1", "localhost")],
        ..Named::default()
    };
    let world = World::configured(name, |_| BTreeSet::new()).await;
    World::check_unknown(world.asked().await, "has no public address");
    assert!(world.responder.requests().is_empty());
}

#[tokio::test]
async fn t045_a_redirection_is_not_followed() {
    let world = World::with_ocsp().await;
    let elsewhere = Responder::start().await.unwrap();
    let url = elsewhere.ocsp_url();
    world.responder.ocsp(move |_| Reply::Redirect(url.clone()));
    World::check_unknown(world.asked().await, "status 302");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn only_http_without_a_user_name_is_asked() {
    for url in [
        "ldap://ldap.example/cn=crl",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1/",
        "http://",
        "not a url",
    ] {
        let named = Named { ocsp: vec![url.to_owned()], ..Named::default() };
        let world = World::new(|_| named.clone()).await;
        World::check_unknown(world.asked().await, "is not a URL with `http` or `https`");
    }
}

#[tokio::test]
async fn a_body_one_past_its_bound_is_not_read() {
    let world = World::with_ocsp().await;
    world.responder.ocsp(|_| Reply::Bytes(vec![0; MAX_OCSP_RESPONSE]));
    World::check_unknown(world.asked().await, "not a basic OCSP response");
    let world = World::with_ocsp().await;
    world.responder.ocsp(|_| Reply::Bytes(vec![0; MAX_OCSP_RESPONSE + 1]));
    World::check_unknown(world.asked().await, "sends more than the 65536 bytes allowed");
}

#[tokio::test]
async fn another_issuer_of_the_same_certificate_is_another_question() {
    let world = World::with_ocsp().await;
    world.ocsp(Standing::Good);
    world.asked().await;
    let mut other = world.question.clone();
    other.issuer.push(0);
    assert_eq!(world.revocation.status(&other), RevocationStatus::Pending);
    // A byte that moves from the one to the other.
    let mut moved = world.question.clone();
    moved.issuer.insert(0, moved.certificate.pop().unwrap());
    assert_eq!(world.revocation.status(&moved), RevocationStatus::Pending);
}
