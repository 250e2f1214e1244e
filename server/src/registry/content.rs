//! Digests in, what was fetched under them before out: nothing immutable is fetched twice.
//!
//! Only bytes that have their digest come in here, so that they are right for ever; what changes,
//! tags and lists of what is attached, never does. The key names the registry, and with it the
//! credential, and the repository: bytes that one repository gave are no answer for another.
//!
//! What is kept says nothing of who may read it. [`super::Registry::resolve`] always asks, and a
//! search begins with the list of what is attached, which is always asked for too: so whoever gets
//! at what is kept has shown within the same search that the registry lets him read that repository
//! (ADR 0014).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use portcullis_core::image::Digest;
use portcullis_core::referrers;
use tokio::time::Instant;

use super::Fetched;
use super::error::RegistryError;
use super::observe::Observe;

/// The largest content that is kept, in bytes. Larger reports are few, and would drive out the many.
pub const MAX_KEPT: usize = 1024 * 1024;
/// For how long what nobody asks for is kept.
const IDLE: Duration = Duration::from_hours(1);
/// What the cache itself takes for an entry, in bytes: about.
const ENTRY: usize = 256;

/// What content is found by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) kind: Kind,
    pub(super) digest: Digest,
}

/// In which of a repository's two stores content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Manifest,
    Blob,
}

/// Content that has its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: Bytes,
    /// What a manifest is declared to be; empty for a blob.
    pub(super) media_type: String,
}

/// What was fetched, up to a number of bytes.
#[derive(Clone)]
pub(super) struct Contents {
    kept: Cache<Key, Content>,
    observer: Arc<dyn Observe>,
}

/// Why a fetch leaves nothing behind.
enum Unkept {
    Failed(RegistryError),
    /// It is not to be kept, but is the answer for all who wait for it.
    Passed(Content),
}

impl Contents {
    pub(super) fn new(max_bytes: u64, observer: Arc<dyn Observe>) -> Self {
        let kept = Cache::builder().weigher(weight).max_capacity(max_bytes).time_to_idle(IDLE);
        Self { kept: kept.build(), observer }
    }

    /// The content of `key`, from before or by `fetch`. All who ask at once wait for one fetch; who
    /// gives up, or whose time is up, takes nothing away from the others.
    pub(super) async fn get<F: Future<Output = Result<Content, RegistryError>>>(
        &self,
        key: Key,
        deadline: Instant,
        fetch: impl Fn() -> F,
    ) -> Result<Content, RegistryError> {
        let kind = key.kind;
        let (found, fetched) = loop {
            let mut fetched = false;
            let work = async {
                fetched = true;
                let content = fetch().await.map_err(Unkept::Failed)?;
                if content.is_keepable(kind) {
                    Ok(content.exact())
                } else {
                    Err(Unkept::Passed(content))
                }
            };
            let found = self.kept.try_get_with(key.clone(), Box::pin(work)).await;
            let is_anothers = !fetched
                && found.as_ref().is_err_and(
                    |unkept| matches!(&**unkept, Unkept::Failed(error) if error.is_the_askers()),
                );
            if !is_anothers || deadline <= Instant::now() {
                break (found, fetched);
            }
        };
        self.observer.on_content(!fetched, self.kept.weighted_size());
        found.or_else(|unkept| match &*unkept {
            Unkept::Failed(error) => Err(error.clone()),
            Unkept::Passed(content) => Ok(content.clone()),
        })
    }

    /// Keeps what was fetched otherwise.
    pub(super) async fn keep(&self, key: Key, fetched: &Fetched) {
        let Fetched { bytes, media_type, .. } = fetched;
        let content = Content { bytes: bytes.clone(), media_type: media_type.clone() };
        if content.is_keepable(key.kind) {
            self.kept.insert(key, content.exact()).await;
        }
    }
}

impl Content {
    /// Whether it is right for ever. The digest does not cover what a manifest is declared to be: a
    /// declaration that does not fit is the registry's word of today, and is asked for again.
    fn is_keepable(&self, kind: Kind) -> bool {
        self.bytes.len() <= MAX_KEPT
            && (kind == Kind::Blob || referrers::parse(&self.bytes, &self.media_type).is_ok())
    }

    /// A copy that takes no more memory than it has bytes, as it is weighed.
    fn exact(&self) -> Self {
        let bytes = Bytes::copy_from_slice(&self.bytes);
        Self { bytes, media_type: self.media_type.clone() }
    }
}

/// How much memory an entry takes, in bytes, with all it points to.
fn weight(key: &Key, content: &Content) -> u32 {
    let names = key.registry.len() + key.repository.len() + content.media_type.len();
    let all = ENTRY + size_of::<Key>() + size_of::<Content>() + names + content.bytes.len();
    u32::try_from(all).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::*;
    use crate::registry::Unobserved;

    fn key(number: usize, kind: Kind) -> Key {
        let digest = Digest::of(&number.to_be_bytes());
        Key { registry: "reg.io".to_owned(), repository: "team/app".to_owned(), kind, digest }
    }

    fn blob(length: usize) -> Content {
        Content { bytes: vec![b' '; length].into(), media_type: String::new() }
    }

    async fn is_kept(contents: &Contents, key: &Key, content: Content) -> bool {
        let fetch = || async { Ok(content.clone()) };
        contents.get(key.clone(), Instant::now(), fetch).await.unwrap();
        contents.kept.get(key).await.is_some()
    }

    #[tokio::test]
    async fn content_is_weighed_and_what_is_one_past_its_bound_is_not_kept() {
        let max = 8 * MAX_KEPT as u64;
        let contents = Contents::new(max, Arc::new(Unobserved));
        assert!(is_kept(&contents, &key(0, Kind::Blob), blob(MAX_KEPT)).await);
        assert!(!is_kept(&contents, &key(1, Kind::Blob), blob(MAX_KEPT + 1)).await);
        for number in 2..20 {
            is_kept(&contents, &key(number, Kind::Blob), blob(MAX_KEPT)).await;
        }
        contents.kept.run_pending_tasks().await;
        let weight = contents.kept.weighted_size();
        assert!(weight <= max && weight > max / 2, "{weight}");
    }

    #[tokio::test]
    async fn a_manifest_is_kept_only_as_what_it_is() {
        let contents = Contents::new(1 << 20, Arc::new(Unobserved));
        let manifest = |media_type: &str| Content {
            bytes: Bytes::from_static(br#"{"schemaVersion":2,"layers":[]}"#),
            media_type: media_type.to_owned(),
        };
        let key = key(0, Kind::Manifest);
        assert!(!is_kept(&contents, &key, manifest(referrers::OCI_INDEX)).await);
        assert!(is_kept(&contents, &key, manifest(referrers::OCI_MANIFEST)).await);
    }

    #[tokio::test]
    async fn who_has_time_left_does_not_fail_with_one_who_had_none() {
        let host = || "reg.io".to_owned();
        let denied =
            RegistryError::Denied { host: host(), repository: "team/app".to_owned(), status: 403 };
        let later = Instant::now() + Duration::from_secs(30);
        for (error, deadline, is_asked_again) in [
            (RegistryError::Deadline, later, true),
            (RegistryError::OverBudget { host: host() }, later, true),
            (RegistryError::OverBudget { host: host() }, Instant::now(), false),
            (denied, later, false),
        ] {
            let contents = Contents::new(1 << 20, Arc::new(Unobserved));
            let first = contents.get(key(0, Kind::Blob), later, || async {
                tokio::task::yield_now().await;
                Err(error.clone())
            });
            let second = contents.get(key(0, Kind::Blob), deadline, || async { Ok(blob(1)) });
            let (first, second) = join(first, second).await;
            assert!(first.is_err());
            assert_eq!(second.is_ok(), is_asked_again, "{error:?}");
        }
    }

    #[tokio::test]
    async fn each_part_of_a_key_counts() {
        let base = key(0, Kind::Blob);
        let others = [
            Key { registry: "reg.io:444".to_owned(), ..base.clone() },
            Key { repository: "team/other".to_owned(), ..base.clone() },
            Key { kind: Kind::Manifest, ..base.clone() },
            key(1, Kind::Blob),
        ];
        let contents = Contents::new(1 << 20, Arc::new(Unobserved));
        assert!(is_kept(&contents, &base, blob(1)).await);
        for other in others {
            assert!(contents.kept.get(&other).await.is_none());
        }
    }
}
