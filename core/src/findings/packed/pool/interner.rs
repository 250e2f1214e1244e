//! What findings say in, numbers out, and at last the pool that has what they stand for.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;
use time::OffsetDateTime;

use super::{
    Instant, List, NONE, Package, PackageKey, Pool, Rare, RareKey, Text, Vulnerability,
    VulnerabilityKey, numbered,
};
use crate::findings::Dictionary;
use crate::findings::packed::row::Row;

/// Gives numbers to what findings `'f` have in common.
pub(in super::super) struct Interner<'f> {
    /// How far `texts` may go, in bytes.
    reach: u32,
    shared: Option<&'f Dictionary>,
    texts: String,
    text_ends: Vec<u32>,
    far_texts: Vec<Box<str>>,
    lists: Vec<Text>,
    list_ends: Vec<u32>,
    packages: Vec<Package>,
    vulnerabilities: Vec<Vulnerability>,
    rare: Vec<Rare>,
    instants: Vec<OffsetDateTime>,
    rows: Vec<Row>,
    text_numbers: HashMap<&'f str, u32>,
    list_numbers: HashMap<Box<[Text]>, u32>,
    package_numbers: HashMap<Package, u32>,
    vulnerability_numbers: HashMap<Vulnerability, u32>,
    rare_numbers: HashMap<Rare, u32>,
    instant_numbers: HashMap<OffsetDateTime, u32>,
    row_numbers: HashMap<Row, u32>,
}

impl<'f> Interner<'f> {
    /// Texts past `reach` bytes take 16 bytes more each.
    pub(in super::super) fn new(reach: u32) -> Self {
        Self {
            reach,
            shared: None,
            texts: String::new(),
            text_ends: Vec::new(),
            far_texts: Vec::new(),
            lists: Vec::new(),
            list_ends: Vec::new(),
            packages: Vec::new(),
            vulnerabilities: Vec::new(),
            rare: Vec::new(),
            instants: Vec::new(),
            rows: Vec::new(),
            text_numbers: HashMap::new(),
            list_numbers: HashMap::new(),
            package_numbers: HashMap::new(),
            vulnerability_numbers: HashMap::new(),
            rare_numbers: HashMap::new(),
            instant_numbers: HashMap::new(),
            row_numbers: HashMap::new(),
        }
    }

    /// Takes numbers from `shared` where it has them.
    pub(in super::super) fn sharing(shared: &'f Dictionary) -> Self {
        Self { shared: Some(shared), ..Self::new(u32::MAX) }
    }

    /// How many numbers others have.
    fn before(&self, count: impl Fn(&Pool) -> usize) -> usize {
        self.shared.map_or(0, |shared| count(&shared.pool))
    }

    pub(in super::super) fn text(&mut self, text: &'f str) -> Text {
        if let Some(number) = self.shared.and_then(|shared| shared.texts.get(text)) {
            return Text(*number);
        }
        let next = self.before(Pool::count_of_texts) + self.text_ends.len() + self.far_texts.len();
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

    pub(in super::super) fn stated(&mut self, text: Option<&'f str>) -> Text {
        text.map_or(Text(NONE), |text| self.text(text))
    }

    pub(in super::super) fn list(&mut self, list: &[&'f str]) -> List {
        // A text has one number here, so that lists are equal where these are.
        let list: SmallVec<[Text; 4]> = list.iter().map(|text| self.text(text)).collect();
        let shared = self.shared.and_then(|shared| shared.lists.get(&*list));
        if let Some(number) = shared.or_else(|| self.list_numbers.get(&*list)) {
            return List(*number);
        }
        self.lists.extend_from_slice(&list);
        let number = numbered(self.before(Pool::count_of_lists) + self.list_ends.len());
        self.list_ends.push(numbered(self.lists.len()));
        self.list_numbers.insert(list.into_boxed_slice(), number);
        List(number)
    }

    pub(in super::super) fn package(&mut self, package: Package) -> PackageKey {
        if let Some(number) = self.shared.and_then(|shared| shared.packages.get(&package)) {
            return PackageKey(*number);
        }
        let next = numbered(self.before(Pool::count_of_packages) + self.packages.len());
        let number = *self.package_numbers.entry(package).or_insert_with(|| {
            self.packages.push(package);
            next
        });
        PackageKey(number)
    }

    pub(in super::super) fn vulnerability(
        &mut self,
        vulnerability: Vulnerability,
    ) -> VulnerabilityKey {
        // The number of an odd time is another one in another pool.
        let shared = self.shared.filter(|_| !vulnerability.published.is_listed());
        if let Some(number) = shared.and_then(|shared| shared.vulnerabilities.get(&vulnerability)) {
            return VulnerabilityKey(*number);
        }
        let before = self.before(Pool::count_of_vulnerabilities);
        let next = numbered(before + self.vulnerabilities.len());
        let number = *self.vulnerability_numbers.entry(vulnerability).or_insert_with(|| {
            self.vulnerabilities.push(vulnerability);
            next
        });
        VulnerabilityKey(number)
    }

    pub(in super::super) fn rare(&mut self, rare: Rare) -> RareKey {
        if rare == Rare::NOTHING {
            return RareKey::NOTHING;
        }
        let shared = self.shared.filter(|_| !rare.first_seen.is_listed());
        if let Some(number) = shared.and_then(|shared| shared.rare.get(&rare)) {
            return RareKey(*number);
        }
        let next = numbered(self.before(Pool::count_of_rare) + self.rare.len());
        let number = *self.rare_numbers.entry(rare).or_insert_with(|| {
            self.rare.push(rare);
            next
        });
        RareKey(number)
    }

    pub(in super::super) fn instant(&mut self, at: Option<OffsetDateTime>) -> Instant {
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

    /// The number of a row among all that the pool has.
    pub(in super::super) fn row(&mut self, row: Row) -> u32 {
        if let Some(number) = self.shared.and_then(|shared| shared.rows.get(&row)) {
            return *number;
        }
        let next = numbered(self.before(Pool::count_of_rows) + self.rows.len());
        *self.row_numbers.entry(row).or_insert_with(|| {
            self.rows.push(row);
            next
        })
    }

    /// The pool, and the numbers that all that is in it has.
    pub(in super::super) fn dictionary(mut self) -> Dictionary {
        let texts = self.text_numbers.iter().map(|(text, n)| ((*text).into(), *n)).collect();
        let lists = std::mem::take(&mut self.list_numbers);
        let packages = std::mem::take(&mut self.package_numbers);
        let mut vulnerabilities = std::mem::take(&mut self.vulnerability_numbers);
        vulnerabilities.retain(|vulnerability, _| !vulnerability.published.is_listed());
        let mut rare = std::mem::take(&mut self.rare_numbers);
        rare.retain(|rare, _| !rare.first_seen.is_listed());
        let rows = std::mem::take(&mut self.row_numbers);
        let pool = Arc::new(Pool { is_common: true, ..self.finish() });
        let (scanners, weight) = (Vec::new(), 0);
        Dictionary { pool, scanners, texts, lists, packages, vulnerabilities, rare, rows, weight }
    }

    /// What it takes by now, in bytes: about.
    pub(in super::super) fn room(&self) -> usize {
        let each = |count: usize, bytes: usize| count * bytes;
        self.texts.len()
            + each(self.text_ends.len(), size_of::<u32>())
            + each(self.lists.len(), size_of::<Text>())
            + each(self.list_ends.len(), size_of::<u32>())
            + each(self.packages.len(), size_of::<Package>())
            + each(self.vulnerabilities.len(), size_of::<Vulnerability>())
            + each(self.rare.len(), size_of::<Rare>())
            + each(self.instants.len(), size_of::<OffsetDateTime>())
            + each(self.rows.len(), size_of::<Row>())
    }

    /// The pool; the dictionary's own where that has everything.
    pub(in super::super) fn finish_sharing(self) -> Arc<Pool> {
        let shared = self.shared.map(|shared| &shared.pool);
        let own = self.finish();
        match shared {
            Some(shared) if own.is_empty() => Arc::clone(shared),
            _ => Arc::new(own),
        }
    }

    pub(in super::super) fn finish(self) -> Pool {
        Pool {
            shared: self.shared.map(|shared| Arc::clone(&shared.pool)),
            texts: self.texts.into_boxed_str(),
            text_ends: self.text_ends.into_boxed_slice(),
            far_texts: self.far_texts.into_boxed_slice(),
            lists: self.lists.into_boxed_slice(),
            list_ends: self.list_ends.into_boxed_slice(),
            packages: self.packages.into_boxed_slice(),
            vulnerabilities: self.vulnerabilities.into_boxed_slice(),
            rare: self.rare.into_boxed_slice(),
            instants: self.instants.into_boxed_slice(),
            rows: self.rows.into_boxed_slice(),
            is_common: false,
        }
    }
}
