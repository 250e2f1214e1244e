//! An image reference in, digests out: the manifest that the reference names and, for an index, the
//! platforms in it.
//!
//! A tag never passes this module: what is decided about is always a digest, and one decision
//! resolves a reference once (CASES T073).

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use moka::future::Cache;
use portcullis_core::evidence::{Cause, CauseKind, Evidence, Reason, Rejection, Source};
use portcullis_core::image::{Digest, Nodes, Platform, Reference};
use portcullis_core::ports::Clock;
use portcullis_core::referrers::{self, ANY_PLATFORM, Document, Index};
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::chain::detail;
use crate::evidence::collect::failed;
use crate::evidence::flights::{Flights, NoResult};
use crate::registry::{Fetched, Registry};

/// The most platforms of one index for Linux, and the most for other systems.
pub const MAX_PLATFORMS: usize = 64;
/// The most that is remembered of references, in bytes.
const MAX_REMEMBERED: u64 = 64 * 1024 * 1024;

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The manifest or index itself.
    pub digest: Digest,
    /// The platform manifests of an index that a node can run, each once. Empty for an image of one
    /// platform.
    pub platforms: Vec<(Platform, Digest)>,
}

impl Resolved {
    /// What of an index these nodes would take; where nothing is known of them, what is for Linux, or
    /// all if nothing is.
    #[must_use]
    pub fn taken_by(&self, nodes: &Nodes) -> Vec<(Platform, Digest)> {
        let all = || self.platforms.iter();
        if nodes.is_empty() {
            let linux: Vec<_> = all().filter(|(p, _)| is_linux(p)).cloned().collect();
            return if linux.is_empty() { self.platforms.clone() } else { linux };
        }
        let names: Vec<_> = all().map(|(platform, _)| platform.clone()).collect();
        let taken = all().zip(nodes.take(&names)).filter(|(_, mark)| *mark);
        taken.map(|(entry, _)| entry.clone()).collect()
    }
}

/// Whether a node of Linux may run it.
fn is_linux(platform: &Platform) -> bool {
    matches!(platform.os.as_str(), "linux" | ANY_PLATFORM)
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
    /// For how long what a reference named is used while the registry cannot be asked.
    pub stale_ttl: Duration,
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
            stale_ttl: Duration::from_secs(3600),
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

type Answer = Result<Arc<Resolved>, Unresolved>;

/// An answer and until when it is used without asking again.
#[derive(Clone)]
pub struct Fresh {
    /// The answer.
    pub answer: Answer,
    /// Until when it is used.
    pub until: OffsetDateTime,
    /// When the registry gave it.
    pub confirmed_at: OffsetDateTime,
    /// Where it was answered from.
    pub source: Source,
}

/// Resolves references, and remembers.
pub struct Resolver {
    registry: Registry,
    config: ResolveConfig,
    clock: Arc<dyn Clock>,
    kept: Cache<Key, Fresh>,
    flights: Flights<Key, Fresh>,
}

impl Resolver {
    /// Resolves with `registry`. Searches are tasks of `tasks` on `background`.
    #[must_use]
    pub fn new(
        registry: Registry,
        config: ResolveConfig,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        background: Handle,
    ) -> Self {
        let kept = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_live(config.stale_ttl.max(config.access_ttl))
            .weigher(|key: &Key, fresh: &Fresh| {
                u32::try_from(key.weight() + fresh.weight()).unwrap_or(u32::MAX)
            })
            .build();
        Self { registry, clock, kept, flights: Flights::new(tasks, background), config }
    }

    /// What `image` names, if that is known and needs no waiting.
    #[must_use]
    pub fn peek(&self, image: &Reference, access: &Arc<str>) -> Option<Fresh> {
        // A look into memory never waits.
        let fresh = self.kept.get(&key(image, access)).now_or_never()??;
        (self.clock.now() < fresh.until).then_some(Fresh { source: Source::Memory, ..fresh })
    }

    /// What `image` names, as far as it can be found out by `deadline`; where it names nothing, the
    /// evidence says why.
    pub async fn resolve(&self, image: &Reference, access: &Arc<str>, deadline: Instant) -> Fresh {
        let key = key(image, access);
        let kept = self.kept.get(&key).await;
        if let Some(fresh) = kept.as_ref().filter(|fresh| self.clock.now() < fresh.until) {
            return Fresh { source: Source::Memory, ..fresh.clone() };
        }
        let now = self.clock.now();
        let oldest = now - self.config.stale_ttl;
        let before = kept.filter(|kept| kept.answer.is_ok() && kept.confirmed_at > oldest);
        let begin = || self.search(key.clone(), before.clone());
        let found = self.flights.join(key.clone(), deadline, begin).await;
        // Who cannot wait for the search is answered from before it, while it goes on.
        found.unwrap_or_else(|no_result| {
            let answer = Err(unknown(no_result));
            let unknown = Fresh { answer, until: now, confirmed_at: now, source: Source::Registry };
            before.map_or(unknown, |before| Fresh { source: Source::Memory, ..before })
        })
    }

    fn search(
        &self,
        key: Key,
        before: Option<Fresh>,
    ) -> impl Future<Output = Fresh> + Send + 'static {
        let (registry, clock) = (self.registry.clone(), Arc::clone(&self.clock));
        let (kept, config) = (self.kept.clone(), self.config.clone());
        async move {
            let limit = Instant::now() + config.search_timeout;
            let mut is_outage = false;
            let answer = match registry.resolve(&key.image, limit).await {
                Ok(fetched) => read(&fetched).map(Arc::new),
                Err(error) => {
                    let evidence = failed(&error);
                    // What a registry refuses to show is not used on: access ends (CASES T077).
                    is_outage = matches!(evidence, Evidence::Unavailable(_)) && !error.is_refusal();
                    Err(Arc::new(evidence))
                }
            };
            let ttl = match (&answer, key.image.digest()) {
                (Ok(_), Some(_)) => config.access_ttl,
                (Ok(_), None) => config.tag_ttl,
                (Err(_), _) => config.failure_ttl,
            };
            let confirmed_at = clock.now();
            let until = confirmed_at + ttl;
            let fresh = match before.filter(|_| is_outage) {
                Some(before) => Fresh { until, source: Source::Memory, ..before },
                None => Fresh { answer, until, confirmed_at, source: Source::Registry },
            };
            // What a tag names is known by its digest too.
            if let (None, Ok(resolved)) = (key.image.digest(), &fresh.answer) {
                let key = Key { image: key.image.at(resolved.digest), ..key.clone() };
                kept.insert(
                    key,
                    Fresh { until: confirmed_at + config.access_ttl, ..fresh.clone() },
                )
                .await;
            }
            kept.insert(key, fresh.clone()).await;
            fresh
        }
    }
}

fn key(image: &Reference, access: &Arc<str>) -> Key {
    // Beside a digest, a tag is only a label.
    let image = image.digest().map_or_else(|| image.clone(), |digest| image.at(digest));
    Key { access: Arc::clone(access), image }
}

impl Key {
    /// Its bytes, with those behind it.
    fn weight(&self) -> usize {
        let image = self.image.registry().len() + self.image.repository().len();
        size_of::<Self>() + self.access.len() + image + self.image.tag().map_or(0, str::len)
    }
}

impl Fresh {
    fn weight(&self) -> usize {
        let behind = match &self.answer {
            Ok(resolved) => {
                let text = |p: &Platform| {
                    p.os.len() + p.architecture.len() + p.variant.as_ref().map_or(0, String::len)
                };
                let platforms = resolved.platforms.iter();
                platforms.map(|(p, _)| size_of::<(Platform, Digest)>() + text(p)).sum()
            }
            Err(evidence) => evidence.weight(),
        };
        size_of::<Self>() + size_of::<Resolved>() + behind
    }
}

/// What a manifest or index means.
///
/// # Errors
/// When it cannot be read, or in two ways, or has platforms that nobody would look at.
pub(crate) fn read(fetched: &Fetched) -> Result<Resolved, Unresolved> {
    let Fetched { bytes, media_type, digest } = fetched;
    let digest = *digest;
    let rejected = |reason, detail| {
        Arc::new(Evidence::Rejected(Rejection { reason, report: Some(digest), detail }))
    };
    match referrers::parse(bytes, media_type) {
        Ok(Document::Manifest(_)) => Ok(Resolved { digest, platforms: Vec::new() }),
        Ok(Document::Index(index)) if index.is_nested() => {
            let detail = "an entry of the index is an index itself, whose images nobody looks at";
            Err(rejected(Reason::Malformed, detail.to_owned()))
        }
        Ok(Document::Index(index)) => {
            let platforms = platforms(&index);
            let linux = platforms.iter().filter(|(platform, _)| is_linux(platform)).count();
            if linux.max(platforms.len() - linux) > MAX_PLATFORMS {
                let detail = format!(
                    "the index has {} platforms, more than the {MAX_PLATFORMS} allowed",
                    platforms.len()
                );
                return Err(rejected(Reason::TooMany, detail));
            }
            Ok(Resolved { digest, platforms })
        }
        Err(error) => Err(rejected(Reason::Malformed, detail(&error))),
    }
}

/// The entries that a node can run.
fn platforms(index: &Index) -> Vec<(Platform, Digest)> {
    let runnable = index
        .manifests
        .iter()
        .filter_map(|entry| entry.runnable_platform().map(|platform| (platform, entry.digest)));
    let mut runnable: Vec<_> = runnable.collect();
    runnable.sort();
    runnable.dedup();
    runnable
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

    fn fetched(index: &str) -> Fetched {
        Fetched {
            bytes: index.to_owned().into(),
            media_type: OCI_INDEX.to_owned(),
            digest: Digest::of(index.as_bytes()),
        }
    }

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
        let read = read(&fetched(&index(listed))).unwrap();
        let taken = read.taken_by(&Nodes::default());
        let names: Vec<_> = taken.iter().map(|(p, _)| p.to_string()).collect();
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
    fn nodes_of_another_system_take_what_is_for_it() {
        let listed = [("windows", "amd64"), ("linux", "amd64"), ("linux", "arm64")];
        let read = read(&fetched(&index(&listed))).unwrap();
        let taken = |node: &str| {
            let taken = read.taken_by(&Nodes::new([node.parse().unwrap()]));
            taken.iter().map(|(p, _)| p.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(taken("windows/amd64"), ["windows/amd64"]);
        assert_eq!(taken("linux/arm64"), ["linux/arm64"]);
    }

    #[test]
    fn an_index_within_an_index_is_refused() {
        let nested = index(&[("linux", "amd64")]).replace(OCI_MANIFEST, OCI_INDEX);
        let refused = read(&fetched(&nested)).unwrap_err();
        assert!(matches!(
            refused.as_ref(),
            Evidence::Rejected(Rejection { reason: Reason::Malformed, .. })
        ));
    }

    #[test]
    fn an_index_is_refused_one_platform_past_its_bound() {
        let names: Vec<_> = (0..=MAX_PLATFORMS).map(|n| format!("arch{n}")).collect();
        let entries: Vec<_> = names.iter().map(|name| ("linux", name.as_str())).collect();
        let parse = |n: usize| read(&fetched(&index(entries.get(..n).unwrap())));
        assert_eq!(parse(MAX_PLATFORMS).unwrap().platforms.len(), MAX_PLATFORMS);
        let refused = parse(MAX_PLATFORMS + 1).unwrap_err();
        assert!(matches!(
            refused.as_ref(),
            Evidence::Rejected(Rejection { reason: Reason::TooMany, .. })
        ));
    }
}
