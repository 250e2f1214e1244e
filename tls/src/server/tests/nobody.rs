//! Who need not show who they are, and servers that are given their pair later.

use super::*;

/// What came of a handshake with a client that names no protocol and shows no certificate.
async fn nameless(server: &Server, site: &Site) -> io::Result<Option<Peer>> {
    let mut roots = RootCertStore::empty();
    roots.add(site.one.root_der().to_vec().into()).unwrap();
    let config = ClientConfig::builder_with_details(provider(), Arc::new(Time(site.now())))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = tokio_rustls::TlsConnector::from(Arc::new(config));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let asks = client.connect(name("localhost").unwrap(), near);
    let (served, _) = tokio::join!(server.accept(far), asks);
    served.map(|(_, peer)| peer)
}

#[tokio::test]
async fn who_need_not_show_a_certificate_or_name_a_protocol_is_nobody() {
    let site = Site::new();
    let load = |strangers, protocols| {
        let pair = PairFiles { certificate: site.path("server.crt"), key: site.path("server.key") };
        let authorities = site.path("one.crt");
        let clients = Some(Demand { authorities, revoked: Vec::new(), strangers });
        let files = ServerFiles { pair: Some(pair), clients, oldest: Oldest::Tls13, protocols };
        Server::load(files, site.now()).unwrap()
    };
    let names = || vec![H2.to_vec()];
    let server = load(Strangers::Nobody, Protocols::Offered(names()));
    assert_eq!(nameless(&server, &site).await.unwrap(), None);
    let server = load(Strangers::Nobody, Protocols::Demanded(names()));
    assert_eq!(fault(&nameless(&server, &site).await.unwrap_err()).0, Fault::Protocol);
    let server = load(Strangers::Refused, Protocols::Offered(names()));
    assert_eq!(fault(&nameless(&server, &site).await.unwrap_err()).0, Fault::NoCertificate);
}

#[tokio::test]
async fn who_is_given_a_pair_is_nobody_until_then_and_keeps_it_when_another_is_no_good() {
    let site = Site::new();
    let files = ServerFiles {
        pair: None,
        clients: None,
        oldest: Oldest::Tls13,
        protocols: Protocols::Offered(vec![H2.to_vec()]),
    };
    let server = Server::load(files, site.now()).unwrap();
    assert_eq!((server.until(), server.due()), (None, None));
    nameless(&server, &site).await.unwrap_err();
    let called = PairFiles { certificate: "tls.crt".into(), key: "tls.key".into() };
    let (pair, other) =
        (site.one.tls(&["localhost"]).unwrap(), site.one.tls(&["localhost"]).unwrap());
    server.take(&called, pair.chain_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap();
    nameless(&server, &site).await.unwrap();
    let until = server.until();
    let wrong = server.take(&called, other.chain_pem.as_bytes(), pair.key_pem.as_bytes());
    assert!(matches!(wrong, Err(TlsError::Pair { .. })));
    assert_eq!(server.until(), until);
    nameless(&server, &site).await.unwrap();
}
