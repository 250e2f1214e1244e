//! What many findings have in common in, each of it once and by number out.

use std::ops::Range;
use std::sync::Arc;

use time::OffsetDateTime;

use super::row::Row;

pub(super) use self::interner::Interner;

mod interner;

/// The number that nothing has.
///
/// There is never a use for it by lack of numbers: what has none left has been read from more than
/// four billion entries of 16 bytes each, and would be taken for not stated.
const NONE: u32 = u32::MAX;

/// Number of a text, or of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Text(u32);

/// Number of a list of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct List(u32);

/// Number of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PackageKey(u32);

/// Number of a vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct VulnerabilityKey(u32);

/// One vulnerability as a report describes it, whatever it was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Vulnerability {
    pub(super) id: Text,
    pub(super) aliases: List,
    pub(super) published: Instant,
}

/// Number of what few findings state, or of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RareKey(u32);

impl VulnerabilityKey {
    pub(super) const NOTHING: Self = Self(NONE);
}

impl PackageKey {
    pub(super) const NOTHING: Self = Self(NONE);
}

impl List {
    pub(super) const NOTHING: Self = Self(NONE);
}

impl RareKey {
    pub(super) const NOTHING: Self = Self(NONE);
}

/// What few findings state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rare {
    pub(super) first_seen: Instant,
    /// The bits of the probability, or of what is none.
    pub(super) epss: u32,
}

impl Rare {
    /// Nothing of it is stated.
    pub(super) const NOTHING: Self = Self { first_seen: Instant(NONE), epss: f32::NAN.to_bits() };
}

/// One package as a report describes it. Each part may be not stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Package {
    pub(super) name: Text,
    pub(super) purl: Text,
    pub(super) installed: Text,
}

/// A time, or none: seconds from 1970 to before [`Instant::LISTED`] as they are, every other time by
/// a number from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Instant(u32);

impl Instant {
    /// In August 2097, with room for 268 million other times after it.
    const LISTED: u32 = 0xF000_0000;

    /// Whether it is one of a pool's odd times.
    const fn is_listed(self) -> bool {
        self.0 >= Self::LISTED && self.0 != NONE
    }
}

/// Texts, lists, packages and odd times of many findings, each once. Numbers begin with those of the
/// words that it shares with others.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    /// What others have in common with it, which shares nothing itself.
    shared: Option<Arc<Self>>,
    /// The texts, one behind the other.
    texts: Box<str>,
    /// Where each of `texts` ends, in bytes.
    text_ends: Box<[u32]>,
    /// The texts that come after those in number, because a `u32` cannot say where they end.
    far_texts: Box<[Box<str>]>,
    /// The lists, one behind the other.
    lists: Box<[Text]>,
    /// Where each of `lists` ends.
    list_ends: Box<[u32]>,
    packages: Box<[Package]>,
    vulnerabilities: Box<[Vulnerability]>,
    rare: Box<[Rare]>,
    instants: Box<[OffsetDateTime]>,
    rows: Box<[Row]>,
    /// Whether it is a dictionary's, and of no report alone.
    is_common: bool,
}

impl Pool {
    /// The same, with `rows` in place of what it had.
    pub(super) fn with_rows(self, rows: Vec<Row>) -> Self {
        Self { rows: rows.into_boxed_slice(), ..self }
    }

    /// The row of this number.
    pub(super) fn row(&self, number: u32) -> &Row {
        let (pool, number) = self.of(number, Self::count_of_rows);
        let found = usize::try_from(number).ok().and_then(|number| pool.rows.get(number));
        found.unwrap_or(&Row::NOTHING)
    }

    fn count_of_rows(&self) -> usize {
        self.rows.len()
    }

    fn count_of_rare(&self) -> usize {
        self.rare.len()
    }

    /// Whether it adds nothing to what it shares.
    fn is_empty(&self) -> bool {
        self.own() == 0
    }

    /// The text of this number; `None` if it is not stated.
    pub(super) fn text(&self, Text(number): Text) -> Option<&str> {
        let (pool, number) = self.of(number, Self::count_of_texts);
        match range(&pool.text_ends, number) {
            Some(range) => pool.texts.get(range),
            None => {
                let far = usize::try_from(number).ok()?.checked_sub(pool.text_ends.len())?;
                pool.far_texts.get(far).map(|text| &**text)
            }
        }
    }

    /// Whose a number is, and which it has there.
    fn of(&self, number: u32, count: impl Fn(&Self) -> usize) -> (&Self, u32) {
        let Some(shared) = &self.shared else { return (self, number) };
        match number.checked_sub(numbered(count(shared))) {
            Some(own) if number != NONE => (self, own),
            Some(_) => (self, NONE),
            None => (shared, number),
        }
    }

    fn count_of_texts(&self) -> usize {
        self.text_ends.len() + self.far_texts.len()
    }

    fn count_of_lists(&self) -> usize {
        self.list_ends.len()
    }

    fn count_of_packages(&self) -> usize {
        self.packages.len()
    }

    fn count_of_vulnerabilities(&self) -> usize {
        self.vulnerabilities.len()
    }

    /// The vulnerability, and the pool that has the time at which it was published.
    pub(super) fn vulnerability(
        &self,
        VulnerabilityKey(number): VulnerabilityKey,
    ) -> (Vulnerability, &Self) {
        let (pool, number) = self.of(number, Self::count_of_vulnerabilities);
        let found = usize::try_from(number).ok().and_then(|n| pool.vulnerabilities.get(n)).copied();
        let (id, aliases, published) = (Text(NONE), List(NONE), Instant(NONE));
        let found = found.unwrap_or(Vulnerability { id, aliases, published });
        (found, pool)
    }

    /// What is rarely stated, and the pool that has the time of it.
    pub(super) fn rare(&self, RareKey(number): RareKey) -> (Rare, &Self) {
        let (pool, number) = self.of(number, Self::count_of_rare);
        let found = usize::try_from(number).ok().and_then(|n| pool.rare.get(n)).copied();
        (found.unwrap_or(Rare::NOTHING), pool)
    }

    pub(super) fn list(&self, List(number): List) -> impl ExactSizeIterator<Item = &str> + Clone {
        let (pool, number) = self.of(number, Self::count_of_lists);
        let list = range(&pool.list_ends, number).and_then(|range| pool.lists.get(range));
        list.unwrap_or_default().iter().map(|text| self.text(*text).unwrap_or_default())
    }

    pub(super) fn package(&self, PackageKey(number): PackageKey) -> Package {
        let (pool, number) = self.of(number, Self::count_of_packages);
        let package = usize::try_from(number).ok().and_then(|n| pool.packages.get(n)).copied();
        package.unwrap_or(Package { name: Text(NONE), purl: Text(NONE), installed: Text(NONE) })
    }

    /// The time, in UTC; `None` if it is not stated.
    pub(super) fn instant(&self, Instant(number): Instant) -> Option<OffsetDateTime> {
        match number.checked_sub(Instant::LISTED) {
            None => OffsetDateTime::from_unix_timestamp(number.into()).ok(),
            Some(listed) => self.instants.get(usize::try_from(listed).ok()?).copied(),
        }
    }

    /// What it takes, in bytes, without what it shares: nothing if it is a dictionary's.
    pub(super) fn weight(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        if self.is_common { 0 } else { COUNTS + size_of::<Self>() + self.own() }
    }

    /// What it takes on the heap, in bytes.
    pub(super) fn own(&self) -> usize {
        let Self {
            shared: _,
            texts,
            text_ends,
            far_texts,
            lists,
            list_ends,
            packages,
            vulnerabilities,
            rare,
            instants,
            rows,
            is_common: _,
        } = self;
        texts.len()
            + size_of_val(&**text_ends)
            + size_of_val(&**far_texts)
            + far_texts.iter().map(|text| text.len()).sum::<usize>()
            + size_of_val(&**lists)
            + size_of_val(&**list_ends)
            + size_of_val(&**packages)
            + size_of_val(&**vulnerabilities)
            + size_of_val(&**rare)
            + size_of_val(&**instants)
            + size_of_val(&**rows)
    }
}

/// From where to where the entry of this number goes.
fn range(ends: &[u32], number: u32) -> Option<Range<usize>> {
    let number = usize::try_from(number).ok()?;
    let end = *ends.get(number)?;
    let start = match number.checked_sub(1) {
        Some(before) => *ends.get(before)?,
        None => 0,
    };
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn numbered(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}
