//! Findings of one report in, a compact list in the order of the walk out.

use std::cmp::Ordering;

use time::OffsetDateTime;

use super::{Analysis, Epss, Finding, FixState, Scanner, Score, Severity};

/// What one report says, in the normal form.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Who looked.
    pub scanner: Scanner,
    /// When the scan finished, as the signed report says (`scanFinishedOn`, `CreatedAt`), in UTC.
    pub scanned_at: OffsetDateTime,
    list: Vec<Finding>,
}

impl Findings {
    /// Puts the findings of a report in [`FindingRef::walk_order`], each once.
    #[must_use]
    pub fn new(scanner: Scanner, scanned_at: OffsetDateTime, mut list: Vec<Finding>) -> Self {
        list.sort_unstable_by(|a, b| FindingRef(a).walk_order(FindingRef(b)));
        list.dedup();
        list.shrink_to_fit();
        Self { scanner, scanned_at, list }
    }

    /// As [`Findings::new`], but equal findings stay apart: they are of several reports.
    pub(crate) fn with_repeats(
        scanner: Scanner,
        scanned_at: OffsetDateTime,
        mut list: Vec<Finding>,
    ) -> Self {
        list.sort_unstable_by(|a, b| FindingRef(a).walk_order(FindingRef(b)));
        Self { scanner, scanned_at, list }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none: the scanner looked, and found nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The one at `place` of the walk, from 0.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<FindingRef<'_>> {
        self.list.get(place).map(FindingRef)
    }

    /// All, in the order of the walk.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = FindingRef<'_>> + ExactSizeIterator {
        self.list.iter().map(FindingRef)
    }

    /// What it takes in memory, in bytes: itself and its heap, without the allocator's own.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + self.scanner.name.capacity()
            + self.scanner.version.as_ref().map_or(0, String::capacity)
            + self.list.capacity() * size_of::<Finding>()
            + self.list.iter().map(heap).sum::<usize>()
    }
}

/// Bytes on the heap.
fn heap(finding: &Finding) -> usize {
    let text = |t: &Option<Box<str>>| t.as_ref().map_or(0, |t| t.len());
    let list = |l: &Vec<Box<str>>| {
        l.capacity() * size_of::<Box<str>>() + l.iter().map(|t| t.len()).sum::<usize>()
    };
    finding.id.len()
        + text(&finding.package)
        + text(&finding.purl)
        + text(&finding.installed)
        + list(&finding.aliases)
        + list(&finding.fixed)
}

/// One finding of a [`Findings`]. Its parts are described at [`Finding`].
#[derive(Debug, Clone, Copy)]
pub struct FindingRef<'a>(&'a Finding);

#[expect(missing_docs, reason = "each is a field of `Finding`, described there")]
impl<'a> FindingRef<'a> {
    #[must_use]
    pub fn id(self) -> &'a str {
        &self.0.id
    }

    pub fn aliases(self) -> impl ExactSizeIterator<Item = &'a str> + Clone {
        self.0.aliases.iter().map(|alias| &**alias)
    }

    #[must_use]
    pub const fn severity(self) -> Severity {
        self.0.severity
    }

    #[must_use]
    pub const fn score(self) -> Option<Score> {
        self.0.score
    }

    #[must_use]
    pub fn package(self) -> Option<&'a str> {
        self.0.package.as_deref()
    }

    #[must_use]
    pub fn purl(self) -> Option<&'a str> {
        self.0.purl.as_deref()
    }

    #[must_use]
    pub fn installed(self) -> Option<&'a str> {
        self.0.installed.as_deref()
    }

    pub fn fixed(self) -> impl ExactSizeIterator<Item = &'a str> + Clone {
        self.0.fixed.iter().map(|version| &**version)
    }

    #[must_use]
    pub const fn fix_state(self) -> FixState {
        self.0.fix_state
    }

    #[must_use]
    pub const fn known_exploited(self) -> Option<bool> {
        self.0.known_exploited
    }

    #[must_use]
    pub const fn epss(self) -> Option<Epss> {
        self.0.epss
    }

    #[must_use]
    pub const fn published(self) -> Option<OffsetDateTime> {
        self.0.published
    }

    #[must_use]
    pub const fn first_seen(self) -> Option<OffsetDateTime> {
        self.0.first_seen
    }

    #[must_use]
    pub const fn analysis(self) -> Analysis {
        self.0.analysis
    }
}

impl<'a> FindingRef<'a> {
    /// All names of the vulnerability: its identifier first, then the aliases.
    pub fn ids(self) -> impl Iterator<Item = &'a str> + Clone {
        std::iter::once(self.id()).chain(self.aliases())
    }

    /// Whether `id` names this vulnerability, by identifier or alias, whatever its case.
    #[must_use]
    pub fn is(self, id: &str) -> bool {
        self.ids().any(|own| own.eq_ignore_ascii_case(id))
    }

    /// A copy that stands alone.
    #[must_use]
    pub fn to_finding(self) -> Finding {
        self.0.clone()
    }

    /// The order of the documented evaluation: most severe first, then a fixed order of all other
    /// fields, so that every replica walks alike and only equal findings compare equal.
    #[must_use]
    pub fn walk_order(self, other: FindingRef<'_>) -> Ordering {
        let badness = |f: FindingRef<'_>| (f.severity(), f.score());
        badness(other)
            .cmp(&badness(self))
            .then_with(|| self.id().cmp(other.id()))
            .then_with(|| self.package().cmp(&other.package()))
            .then_with(|| self.installed().cmp(&other.installed()))
            .then_with(|| self.purl().cmp(&other.purl()))
            .then_with(|| self.aliases().cmp(other.aliases()))
            .then_with(|| self.fixed().cmp(other.fixed()))
            .then_with(|| self.fix_state().cmp(&other.fix_state()))
            .then_with(|| self.known_exploited().cmp(&other.known_exploited()))
            .then_with(|| self.epss().cmp(&other.epss()))
            .then_with(|| self.published().cmp(&other.published()))
            .then_with(|| self.first_seen().cmp(&other.first_seen()))
            .then_with(|| self.analysis().cmp(&other.analysis()))
    }
}
