//! Handshakes in which something of ours panics.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::future::{Pending, pending};
use std::num::NonZeroUsize;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use portcullis_core::ports::Clock;
use portcullis_testkit::keys::Authority;
use portcullis_tls::{Client, ClientFiles, H2, HTTP_1_1, Protocols, name};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::hooks::endpoint::Endpoint;
use crate::hooks::queue::Queue;
use crate::hooks::scope::Listed;
use crate::listen::http2::Received;
use crate::listen::workers::Workers;
use crate::listen::{ListenConfig, Listening, Telling, grpc, told};
use crate::tls::{Demand, Oldest, PairFiles, Served, Strangers, TlsConfig};

const NOW: OffsetDateTime = datetime!(2026-08-01 12:00 UTC);

/// A clock that nobody can read: whether a client's certificate is valid yet is not found out.
struct Broken;

impl Clock for Broken {
    fn now(&self) -> OffsetDateTime {
        panic!("a fault that was put here")
    }
}

/// Shakes hands with what `serve` serves, and waits until that is counted as a panic, and as an end.
async fn shake(served: Served, serve: impl AsyncFnOnce(TcpListener, Arc<Tls>, Arc<Metrics>)) {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::write(&path, text).unwrap();
        path
    };
    let authority = Authority::new("one", NOW).unwrap();
    let authorities = write("ca.crt", &authority.root_pem());
    let own = authority.tls(&["localhost"]).unwrap();
    let certificate = write("own.crt", &own.chain_pem);
    let pair = PairFiles { certificate, key: write("own.key", &own.key_pem) };
    let (revoked, strangers) = (Vec::new(), Strangers::Refused);
    let clients = Some(Demand { authorities: authorities.clone(), revoked, strangers });
    let config = TlsConfig { served, clients, ..TlsConfig::new(pair.clone()) };
    let tls = Arc::new(Tls::load(config, Arc::new(Broken)).unwrap());
    let protocols = Protocols::Offered(vec![H2.to_vec(), HTTP_1_1.to_vec()]);
    let files = ClientFiles { authorities, pair: Some(pair), oldest: Oldest::Tls13, protocols };
    let client = Client::load(files, Arc::new(|| NOW)).unwrap();

    let metrics = Arc::new(Metrics::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = format!(
        "portcullis_connections_ended_total{{listener=\"{}\",reason=\"broken\"}} 1",
        served.listener()
    );
    let expected = ["portcullis_panics_total{what=\"connection\"} 1", &ended];
    let shaken = async {
        let stream = TcpStream::connect(address).await.unwrap();
        if let Ok(mut stream) = client.connect(name("localhost").unwrap(), stream).await {
            // It has ended, whichever way.
            assert!(!matches!(stream.read(&mut [0]).await, Ok(1)));
        }
        for _ in 0..500 {
            let text = metrics.encode().unwrap();
            if expected.iter().all(|line| text.contains(line)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{}", metrics.encode().unwrap());
    };
    tokio::select! {
        () = serve(listener, tls, Arc::clone(&metrics)) => panic!("it ended"),
        () = shaken => {}
    }
}

#[tokio::test]
async fn t141_a_handshake_of_grpc_that_panics_ends_alone_and_is_counted() {
    type Never = Pending<Result<Response<Empty<Bytes>>, Infallible>>;
    let workers = Workers::start(NonZeroUsize::MIN).unwrap();
    let dealer = workers.dealer();
    shake(Served::Grpc, async |listener, tls, metrics| {
        let listening = Listening { listener, config: ListenConfig::default(), tls: Some(tls) };
        let make =
            |_: Who| hyper::service::service_fn(|_: Request<Received>| -> Never { pending() });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        grpc(listening, make, dealer, metrics, stop, tasks).await;
    })
    .await;
    assert!(tokio::task::spawn_blocking(|| workers.end()).await.unwrap());
}

#[tokio::test]
async fn t141_a_handshake_of_a_registry_that_panics_ends_alone_and_is_counted() {
    shake(Served::Events, async |listener, tls, metrics| {
        let listed = Listed::default();
        let queue = Queue::default();
        let endpoint = Endpoint::new(BTreeMap::new(), listed, queue, Arc::clone(&metrics));
        let telling = Telling { listener, tls: Some(tls), endpoint: Arc::new(endpoint) };
        told(telling, metrics, CancellationToken::new(), TaskTracker::new()).await;
    })
    .await;
}
