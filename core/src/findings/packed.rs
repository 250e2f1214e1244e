//! Findings of one report in, a compact list in the order of the walk out.

mod dictionary;
mod pool;
mod row;
mod said;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use super::{Analysis, Epss, Finding, FixState, Scanner, Score, Severity};
pub use dictionary::{Dictionary, Remains};
use pool::{Interner, Package, Pool, Rare, Vulnerability};
use row::Row;
use said::Said;

/// What one report says, in the normal form.
#[derive(Clone)]
pub struct Findings {
    /// Who looked.
    pub scanner: Arc<Scanner>,
    /// When the scan finished, as the signed report says (`scanFinishedOn`, `CreatedAt`), in UTC.
    pub scanned_at: OffsetDateTime,
    /// How many there are of each severity alone: every answer tells, and would go through the rows.
    counts: [u32; 6],
    /// The numbers that the rows have in the pool, in the order of the walk. None where they are all of
    /// the pool's, in its order.
    order: Box<[u32]>,
    /// Aside, since most answers have no use for it. It is a dictionary's where that has all words.
    pool: Arc<Pool>,
}

impl Findings {
    /// Puts the findings of a report in [`FindingRef::walk_order`], each once.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "two copies are not for keeping")]
    pub fn new(
        scanner: impl Into<Arc<Scanner>>,
        scanned_at: OffsetDateTime,
        list: Vec<Finding>,
    ) -> Self {
        let (mut rows, pool) = packed(&list, u32::MAX);
        rows.dedup_by(|a, b| in_walk(&pool, a, b).is_eq());
        Self::with_rows(scanner.into(), scanned_at, rows, pool)
    }

    /// As [`Findings::new`], but equal findings stay apart: they are of several reports.
    #[expect(clippy::needless_pass_by_value, reason = "two copies are not for keeping")]
    pub(crate) fn with_repeats(
        scanner: Scanner,
        scanned_at: OffsetDateTime,
        list: Vec<Finding>,
    ) -> Self {
        let (rows, pool) = packed(&list, u32::MAX);
        Self::with_rows(scanner.into(), scanned_at, rows, pool)
    }

    /// With all of `rows`, which are in the order of the walk.
    fn with_rows(
        scanner: Arc<Scanner>,
        scanned_at: OffsetDateTime,
        rows: Vec<Row>,
        pool: Pool,
    ) -> Self {
        let counts = counted(rows.iter().map(|row| row.severity));
        let pool = Arc::new(pool.with_rows(rows));
        Self { scanner, scanned_at, counts, order: Box::default(), pool }
    }

    /// The same, which shares with others what is in `dictionary`.
    #[must_use]
    pub fn sharing(&self, dictionary: &Dictionary) -> Self {
        let mut interner = Interner::sharing(dictionary);
        // In the order that they have: it does not depend on numbers.
        let order = self.iter().map(|finding| {
            let row = Row::new(&Said::from(finding), &mut interner);
            interner.row(row)
        });
        let order = order.collect();
        let Self { scanned_at, counts, .. } = *self;
        let scanner = dictionary.scanner(&self.scanner);
        Self { scanner, scanned_at, counts, order, pool: interner.finish_sharing() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.iter().fold(0, |sum, count| sum + usize::try_from(*count).unwrap_or(usize::MAX))
    }

    /// How many there are of `severity` alone.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let count = self.counts.get(severity as usize).copied().unwrap_or_default();
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Whether there are none: the scanner looked, and found nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 6]
    }

    /// The one at `place` of the walk, from 0.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<FindingRef<'_>> {
        let number = if self.order.is_empty() {
            u32::try_from(place).ok().filter(|_| place < self.len())?
        } else {
            *self.order.get(place)?
        };
        Some(FindingRef { row: self.pool.row(number), pool: &self.pool })
    }

    /// All, in the order of the walk.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = FindingRef<'_>> + ExactSizeIterator {
        // What is behind the last has no row of its own, and nobody gets there.
        let nothing = FindingRef { row: &Row::NOTHING, pool: &self.pool };
        (0..self.len()).map(move |place| self.get(place).unwrap_or(nothing))
    }

    /// What it takes in memory, in bytes: itself and its heap, without the allocator's own and without
    /// what it shares with others. Its scanner counts as its own, although most often it is not.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + size_of::<Scanner>()
            + self.scanner.name.capacity()
            + self.scanner.version.as_ref().map_or(0, String::capacity)
            + size_of_val(&*self.order)
            + self.pool.weight()
    }
}

/// How many there are of each severity.
fn counted(severities: impl Iterator<Item = Severity>) -> [u32; 6] {
    let mut counts = [0; 6];
    for severity in severities {
        if let Some(count) = counts.get_mut(severity as usize) {
            *count += 1;
        }
    }
    counts
}

/// Rows in the order of the walk, and what they share. `reach` is what [`Interner::new`] takes.
fn packed(list: &[Finding], reach: u32) -> (Vec<Row>, Pool) {
    let mut interner = Interner::new(reach);
    let rows = list.iter().map(|finding| Row::new(&Said::from(finding), &mut interner));
    let mut rows: Vec<Row> = rows.collect();
    let pool = interner.finish();
    rows.sort_unstable_by(|a, b| in_walk(&pool, a, b));
    (rows, pool)
}

fn in_walk(pool: &Pool, a: &Row, b: &Row) -> Ordering {
    FindingRef { row: a, pool }.walk_order(FindingRef { row: b, pool })
}

/// Numbers depend on the order in which findings came, what they stand for does not.
impl PartialEq for Findings {
    fn eq(&self, other: &Self) -> bool {
        self.scanner == other.scanner
            && self.scanned_at == other.scanned_at
            && self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(a, b)| a.walk_order(b).is_eq())
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Findings")
            .field("scanner", &self.scanner)
            .field("scanned_at", &self.scanned_at)
            .field("list", &Vec::from_iter(self.iter()))
            .finish()
    }
}

/// One finding of a [`Findings`]. Its parts are described at [`Finding`].
#[derive(Clone, Copy)]
pub struct FindingRef<'a> {
    row: &'a Row,
    pool: &'a Pool,
}

impl fmt::Debug for FindingRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_finding().fmt(f)
    }
}

#[expect(missing_docs, reason = "each is a field of `Finding`, described there")]
impl<'a> FindingRef<'a> {
    #[must_use]
    pub fn id(self) -> &'a str {
        self.pool.text(self.vulnerability().0.id).unwrap_or_default()
    }

    pub fn aliases(self) -> impl ExactSizeIterator<Item = &'a str> + Clone {
        self.pool.list(self.vulnerability().0.aliases)
    }

    #[must_use]
    pub const fn severity(self) -> Severity {
        self.row.severity
    }

    #[must_use]
    pub const fn score(self) -> Option<Score> {
        self.row.score
    }

    #[must_use]
    pub fn package(self) -> Option<&'a str> {
        self.pool.text(self.described().name)
    }

    #[must_use]
    pub fn purl(self) -> Option<&'a str> {
        self.pool.text(self.described().purl)
    }

    #[must_use]
    pub fn installed(self) -> Option<&'a str> {
        self.pool.text(self.described().installed)
    }

    pub fn fixed(self) -> impl ExactSizeIterator<Item = &'a str> + Clone {
        self.pool.list(self.row.fixed)
    }

    #[must_use]
    pub const fn fix_state(self) -> FixState {
        self.row.fix_state()
    }

    #[must_use]
    pub const fn known_exploited(self) -> Option<bool> {
        self.row.known_exploited()
    }

    #[must_use]
    pub fn epss(self) -> Option<Epss> {
        Epss::from_f64(f32::from_bits(self.rare().0.epss).into())
    }

    #[must_use]
    pub fn published(self) -> Option<OffsetDateTime> {
        let (vulnerability, pool) = self.vulnerability();
        pool.instant(vulnerability.published)
    }

    #[must_use]
    pub fn first_seen(self) -> Option<OffsetDateTime> {
        let (rare, pool) = self.rare();
        pool.instant(rare.first_seen)
    }

    #[must_use]
    pub const fn analysis(self) -> Analysis {
        self.row.analysis()
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
        Finding {
            id: self.id().into(),
            aliases: self.aliases().map(Box::from).collect(),
            severity: self.severity(),
            score: self.score(),
            package: self.package().map(Box::from),
            purl: self.purl().map(Box::from),
            installed: self.installed().map(Box::from),
            fixed: self.fixed().map(Box::from).collect(),
            fix_state: self.fix_state(),
            known_exploited: self.known_exploited(),
            epss: self.epss(),
            published: self.published(),
            first_seen: self.first_seen(),
            analysis: self.analysis(),
        }
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

    fn vulnerability(self) -> (Vulnerability, &'a Pool) {
        self.pool.vulnerability(self.row.vulnerability)
    }

    fn rare(self) -> (Rare, &'a Pool) {
        self.pool.rare(self.row.rare)
    }

    fn described(self) -> Package {
        self.pool.package(self.row.package)
    }
}

#[cfg(test)]
mod tests;
