//! The section on limits of a configuration in, checked bounds out.

use std::num::NonZeroUsize;

use serde::Deserialize;

use super::{ConfigError, Span};
use crate::limit::LimitConfig;
use crate::listen::ListenConfig;
use crate::listen::workers::MAX_WORKERS;

/// The section on limits.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LimitsFile {
    workers: Option<usize>,
    connections: Option<usize>,
    connections_per_peer: Option<usize>,
    connection_age: Option<Span>,
    drain: Option<Span>,
    in_flight_per_caller: Option<usize>,
    in_flight_per_registry: Option<usize>,
    searches: Option<usize>,
    searches_per_registry: Option<usize>,
}

impl LimitsFile {
    /// How connections are served.
    pub(super) fn serving(&self, defaults: &ListenConfig) -> Result<ListenConfig, ConfigError> {
        let workers = match self.workers {
            None => defaults.workers,
            Some(count) => NonZeroUsize::new(count)
                .filter(|count| count.get() <= MAX_WORKERS)
                .ok_or(ConfigError::Range { field: "limits.workers", expected: "1 to 1024" })?,
        };
        let connection_age = self.connection_age.map_or(defaults.connection_age, |age| age.0);
        let (max, per_peer) = (defaults.max_connections, defaults.max_connections_per_peer);
        Ok(ListenConfig {
            workers,
            max_connections: at_least_one("limits.connections", self.connections, max)?,
            max_connections_per_peer: at_least_one(
                "limits.connectionsPerPeer",
                self.connections_per_peer,
                per_peer,
            )?,
            connection_age,
            drain: self.drain.map_or(defaults.drain, |drain| drain.0),
        })
    }

    /// Whose share of what waits has which bound.
    pub(super) fn limits(&self, defaults: &LimitConfig) -> Result<LimitConfig, ConfigError> {
        let (caller, registry) = (self.in_flight_per_caller, self.in_flight_per_registry);
        let (searches, of_one) = (self.searches, self.searches_per_registry);
        Ok(LimitConfig {
            in_flight_per_caller: at_least_one(
                "limits.inFlightPerCaller",
                caller,
                defaults.in_flight_per_caller,
            )?,
            in_flight_per_registry: at_least_one(
                "limits.inFlightPerRegistry",
                registry,
                defaults.in_flight_per_registry,
            )?,
            searches: at_least_one("limits.searches", searches, defaults.searches)?,
            searches_per_registry: at_least_one(
                "limits.searchesPerRegistry",
                of_one,
                defaults.searches_per_registry,
            )?,
        })
    }
}

/// What is configured for `field`, or what holds where nothing is.
pub(super) fn at_least_one(
    field: &'static str,
    given: Option<usize>,
    default: usize,
) -> Result<usize, ConfigError> {
    match given.unwrap_or(default) {
        0 => Err(ConfigError::Range { field, expected: "at least 1" }),
        given => Ok(given),
    }
}
