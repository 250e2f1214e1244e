//! What all spans share.

/// The target of every span. They are at level debug under it, so that no log shows them, and so that
/// they cost a comparison where traces are off.
pub(crate) const SPANS: &str = "portcullis::spans";
