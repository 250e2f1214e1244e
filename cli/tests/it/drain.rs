//! A service that is told to stop, and callers who have not heard of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::frames::{DATA, Wire, health};
use super::world::{Service, World};

/// The status of an admin page.
fn status(service: &Service, page: &str) -> u16 {
    let mut stream = TcpStream::connect(service.admin()).unwrap();
    let request = format!("GET {page} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn t140_who_has_not_heard_that_a_service_stops_is_answered() {
    let world = World::new();
    let service = world.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut client = runtime.block_on(DecisionServiceClient::connect(service.url())).unwrap();
    let mut ask = || {
        let image = world.image("clean").to_owned();
        let container = v1::Container { name: "main".to_owned(), image };
        let request =
            v1::CheckRequest { containers: vec![container], ..v1::CheckRequest::default() };
        runtime.block_on(client.check(request)).unwrap()
    };
    ask();
    assert_eq!(status(&service, "/readyz"), 200);
    service.signal("TERM");
    while status(&service, "/readyz") != 503 {
        ask();
    }
    // Balancers have heard, and whoever has not yet is answered, on an old connection and a new one.
    for _ in 0..200 {
        ask();
    }
    let mut wire = Wire::open(service.address(), &[]);
    wire.send(&health(1));
    wire.read_until(|told| told.count(DATA) > 0 || told.closed);
    assert_eq!((wire.told.count(DATA), wire.told.goaway), (1, None));
    // When the last has gone, nothing is waited for.
    drop((wire, client));
    service.wait().ends_with(0);
}

#[test]
fn t140_a_second_signal_ends_it_though_somebody_is_connected() {
    let world = World::new();
    let service = world.serve();
    let mut wire = Wire::open(service.address(), &[]);
    wire.send(&health(1));
    wire.read_until(|told| told.count(DATA) > 0);
    service.signal("TERM");
    while status(&service, "/readyz") != 503 {}
    service.signal("INT");
    assert!(wire.closes());
    service.wait().ends_with(0);
}

/// Who follows its health does so for ever, and would hold up its end.
#[test]
fn t140_who_follows_its_health_is_told_and_let_go() {
    let world = World::new();
    world.configure("limits: {drain: 1ms}\n");
    let service = world.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut told = runtime.block_on(async {
        let channel =
            tonic::transport::Endpoint::new(service.url()).unwrap().connect().await.unwrap();
        let request = HealthCheckRequest { service: String::new() };
        HealthClient::new(channel).watch(request).await.unwrap().into_inner()
    });
    let mut next = || runtime.block_on(told.message());
    assert_eq!(next().unwrap().unwrap().status(), ServingStatus::Serving);
    service.signal("TERM");
    // In order, and not by a connection that is cut.
    assert_eq!(next().unwrap(), None);
    service.wait().ends_with(0);
}
