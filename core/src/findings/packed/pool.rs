//! What many findings have in common in, each of it once and by number out.

use std::collections::HashMap;
use std::ops::Range;

use time::OffsetDateTime;

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

/// One package as a report describes it. Each part may be not stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Package {
    pub(super) name: Text,
    pub(super) purl: Text,
    pub(super) installed: Text,
}

/// A time, or none: seconds from 1970 to before [`Instant::LISTED`] as they are, every other time by
/// a number from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instant(u32);

impl Instant {
    /// In August 2097, with room for 268 million other times after it.
    const LISTED: u32 = 0xF000_0000;
}

/// Texts, lists, packages and odd times of many findings, each once.
#[derive(Debug, Clone)]
pub(super) struct Pool {
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
    instants: Box<[OffsetDateTime]>,
}

impl Pool {
    /// The text of this number; `None` if it is not stated.
    pub(super) fn text(&self, Text(number): Text) -> Option<&str> {
        match range(&self.text_ends, number) {
            Some(range) => self.texts.get(range),
            None => {
                let far = usize::try_from(number).ok()?.checked_sub(self.text_ends.len())?;
                self.far_texts.get(far).map(|text| &**text)
            }
        }
    }

    pub(super) fn list(&self, List(number): List) -> impl ExactSizeIterator<Item = &str> + Clone {
        let list = range(&self.list_ends, number).and_then(|range| self.lists.get(range));
        list.unwrap_or_default().iter().map(|text| self.text(*text).unwrap_or_default())
    }

    pub(super) fn package(&self, PackageKey(number): PackageKey) -> Package {
        let package = usize::try_from(number).ok().and_then(|n| self.packages.get(n)).copied();
        package.unwrap_or(Package { name: Text(NONE), purl: Text(NONE), installed: Text(NONE) })
    }

    /// The time, in UTC; `None` if it is not stated.
    pub(super) fn instant(&self, Instant(number): Instant) -> Option<OffsetDateTime> {
        match number.checked_sub(Instant::LISTED) {
            None => OffsetDateTime::from_unix_timestamp(number.into()).ok(),
            Some(listed) => self.instants.get(usize::try_from(listed).ok()?).copied(),
        }
    }

    /// What it takes on the heap, in bytes.
    pub(super) fn weight(&self) -> usize {
        let Self { texts, text_ends, far_texts, lists, list_ends, packages, instants } = self;
        texts.len()
            + size_of_val(&**text_ends)
            + size_of_val(&**far_texts)
            + far_texts.iter().map(|text| text.len()).sum::<usize>()
            + size_of_val(&**lists)
            + size_of_val(&**list_ends)
            + size_of_val(&**packages)
            + size_of_val(&**instants)
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

/// Gives numbers to what findings `'f` have in common.
pub(super) struct Interner<'f> {
    /// How far `texts` may go, in bytes.
    reach: u32,
    texts: String,
    text_ends: Vec<u32>,
    far_texts: Vec<Box<str>>,
    lists: Vec<Text>,
    list_ends: Vec<u32>,
    packages: Vec<Package>,
    instants: Vec<OffsetDateTime>,
    text_numbers: HashMap<&'f str, u32>,
    list_numbers: HashMap<&'f [Box<str>], u32>,
    package_numbers: HashMap<Package, u32>,
    instant_numbers: HashMap<OffsetDateTime, u32>,
}

impl<'f> Interner<'f> {
    /// Texts past `reach` bytes take 16 bytes more each.
    pub(super) fn new(reach: u32) -> Self {
        Self {
            reach,
            texts: String::new(),
            text_ends: Vec::new(),
            far_texts: Vec::new(),
            lists: Vec::new(),
            list_ends: Vec::new(),
            packages: Vec::new(),
            instants: Vec::new(),
            text_numbers: HashMap::new(),
            list_numbers: HashMap::new(),
            package_numbers: HashMap::new(),
            instant_numbers: HashMap::new(),
        }
    }

    pub(super) fn text(&mut self, text: &'f str) -> Text {
        let next = self.text_ends.len() + self.far_texts.len();
        let number = *self.text_numbers.entry(text).or_insert_with(|| {
            let end = u32::try_from(self.texts.len() + text.len()).ok();
            // Those that are far have the last numbers.
            match end.filter(|end| *end <= self.reach && self.far_texts.is_empty()) {
                Some(end) => {
                    self.texts.push_str(text);
                    self.text_ends.push(end);
                }
                None => self.far_texts.push(text.into()),
            }
            numbered(next)
        });
        Text(number)
    }

    pub(super) fn stated(&mut self, text: Option<&'f str>) -> Text {
        text.map_or(Text(NONE), |text| self.text(text))
    }

    pub(super) fn list(&mut self, list: &'f [Box<str>]) -> List {
        if let Some(number) = self.list_numbers.get(list) {
            return List(*number);
        }
        for text in list {
            let text = self.text(text);
            self.lists.push(text);
        }
        let number = numbered(self.list_ends.len());
        self.list_ends.push(numbered(self.lists.len()));
        self.list_numbers.insert(list, number);
        List(number)
    }

    pub(super) fn package(&mut self, package: Package) -> PackageKey {
        let next = numbered(self.packages.len());
        let number = *self.package_numbers.entry(package).or_insert_with(|| {
            self.packages.push(package);
            next
        });
        PackageKey(number)
    }

    pub(super) fn instant(&mut self, at: Option<OffsetDateTime>) -> Instant {
        let Some(at) = at else {
            return Instant(NONE);
        };
        let seconds = u32::try_from(at.unix_timestamp()).ok();
        if let Some(seconds) = seconds.filter(|s| *s < Instant::LISTED && at.nanosecond() == 0) {
            return Instant(seconds);
        }
        let next = numbered(self.instants.len()).saturating_add(Instant::LISTED);
        let number = *self.instant_numbers.entry(at).or_insert_with(|| {
            self.instants.push(at);
            next
        });
        Instant(number)
    }

    pub(super) fn finish(self) -> Pool {
        Pool {
            texts: self.texts.into_boxed_str(),
            text_ends: self.text_ends.into_boxed_slice(),
            far_texts: self.far_texts.into_boxed_slice(),
            lists: self.lists.into_boxed_slice(),
            list_ends: self.list_ends.into_boxed_slice(),
            packages: self.packages.into_boxed_slice(),
            instants: self.instants.into_boxed_slice(),
        }
    }
}

fn numbered(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}
