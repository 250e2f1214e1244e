//! Images that are looked for in, what they hash to out.

use std::hash::{Hash, Hasher};

use foldhash::fast::FoldHasher;
use portcullis_core::image::{Digest, Meant, Reference};

use super::Resolver;
use crate::evidence::Asked as ByDigest;

/// The parts of a key that are hashed. With a digest, they are hashed as the evidence's key is.
pub(super) struct Hashed<'a> {
    name: &'a str,
    digest: Option<Digest>,
    tag: Option<&'a str>,
}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.digest {
            Some(digest) => ByDigest { name: self.name, digest }.hash(state),
            None => (self.name, self.tag).hash(state),
        }
    }
}

impl<'a> Hashed<'a> {
    pub(super) fn of(image: impl Into<Meant<'a>>) -> Self {
        let image = image.into();
        let digest = image.digest();
        let tag = if digest.is_none() { image.tag() } else { None };
        Self { name: image.name(), digest, tag }
    }
}

/// An image that is looked for, and what it hashes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought<'a> {
    pub(crate) image: Meant<'a>,
    pub(super) hash: u64,
}

impl Sought<'_> {
    /// What the name of the image and `digest` hash to, if it is known: that of the image is of its own
    /// digest, not of its platforms'.
    pub(crate) fn hash_of(&self, digest: Digest) -> Option<u64> {
        (self.image.digest() == Some(digest)).then_some(self.hash)
    }
}

/// The repository of a reference, of whose images many are looked for: its name is hashed once.
pub(crate) struct Repository<'a> {
    reference: &'a Reference,
    begun: FoldHasher,
}

impl<'a> Repository<'a> {
    /// That of `reference`; `begun` has hashed nothing yet.
    pub(super) fn of(reference: &'a Reference, mut begun: FoldHasher) -> Self {
        reference.name().hash(&mut begun);
        Self { reference, begun }
    }

    /// The image of `digest` in it.
    pub(crate) fn at(&self, digest: Digest) -> Sought<'a> {
        let mut state = self.begun.clone();
        // As `ByDigest` goes on after the name.
        digest.hash(&mut state);
        Sought { image: Meant::at(self.reference, digest), hash: state.finish() }
    }
}

impl Resolver {
    /// `image`, to be looked for here and in the memory of evidence.
    pub(crate) fn sought<'a>(&self, image: &'a Reference) -> Sought<'a> {
        Sought { image: image.into(), hash: self.0.kept.hash(&Hashed::of(image)) }
    }

    /// The repository of `reference`, whatever tag or digest that names.
    pub(crate) fn repository<'a>(&self, reference: &'a Reference) -> Repository<'a> {
        Repository::of(reference, self.0.kept.hasher())
    }
}
