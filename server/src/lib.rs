//! The decision service: questions over gRPC in, decisions from verified findings out.
//!
//! ```text
//! grpc ─ events ─ limit ─ check ─┬─ resolve ───────────────────────┬─ registry
//!                                └─ evidence: memory ─ collect ────┘
//! ```
//!
//! [`app`] stacks the layers; no layer knows its neighbour's type.

pub mod config;
pub mod app;
pub mod listen;
pub mod grpc;
pub mod events;
pub mod limit;
pub mod tls;
pub mod identity;
pub mod caller;
pub mod caught;
pub mod check;
pub mod answered;
pub mod clusters;
pub mod resolve;
pub mod evidence;
pub mod inspect;
pub mod refresh;
pub mod hooks;
pub mod revocation;
pub mod registry;
pub mod access;
pub mod rules;
pub mod changes;
pub mod clock;
pub mod admin;
pub mod metrics;
mod arrival;
mod sieve;
mod shares;
mod chain;
