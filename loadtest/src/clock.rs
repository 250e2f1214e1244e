//! Nothing in, nanoseconds since the process began out: one clock for all that is measured.

use std::sync::LazyLock;
use std::time::Instant;

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

#[expect(clippy::disallowed_methods, reason = "real time is what a load harness measures")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since it was first asked.
pub(crate) fn now() -> u64 {
    nanos(START.elapsed())
}

/// A span in nanoseconds.
pub(crate) fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / SECOND as f64
}
