//! What one search may still spend, shared by all that it looks at side by side.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{MAX_SEARCH_BYTES, MAX_SIGNATURES};

/// The checks of signatures and the bytes that are left.
pub(super) struct Budget {
    checks: AtomicU64,
    bytes: AtomicU64,
}

impl Budget {
    pub(super) const fn new() -> Self {
        let (checks, bytes) = (MAX_SIGNATURES as u64, MAX_SEARCH_BYTES as u64);
        Self { checks: AtomicU64::new(checks), bytes: AtomicU64::new(bytes) }
    }

    /// Takes one check of a signature, if there is one left.
    pub(super) fn check(&self) -> bool {
        spend(&self.checks, 1)
    }

    /// Takes so many bytes, if there are as many left.
    pub(super) fn bytes(&self, bytes: u64) -> bool {
        spend(&self.bytes, bytes)
    }
}

fn spend(left: &AtomicU64, amount: u64) -> bool {
    let rest = |left: u64| left.checked_sub(amount);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_one_past_what_there_is() {
        let budget = Budget::new();
        for check in 0..MAX_SIGNATURES {
            assert!(budget.check(), "{check}");
        }
        assert!(!budget.check());
        assert!(!budget.bytes(MAX_SEARCH_BYTES as u64 + 1));
        // What was refused took nothing.
        assert!(budget.bytes(MAX_SEARCH_BYTES as u64));
        assert!(!budget.bytes(1));
        assert!(budget.bytes(0));
    }
}
