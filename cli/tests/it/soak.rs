//! A service that has been busy for a while: it has no more than before.

use std::thread::sleep;
use std::time::Duration;

use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_testkit::image::image;
use tokio::runtime::Runtime;

use super::operations::get;
use super::world::{Service, World};

/// Connections of one round, each with questions about images that nobody has asked about.
const CONNECTIONS: usize = 40;
const QUESTIONS: usize = 5;
/// Rounds until everything that is kept is there, and rounds after which it is looked at again.
const BEFORE: usize = 3;
const AFTER: usize = 12;

/// How many connections to the registry may rest, and threads that wait for files.
const RESTING: usize = 64;

/// What a service has that must not grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Has {
    handles: usize,
    threads: usize,
    searches: u64,
    connections: u64,
}

impl Has {
    fn of(service: &Service) -> Self {
        let metrics = get(service.admin(), "/metrics");
        let value = |name: &str| -> u64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        Self {
            handles: service.handles(),
            threads: service.threads().len(),
            searches: value("portcullis_flights "),
            connections: value("portcullis_connections{listener=\"grpc\"} "),
        }
    }

    /// What it has when nothing goes on any more: no more than `bound`, if it ever comes to that.
    fn at_rest(service: &Service, bound: Option<Self>) -> Self {
        let mut now = Self::of(service);
        for _ in 0..1_000 {
            let is_at_rest = now.searches == 0 && now.connections == 0;
            if is_at_rest && bound.is_none_or(|bound| now.within(bound)) {
                break;
            }
            sleep(Duration::from_millis(10));
            now = Self::of(service);
        }
        now
    }

    fn within(self, bound: Self) -> bool {
        self.handles <= bound.handles + RESTING
            && self.threads <= bound.threads + RESTING
            && (self.searches, self.connections) == (0, 0)
    }
}

/// Connections come and go, and each asks about other images.
fn round(runtime: &Runtime, world: &World, service: &Service, round: usize) {
    let host = world.registry.host();
    let images: Vec<_> = (0..CONNECTIONS * QUESTIONS)
        .map(|n| {
            let repository = format!("soak/r{round}n{n}");
            image(&world.registry, &repository, "v1", &repository).unwrap();
            format!("{host}/{repository}:v1")
        })
        .collect();
    runtime.block_on(async {
        let asked: Vec<_> = images
            .chunks(QUESTIONS)
            .map(|images| {
                let (images, url) = (images.to_vec(), service.url());
                tokio::spawn(async move {
                    let mut client = DecisionServiceClient::connect(url).await.unwrap();
                    for image in images {
                        let container = v1::Container { name: "main".to_owned(), image };
                        let containers = vec![container];
                        let request = v1::CheckRequest { containers, ..Default::default() };
                        client.check(request).await.unwrap();
                    }
                })
            })
            .collect();
        for asked in asked {
            asked.await.unwrap();
        }
    });
}

#[test]
fn t145_after_connections_and_images_without_end_there_are_no_more_handles_threads_and_searches() {
    let world = World::new();
    let service = world.serve();
    let runtime = Runtime::new().unwrap();
    (0..BEFORE).for_each(|n| round(&runtime, &world, &service, n));
    let before = Has::at_rest(&service, None);
    (BEFORE..BEFORE + AFTER).for_each(|n| round(&runtime, &world, &service, n));
    let after = Has::at_rest(&service, Some(before));
    assert!(after.within(before), "{after:?} after {before:?}");
}
