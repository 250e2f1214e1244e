//! What is needed from outside, as traits: whoever calls core brings the world.

use time::OffsetDateTime;

/// Says what time it is. Exemptions, certificates and ages follow this clock, so that tests and
/// replays can set it.
pub trait Clock: Send + Sync + 'static {
    /// The time now, in UTC.
    fn now(&self) -> OffsetDateTime;
}
