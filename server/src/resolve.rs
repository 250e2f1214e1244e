//! An image reference in, digests out: the manifest that the reference names and, for an index, the
//! platforms in it.
//!
//! A tag never passes this module: what is decided about is always a digest, and one decision
//! resolves a reference once (CASES T073).

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Reason, Rejection};
use portcullis_core::image::{Digest, Platform, Reference};
use portcullis_core::ports::Clock;
use portcullis_core::referrers::{self, ANY_PLATFORM, Document, Index};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::evidence::collect::{chain, failed};
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

/// For how long answers are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveConfig {
    /// For how long a tag is taken to name the same digest.
    pub tag_ttl: Duration,
    /// For how long a digest may be used without showing again that the registry lets us read it.
    pub access_ttl: Duration,
    /// How long one search may take at the most.
    pub search_timeout: Duration,
}

impl Default for ResolveConfig {
    fn default() -> Self {
        Self {
            tag_ttl: Duration::from_secs(10),
            access_ttl: Duration::from_secs(300),
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

type Answer = Result<Arc<Resolved>, Unresolved>;

/// Resolves references, and remembers.
pub struct Resolver {
    registry: Registry,
    config: ResolveConfig,
    clock: Arc<dyn Clock>,
    tags: Cache<Key, (Arc<Resolved>, OffsetDateTime)>,
    digests: Cache<Key, Arc<Resolved>>,
    flights: Flights<Key, Answer>,
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
        let tags = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(config.tag_ttl);
        let digests = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(config.access_ttl);
        Self {
            registry,
            clock,
            tags: tags.build(),
            digests: digests.build(),
            flights: Flights::new(tasks),
            config,
        }
    }

    /// What `image` names, as far as it can be found out by `deadline`.
    ///
    /// # Errors
    /// `Unavailable`, `Unsupported` or `Rejected` evidence, which says why it names nothing.
    pub async fn resolve(&self, image: &Reference, access: &Arc<str>, deadline: Instant) -> Answer {
        let key = Key { access: Arc::clone(access), image: image.clone() };
        if image.digest().is_some() {
            if let Some(resolved) = self.digests.get(&key).await {
                return Ok(resolved);
            }
        } else if let Some((resolved, until)) = self.tags.get(&key).await
            && self.clock.now() < until
        {
            return Ok(resolved);
        }
        let begin = || self.search(key.clone());
        self.flights
            .join(key.clone(), deadline, begin)
            .await
            .unwrap_or_else(|lost| Err(unknown(lost)))
    }

    fn search(&self, key: Key) -> impl Future<Output = Answer> + Send + 'static {
        let (registry, clock) = (self.registry.clone(), Arc::clone(&self.clock));
        let (tags, digests) = (self.tags.clone(), self.digests.clone());
        let (timeout, tag_ttl) = (self.config.search_timeout, self.config.tag_ttl);
        async move {
            let limit = Instant::now() + timeout;
            let fetched = registry
                .resolve(&key.image, limit)
                .await
                .map_err(|error| Arc::new(failed(&error)))?;
            let resolved = Arc::new(read(fetched.digest, &fetched.bytes, &fetched.media_type)?);
            if key.image.digest().is_some() {
                digests.insert(key, Arc::clone(&resolved)).await;
            } else {
                let until = clock.now() + tag_ttl;
                tags.insert(key, (Arc::clone(&resolved), until)).await;
            }
            Ok(resolved)
        }
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
        runnable.partition(|(platform, _)| matches!(platform.os.as_str(), "linux" | ANY_PLATFORM));
    if linux.is_empty() {
        linux = others;
    }
    linux.sort();
    linux.dedup();
    linux
}

fn unknown(no_result: NoResult) -> Unresolved {
    Arc::new(Evidence::Unavailable(match no_result {
        NoResult::Deadline => Cause {
            kind: CauseKind::Deadline,
            detail: "the registry did not resolve the image in time; the search goes on".to_owned(),
        },
        NoResult::Lost => Cause {
            kind: CauseKind::Unreachable,
            detail: "the search ended without a result; ask again".to_owned(),
        },
    }))
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
        check(&[("linux", "amd64"), ("", "amd64")], &["any/any", "linux/amd64"]);
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
