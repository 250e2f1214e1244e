//! The section on limits.

use super::*;

#[test]
fn limits_are_read() {
    let config = load(
        "maxInFlight: 1\nlimits: {workers: 2, connections: 3, connectionsPerPeer: 4,\n\
         connectionAge: 5m, drain: 6s, inFlightPerCaller: 7, inFlightPerRegistry: 8,\n\
         searches: 9, searchesPerRegistry: 10}\n",
    )
    .unwrap();
    let ListenConfig { workers, max_connections, max_connections_per_peer, connection_age, drain } =
        config.serving;
    assert_eq!((config.max_in_flight, workers.get()), (1, 2));
    assert_eq!((max_connections, max_connections_per_peer), (3, 4));
    assert_eq!((connection_age, drain), (Duration::from_secs(300), Duration::from_secs(6)));
    let expected = LimitConfig {
        in_flight_per_caller: 7,
        in_flight_per_registry: 8,
        searches: 9,
        searches_per_registry: 10,
    };
    assert_eq!(config.limits, expected);
}

#[test]
fn limits_of_nothing_are_refused() {
    for field in [
        "workers",
        "connections",
        "connectionsPerPeer",
        "inFlightPerCaller",
        "inFlightPerRegistry",
        "searches",
        "searchesPerRegistry",
    ] {
        refused(&format!("limits: {{{field}: 0}}\n"), &[&format!("`limits.{field}`"), "1"]);
    }
    refused("limits: {workers: 1025}\n", &["`limits.workers`", "1 to 1024"]);
    assert!(load("limits: {workers: 1024}\n").is_ok());
    refused("limits: {connectionAge: 0s}\n", &["`0s` is not a duration"]);
    refused("limits: {workes: 1}\n", &["`workes`", "workers"]);
}
