//! What changed in, whoever watches told.
//!
//! Whoever keeps answers has to hear when they may be others: because the policy is another, or because
//! something else is known of a digest.

use portcullis_core::image::Digest;
use tokio::sync::broadcast;

/// How many changes a slow watcher may be behind.
const MAX_BEHIND: usize = 4096;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Rules or trust are others: every answer may be another.
    Policy,
    /// Something else is known of this digest.
    Digest(Digest),
}

/// Tells watchers what changed; cheap when nobody watches.
#[derive(Debug, Clone)]
pub struct Changes(broadcast::Sender<Change>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_BEHIND))
    }
}

impl Changes {
    /// Something else is known of `digest`.
    pub fn digest(&self, digest: Digest) {
        self.tell(Change::Digest(digest));
    }

    /// Rules or trust are others.
    pub fn policy(&self) {
        self.tell(Change::Policy);
    }

    /// All changes from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }

    fn tell(&self, change: Change) {
        // Without watchers there is nobody to tell.
        let _ = self.0.send(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watchers_hear_what_changes_from_then_on() {
        let changes = Changes::default();
        changes.policy();
        let mut watch = changes.watch();
        changes.digest(Digest::of(b"image"));
        changes.policy();
        assert_eq!(watch.recv().await, Ok(Change::Digest(Digest::of(b"image"))));
        assert_eq!(watch.recv().await, Ok(Change::Policy));
    }
}
