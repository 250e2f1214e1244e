//! Handshakes in memory, between who serves and who asks, with the clock of the test.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use portcullis_testkit::keys::{Authority, Issued};
use time::Duration;
use time::macros::datetime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::*;
use crate::demand::{MAX_AUTHORITIES, MAX_LISTS};
use crate::{Client, ClientFiles, Fault, Finder, H2, PeerError, Strangers, name};

mod nobody;

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

/// What the server and the client say of a handshake.
type Shaken = (Result<Option<Peer>, Fault>, Result<(), (Fault, Finder)>);

/// Two authorities, a folder, and a clock for both sides.
struct Site {
    folder: tempfile::TempDir,
    one: Authority,
    other: Authority,
    clock: Arc<AtomicI64>,
}

impl Site {
    fn new() -> Self {
        let authority = |name| Authority::new(name, NOW).unwrap();
        let clock = Arc::new(AtomicI64::new(NOW.unix_timestamp()));
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            one: authority("one"),
            other: authority("other"),
            clock,
        };
        site.write("one.crt", site.one.root_pem());
        site.write("other.crt", site.other.root_pem());
        site.pair("server", &site.one.tls(&["localhost"]).unwrap());
        site
    }

    fn now(&self) -> Now {
        let clock = Arc::clone(&self.clock);
        let now =
            move || OffsetDateTime::from_unix_timestamp(clock.load(Ordering::SeqCst)).unwrap();
        Arc::new(now)
    }

    fn set(&self, now: OffsetDateTime) {
        self.clock.store(now.unix_timestamp(), Ordering::SeqCst);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn pair(&self, name: &str, pair: &Issued) -> PairFiles {
        self.write(&format!("{name}.crt"), &pair.chain_pem);
        self.write(&format!("{name}.key"), &pair.key_pem);
        PairFiles {
            certificate: self.path(&format!("{name}.crt")),
            key: self.path(&format!("{name}.key")),
        }
    }

    /// A server that demands certificates of the authorities in the file.
    fn server(&self, authorities: &str, revoked: &[&str]) -> Server {
        let files = ServerFiles {
            pair: Some(PairFiles {
                certificate: self.path("server.crt"),
                key: self.path("server.key"),
            }),
            clients: Some(Demand {
                authorities: self.path(authorities),
                revoked: revoked.iter().map(|list| self.path(list)).collect(),
                strangers: Strangers::Refused,
            }),
            oldest: Oldest::Tls13,
            protocols: Protocols::Demanded(vec![H2.to_vec()]),
        };
        Server::load(files, self.now()).unwrap()
    }

    /// A client that trusts the first authority and has the pair.
    fn client(&self, pair: Option<&Issued>) -> Client {
        let pair = pair.map(|pair| self.pair("client", pair));
        let files = ClientFiles {
            authorities: self.path("one.crt"),
            pair,
            oldest: Oldest::Tls13,
            protocols: Protocols::Demanded(vec![H2.to_vec()]),
        };
        Client::load(files, self.now()).unwrap()
    }
}

fn fault(error: &io::Error) -> (Fault, Finder) {
    Fault::of(error).unwrap_or((Fault::Broken, Finder::Us))
}

async fn shake(server: &Server, client: &Client) -> Shaken {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serve = async {
        match server.accept(far).await {
            Ok((mut stream, peer)) => {
                stream.write_all(b"x").await.unwrap();
                stream.flush().await.unwrap();
                Ok(peer)
            }
            Err(error) => Err(fault(&error).0),
        }
    };
    let ask = async {
        let mut stream = client.connect(name("localhost").unwrap(), near).await?;
        stream.read_exact(&mut [0]).await.map(drop)
    };
    let (served, asked) = tokio::join!(serve, ask);
    (served, asked.map_err(|error| fault(&error)))
}

#[track_caller]
fn refused(shaken: Shaken, fault: Fault) {
    let (served, asked) = shaken;
    assert_eq!(served.unwrap_err(), fault);
    assert_eq!(asked.unwrap_err(), (fault, Finder::Other));
}

#[tokio::test]
async fn a_client_with_a_good_certificate_is_known() {
    let site = Site::new();
    let server = site.server("one.crt", &[]);
    let pair = site.one.tls(&["spiffe://a/b", "Some.Example", "127.0.0.1"]).unwrap();
    let (served, asked) = shake(&server, &site.client(Some(&pair))).await;
    let peer = served.unwrap().unwrap();
    assert_eq!(
        (peer.spiffe, peer.dns),
        (vec!["spiffe://a/b".to_owned()], vec!["some.example".to_owned()])
    );
    assert_eq!(peer.until, NOW + Duration::days(365));
    asked.unwrap();
}

#[tokio::test]
async fn others_are_refused_and_hear_why() {
    let site = Site::new();
    let day = Duration::days(1);
    let server = site.server("one.crt", &[]);
    let tls = |valid| site.one.tls_valid(&["a"], valid).unwrap();
    refused(shake(&server, &site.client(None)).await, Fault::NoCertificate);
    let foreign = site.other.tls(&["a"]).unwrap();
    refused(shake(&server, &site.client(Some(&foreign))).await, Fault::Untrusted);
    let past = tls((NOW - day * 2, NOW - day));
    refused(shake(&server, &site.client(Some(&past))).await, Fault::Expired);
    let future = tls((NOW + day, NOW + day * 2));
    refused(shake(&server, &site.client(Some(&future))).await, Fault::Expired);
    // A certificate for signing is none for TLS.
    let signer = site.one.issue("scanner").unwrap();
    let (served, asked) = shake(&server, &site.client(Some(&signer))).await;
    assert_eq!(served, Err(Fault::Certificate));
    assert!(asked.is_err());
}

#[tokio::test]
async fn a_certificate_that_was_revoked_is_refused_as_soon_as_the_list_says_so() {
    let site = Site::new();
    let (good, bad) = (site.one.tls(&["a"]).unwrap(), site.one.tls(&["a"]).unwrap());
    site.write("list", site.one.revoked(&[]).unwrap());
    let server = site.server("one.crt", &["list"]);
    shake(&server, &site.client(Some(&bad))).await.0.unwrap();
    site.write("list", site.one.revoked(&[&bad]).unwrap());
    assert!(server.look().is_empty());
    let [looked] = server.look().try_into().unwrap();
    assert_eq!((looked.what, looked.outcome.is_ok()), ("authorities", true));
    refused(shake(&server, &site.client(Some(&bad))).await, Fault::Revoked);
    shake(&server, &site.client(Some(&good))).await.0.unwrap();
    // Of whom no list says anything, it is not known.
    site.write("both.crt", site.one.root_pem() + &site.other.root_pem());
    let server = site.server("both.crt", &["list"]);
    let foreign = site.other.tls(&["a"]).unwrap();
    let shaken = shake(&server, &site.client(Some(&foreign))).await;
    assert_eq!(shaken.0, Err(Fault::Unchecked));
}

#[tokio::test]
async fn t152_both_authorities_are_good_in_the_overlap_and_the_old_one_not_after() {
    let site = Site::new();
    let (old, new) = (site.one.tls(&["a"]).unwrap(), site.other.tls(&["a"]).unwrap());
    site.write("ca.crt", site.one.root_pem());
    let server = site.server("ca.crt", &[]);
    // Clients read their files when they begin.
    let asks_old = site.client(Some(&old));
    shake(&server, &asks_old).await.0.unwrap();
    let asks_new = site.client(Some(&new));
    refused(shake(&server, &asks_new).await, Fault::Untrusted);
    let change = |pem: String| {
        site.write("ca.crt", pem);
        assert!(server.look().is_empty());
        let [looked] = server.look().try_into().unwrap();
        looked.outcome
    };
    change(site.one.root_pem() + &site.other.root_pem()).unwrap();
    shake(&server, &asks_old).await.0.unwrap();
    shake(&server, &asks_new).await.0.unwrap();
    change(site.other.root_pem()).unwrap();
    // Though the same client was let in before: no session outlives its certificate.
    refused(shake(&server, &asks_old).await, Fault::Untrusted);
    shake(&server, &asks_new).await.0.unwrap();
    // What is no good keeps what is.
    change(String::new()).unwrap_err();
    shake(&server, &asks_new).await.0.unwrap();
}

#[tokio::test]
async fn t153_an_expired_certificate_of_the_server_costs_handshakes_until_a_new_one_comes() {
    let site = Site::new();
    let until = NOW + Duration::days(90);
    site.pair("server", &site.one.tls_valid(&["localhost"], (NOW, until)).unwrap());
    let server = site.server("one.crt", &[]);
    let client = site.client(Some(&site.one.tls(&["a"]).unwrap()));
    let mut said = Vec::new();
    for days in 0..=91 {
        site.set(NOW + Duration::days(days));
        said.extend(server.due().map(|due| (90 - days, due)));
    }
    let within = Due::Within;
    assert_eq!(said, [(30, within(30)), (7, within(7)), (1, within(1)), (0, Due::Over)]);
    assert_eq!(server.until(), Some(until));
    let (served, asked) = shake(&server, &client).await;
    assert!(served.is_err());
    assert_eq!(asked, Err((Fault::Expired, Finder::Us)));
    // A new one is taken without a restart.
    site.pair("server", &site.one.tls(&["localhost"]).unwrap());
    assert!(server.look().is_empty());
    server.look().remove(0).outcome.unwrap();
    assert!(shake(&server, &client).await.1.is_ok());
    assert_eq!(server.due(), None);
}

#[tokio::test]
async fn a_client_takes_over_its_files_too() {
    let site = Site::new();
    let server = site.server("other.crt", &[]);
    let client = site.client(Some(&site.one.tls(&["a"]).unwrap()));
    refused(shake(&server, &client).await, Fault::Untrusted);
    site.pair("client", &site.other.tls(&["a"]).unwrap());
    assert!(client.look().is_empty());
    client.look().remove(0).outcome.unwrap();
    shake(&server, &client).await.0.unwrap();
    // And those by which it knows the server.
    site.pair("server", &site.other.tls(&["localhost"]).unwrap());
    let server = site.server("other.crt", &[]);
    let unknown = Err((Fault::Untrusted, Finder::Us));
    assert_eq!(shake(&server, &client).await.1, unknown);
    site.write("one.crt", site.other.root_pem());
    assert!(client.look().is_empty());
    client.look().remove(0).outcome.unwrap();
    shake(&server, &client).await.1.unwrap();
}

/// A client of rustls itself, which does not keep to what ours does.
fn stranger(site: &Site, protocols: &[&[u8]], old: bool) -> tokio_rustls::TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(site.one.root_der().to_vec().into()).unwrap();
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Time(site.now())));
    let builder = if old {
        builder.with_protocol_versions(&[&TLS12])
    } else {
        builder.with_safe_default_protocol_versions()
    };
    let pair = PairFiles { certificate: site.path("client.crt"), key: site.path("client.key") };
    let pair = Part::load(pair).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&pair.value().key)));
    let mut config =
        builder.unwrap().with_root_certificates(roots).with_client_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config).into()
}

/// What the server says, and whether the session is one from before.
async fn connect(server: &Server, client: &tokio_rustls::TlsConnector) -> Result<bool, Fault> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serve = async {
        let (mut stream, _) = server.accept(far).await?;
        stream.write_all(b"x").await?;
        stream.shutdown().await?;
        let kind = stream.get_ref().1.handshake_kind();
        Ok::<_, io::Error>(kind == Some(rustls::HandshakeKind::Resumed))
    };
    let ask = async {
        let mut stream = client.connect(name("localhost").unwrap(), near).await?;
        // All that the server sends, also what would make a session.
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    };
    let (served, _) = tokio::join!(serve, ask);
    served.map_err(|error| fault(&error).0)
}

#[tokio::test]
async fn old_versions_and_other_protocols_are_refused() {
    let site = Site::new();
    let pair = site.one.tls(&["a"]).unwrap();
    site.pair("client", &pair);
    let server = site.server("one.crt", &[]);
    assert_eq!(connect(&server, &stranger(&site, &[H2], false)).await, Ok(false));
    assert_eq!(connect(&server, &stranger(&site, &[H2], true)).await, Err(Fault::Version));
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        let strange = stranger(&site, protocols, false);
        assert_eq!(connect(&server, &strange).await, Err(Fault::Protocol), "{protocols:?}");
    }
    let files = ServerFiles {
        pair: Some(PairFiles {
            certificate: site.path("server.crt"),
            key: site.path("server.key"),
        }),
        clients: None,
        oldest: Oldest::Tls12,
        protocols: Protocols::Demanded(vec![H2.to_vec()]),
    };
    let server = Server::load(files, site.now()).unwrap();
    assert_eq!(connect(&server, &stranger(&site, &[H2], true)).await, Ok(false));
}

#[tokio::test]
async fn no_session_is_gone_on_with() {
    let site = Site::new();
    site.pair("client", &site.one.tls(&["a"]).unwrap());
    let mut server = site.server("one.crt", &[]);
    server.oldest = Oldest::Tls12;
    let config = config(&server.parts.lock(), Oldest::Tls12, &server.protocols, &site.now());
    server.config.store(Arc::new(config.unwrap()));
    for old in [false, true] {
        let client = stranger(&site, &[H2], old);
        for _ in 0..3 {
            assert_eq!(connect(&server, &client).await, Ok(false), "{old}");
        }
    }
}

#[test]
fn authorities_lists_and_names_are_refused_one_past_their_bounds() {
    let site = Site::new();
    let load = |demand: &Demand| demand.read().and_then(|files| demand.parse(&files).map(drop));
    let roots = |count| {
        site.write("many.crt", site.one.root_pem().repeat(count));
        load(&Demand {
            authorities: site.path("many.crt"),
            revoked: Vec::new(),
            strangers: Strangers::Refused,
        })
    };
    roots(MAX_AUTHORITIES).unwrap();
    assert!(matches!(roots(MAX_AUTHORITIES + 1), Err(TlsError::ManyAuthorities { .. })));
    site.write("list", site.one.revoked(&[]).unwrap());
    let lists = |count| {
        let revoked = vec![site.path("list"); count];
        load(&Demand { authorities: site.path("one.crt"), revoked, strangers: Strangers::Refused })
    };
    lists(MAX_LISTS).unwrap();
    assert!(
        matches!(lists(MAX_LISTS + 1), Err(TlsError::ManyLists(count)) if count == MAX_LISTS + 1)
    );
    // A second list in one file would be passed over; and what is longer is not read.
    site.write("list", site.one.revoked(&[]).unwrap().repeat(2));
    assert!(matches!(lists(1), Err(TlsError::OneList { count: 2, .. })));
    // Signed once: a signature's length in DER differs from one signing to the next.
    let list = site.one.revoked(&[]).unwrap();
    let long = |length| list.clone() + &"#".repeat(length);
    let rest = crate::MAX_LIST - long(0).len();
    site.write("list", long(rest));
    lists(1).unwrap();
    site.write("list", long(rest + 1));
    assert!(matches!(lists(1), Err(TlsError::TooLarge { max: crate::MAX_LIST, .. })));
    let names = |count| {
        let names: Vec<_> = (0..count).map(|n| format!("n{n}.example")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        Peer::of(&site.one.tls(&names).unwrap().chain[0])
    };
    assert_eq!(names(crate::MAX_NAMES).unwrap().dns.len(), crate::MAX_NAMES);
    assert!(matches!(names(crate::MAX_NAMES + 1), Err(PeerError::ManyNames(_))));
    assert!(matches!(Peer::of(b"x"), Err(PeerError::Malformed)));
}
