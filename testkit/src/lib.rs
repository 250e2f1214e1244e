//! What tests and the demo share: a world in one process, with the faults of the real one.
//!
//! ```text
//! keys ── Authority ─ Issued ─────────────────┐
//! image ─ config, layer, manifest, index ─┐   │
//! report ─ findings as a scanner writes ──┴─ attach ─ report and signature artifacts
//!                                              │  └── tamper: the same after an attack
//!                            cosign ─ attestations as cosign pushes them
//!                                           registry ─ HTTP, as good or as bad as it is told
//! Authority ─ responder ─ OCSP and revocation lists over HTTP, likewise
//! ```
//!
//! Everything is made in memory and at once, from names and times that are given; nothing is read
//! from disk, and nothing listens but on loopback.

pub mod error;
pub mod clock;
pub mod keys;
pub mod responder;
mod der;
pub mod chain;
pub mod envelope;
pub mod tsa;
pub mod registry;
pub mod image;
pub mod report;
pub mod attach;
pub mod cosign;
pub mod tamper;
pub mod cloud;
pub mod samples;
#[cfg(test)]
mod verification;

pub use error::TestkitError;
