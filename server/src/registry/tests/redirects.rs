//! Where a registry may lead us, and what we take along.

use std::sync::Arc;

use reqwest::dns::Resolve;
use tokio::net::TcpListener;

use super::faults::{Everywhere, assert_untouched};
use super::harness::*;
use crate::registry::exchange::{MAX_REDIRECTS, unreachable};
use crate::registry::*;

/// A registry that wants a token, and then leads to `location`.
async fn leading_to(status: u16, location: String) -> Server {
    serve(move |seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match (seen.line.as_str(), seen.authorization()) {
            (line, _) if line.contains("/token") => {
                answer(200, "application/json", r#"{"token":"secret-token"}"#)
            }
            (_, None) => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
            ("GET /here", _) => answer(200, "application/octet-stream", "blob"),
            _ => redirect(status, &location),
        }
    })
    .await
}

async fn ask(registry: &Registry, server: &Server) -> Result<Bytes, RegistryError> {
    registry.blob(&server.image("a:v1"), &descriptor(b"blob", 4), 4, soon()).await
}

#[tokio::test]
async fn t042_t043_the_token_stays_at_its_origin() {
    let storage = serve(|_| answer(200, "application/octet-stream", "blob")).await;
    for status in [301, 302, 303, 307, 308] {
        // The same host, another port.
        let server = leading_to(status, format!("http://{}/x?sig=1", storage.authority)).await;
        ask(&client(&[&server, &storage]), &server).await.unwrap();
    }
    for seen in storage.log().await {
        assert_eq!(seen.line, "GET /x?sig=1");
        assert_eq!(seen.authorization(), None);
        assert!(seen.headers.get("cookie").is_none());
    }
    // The same origin.
    let server = leading_to(307, "/here".to_owned()).await;
    ask(&client(&[&server]), &server).await.unwrap();
    let log = server.log().await;
    assert_eq!(log.last().unwrap().authorization(), Some("Bearer secret-token"));
}

#[tokio::test]
async fn t042_the_token_is_not_taken_up_again_on_the_way_back() {
    // Elsewhere leads back to a path that elsewhere has chosen.
    let elsewhere = serve(|seen| {
        let back = seen.line.split_once("?back=").unwrap().1;
        redirect(302, &format!("http://{back}/v2/other/secrets"))
    })
    .await;
    let authority = elsewhere.authority.clone();
    let server = serve(move |seen| {
        let host = seen.headers["host"].to_str().unwrap();
        match (seen.line.as_str(), seen.authorization()) {
            (line, _) if line.contains("/token") => {
                answer(200, "application/json", r#"{"token":"secret-token"}"#)
            }
            ("GET /v2/other/secrets", _) => answer(200, "application/octet-stream", "blob"),
            (_, None) => challenge(401, &format!(r#"Bearer realm="http://{host}/token""#)),
            _ => redirect(302, &format!("http://{authority}/?back={host}")),
        }
    })
    .await;
    ask(&client(&[&server, &elsewhere]), &server).await.unwrap();
    assert_eq!(server.log().await.last().unwrap().authorization(), None);
}

#[tokio::test]
async fn what_is_asked_elsewhere_may_not_challenge() {
    let storage = serve(|_| challenge(401, r#"Basic realm="give it to me""#)).await;
    let location = format!("http://{}/", storage.authority);
    let server = serve(move |_| redirect(307, &location)).await;
    let mut config = config(&[&server, &storage]);
    for host in config.hosts.values_mut() {
        let password = Secret::new("password".to_owned());
        host.credentials = Credentials::Basic { username: "robot".to_owned(), password };
    }
    let error = ask(&Registry::new(config).unwrap(), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }));
    for server in [&server, &storage] {
        let log = server.log().await;
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].authorization(), None);
    }
}

#[tokio::test]
async fn what_one_registry_is_told_by_a_storage_does_not_stop_another() {
    let storage = serve(|seen| match seen.line.contains("/evil") {
        true => error(429, "TOOMANYREQUESTS"),
        false => answer(200, "application/octet-stream", "blob"),
    })
    .await;
    let leading = async |path: &str| {
        let location = format!("http://{}/{path}", storage.authority);
        serve(move |_| redirect(307, &location)).await
    };
    let (evil, good) = (leading("evil").await, leading("good").await);
    let registry = client(&[&evil, &good, &storage]);
    for _ in 0..2 {
        let error = ask(&registry, &evil).await.unwrap_err();
        assert!(matches!(error, RegistryError::Throttled { .. }));
    }
    ask(&registry, &good).await.unwrap();
    // The second time it was not asked.
    assert_eq!(storage.lines().await, ["GET /evil", "GET /good"]);
}

#[tokio::test]
async fn t043_redirections_are_refused_one_past_their_bound() {
    for past in [0, 1] {
        let server = serve(move |seen| {
            if seen.nth == MAX_REDIRECTS + past {
                return answer(200, "application/octet-stream", "blob");
            }
            redirect(307, &format!("/{}", seen.nth))
        })
        .await;
        let result = ask(&client(&[&server]), &server).await;
        match past {
            0 => assert_eq!(result.unwrap(), "blob"),
            _ => assert!(matches!(fault(result), Fault::Redirect("there are too many"))),
        }
        assert_eq!(server.count().await, MAX_REDIRECTS + 1);
    }
}

#[tokio::test]
async fn t045_a_redirection_does_not_lead_inside() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    for (location, why) in [
        (format!("http://127.0.0.1:{port}/"), "not TLS"),
        (format!("https://127.0.0.1:{port}/"), "not public"),
        (format!("https://0x7f.1:{port}/"), "not public"),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), "not public"),
        ("https://169.254.169.254/latest/meta-data".to_owned(), "not public"),
        ("http://public.example/".to_owned(), "not TLS"),
        ("file:///etc/passwd".to_owned(), "not TLS"),
        ("https://robot:password@public.example/".to_owned(), "user name"),
        ("http://[".to_owned(), "not a URL"),
    ] {
        let server = leading_to(307, location.clone()).await;
        let fault = fault(ask(&client(&[&server]), &server).await);
        assert!(matches!(fault, Fault::Redirect(text) if text.contains(why)), "{location}");
    }
    let server = leading_to(307, format!("https://localhost:{port}/")).await;
    let error = ask(&client(&[&server]), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotPublic(_)));
    let server = serve(|_| answer(302, "text/html", "")).await;
    assert!(matches!(fault(ask(&client(&[&server]), &server).await), Fault::Redirect(_)));
    assert_untouched(&inside).await;
}

#[tokio::test]
async fn t045_a_listed_registry_inside_is_led_to_by_listed_ones_only() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let port = closed.port();
    let hosts = [format!("inside.example:{port}"), "other.example".to_owned()]
        .map(|name| (name, HostConfig::default()))
        .into();
    let config = RegistryConfig { hosts, ..RegistryConfig::default() };
    let resolver: Arc<dyn Resolve> = Arc::new(Everywhere(closed));
    let registry = Registry::with_resolver(config, &resolver).unwrap();
    let hosts = &registry.exchange.hosts;
    for (name, to, led) in [
        ("other.example", format!("https://inside.example:{port}/"), true),
        ("other.example", "https://inside.example/".to_owned(), false),
        ("evil.example", format!("https://inside.example:{port}/"), false),
    ] {
        let host = hosts.find(name).unwrap();
        let client = hosts.client_for(&host, &host.base, &to.parse().unwrap()).unwrap();
        let error = unreachable(&host, client.get(&to).send().await.unwrap_err());
        assert_eq!(matches!(error, RegistryError::NotPublic(_)), !led, "{name} to {to}");
    }
}
