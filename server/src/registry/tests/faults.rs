//! Hosts that fail, throttle, or may not be asked at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::evidence::CauseKind;
use portcullis_core::image::{Digest, Reference};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::harness::*;
use crate::registry::exchange::MAX_TRIES;
use crate::registry::*;

#[tokio::test]
async fn a_failure_is_tried_again_once() {
    for status in [500, 502, 503, 504] {
        let server = serve(move |seen| match seen.nth {
            0 => error(status, "UNKNOWN"),
            _ => manifest(),
        })
        .await;
        client(&[&server]).resolve(&server.image("a:v1"), soon()).await.unwrap();

        let server = serve(move |_| error(status, "UNKNOWN")).await;
        let result = client(&[&server]).resolve(&server.image("a:v1"), soon()).await.unwrap_err();
        assert!(matches!(result, RegistryError::Failed { status: s, .. } if s == status));
        assert_eq!(result.cause().kind, CauseKind::Unreachable);
        assert_eq!(server.count().await, MAX_TRIES);
    }
}

#[tokio::test]
async fn t113_three_failures_of_ten_cost_no_question_its_answer_and_one_request_each() {
    const QUESTIONS: usize = 100;
    let server = serve(|seen| match seen.nth % 10 {
        2 => error(500, "UNKNOWN"),
        5 => error(502, "UNKNOWN"),
        8 => error(503, "UNKNOWN"),
        _ => manifest(),
    })
    .await;
    let registry = client(&[&server]);
    for n in 0..QUESTIONS {
        registry.resolve(&server.image(&format!("a:v{n}")), soon()).await.unwrap();
    }
    // Of 140 requests 98 are answered, and two more make a hundred: each that failed was made again once.
    assert_eq!(server.count().await, 142);
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut config = config(&[]);
    let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
    config.hosts.insert(authority.clone(), host);
    let image: Reference = format!("{authority}/a:v1").parse().unwrap();
    let error = Registry::new(config).unwrap().resolve(&image, soon()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }));
}

#[tokio::test]
async fn t110_a_host_that_throttles_is_not_asked_again() {
    for (status, retry_after) in [(429, Some("30")), (503, Some("30")), (429, None)] {
        let server = serve(move |_| {
            let response = error(status, "TOOMANYREQUESTS");
            match retry_after {
                Some(value) => with_header(response, "retry-after", value),
                None => response,
            }
        })
        .await;
        let other = serve(|_| manifest()).await;
        let registry = client(&[&server, &other]);
        let (image, digest) = (server.image("a:v1"), Digest::of(b"x"));
        let first = registry.resolve(&image, soon()).await.unwrap_err();
        assert!(matches!(
            first,
            RegistryError::Throttled { retry_after, .. } if retry_after.as_secs() >= 10
        ));
        for error in [
            registry.resolve(&image, soon()).await.unwrap_err(),
            registry.resolve(&server.image("b:v1"), soon()).await.unwrap_err(),
            registry.clone().referrers(&image, digest, soon()).await.unwrap_err(),
            registry.blob(&image, &descriptor(b"x", 1), 1, soon()).await.unwrap_err(),
        ] {
            assert_eq!(error.cause().kind, CauseKind::Throttled);
        }
        assert_eq!(server.count().await, 1);
        registry.resolve(&other.image("a:v1"), soon()).await.unwrap();
    }
}

struct Told(mpsc::Sender<(String, Route, Outcome)>);

impl Observe for Told {
    fn on_request(&self, registry: &str, route: Route, outcome: Outcome, _: Option<Duration>) {
        self.0.try_send((registry.to_owned(), route, outcome)).unwrap();
    }

    fn on_wait(&self, _: &str, _: Duration) {}

    fn on_content(&self, _: bool, _: u64) {}
}

#[tokio::test]
async fn every_request_is_told() {
    let server = serve(|seen| match seen.nth {
        0 => error(500, "UNKNOWN"),
        1 => manifest(),
        _ => error(429, "TOOMANYREQUESTS"),
    })
    .await;
    let (sender, mut told) = mpsc::channel(10);
    let config = RegistryConfig { observer: Arc::new(Told(sender)), ..config(&[&server]) };
    let registry = Registry::new(config).unwrap();
    let image = server.image("a:v1");
    let _ = registry.resolve(&image, soon()).await;
    let _ = registry.referrers(&image, Digest::of(b"x"), soon()).await;
    let _ = registry.blob(&image, &descriptor(b"x", 1), 1, soon()).await;
    let mut expect = |route, outcome| {
        assert_eq!(told.try_recv().unwrap(), (server.authority.clone(), route, outcome));
    };
    expect(Route::Manifest, Outcome::Answered(500));
    expect(Route::Manifest, Outcome::Answered(200));
    expect(Route::Referrers, Outcome::Answered(429));
    expect(Route::Blob, Outcome::Withheld);
}

/// Finds every name at one address.
pub(super) struct Everywhere(pub(super) SocketAddr);

impl Resolve for Everywhere {
    fn resolve(&self, _: Name) -> Resolving {
        let address = self.0;
        Box::pin(async move { Ok(Box::new([address].into_iter()) as Addrs) })
    }
}

#[tokio::test]
async fn t045b_an_unlisted_host_is_asked_on_public_addresses_only() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inside.local_addr().unwrap();
    let port = address.port();
    let resolver: Arc<dyn Resolve> = Arc::new(Everywhere(address));
    let registry = Registry::with_resolver(config(&[]), &resolver).unwrap();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("0x7f.1:{port}"),
        format!("2130706433:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("rebinding.example:{port}"),
        "10.0.0.5:5000".to_owned(),
        "169.254.169.254".to_owned(),
        "kubernetes.default.svc".to_owned(),
    ] {
        let image: Reference = format!("{host}/team/app:v1").parse().unwrap();
        let error = registry.resolve(&image, soon()).await.unwrap_err();
        assert!(matches!(error, RegistryError::NotPublic(_)), "{host}: {error:?}");
        // An attacker must not be able to make an unavailable registry an unsupported one.
        assert!(!error.is_not_configured());
    }
    assert_untouched(&inside).await;
}

#[tokio::test]
async fn t045b_a_listed_host_is_asked_at_its_listed_port_only() {
    let server = serve(|_| manifest()).await;
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = client(&[&server]);
    registry.resolve(&server.image("a:v1"), soon()).await.unwrap();
    let image: Reference = format!("{}/a:v1", inside.local_addr().unwrap()).parse().unwrap();
    let error = registry.resolve(&image, soon()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotPublic(_)));
    assert_untouched(&inside).await;
}

#[tokio::test]
async fn an_unlisted_host_is_not_configured_where_only_listed_ones_are_asked() {
    let server = serve(|_| manifest()).await;
    let config = RegistryConfig { unlisted: Unlisted::Refused, ..config(&[&server]) };
    let registry = Registry::new(config).unwrap();
    registry.resolve(&server.image("a:v1"), soon()).await.unwrap();
    let image: Reference = "registry.example/a:v1".parse().unwrap();
    let error = registry.resolve(&image, soon()).await.unwrap_err();
    assert!(error.is_not_configured());
    let error = registry.referrers(&image, Digest::of(b"x"), soon()).await.unwrap_err();
    assert!(error.is_not_configured());
}

/// Nobody has connected to `listener`.
pub(super) async fn assert_untouched(listener: &TcpListener) {
    let accepting = listener.accept();
    tokio::pin!(accepting);
    assert!(futures_util::poll!(accepting).is_pending(), "somebody has connected");
}
