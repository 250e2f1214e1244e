//! A registry and its mirrors in, the first of them that has what is asked for out.
//!
//! As containerd has it: mirrors in their order, then the registry. What has a digest is checked
//! wherever it comes from, and a tag may be a mirror's as it is for whoever pulls the image. The list
//! of what is attached is not taken from a mirror while the registry can be asked: it changes, and one
//! that is old, or empty because the mirror has no such list, would hide a newer report. Only where
//! the registry cannot be reached is a mirror's list better than none, if something is on it
//! (ADR 0014).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use portcullis_core::evidence::CauseKind;
use tokio::time::{Instant, timeout};

use super::error::RegistryError;
use super::host::Host;

/// For how long a host that cannot be reached is passed over where others can be asked.
pub(super) const REST: Duration = Duration::from_secs(30);
/// The most hosts of which that is remembered.
const MAX_HOSTS: u64 = 10_000;

/// A question on its way to one host.
pub(super) type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 'a>>;

/// The hosts that are passed over for now, by name.
#[derive(Clone)]
pub(super) struct Resting(Cache<String, ()>);

impl Resting {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_HOSTS).time_to_live(REST).build())
    }

    /// What the first of the mirrors that has it answers to `ask`, or else what the registry answers.
    /// A mirror has half the time that is left.
    pub(super) async fn first<'a, T>(
        &self,
        (origin, mirrors): (Arc<Host>, &[Arc<Host>]),
        deadline: Instant,
        ask: impl Fn(Arc<Host>) -> Asking<'a, T>,
    ) -> Result<T, RegistryError> {
        for mirror in mirrors {
            if let Some(found) = self.of(mirror, deadline, ask(Arc::clone(mirror))).await {
                return Ok(found);
            }
        }
        ask(origin).await
    }

    /// The registry's list, or, where it cannot be reached, the first of a mirror that is not empty.
    pub(super) async fn list<'a, T>(
        &self,
        (origin, mirrors): (Arc<Host>, &[Arc<Host>]),
        deadline: Instant,
        ask: impl Fn(Arc<Host>) -> Asking<'a, Vec<T>>,
    ) -> Result<Vec<T>, RegistryError> {
        if mirrors.is_empty() {
            return ask(origin).await;
        }
        let mut failed = None;
        if !self.0.contains_key(&origin.name) {
            match timeout(half_until(deadline), ask(Arc::clone(&origin))).await {
                Ok(Err(error)) if is_out_of_reach(&error) => failed = Some(error),
                Ok(told) => return told,
                Err(_elapsed) => failed = Some(RegistryError::Deadline),
            }
            self.0.insert(origin.name.clone(), ()).await;
        }
        for mirror in mirrors {
            let found = self.of(mirror, deadline, ask(Arc::clone(mirror))).await;
            if let Some(list) = found.filter(|list| !list.is_empty()) {
                return Ok(list);
            }
        }
        // That nothing is attached is the registry's to say.
        match failed {
            Some(error) => Err(error),
            None => ask(origin).await,
        }
    }

    /// What a mirror has, if it has it.
    async fn of<T>(&self, mirror: &Host, deadline: Instant, asking: Asking<'_, T>) -> Option<T> {
        if self.0.contains_key(&mirror.name) {
            return None;
        }
        let is_lost = match timeout(half_until(deadline), asking).await {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(error)) => {
                tracing::debug!(mirror = mirror.name, %error, "a mirror does not have it");
                is_out_of_reach(&error)
            }
            Err(_elapsed) => true,
        };
        if is_lost {
            self.0.insert(mirror.name.clone(), ()).await;
        }
        None
    }
}

fn half_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / 2
}

fn is_out_of_reach(error: &RegistryError) -> bool {
    matches!(error.cause().kind, CauseKind::Unreachable | CauseKind::Throttled)
}
