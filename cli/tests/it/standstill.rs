//! Two services, of which one stands still: its process is stopped, and its connections are there.

use std::time::Duration;

use portcullis_client::{Client, Config, Standing};
use portcullis_proto::v1;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::world::{Service, World};

const QUESTIONS: usize = 40;

async fn ask(client: &Client, image: &str) {
    let container = v1::Container { name: "main".to_owned(), image: image.to_owned() };
    let request = v1::CheckRequest { containers: vec![container], ..Default::default() };
    client.check(request).await.unwrap();
}

async fn until(holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it never holds");
}

#[test]
fn t146_a_service_that_is_stopped_costs_no_question_and_is_asked_when_it_goes_on() {
    let world = World::new();
    let services = [world.serve(), world.serve()];
    let image = world.image("clean");
    // Longer than a busy machine needs, and shorter than the probes of a connection would find it out in.
    let timeout = Duration::from_secs(8);
    let config = Config { timeout, ..Config::new(services.iter().map(Service::url)) };
    Runtime::new().unwrap().block_on(async {
        let client = Client::start(&config).unwrap();
        let replica = |at: usize| {
            let replicas = client.stats().replicas;
            let address = services[at].address().parse().unwrap();
            replicas.into_iter().find(|replica| replica.address == address)
        };
        let is_ready = |at: usize| replica(at).is_some_and(|r| r.standing == Standing::Ready);
        until(|| is_ready(0) && is_ready(1)).await;
        services[0].signal("STOP");
        for _ in 0..QUESTIONS {
            ask(&client, image).await;
        }
        assert!(client.stats().retries > 0, "nobody asked the one that is stopped");
        services[0].signal("CONT");
        let before = replica(0).unwrap().calls;
        until(|| is_ready(0)).await;
        for _ in 0..QUESTIONS {
            ask(&client, image).await;
        }
        assert!(replica(0).unwrap().calls > before, "it is not asked again");
    });
}
