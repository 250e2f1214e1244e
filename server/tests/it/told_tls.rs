//! What registries tell over TLS of the service's own: to whom, and with files that change beneath it.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis_server::app::{App, AppError};
use portcullis_server::tls::{Oldest, PairFiles, TlsConfig};
use portcullis_testkit::keys::Authority;
use reqwest::{Certificate, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tls::{LONG, put};
use crate::world::*;

/// A service that registries tell over TLS.
struct Telling {
    site: Site,
    app: App,
}

#[cfg(test)]
fn pair(site: &Site, authority: &Authority) -> PairFiles {
    put(site, "events", &authority.tls_valid(&["127.0.0.1"], LONG).unwrap())
}

#[cfg(test)]
fn with(mut site: Site, pair: PairFiles) -> Site {
    let tls = TlsConfig::of_events(pair, Oldest::Tls12);
    let tls = TlsConfig { interval: Duration::from_millis(10), ..tls };
    site.config.hooks.tls = Some(Box::new(tls));
    site
}

/// Somebody who trusts this authority alone.
#[cfg(test)]
fn trusting(authority: &Authority) -> Client {
    let root = Certificate::from_pem(authority.root_pem().as_bytes()).unwrap();
    Client::builder().tls_certs_only([root]).no_proxy().build().unwrap()
}

#[cfg(test)]
impl Telling {
    async fn new() -> Self {
        let site = crate::told::site().await;
        let pair = pair(&site, &site.authority);
        let site = with(site, pair);
        let app = App::start(site.config.clone(), site.clock.clone()).await.unwrap();
        Self { site, app }
    }

    fn address(&self) -> SocketAddr {
        self.app.hooks_address().unwrap()
    }

    /// What it answers to something that it need not act upon.
    async fn tell(&self, client: &Client, scheme: &str) -> reqwest::Result<u16> {
        let url = format!("{scheme}://{}/v1/events/distribution", self.address());
        let request = client.post(url).bearer_auth("s3cret").body("{\"events\": []}");
        Ok(request.send().await?.status().as_u16())
    }

    async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.app.admin_address());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    async fn until(&self, name: &str, value: f64) {
        eventually(name, async || (self.metric(name).await == value).then_some(())).await;
    }

    /// Reads until the other end has closed.
    async fn ends(mut stream: TcpStream) -> Vec<u8> {
        let mut told = Vec::new();
        // One that is reset has ended too.
        let _ = stream.read_to_end(&mut told).await;
        told
    }
}

#[tokio::test]
async fn registries_tell_over_tls_and_a_change_of_the_certificate_is_taken_over() {
    let telling = Telling::new().await;
    let client = trusting(&telling.site.authority);
    assert_eq!(telling.tell(&client, "https").await.unwrap(), 202);
    let ok = "portcullis_tls_handshakes_total{listener=\"hooks\",outcome=\"ok\"}";
    assert_eq!(telling.metric(ok).await, 1.0);
    let remaining = "portcullis_tls_certificate_remaining_seconds{listener=\"hooks\"}";
    telling.until(remaining, (LONG.1 - NOW).as_seconds_f64()).await;

    // A secret is asked for as ever.
    let url = format!("https://{}/v1/events/distribution", telling.address());
    let stranger = trusting(&telling.site.authority);
    let denied = stranger.post(&url).body("{}").send().await.unwrap();
    // Who has none keeps no connection from those who have.
    assert_eq!(denied.status(), 401);
    assert_eq!(denied.headers()["connection"], "close");

    // Half of a change changes nothing, and a whole one does.
    let other = Authority::new("another", NOW).unwrap();
    let stranger = trusting(&other);
    assert!(telling.tell(&stranger, "https").await.is_err());
    fs::write(telling.site.path("events.crt"), "no certificate").unwrap();
    let failed = "portcullis_reloads_total{what=\"certificate\",outcome=\"failed\"}";
    telling.until(failed, 1.0).await;
    assert_eq!(telling.tell(&trusting(&telling.site.authority), "https").await.unwrap(), 202);
    pair(&telling.site, &other);
    eventually("the new certificate", async || telling.tell(&stranger, "https").await.ok()).await;
    // Whoever is connected stays so, and who comes anew does not believe it.
    assert_eq!(telling.tell(&client, "https").await.unwrap(), 202);
    let anew = trusting(&telling.site.authority);
    assert!(telling.tell(&anew, "https").await.is_err());
}

#[tokio::test]
async fn who_speaks_no_tls_or_half_of_it_is_closed_and_others_are_heard() {
    let telling = Telling::new().await;
    // Each at its own pace: nothing at all, the first bytes of a ClientHello, and plain text.
    let silent = TcpStream::connect(telling.address()).await.unwrap();
    let mut half = TcpStream::connect(telling.address()).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let plain = Client::builder().no_proxy().build().unwrap();
    assert!(telling.tell(&plain, "http").await.is_err());
    let mut told = TcpStream::connect(telling.address()).await.unwrap();
    told.write_all(b"POST /v1/events/distribution HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // An alert of TLS, and not a word of HTTP.
    let told = Telling::ends(told).await;
    assert!(told.first().is_none_or(|first| *first == 0x15), "{told:?}");
    let client = trusting(&telling.site.authority);
    assert_eq!(telling.tell(&client, "https").await.unwrap(), 202);
    assert!(Telling::ends(silent).await.is_empty());
    assert!(Telling::ends(half).await.is_empty());
    let late = "portcullis_tls_handshakes_total{listener=\"hooks\",outcome=\"late\"}";
    telling.until(late, 2.0).await;
    let insecure = "portcullis_connections_ended_total{listener=\"hooks\",reason=\"insecure\"}";
    telling.until(insecure, 4.0).await;
}

/// As many as the internet may open from one address.
const MOST: usize = 64;

#[tokio::test]
async fn one_connection_past_those_of_one_sender_is_closed_at_once() {
    let telling = Telling::new().await;
    let mut open = Vec::new();
    for _ in 0..MOST {
        open.push(TcpStream::connect(telling.address()).await.unwrap());
    }
    telling.until("portcullis_connections{listener=\"hooks\"}", MOST as f64).await;
    let more = TcpStream::connect(telling.address()).await.unwrap();
    assert!(Telling::ends(more).await.is_empty());
    let refused = "portcullis_connections_refused_total{listener=\"hooks\",reason=\"peer\"}";
    assert_eq!(telling.metric(refused).await, 1.0);
    // One that goes makes room.
    drop(open.pop());
    let client = trusting(&telling.site.authority);
    eventually("room", async || telling.tell(&client, "https").await.ok()).await;
}

#[tokio::test]
async fn headers_past_their_bound_are_refused() {
    let telling = Telling::new().await;
    let client = trusting(&telling.site.authority);
    let url = format!("https://{}/v1/events/distribution", telling.address());
    let sent = |length: usize| {
        let request = client.post(&url).bearer_auth("s3cret").header("x", "y".repeat(length));
        async {
            request.body("{\"events\": []}").send().await.map(|answer| answer.status().as_u16())
        }
    };
    assert_eq!(sent(32 * 1024).await.unwrap(), 202);
    // It may close before all of it was sent.
    let refused = sent(65 * 1024).await;
    assert!(refused.as_ref().map_or(true, |status| *status == 431), "{refused:?}");
}

#[tokio::test]
async fn a_service_with_files_that_are_no_good_does_not_start() {
    let site = crate::told::site().await;
    let files = pair(&site, &site.authority);
    fs::write(&files.key, "no key").unwrap();
    let site = with(site, files);
    let error = App::start(site.config.clone(), site.clock.clone()).await.err().unwrap();
    assert!(matches!(error, AppError::EventsTls(_)), "{error}");
    assert_eq!(error.to_string(), "failed to set up `registryEvents.tls`");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("events.key"), "{source}");
}
