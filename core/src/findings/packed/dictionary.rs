//! What many reports say in, each word of it once out.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::pool::{Interner, Package, Pool, Rare, Text, Vulnerability};
use super::row::Row;
use super::said::Said;
use super::{Findings, Scanner};

/// The most scanners that are shared: each report is compared with all of them.
pub(super) const MAX_SCANNERS: usize = 16;

/// Words that reports have in common: identifiers, packages, versions. Reports that share it do not each
/// have them. It never changes, and lives as long as a report that shares it.
#[derive(Debug)]
pub struct Dictionary {
    pub(super) pool: Arc<Pool>,
    /// Who looked: at most [`MAX_SCANNERS`].
    pub(super) scanners: Vec<Arc<Scanner>>,
    pub(super) texts: HashMap<Box<str>, u32>,
    pub(super) lists: HashMap<Box<[Text]>, u32>,
    pub(super) packages: HashMap<Package, u32>,
    pub(super) vulnerabilities: HashMap<Vulnerability, u32>,
    pub(super) rare: HashMap<Rare, u32>,
    pub(super) rows: HashMap<Row, u32>,
    pub(super) weight: usize,
}

/// What reports have of a dictionary that no further one can share.
#[derive(Debug)]
pub struct Remains {
    pool: Weak<Pool>,
    weight: usize,
}

impl Remains {
    /// What it takes in memory, in bytes: about. Nothing when the last report has gone that shares it.
    #[must_use]
    pub fn weight(&self) -> usize {
        if self.pool.strong_count() > 0 { self.weight } else { 0 }
    }
}

impl Dictionary {
    /// All words of `reports`, in their order, up to about `max_bytes` of what reports share.
    #[must_use]
    pub fn of<'a>(reports: impl IntoIterator<Item = &'a Findings>, max_bytes: usize) -> Self {
        let (mut interner, mut scanners) = (Interner::new(u32::MAX), Vec::new());
        for report in reports {
            if scanners.len() < MAX_SCANNERS && !scanners.contains(&report.scanner) {
                scanners.push(Arc::clone(&report.scanner));
            }
            for finding in report.iter() {
                if interner.room() >= max_bytes {
                    break;
                }
                let said = Said::from(finding);
                let row = Row::new(&said, &mut interner);
                // When it was first seen is of one image.
                if said.first_seen.is_none() {
                    let _ = interner.row(row);
                }
            }
        }
        let mut dictionary = interner.dictionary();
        dictionary.scanners = scanners;
        dictionary.weight = dictionary.weigh();
        dictionary
    }

    /// The same scanner, once for all that share it.
    pub(super) fn scanner(&self, scanner: &Arc<Scanner>) -> Arc<Scanner> {
        Arc::clone(self.scanners.iter().find(|known| *known == scanner).unwrap_or(scanner))
    }

    /// What it takes in memory, in bytes: about.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// What stays of it when it is gone.
    #[must_use]
    pub fn remains(&self) -> Remains {
        Remains { pool: Arc::downgrade(&self.pool), weight: self.pool.own() }
    }

    fn weigh(&self) -> usize {
        const PLACE: usize = 32;
        let text: usize = self.texts.keys().map(|text| text.len() + PLACE).sum();
        let lists: usize = self.lists.keys().map(|list| size_of_val(&**list) + PLACE).sum();
        let packages = self.packages.len() * (size_of::<Package>() + PLACE);
        let vulnerabilities = self.vulnerabilities.len() * (size_of::<Vulnerability>() + PLACE);
        let rows = (self.rows.len() + self.rare.len()) * (size_of::<Row>() + PLACE);
        self.pool.own() + text + lists + packages + vulnerabilities + rows
    }
}
