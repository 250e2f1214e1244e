//! The system's clock as core's port.

use portcullis_core::ports::Clock;
use time::OffsetDateTime;

/// Says the system's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}
