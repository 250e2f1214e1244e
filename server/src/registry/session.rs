//! A search in, what its registry answered out, and back: the same search once more without asking.
//!
//! What is kept of a search are the registry's own answers: lists of what is attached, and content by
//! digest, signatures among it. Nothing that was concluded from them is. A search that is repeated from
//! them verifies all of it again, by the same code.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use portcullis_core::image::Digest;
use portcullis_core::referrers::Descriptor;

use super::Fetched;
use super::content::{Content, Kind};
use super::error::RegistryError;

mod form;

pub use self::form::AnswersError;

/// The most bytes of one search that are kept, with all reports and signatures.
pub const MAX_ANSWERS: usize = 8 * 1024 * 1024;

/// What a registry answered in one search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    lists: BTreeMap<Digest, Vec<Descriptor>>,
    /// By tag; none where the registry said that there is no such tag.
    tags: BTreeMap<String, Option<Digest>>,
    contents: BTreeMap<(Kind, Digest), Content>,
}

impl Answers {
    /// That `tag`, or a digest, names this manifest.
    #[must_use]
    pub fn of(tag: Option<&str>, fetched: &Fetched) -> Self {
        let mut answers = Self::default();
        answers.manifest(fetched);
        if let Some(tag) = tag {
            answers.tags.insert(tag.to_owned(), Some(fetched.digest));
        }
        answers
    }

    /// The manifest that `tag`, or `digest` where there is one, names.
    #[must_use]
    pub fn named(&self, tag: Option<&str>, digest: Option<Digest>) -> Option<Fetched> {
        let digest = digest.or_else(|| self.tags.get(tag?).copied()?)?;
        let Content { bytes, media_type } = self.contents.get(&(Kind::Manifest, digest))?.clone();
        Some(Fetched { bytes, media_type, digest })
    }

    fn manifest(&mut self, fetched: &Fetched) {
        let Fetched { bytes, media_type, digest } = fetched.clone();
        self.contents.insert((Kind::Manifest, digest), Content { bytes, media_type });
    }

    /// About what they take in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        const EACH: usize = 512;
        let listed: usize = self.lists.values().map(Vec::len).sum();
        self.bytes() + EACH * (1 + listed + self.tags.len() + self.contents.len())
    }

    fn bytes(&self) -> usize {
        self.contents.values().map(|content| content.bytes.len()).sum()
    }
}

/// Where a registry client has its answers from.
#[derive(Clone)]
pub(super) enum Session {
    /// From registries.
    Live,
    /// From registries, and they are written down.
    Recording(Recording),
    /// From a search before.
    Replaying(Arc<Answers>),
}

/// What is written down of a search. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Recording(Arc<Mutex<Answers>>);

impl Recording {
    /// What was answered so far; none if it is more than [`MAX_ANSWERS`].
    #[must_use]
    pub fn take(&self) -> Option<Answers> {
        let answers = std::mem::take(&mut *self.0.lock());
        (answers.bytes() <= MAX_ANSWERS).then_some(answers)
    }

    /// Writes down something, unless it is too much already: one past the bound tells so.
    fn write(&self, write: impl FnOnce(&mut Answers)) {
        let mut answers = self.0.lock();
        if answers.bytes() <= MAX_ANSWERS {
            write(&mut answers);
        }
    }
}

impl Session {
    pub(super) fn list(&self, digest: Digest) -> Option<Result<Vec<Descriptor>, RegistryError>> {
        let Self::Replaying(answers) = self else { return None };
        Some(answers.lists.get(&digest).cloned().ok_or(RegistryError::NotKept))
    }

    pub(super) fn tag(&self, tag: &str) -> Option<Result<Fetched, RegistryError>> {
        let Self::Replaying(answers) = self else { return None };
        let absent = || RegistryError::NotFound {
            host: "the store".to_owned(),
            what: format!("tag `{tag}`"),
        };
        Some(match answers.tags.get(tag) {
            Some(Some(_)) => answers.named(Some(tag), None).ok_or(RegistryError::NotKept),
            Some(None) => Err(absent()),
            None => Err(RegistryError::NotKept),
        })
    }

    pub(super) fn content(
        &self,
        kind: Kind,
        digest: Digest,
    ) -> Option<Result<Content, RegistryError>> {
        let Self::Replaying(answers) = self else { return None };
        Some(answers.contents.get(&(kind, digest)).cloned().ok_or(RegistryError::NotKept))
    }

    pub(super) fn listed(&self, digest: Digest, list: &[Descriptor]) {
        if let Self::Recording(recording) = self {
            recording.write(|answers| {
                answers.lists.insert(digest, list.to_vec());
            });
        }
    }

    pub(super) fn tagged(&self, tag: &str, answer: &Result<Fetched, RegistryError>) {
        let Self::Recording(recording) = self else { return };
        match answer {
            Ok(fetched) => recording.write(|answers| {
                answers.manifest(fetched);
                answers.tags.insert(tag.to_owned(), Some(fetched.digest));
            }),
            Err(error) if error.is_not_found() => {
                recording.write(|answers| {
                    answers.tags.insert(tag.to_owned(), None);
                });
            }
            Err(_) => {}
        }
    }

    pub(super) fn fetched(&self, kind: Kind, digest: Digest, bytes: &Bytes, media_type: &str) {
        if let Self::Recording(recording) = self {
            let content = Content { bytes: bytes.clone(), media_type: media_type.to_owned() };
            recording.write(|answers| {
                answers.contents.insert((kind, digest), content);
            });
        }
    }
}
