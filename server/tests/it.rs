//! The service as a whole, started as the command starts it, asked over gRPC, before a registry that
//! misbehaves when it is told to.
//!
//! Time stands still unless a test moves it, and nothing waits by the clock: what happens in the
//! background is looked for with `world::eventually`.

#[cfg(test)]
#[path = "it/world.rs"]
mod world;
#[cfg(test)]
#[path = "it/gate.rs"]
mod gate;

#[cfg(test)]
#[path = "it/verdicts.rs"]
mod verdicts;
#[cfg(test)]
#[path = "it/tls.rs"]
mod tls;
#[cfg(test)]
#[path = "it/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "it/hostile.rs"]
mod hostile;
#[cfg(test)]
#[path = "it/flavors.rs"]
mod flavors;
#[cfg(test)]
#[path = "it/distrust.rs"]
mod distrust;
#[cfg(test)]
#[path = "it/cosign.rs"]
mod cosign;
#[cfg(test)]
#[path = "it/revocation.rs"]
mod revocation;
#[cfg(test)]
#[path = "it/formats.rs"]
mod formats;
#[cfg(test)]
#[path = "it/profiles.rs"]
mod profiles;
#[cfg(test)]
#[path = "it/marks.rs"]
mod marks;
#[cfg(test)]
#[path = "it/outage.rs"]
mod outage;
#[cfg(test)]
#[path = "it/store.rs"]
mod store;
#[cfg(test)]
#[path = "it/inspect.rs"]
mod inspect;
#[cfg(test)]
#[path = "it/platforms.rs"]
mod platforms;
#[cfg(test)]
#[path = "it/rollout.rs"]
mod rollout;
#[cfg(test)]
#[path = "it/flights.rs"]
mod flights;
#[cfg(test)]
#[path = "it/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "it/watch.rs"]
mod watch;
#[cfg(test)]
#[path = "it/near.rs"]
mod near;
#[cfg(test)]
#[path = "it/grpc.rs"]
mod grpc;
#[cfg(test)]
#[path = "it/limits.rs"]
mod limits;
#[cfg(test)]
#[path = "it/stream.rs"]
mod stream;
#[cfg(test)]
#[path = "it/admin.rs"]
mod admin;
#[cfg(test)]
#[path = "it/events.rs"]
mod events;
#[cfg(test)]
#[path = "it/spool.rs"]
mod spool;
#[cfg(test)]
#[path = "it/exemptions.rs"]
mod exemptions;
#[cfg(test)]
#[path = "it/break_glass.rs"]
mod break_glass;
#[cfg(test)]
#[path = "it/advice.rs"]
mod advice;
#[cfg(test)]
#[path = "it/reported.rs"]
mod reported;
#[cfg(test)]
#[path = "it/catalogue_cases.rs"]
mod catalogue_cases;
#[cfg(test)]
#[path = "it/cases.rs"]
mod cases;
#[cfg(test)]
#[path = "it/wire.rs"]
mod wire;
#[cfg(test)]
#[path = "it/bulk.rs"]
mod bulk;
#[cfg(test)]
#[path = "it/series.rs"]
mod series;
#[path = "it/told.rs"]
mod told;
#[cfg(test)]
#[path = "it/told_tls.rs"]
mod told_tls;
#[cfg(test)]
#[path = "it/refresh.rs"]
mod refresh;
