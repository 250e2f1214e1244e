//! A reference, or a digest in the repository of one, in; which image is meant out.

use super::{Digest, Reference};

/// Which image is meant: that of a reference, or that of a digest in the reference's repository, of which the
/// text need not be written.
#[derive(Debug, Clone, Copy)]
pub struct Meant<'a> {
    reference: &'a Reference,
    /// The digest, where the reference only says which repository it is in.
    at: Option<Digest>,
}

impl<'a> Meant<'a> {
    /// The image of `digest` in the repository of `reference`, whatever tag or digest that names: what
    /// [`Reference::at`] gives.
    #[must_use]
    pub const fn at(reference: &'a Reference, digest: Digest) -> Self {
        Self { reference, at: Some(digest) }
    }

    /// The registry host, as in [`Reference::registry`].
    #[must_use]
    pub fn registry(self) -> &'a str {
        self.reference.registry()
    }

    /// `registry/repository`, as in [`Reference::name`].
    #[must_use]
    pub fn name(self) -> &'a str {
        self.reference.name()
    }

    /// The tag, if one was named.
    #[must_use]
    pub fn tag(self) -> Option<&'a str> {
        if self.at.is_some() { None } else { self.reference.tag() }
    }

    /// The digest, if one was named.
    #[must_use]
    pub const fn digest(self) -> Option<Digest> {
        match self.at {
            Some(digest) => Some(digest),
            None => self.reference.digest(),
        }
    }

    /// The reference that names it, if there is one already.
    #[must_use]
    pub const fn written(self) -> Option<&'a Reference> {
        match self.at {
            Some(_) => None,
            None => Some(self.reference),
        }
    }

    /// A reference that names it.
    #[must_use]
    pub fn to_reference(self) -> Reference {
        match self.at {
            Some(digest) => self.reference.at(digest),
            None => self.reference.clone(),
        }
    }
}

impl<'a> From<&'a Reference> for Meant<'a> {
    fn from(reference: &'a Reference) -> Self {
        Self { reference, at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_in_a_repository_is_meant_as_it_would_be_written() {
        let (own, other) = (Digest::of(b"own"), Digest::of(b"other"));
        let texts = ["reg.io:5000/a/b".to_owned(), "nginx:v1".to_owned()];
        let pinned = [format!("reg.io/a@{own}"), format!("reg.io/a:v1@{own}")];
        for text in texts.iter().chain(&pinned) {
            let reference: Reference = text.parse().unwrap();
            for meant in [Meant::from(&reference), Meant::at(&reference, other)] {
                let written = meant.to_reference();
                assert_eq!(meant.registry(), written.registry());
                assert_eq!(meant.name(), written.name());
                assert_eq!(meant.tag(), written.tag());
                assert_eq!(meant.digest(), written.digest());
                assert!(meant.written().is_none_or(|reference| *reference == written));
            }
            let at = Meant::at(&reference, other).to_reference();
            assert_eq!(at.as_str(), format!("{}@{other}", reference.name()));
        }
    }
}
