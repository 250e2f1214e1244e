//! An image reference in, digests out: the manifest that the reference names and, for an index, the
//! platforms in it.
//!
//! A tag never passes this module: what is decided about is always a digest, and one decision
//! resolves a reference once (CASES T073).

use std::sync::Arc;
use std::time::Duration;

use moka::Expiry;
use moka::future::Cache;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Reason, Rejection, Source};
use portcullis_core::image::{Digest, Platform, Reference};
use portcullis_core::ports::Clock;
use portcullis_core::referrers::{self, Document, Index};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::evidence::collect::{chain, unavailable};
use crate::evidence::flights::{Flights, NoResult};
use crate::registry::Registry;

/// The most platforms of one index that are decided about.
pub const MAX_PLATFORMS: usize = 64;
/// The most references that are remembered.
const MAX_REMEMBERED: u64 = 100_000;

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The manifest or index itself.
    pub digest: Digest,
    /// The platform manifests of an index that a cluster can run: those for Linux, or all if none
    /// is. Empty for an image of one platform.
    pub platforms: Vec<(Platform, Digest)>,
}

/// What is known of a reference that names nothing.
pub type Unresolved = Arc<Evidence>;

/// What a reference names or why that is not known, since when, and from where it was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What it names.
    ///
    /// # Errors
    /// `Unavailable`, `Unsupported` or `Rejected` evidence, which says why it names nothing.
    pub named: Result<Arc<Resolved>, Unresolved>,
    /// When the registry was asked.
    pub asked_at: OffsetDateTime,
    /// Until when it may be used without asking again.
    pub fresh_until: OffsetDateTime,
    /// Where it was answered from.
    pub source: Source,
}

/// For how long answers are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveConfig {
    /// For how long a tag is taken to name the same digest.
    pub tag_ttl: Duration,
    /// For how long a digest may be used without showing again that the registry lets us read it.
    pub access_ttl: Duration,
    /// For how long a failed search is not repeated.
    pub failure_ttl: Duration,
    /// How long one search may take at the most.
    pub search_timeout: Duration,
}

impl Default for ResolveConfig {
    fn default() -> Self {
        Self {
            tag_ttl: Duration::from_secs(10),
            access_ttl: Duration::from_secs(300),
            failure_ttl: Duration::from_secs(2),
            search_timeout: Duration::from_secs(10),
        }
    }
}

/// A reference under an access scope.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    access: Arc<str>,
    image: Reference,
}

/// Resolves references, and remembers. A failure is remembered too, for a moment, so that callers
/// do not hammer a registry that is down.
pub struct Resolver {
    registry: Registry,
    config: ResolveConfig,
    clock: Arc<dyn Clock>,
    kept: Cache<Key, Answered>,
    flights: Flights<Key, Answered>,
}

impl Resolver {
    /// Resolves with `registry`. Searches are tasks of `tasks`.
    #[must_use]
    pub fn new(
        registry: Registry,
        config: ResolveConfig,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Self {
        let kept = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .expire_after(ByLifetime(config.clone()))
            .build();
        Self { registry, config, clock, kept, flights: Flights::new(tasks) }
    }

    /// What `image` names, as far as it can be found out by `deadline`.
    pub async fn resolve(
        &self,
        image: &Reference,
        access: &Arc<str>,
        deadline: Instant,
    ) -> Answered {
        let key = Key { access: Arc::clone(access), image: image.clone() };
        let kept = self.kept.get(&key).await.filter(|kept| self.clock.now() < kept.fresh_until);
        if let Some(kept) = kept {
            return Answered { source: Source::Memory, ..kept };
        }
        let begin = || self.search(key.clone());
        let found = self.flights.join(key.clone(), deadline, begin).await;
        found.unwrap_or_else(|no_result| self.unknown(no_result))
    }

    fn search(&self, key: Key) -> impl Future<Output = Answered> + Send + 'static {
        let (registry, clock) = (self.registry.clone(), Arc::clone(&self.clock));
        let (kept, config) = (self.kept.clone(), self.config.clone());
        async move {
            let limit = Instant::now() + config.search_timeout;
            let named = match registry.resolve(&key.image, limit).await {
                Ok(fetched) => {
                    read(fetched.digest, &fetched.bytes, &fetched.media_type).map(Arc::new)
                }
                Err(error) => Err(Arc::new(unavailable(&error))),
            };
            let asked_at = clock.now();
            let fresh_until = asked_at + lifetime(&config, &key, &named);
            let answered = Answered { named, asked_at, fresh_until, source: Source::Registry };
            kept.insert(key, answered.clone()).await;
            answered
        }
    }

    fn unknown(&self, no_result: NoResult) -> Answered {
        let cause = match no_result {
            NoResult::Deadline => Cause {
                kind: CauseKind::Deadline,
                detail: "the registry did not resolve the image in time; the search goes on"
                    .to_owned(),
            },
            NoResult::Lost => Cause {
                kind: CauseKind::Unreachable,
                detail: "the search ended without a result; ask again".to_owned(),
            },
        };
        let now = self.clock.now();
        Answered {
            named: Err(Arc::new(Evidence::Unavailable(cause))),
            asked_at: now,
            fresh_until: now,
            source: Source::Registry,
        }
    }
}

fn lifetime<T>(config: &ResolveConfig, key: &Key, named: &Result<T, Unresolved>) -> Duration {
    match named {
        Ok(_) if key.image.digest().is_some() => config.access_ttl,
        Ok(_) => config.tag_ttl,
        Err(_) => config.failure_ttl,
    }
}

/// A digest lives longest, a failure only for a moment.
struct ByLifetime(ResolveConfig);

impl Expiry<Key, Answered> for ByLifetime {
    fn expire_after_create(
        &self,
        key: &Key,
        answered: &Answered,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(lifetime(&self.0, key, &answered.named))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        answered: &Answered,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(lifetime(&self.0, key, &answered.named))
    }
}

fn read(digest: Digest, bytes: &[u8], media_type: &str) -> Result<Resolved, Unresolved> {
    let rejected = |reason, detail| {
        Arc::new(Evidence::Rejected(Rejection { reason, report: Some(digest), detail }))
    };
    match referrers::parse(bytes, media_type) {
        Ok(Document::Manifest(_)) => Ok(Resolved { digest, platforms: Vec::new() }),
        Ok(Document::Index(index)) => {
            let platforms = platforms(&index);
            if platforms.len() > MAX_PLATFORMS {
                let detail = format!(
                    "the index has {} platforms, more than the {MAX_PLATFORMS} allowed",
                    platforms.len()
                );
                return Err(rejected(Reason::TooMany, detail));
            }
            Ok(Resolved { digest, platforms })
        }
        Err(error) => Err(rejected(Reason::Malformed, chain(&error))),
    }
}

/// The entries that a node can run: those for Linux, or all if none is for Linux.
fn platforms(index: &Index) -> Vec<(Platform, Digest)> {
    let runnable = index
        .manifests
        .iter()
        .filter_map(|entry| entry.runnable_platform().map(|platform| (platform, entry.digest)));
    let (mut linux, others): (Vec<_>, Vec<_>) =
        runnable.partition(|(platform, _)| platform.os == "linux");
    if linux.is_empty() {
        linux = others;
    }
    linux.sort();
    linux.dedup();
    linux
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::referrers::{OCI_INDEX, OCI_MANIFEST};

    fn index(platforms: &[(&str, &str)]) -> String {
        let entry = |(os, architecture): &(&str, &str)| {
            let digest = Digest::of(format!("{os}/{architecture}").as_bytes());
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":2,
                "platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
            )
        };
        let entries: Vec<_> = platforms.iter().map(entry).collect();
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
    }

    #[track_caller]
    fn check(listed: &[(&str, &str)], expected: &[&str]) {
        let read = read(Digest::of(b""), index(listed).as_bytes(), OCI_INDEX).unwrap();
        let names: Vec<_> = read.platforms.iter().map(|(p, _)| p.to_string()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn the_platforms_that_a_cluster_can_run_are_chosen() {
        let arm_amd = [("linux", "arm64"), ("unknown", "unknown"), ("linux", "amd64")];
        check(&arm_amd, &["linux/amd64", "linux/arm64"]);
        check(&[("windows", "amd64"), ("linux", "amd64")], &["linux/amd64"]);
        check(&[("windows", "amd64")], &["windows/amd64"]);
        check(&[], &[]);
    }

    #[test]
    fn an_index_is_refused_one_platform_past_its_bound() {
        let names: Vec<_> = (0..=MAX_PLATFORMS).map(|n| format!("arch{n}")).collect();
        let entries: Vec<_> = names.iter().map(|name| ("linux", name.as_str())).collect();
        let parse = |n: usize| {
            read(Digest::of(b""), index(entries.get(..n).unwrap()).as_bytes(), OCI_INDEX)
        };
        assert_eq!(parse(MAX_PLATFORMS).unwrap().platforms.len(), MAX_PLATFORMS);
        let refused = parse(MAX_PLATFORMS + 1).unwrap_err();
        assert!(matches!(
            refused.as_ref(),
            Evidence::Rejected(Rejection { reason: Reason::TooMany, .. })
        ));
    }
}
