//! TLS: who is believed, and that it is never left.

use std::sync::Arc;

use portcullis_core::evidence::CauseKind;
use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::faults::assert_untouched;
use super::harness::*;
use crate::registry::*;

struct Secure {
    authority: String,
    certificate: String,
    /// One for each request.
    requests: mpsc::Receiver<()>,
}

/// A TLS server whose certificate is for `name`, and which answers every request with `head`.
async fn serve_tls(name: &str, head: String) -> Secure {
    serve_tls_as(generate_simple_self_signed([name.to_owned()]).unwrap(), head).await
}

async fn serve_tls_as(certified: CertifiedKey<KeyPair>, head: String) -> Secure {
    let CertifiedKey { cert, signing_key } = certified;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("localhost:{}", listener.local_addr().unwrap().port());
    let (sender, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            sender.send(()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    Secure { authority, certificate: cert.pem(), requests }
}

fn good() -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {OCI_MANIFEST}\r\nConnection: close\r\n\r\n{MANIFEST}"
    )
}

async fn ask(server: &Secure, host: HostConfig) -> Result<Fetched, RegistryError> {
    let mut config = config(&[]);
    config.hosts.insert(server.authority.clone(), host);
    let image = format!("{}/a:v1", server.authority).parse().unwrap();
    Registry::new(config).unwrap().resolve(&image, soon()).await
}

fn trusting(certificate: &str) -> HostConfig {
    HostConfig { ca: vec![certificate.as_bytes().to_vec()], ..HostConfig::default() }
}

#[tokio::test]
async fn t046_a_certificate_is_believed_if_its_authority_and_name_are() {
    let server = serve_tls("localhost", good()).await;
    assert!(ask(&server, trusting(&server.certificate)).await.is_ok());

    let mut other = serve_tls("localhost", good()).await;
    let wrong_name = serve_tls("registry.example", good()).await;
    for result in [
        ask(&other, HostConfig::default()).await,
        ask(&other, trusting(&server.certificate)).await,
        ask(&wrong_name, trusting(&wrong_name.certificate)).await,
    ] {
        assert_eq!(result.unwrap_err().cause().kind, CauseKind::Unreachable);
    }
    assert!(other.requests.try_recv().is_err());
}

#[tokio::test]
async fn t046_a_certificate_that_has_expired_is_not_believed() {
    for (year, believed) in [(2030, true), (2020, false)] {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let signing_key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let server = serve_tls_as(CertifiedKey { cert, signing_key }, good()).await;
        let result = ask(&server, trusting(&server.certificate)).await;
        assert_eq!(result.is_ok(), believed, "{year}");
    }
}

#[tokio::test]
async fn t042_tls_is_not_left_by_a_redirection() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let head = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{address}/\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    let mut server = serve_tls("localhost", head).await;
    let mut config = config(&[]);
    config.hosts.insert(server.authority.clone(), trusting(&server.certificate));
    // Even to a host that is listed as plain.
    let host = HostConfig { scheme: Scheme::Http, ..HostConfig::default() };
    config.hosts.insert(address.to_string(), host);
    let image = format!("{}/a:v1", server.authority).parse().unwrap();
    let result = Registry::new(config).unwrap().resolve(&image, soon()).await;
    assert!(matches!(fault(result), Fault::Redirect("it leaves TLS")));
    server.requests.try_recv().unwrap();
    assert_untouched(&plain).await;
}

#[tokio::test]
async fn t047_a_plain_host_is_not_asked_where_tls_is_wanted() {
    let server = serve(|_| manifest()).await;
    let mut config = config(&[]);
    config.hosts.insert(server.authority.clone(), HostConfig::default());
    let result = Registry::new(config).unwrap().resolve(&server.image("a:v1"), soon()).await;
    assert_eq!(result.unwrap_err().cause().kind, CauseKind::Unreachable);
    assert_eq!(server.count().await, 0);
}
