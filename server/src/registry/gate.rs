//! What a host says of its load in, how long it is left alone out.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use http::HeaderMap;
use moka::future::Cache;
use tokio::time::Instant;

use super::retry_after::{LONGEST, wait};

/// The most hosts that are remembered: an unlisted one that is forgotten is asked once more.
const MAX_HOSTS: u64 = 10_000;

/// The hosts that are not asked for now, by whose credential would be sent where.
pub(super) struct Gate {
    closed: Cache<String, Instant>,
}

impl Gate {
    pub(super) fn new() -> Self {
        // Twice as long, since the jitter is added to it.
        Self { closed: Cache::builder().max_capacity(MAX_HOSTS).time_to_live(LONGEST * 2).build() }
    }

    /// How much longer `lane` is to be left alone, if it is.
    pub(super) async fn closed_for(&self, lane: &str) -> Option<Duration> {
        let until = self.closed.get(lane).await?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Leaves `lane` alone for as long as `headers` ask, and says how long that is.
    pub(super) async fn close(&self, lane: String, headers: &HeaderMap) -> Duration {
        let asked = wait(headers);
        // So that not all replicas come back at once. Never earlier than was asked for.
        let wait = asked + jitter(asked / 10);
        self.closed.insert(lane, Instant::now() + wait).await;
        wait
    }
}

/// A random time below `range`.
pub(crate) fn jitter(range: Duration) -> Duration {
    // The standard library seeds its hash maps at random: enough to spread requests.
    let random = RandomState::new().build_hasher().finish();
    let nanos = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(random % nanos)
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    async fn close(retry_after: Option<&str>) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap());
        if let Some(value) = retry_after {
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        }
        Gate::new().close("https://reg.io".to_owned(), &headers).await
    }

    #[track_caller]
    fn check(wait: Duration, asked: u64) {
        let asked = Duration::from_secs(asked);
        assert!(wait >= asked && wait <= asked + asked / 10, "{wait:?} for {asked:?}");
    }

    #[tokio::test]
    async fn t110_a_host_is_left_alone_for_as_long_as_it_asks_within_bounds() {
        check(close(Some("30")).await, 30);
        check(close(Some("Wed, 21 Oct 2026 07:28:30 GMT")).await, 30);
        check(close(Some("299")).await, 299);
        check(close(Some("301")).await, 300);
        check(close(Some("1000000000")).await, 300);
        check(close(Some("99999999999999999999999999")).await, 300);
        check(close(Some("Wed, 21 Oct 2099 07:28:30 GMT")).await, 300);
        check(close(Some("0")).await, 1);
        check(close(Some("Wed, 21 Oct 2020 07:28:30 GMT")).await, 1);
        check(close(None).await, 10);
        for garbage in ["-1", "soon", "", "1.5", "Wednesday, 21-Oct-26 07:28:00 GMT"] {
            check(close(Some(garbage)).await, 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_host_opens_again() {
        let gate = Gate::new();
        let left = gate.close("https://reg.io".to_owned(), &HeaderMap::new()).await;
        assert!(gate.closed_for("https://reg.io").await.is_some());
        assert!(gate.closed_for("https://reg.io:444").await.is_none());
        tokio::time::advance(left).await;
        assert!(gate.closed_for("https://reg.io").await.is_none());
    }
}
