//! A registry and its mirrors in, the first of them that has what is asked for out.
//!
//! As containerd has it: mirrors in their order, then the registry. What has a digest is checked
//! wherever it comes from, and a tag may be a mirror's as it is for whoever pulls the image. What says
//! what is attached, a list or a tag, never comes from a mirror: it changes, and one that is old, or
//! empty because the mirror has no such list, would hide a newer report. Where the registry cannot be
//! reached, what was seen before is known to be old, and a mirror's list is not (ADR 0014).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::time::{Instant, timeout};

use super::error::RegistryError;
use super::host::Host;

/// For how long a mirror that cannot be reached is passed over.
pub(super) const REST: Duration = Duration::from_secs(30);
/// The most mirrors, and repositories at mirrors, of which that is remembered.
const MAX_RESTING: u64 = 10_000;

/// A question on its way to one host.
pub(super) type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 'a>>;

/// The mirrors that are passed over for now, by name: for all that they have where there is no
/// connection to them, or else, by that name, a space and the repository, for one repository.
#[derive(Clone)]
pub(super) struct Resting(Cache<String, ()>);

impl Resting {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_RESTING).time_to_live(REST).build())
    }

    /// What the first of the mirrors that has it answers to `ask`, or else what the registry answers.
    /// A mirror has half the time that is left.
    pub(super) async fn first<'a, T>(
        &self,
        (origin, mirrors): (Arc<Host>, &[Arc<Host>]),
        repository: &str,
        deadline: Instant,
        ask: impl Fn(Arc<Host>) -> Asking<'a, T>,
    ) -> Result<T, RegistryError> {
        for mirror in mirrors {
            let asking = ask(Arc::clone(mirror));
            if let Some(found) = self.of(mirror, repository, deadline, asking).await {
                return Ok(found);
            }
        }
        ask(origin).await
    }

    /// What a mirror has, if it has it.
    async fn of<T>(
        &self,
        mirror: &Host,
        repository: &str,
        deadline: Instant,
        asking: Asking<'_, T>,
    ) -> Option<T> {
        let of_repository = format!("{} {repository}", mirror.name);
        if self.0.contains_key(&mirror.name) || self.0.contains_key(&of_repository) {
            return None;
        }
        let lost = match timeout(half_until(deadline), asking).await {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(error)) => {
                tracing::debug!(mirror = mirror.name, %error, "a mirror does not have it");
                match error {
                    RegistryError::Unreachable { source, .. } if source.is_connect() => {
                        Some(mirror.name.clone())
                    }
                    // Whoever chooses the repository may have caused it, so it says nothing of others.
                    RegistryError::Unreachable { .. } | RegistryError::Failed { .. } => {
                        Some(of_repository)
                    }
                    // Our budget is not the mirror's fault, and who throttles is not asked anyway.
                    _ => None,
                }
            }
            Err(_elapsed) => Some(of_repository),
        };
        if let Some(lost) = lost {
            self.0.insert(lost, ()).await;
        }
        None
    }
}

fn half_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()) / 2
}
