//! Certificates that change, clients that must show one, and an end that loses nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::fake::Act;
use super::world::{Authority, Pair, Shim, Site, eventually, pod};

/// A connection of its own, which speaks HTTP/1.1.
pub(crate) async fn connect(site: &Site, shim: &Shim) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(shim.app.address()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Whether a new connection is shown this certificate.
async fn is_shown(site: &Site, shim: &Shim, pair: &Pair) -> bool {
    let stream = connect(site, shim).await.unwrap();
    let (_, tls) = stream.get_ref();
    let shown = tls.peer_certificates().unwrap().first().unwrap().clone();
    shown == CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn t151_a_certificate_is_renewed_under_load_without_a_request_lost() {
    let site = Site::new().await;
    let shim = site.start("").await;
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = Vec::new();
    for number in 0..4 {
        // Half of them on one connection, half on a new one each time.
        let pool = if number % 2 == 0 { 1 } else { 0 };
        let client = site.client().pool_max_idle_per_host(pool).build().unwrap();
        let (url, done, answered) =
            (shim.url("/validate"), Arc::clone(&done), Arc::clone(&answered));
        load.push(tokio::spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let body = pod("web", "registry.example/good:v1").to_string();
                let sent = client.post(&url).body(body).send().await.unwrap();
                assert_eq!(sent.status(), 200);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    let new = site.authority.issue("localhost");
    // The key is there before its certificate, of which there is half first.
    site.write("tls.key", &new.key);
    let (half, _) = new.certificate.split_at(300);
    site.write("tls.crt", half);
    let kept = "portcullis_shim_certificate_changes_total{result=\"kept\"}";
    eventually(async || shim.metric(kept).await > 0).await;
    assert!(!is_shown(&site, &shim, &new).await, "half a pair is not used");
    site.write("tls.crt", &new.certificate);
    eventually(async || is_shown(&site, &shim, &new).await).await;
    let before = answered.load(Ordering::SeqCst);
    eventually(async || answered.load(Ordering::SeqCst) > before + 20).await;
    done.store(true, Ordering::SeqCst);
    for client in load {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn t067_who_shows_no_certificate_is_told_so_and_who_shows_another_is_not_answered() {
    let site = Site::new().await;
    let shim = site.start_demanding().await;
    let body = pod("web", "registry.example/good:v1");
    let none = shim.client.post(shim.url("/validate")).body(body.to_string()).send().await.unwrap();
    assert_eq!(none.status(), 401);
    // The kubelet has none.
    assert_eq!(shim.client.get(shim.url("/livez")).send().await.unwrap().status(), 200);
    let other = site.client_as(&Authority::new().issue("kube-apiserver")).build().unwrap();
    assert!(other.post(shim.url("/validate")).body(body.to_string()).send().await.is_err());
    assert_eq!(site.fake.asked(), 0);
    let known = site.client_as(&site.authority.issue("kube-apiserver")).build().unwrap();
    assert!(shim.post_by(&known, "/validate", &body).await.allowed());
    assert_eq!(site.fake.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn t140_who_drains_is_not_ready_and_answers_on_and_who_stops_answers_what_is_under_way() {
    let site = Site::new().await;
    let shim = site.start("drain: 1h\n").await;
    assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
    let mut drain = Box::pin(shim.app.drain());
    assert!(futures_util::poll!(drain.as_mut()).is_pending());
    drop(drain);
    assert_eq!(shim.get("/readyz").await.0, 503);
    assert_eq!(shim.get("/livez").await.0, 200);
    // On the connection of before, and on a new one.
    let new = site.client().build().unwrap();
    for client in [&shim.client, &new] {
        let answer =
            shim.post_by(client, "/validate", &pod("web", "registry.example/bad:v1")).await;
        assert!(!answer.allowed());
    }
    site.fake.act(Act::Hang);
    let asked = site.fake.asked();
    let (client, url) = (shim.client.clone(), shim.url("/validate?timeout=2s"));
    let under_way = tokio::spawn(async move {
        let body = pod("late", "registry.example/good:v1").to_string();
        client.post(url).body(body).send().await.unwrap().status()
    });
    eventually(async || site.fake.asked() > asked).await;
    shim.app.stop().await;
    assert_eq!(under_way.await.unwrap(), 200);
    assert!(new.get("https://localhost:1/livez").send().await.is_err());
}

#[tokio::test]
async fn t153_whose_certificate_has_expired_is_not_ready_until_it_has_another_and_answers_who_asks()
{
    let site = Site::new().await;
    let shim = site.start("").await;
    let at = shim.metric("portcullis_shim_certificate_expiry_seconds ").await;
    assert!(shim.metric("portcullis_shim_certificate_begin_seconds ").await < at);
    let left = |now: std::time::SystemTime| {
        at - now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    *site.ahead.lock() = std::time::Duration::from_secs(left(super::world::now()) - 60);
    assert_eq!(shim.get("/readyz").await.0, 200);
    *site.ahead.lock() += std::time::Duration::from_secs(60);
    assert_eq!(shim.get("/readyz").await, (503, "the certificate has expired\n".to_owned()));
    // Nobody ends it for that, and who believes it all the same is answered.
    assert_eq!(shim.get("/livez").await.0, 200);
    assert!(shim.post("/validate", &pod("web", "registry.example/good:v1")).await.allowed());
    *site.ahead.lock() = std::time::Duration::ZERO;
    assert_eq!(shim.get("/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn t153_the_end_of_the_certificate_for_the_service_is_told_and_new_files_that_are_no_good() {
    let site = Site::new().await;
    let shim = site.start("").await;
    let line = |name: &str| format!("portcullis_shim_client_certificate_{name}");
    for name in ["begin_seconds ", "expiry_seconds ", "changes_total{result=\"taken\"} "] {
        assert_eq!(shim.metric(&line(name)).await, 0, "{name}");
    }
    let write = |pair: &Pair| {
        site.write("client.crt", &pair.certificate);
        site.write("client.key", &pair.key);
    };
    write(&site.authority.issue("shim"));
    let shim = site.start_in_tls().await;
    let (begins, ends) = (line("begin_seconds "), line("expiry_seconds "));
    let now = super::world::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(shim.metric(&begins).await < now && shim.metric(&ends).await > now);
    let kept = line("changes_total{result=\"kept\"} ");
    site.write("client.key", &site.authority.issue("shim").key);
    eventually(async || shim.metric(&kept).await == 1).await;
    let until = shim.metric(&ends).await;
    write(&site.authority.issue_until("shim", until + 3600));
    let taken = line("changes_total{result=\"taken\"} ");
    eventually(async || shim.metric(&taken).await == 1).await;
    assert_eq!((shim.metric(&ends).await, shim.metric(&kept).await), (until + 3600, 1));
}
