//! An image reference in, digests out: the manifest that the reference names and, for an index, the
//! platforms in it.
//!
//! A tag never passes this module: what is decided about is always a digest, and one decision
//! resolves a reference once (CASES T073).

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use portcullis_core::evidence::{Cause, CauseKind, Evidence, Source};
use portcullis_core::image::{Digest, Meant, Nodes, Platform, Reference};
use portcullis_core::ports::Clock;
use portcullis_core::referrers::ANY_PLATFORM;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::caller::Caller;
use crate::clock::{Now, Stamp};
use crate::evidence::flights::{Flights, NoResult};
use crate::evidence::store::Store;
use crate::registry::Registry;
use crate::sieve::Sieve;

mod sought;
mod read;
mod expire;
mod places;
mod search;

use self::places::Places;
pub(crate) use self::read::read;
use self::sought::Hashed;
pub(crate) use self::sought::Sought;

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

/// A reference under an access scope. It has a digest or a tag, not both: beside a digest, a tag is only
/// a label.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    access: Arc<str>,
    image: Reference,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Hashed::of(&self.image).hash(state);
    }
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

/// What a digest, or a tag that was resolved lately, is known to name now.
pub(crate) enum Named {
    /// A manifest of one platform.
    One(Digest),
    /// An index.
    Index(Arc<Resolved>),
}

/// What is remembered under a key.
struct Entry {
    plan: Plan,
    /// Until when it is used, and when it is due, as the plan says.
    limits: (Stamp, Stamp),
    /// The manifest that it names, where that is no index: here, so that nothing further is looked at.
    alone: Option<Digest>,
    /// Whether somebody asks again in the background.
    is_asking: AtomicBool,
}

/// An answer, and what is to be done about it when.
#[derive(Clone)]
struct Plan {
    fresh: Fresh,
    /// From when on it is asked again in the background.
    due: OffsetDateTime,
    /// How many searches in a row could not find out.
    failures: u32,
}

/// What came of a search; why there was none, where there was no place for it.
type Found = Result<Plan, Unresolved>;

/// Resolves references, and remembers. Clones share what is remembered.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    registry: Registry,
    store: Store,
    config: ResolveConfig,
    clock: Arc<dyn Clock>,
    kept: Sieve<Key, Entry>,
    flights: Flights<Key, Found>,
    places: Places,
}

impl Resolver {
    /// Resolves with `registry`, and keeps what it says in `store`. Searches are tasks of `tasks` on
    /// `background`.
    #[must_use]
    pub fn new(
        registry: Registry,
        store: Store,
        config: ResolveConfig,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        background: Handle,
    ) -> Self {
        let (kept, flights) = (Sieve::new(MAX_REMEMBERED), Flights::new(tasks, background));
        let places = Places::default();
        Self(Arc::new(Shared { registry, store, clock, kept, flights, config, places }))
    }

    /// What tells how many names are remembered, and what they weigh in bytes. It keeps nothing open: the
    /// store, which knows the metrics that ask, is below.
    pub fn size(&self) -> impl Fn() -> (usize, u64) + Send + Sync + use<> {
        let names = Arc::downgrade(&self.0);
        let size = |names: Arc<Shared>| (names.kept.len(), names.kept.bytes());
        move || names.upgrade().map(size).unwrap_or_default()
    }

    /// What `image` is known to name now; `None` where it would have to be waited for.
    #[must_use]
    pub fn peek(&self, image: &Reference, access: &Arc<str>) -> Option<Fresh> {
        let hash = self.0.kept.hash(&Hashed::of(image));
        self.look(hash, image.into(), access, Now::by(&*self.0.clock), |entry, source| {
            Some(Fresh { source, ..entry.plan.fresh.clone() })
        })
    }

    /// As [`Self::peek`] for the time `now`, where it names something: and until when. Nothing is copied but
    /// what an index names.
    pub(crate) fn named(
        &self,
        Sought { image, hash }: Sought<'_>,
        access: &Arc<str>,
        now: Now,
    ) -> Option<(Named, Stamp)> {
        self.look(hash, image, access, now, |entry, _| {
            let named = match entry.alone {
                Some(digest) => Named::One(digest),
                None => Named::Index(Arc::clone(entry.plan.fresh.answer.as_ref().ok()?)),
            };
            Some((named, entry.limits.0))
        })
    }

    /// Gives `read` what may be used at `now` of what is remembered, and what its source is then.
    fn look<R>(
        &self,
        hash: u64,
        image: Meant<'_>,
        access: &Arc<str>,
        now: Now,
        read: impl FnOnce(&Entry, Source) -> Option<R>,
    ) -> Option<R> {
        let (found, is_due) = self.0.kept.get(
            hash,
            |key| key.is(image, access),
            |entry| {
                let (source, is_due) = self.0.look(entry, now)?;
                Some((read(entry, source), is_due))
            },
        )??;
        if is_due {
            // Nobody waits for it.
            drop(self.begin(&image.to_reference(), access, Caller::default()));
        }
        found
    }

    /// What `image` names, as far as it can be found out for `caller` by `deadline`; where it names
    /// nothing, the evidence says why.
    pub async fn resolve(
        &self,
        image: &Reference,
        access: &Arc<str>,
        caller: Caller,
        deadline: Instant,
    ) -> Fresh {
        if let Some(fresh) = self.peek(image, access) {
            return fresh;
        }
        // Who cannot wait for the search is answered from before it, while it goes on.
        let begun = self.begin(image, access, caller);
        let is_first = begun.is_first();
        let mut found = begun.wait(deadline).await;
        if !is_first && matches!(found, Ok(Err(_))) {
            // Who began it had no place, and that is no answer to others.
            found = self.begin(image, access, caller).wait(deadline).await;
        }
        match found {
            Ok(Ok(plan)) => plan.fresh,
            Ok(Err(no_place)) => self.before(image, access, no_place),
            Err(no_result) => self.before(image, access, unknown(no_result)),
        }
    }

    /// What is used where a search has no result in time; without, `why` there is none.
    fn before(&self, image: &Reference, access: &Arc<str>, why: Unresolved) -> Fresh {
        let now = self.0.clock.now();
        let before = self.0.kept.get(
            self.0.kept.hash(&Hashed::of(image)),
            |key| key.is(image.into(), access),
            |entry| entry.plan.fresh.clone(),
        );
        match before.filter(|fresh| self.0.is_usable(fresh, now)) {
            Some(fresh) if now < fresh.until => Fresh { source: Source::Memory, ..fresh },
            Some(fresh) => Fresh { source: Source::Stale, ..fresh },
            None => {
                let answer = Err(why);
                Fresh { answer, until: now, confirmed_at: now, source: Source::Registry }
            }
        }
    }
}

impl Key {
    /// Whether it is the key of `image`.
    fn is(&self, image: Meant<'_>, access: &Arc<str>) -> bool {
        let (own, digest) = (&self.image, image.digest());
        own.digest() == digest
            && own.name() == image.name()
            && (digest.is_some() || own.tag() == image.tag())
            && (Arc::ptr_eq(&self.access, access) || self.access == *access)
    }

    /// The bytes behind it.
    fn weight(&self) -> usize {
        self.image.as_str().len()
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
        2 * size_of::<usize>() + size_of::<Resolved>() + behind
    }
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
mod tests;
