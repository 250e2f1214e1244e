//! Requests of registries that something changed in, events for the refresher out.
//!
//! ```text
//! endpoint ── guard ── secret_file, google_token     who sends
//!    ├─────── dialect ── acr, event_grid, ecr, …     what it says
//!    ├─────── scope                                  of what it may tell
//!    └─────── queue                                  once, and in turn
//! ```
//!
//! An event is a hint of where to look and nothing else: it is not evidence, and whoever can send one
//! can make the service ask a configured registry a little more, and no more than that.

pub mod config;
pub mod endpoint;
pub mod guard;
pub mod secret_file;
pub mod google_token;
pub mod dialect;
pub mod news;
mod acr;
mod event_grid;
mod ecr;
mod google;
mod distribution;
mod harbor;
mod zot;
mod quay;
pub mod scope;
pub mod queue;

#[cfg(test)]
mod samples;
