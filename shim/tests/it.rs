//! The shim over real TLS, before a decision service that does what it is told.

#[cfg(test)]
#[path = "it/fake.rs"]
mod fake;
#[cfg(test)]
#[path = "it/world.rs"]
mod world;
#[cfg(test)]
#[path = "it/reviews.rs"]
mod reviews;
#[cfg(test)]
#[path = "it/bodies.rs"]
mod bodies;
#[cfg(test)]
#[path = "it/outage.rs"]
mod outage;
#[cfg(test)]
#[path = "it/advice.rs"]
mod advice;
#[cfg(test)]
#[path = "it/reports.rs"]
mod reports;
#[cfg(test)]
#[path = "it/serving.rs"]
mod serving;
#[cfg(test)]
#[path = "it/own.rs"]
mod own;
#[cfg(test)]
#[path = "it/traces.rs"]
mod traces;
