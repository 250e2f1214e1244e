//! A time-bound, scoped exception to rules: a container, a manifest and a finding in, whether it is
//! exempt out.

use std::sync::Arc;

use time::OffsetDateTime;

use super::node::Place;
use super::scope::Scope;
use super::{IdKey, Target};
use crate::findings::{FindingRef, FixState};
use crate::image::Digest;

/// An exception to rules. What it covers is not counted, or not asked for: each exemption by itself,
/// never two together (CASES T099).
#[derive(Debug, Clone)]
pub struct Exemption {
    pub(super) name: Arc<str>,
    pub(super) owner: Box<str>,
    pub(super) reason: Box<str>,
    pub(super) ticket: Option<Box<str>>,
    pub(super) from: Option<OffsetDateTime>,
    pub(super) until: Option<OffsetDateTime>,
    pub(super) until_fixed: bool,
    /// The names of the rules that it is for; `None` for all.
    pub(super) rules: Option<Vec<Arc<str>>>,
    /// Matchers of everything but vulnerabilities and digests.
    pub(super) scope: Scope,
    /// Matchers of digests (`image`): each must hold.
    pub(super) images: Vec<TextTest>,
    /// Matchers of vulnerabilities: each must hold. None covers all findings, and the evidence.
    pub(super) vulnerabilities: Vec<IdTest>,
    pub(super) place: (Arc<str>, Place),
}

/// What a matcher asks of a text: one of its values fits.
#[derive(Debug, Clone)]
pub(super) enum TextTest {
    Equals(Vec<Box<str>>),
    StartsWith(Vec<Box<str>>),
    EndsWith(Vec<Box<str>>),
    Contains(Vec<Box<str>>),
}

impl TextTest {
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Equals(values) => values.iter().any(|value| text == &**value),
            Self::StartsWith(values) => values.iter().any(|value| text.starts_with(&**value)),
            Self::EndsWith(values) => values.iter().any(|value| text.ends_with(&**value)),
            Self::Contains(values) => values.iter().any(|value| text.contains(&**value)),
        }
    }
}

/// What a matcher asks of a vulnerability's names. Its values are in upper case.
#[derive(Debug, Clone)]
pub(super) enum IdTest {
    /// One of its names is one of these, also by number.
    Equals(Vec<(IdKey, Box<str>)>),
    /// One of its names fits.
    Text(TextTest),
}

impl IdTest {
    pub(super) fn fits(&self, finding: FindingRef<'_>) -> bool {
        match self {
            Self::Equals(values) => values.iter().any(|(_, id)| finding.is(id)),
            Self::Text(test) => finding.ids().any(|id| test.fits(&id.to_ascii_uppercase())),
        }
    }
}

impl Exemption {
    /// Its unique name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Why it is there.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Where it is tracked.
    #[must_use]
    pub fn ticket(&self) -> Option<&str> {
        self.ticket.as_deref()
    }

    /// The first instant at which it holds; `None` if it always has.
    #[must_use]
    pub const fn from(&self) -> Option<OffsetDateTime> {
        self.from
    }

    /// The first instant at which it holds no longer; `None` if it does not end by itself.
    #[must_use]
    pub const fn until(&self) -> Option<OffsetDateTime> {
        self.until
    }

    /// Whether it ends for a finding when a fix is published.
    #[must_use]
    pub const fn is_until_fixed(&self) -> bool {
        self.until_fixed
    }

    /// Whether it is for the rule of this name.
    #[must_use]
    pub fn is_for(&self, rule: &str) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.iter().any(|name| **name == *rule))
    }

    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: OffsetDateTime) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// Whether it is about this container and this manifest of its image, whatever the time, the rule
    /// and the finding. `digests` are the manifest's own and that of the index which it is in.
    pub(crate) fn covers(&self, target: &Target<'_>, digests: &[Digest]) -> bool {
        let image = |test: &TextTest| digests.iter().any(|digest| test.fits(&digest.to_string()));
        self.images.iter().all(image) && self.scope.covers(target)
    }

    /// Whether it is about `finding`, where it covers the image.
    pub(crate) fn exempts(&self, finding: FindingRef<'_>) -> bool {
        self.vulnerabilities.iter().all(|test| test.fits(finding))
            && !(self.until_fixed && finding.fix_state() == FixState::Fixed)
    }

    /// Whether it is about the evidence itself too, where it covers the image: about a missing
    /// report, say. One for vulnerabilities is not.
    pub(crate) fn exempts_evidence(&self) -> bool {
        self.vulnerabilities.is_empty() && !self.until_fixed
    }
}

/// Where an image may run although a rule denies it, if someone says why.
#[derive(Debug, Clone)]
pub struct BreakGlass {
    pub(super) name: Arc<str>,
    pub(super) scope: Scope,
    /// The names of the rules whose denials it lifts; `None` for all.
    pub(super) rules: Option<Vec<Arc<str>>>,
    pub(super) place: (Arc<str>, Place),
}

impl BreakGlass {
    /// Its unique name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it lifts a denial of `rule` for `target`: never because of a tag beside a digest.
    pub(crate) fn lifts(&self, rule: &str, target: &Target<'_>) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.iter().any(|name| **name == *rule))
            && self.scope.surely_covers(target)
    }
}
