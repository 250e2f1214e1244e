//! The decision: bytes, times and names in, a decision out. No IO, no clock, no runtime.
//!
//! ```text
//! image name ─ image ──────────────┐
//! manifests ── referrers ─┐        │
//! envelopes ── signature ─┴ Verified ─ findings ─ evidence ─┐
//! rule files ─ policy ──────────────────────────────────────┴─ decide ─ Decision ─ event
//! ```
//!
//! Only [`signature::examine`] and [`signature::cosign::examine`] make a [`signature::Verified`], and only
//! [`findings::parse`] makes findings, from a `Verified`: what was not verified cannot be evaluated. Only
//! [`simulate`] decides from what is assumed, and says so.

pub mod image;
pub mod json;
pub mod referrers;
pub mod artifact;
pub mod signature;
pub mod findings;
pub mod evidence;
pub mod policy;
pub mod decide;
pub mod explain;
pub mod event;
pub mod simulate;
pub mod ports;

/// Doors to parsers of foreign bytes for fuzz targets: they take anything and must not panic.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::signature::fuzzing::{
        bundle, certificate, crl, dsse, envelope, ocsp, timestamp, trust_policy,
    };
}
