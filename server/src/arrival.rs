//! A request in, since when it is here out.

use tokio::time::Instant;

/// Something of which it is known since when it is here. Under overload it waits for its turn, and that is its
/// caller's time.
pub(crate) trait Arrived {
    /// Since when.
    fn at(&self) -> Instant;
}
