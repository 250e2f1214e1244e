//! A service that is rolled while pods are admitted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_client::{Client, Config};
use portcullis_server::app::App;
use portcullis_server::config;
use tokio::time::Instant;

use crate::world::*;

/// Time that no test needs.
const LONG: Duration = Duration::from_secs(20);
/// How many pods are admitted at least.
const PODS: usize = 300;
const REPLICAS: usize = 3;

/// Three replicas are stopped one after the other, as a rolling update does it, each with another in its
/// place: whoever asks meanwhile is answered.
#[tokio::test]
async fn t118_no_admission_fails_while_the_service_is_rolled() {
    let mut site = Site::new().await;
    site.config.serving.drain = Duration::from_millis(50);
    let images: Vec<_> = (0..30).map(|n| site.scanned(&format!("app{n}"), &clean())).collect();
    let start = async |listen: SocketAddr| {
        let config = config::Config { listen, ..site.config.clone() };
        App::start(config, site.clock.clone()).await.unwrap()
    };
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(start(site.config.listen).await);
    }
    let targets = replicas.iter().map(|replica| format!("http://{}", replica.address()));
    let client = Client::start(&Config { timeout: LONG, ..Config::new(targets) }).unwrap();
    let (rolled, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let admit = async |task: usize| {
        let mut n = task;
        while !rolled.load(Ordering::SeqCst) || asked.load(Ordering::SeqCst) < PODS {
            let image = &images[n % images.len()].name;
            let answer = client.check_by(question(image), Instant::now() + LONG).await;
            let answer = answer.unwrap_or_else(|error| panic!("{image}: {error:?}"));
            assert_eq!(answer.response.action(), Action::Allow, "{:?}", answer.response);
            asked.fetch_add(1, Ordering::SeqCst);
            n += 7;
        }
    };
    let roll = async {
        let mut next_ones = Vec::new();
        for replica in replicas {
            let address = replica.address();
            replica.drain().await;
            replica.stop().await;
            let next = start(address).await;
            // The next one goes when this one answers.
            eventually("an answer of the new one", async || {
                let own = Client::start(&Config::new([format!("http://{address}")])).unwrap();
                own.check_by(question(&images[0].name), Instant::now() + LONG).await.ok().map(drop)
            })
            .await;
            next_ones.push(next);
        }
        rolled.store(true, Ordering::SeqCst);
        next_ones
    };
    let (_, next_ones) = tokio::join!(join_all((0..10).map(admit)), roll);
    assert_eq!(next_ones.len(), REPLICAS);
    assert!(asked.into_inner() >= PODS);
}
