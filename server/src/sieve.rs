//! Names and values in, the same values again out as long as there is room for them in bytes.
//!
//! Readers of one part share its lock and write nothing but two marks, so that a hit costs a hash, one
//! look into a table and a comparison. What has to go is found by SIEVE: a hand walks from the oldest
//! value to the newest, spares once what was used since it last came by, and takes the first that was
//! not (ADR 0018).

use std::hash::{BuildHasher as _, Hash};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use foldhash::fast::{FoldHasher, RandomState};
use hashbrown::HashTable;
use parking_lot::RwLock;

/// In how many parts it is, each with a lock of its own.
const PARTS: usize = 64;
/// The most values that are spared until one goes, so that nobody waits for a long walk.
const MAX_SPARED: usize = 128;
/// No place.
const NONE: u32 = u32::MAX;
/// What is taken for a value beside itself, in bytes: its place in two tables, and what the allocator
/// takes.
const PLACE: usize = 48;

/// One for all, so that what is looked for in two maps under one name is hashed once. Nobody outside knows
/// it.
static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A bounded map.
pub(crate) struct Sieve<K, V> {
    parts: Box<[Padded<K, V>]>,
    max_bytes: u64,
    /// What of them something else takes.
    reserved: AtomicU64,
    bytes: AtomicU64,
    count: AtomicUsize,
    /// The part from which something goes next.
    turn: AtomicUsize,
}

/// A part on cache lines of its own: who reads one writes its lock, and others need not wait for that.
#[repr(align(128))]
struct Padded<K, V>(RwLock<Part<K, V>>);

struct Part<K, V> {
    table: HashTable<u32>,
    slots: Vec<Option<Box<Slot<K, V>>>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    hand: u32,
}

struct Slot<K, V> {
    key: K,
    value: V,
    hash: u64,
    weight: u64,
    was_used: AtomicBool,
    newer: u32,
    older: u32,
}

impl<K: Eq, V> Sieve<K, V> {
    /// Nothing yet, and never more than `max_bytes`.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            parts: (0..PARTS).map(|_| Padded(RwLock::new(Part::new()))).collect(),
            max_bytes,
            reserved: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
        }
    }

    /// Leaves `bytes` of its room to something else, instead of what was left before. What is there gives
    /// way when something comes.
    pub(crate) fn reserve(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::Relaxed);
    }

    fn room(&self) -> u64 {
        self.max_bytes.saturating_sub(self.reserved.load(Ordering::Relaxed))
    }

    /// What a name hashes to, here and in every other map. Names that differ may have one hash.
    pub(crate) fn hash(&self, name: &impl Hash) -> u64 {
        RANDOM.hash_one(name)
    }

    /// What hashes a name part by part, to the same in the end.
    pub(crate) fn hasher(&self) -> FoldHasher {
        RANDOM.build_hasher()
    }

    fn part(&self, hash: u64) -> Option<&RwLock<Part<K, V>>> {
        // The table takes the lowest bits and the highest seven.
        self.parts.get(usize::try_from(hash >> 40).unwrap_or(0) % PARTS).map(|part| &part.0)
    }

    /// Reads the value whose key `is` the one that is meant, and marks it as used.
    pub(crate) fn get<R>(
        &self,
        hash: u64,
        is: impl Fn(&K) -> bool,
        read: impl FnOnce(&V) -> R,
    ) -> Option<R> {
        let part = self.part(hash)?.read();
        let slot = part.find(hash, is)?;
        if !slot.was_used.load(Ordering::Relaxed) {
            slot.was_used.store(true, Ordering::Relaxed);
        }
        Some(read(&slot.value))
    }

    /// Keeps a value of `weight` bytes, with its key and all behind it, in place of the one before.
    /// What has no room at all is not kept. Gives how many others had to go.
    pub(crate) fn put(&self, hash: u64, key: K, value: V, weight: usize) -> u64 {
        let weight = (weight + PLACE + size_of::<Slot<K, V>>()) as u64;
        if weight > self.room() {
            drop(self.take(hash, |other| *other == key));
            return 0;
        }
        // Counted before it is there, so that there is never more than is counted.
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        let evicted = self.make_room();
        let Some(part) = self.part(hash) else { return evicted };
        let before = {
            let mut part = part.write();
            let before = part.take(hash, |other| *other == key);
            part.push(Slot {
                key,
                value,
                hash,
                weight,
                was_used: AtomicBool::new(before.as_ref().is_some_and(|b| b.is_used())),
                newer: NONE,
                older: NONE,
            });
            before
        };
        self.count.fetch_add(1, Ordering::Relaxed);
        self.gone(before.as_deref());
        evicted
    }

    fn take(&self, hash: u64, is: impl Fn(&K) -> bool) -> Option<Box<Slot<K, V>>> {
        let taken = self.part(hash)?.write().take(hash, is);
        self.gone(taken.as_deref());
        taken
    }

    /// Accounts for what is not there any more.
    fn gone(&self, slot: Option<&Slot<K, V>>) {
        if let Some(slot) = slot {
            self.bytes.fetch_sub(slot.weight, Ordering::Relaxed);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn make_room(&self) -> u64 {
        let (mut empty, mut evicted, mut spare) = (0, 0, MAX_SPARED);
        while self.bytes.load(Ordering::Relaxed) > self.room() && empty < PARTS {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let before = spare;
            let gone = self.parts.get(turn % PARTS).and_then(|p| p.0.write().evict(&mut spare));
            // Dropped after its part is free again.
            match gone {
                Some(slot) => {
                    (empty, evicted, spare) = (0, evicted + 1, MAX_SPARED);
                    self.gone(Some(&slot));
                }
                None if spare < before => empty = 0,
                None => empty += 1,
            }
        }
        evicted
    }

    /// Changes all values with this hash whose key `is` one that is meant. Their weight stays.
    pub(crate) fn change(
        &self,
        hash: u64,
        is: impl Fn(&K) -> bool,
        mut change: impl FnMut(&mut V),
    ) {
        let Some(part) = self.part(hash) else { return };
        let mut part = part.write();
        let Part { table, slots, .. } = &mut *part;
        for place in table.iter_hash(hash) {
            if let Some(slot) = at_mut(slots, *place)
                && slot.hash == hash
                && is(&slot.key)
            {
                change(&mut slot.value);
            }
        }
    }

    /// Shows all that is kept, part by part. What comes or goes meanwhile may be missed.
    pub(crate) fn each(&self, mut show: impl FnMut(&K, &V)) {
        for part in &self.parts {
            let part = part.0.read();
            part.slots.iter().flatten().for_each(|slot| show(&slot.key, &slot.value));
        }
    }

    /// How many values are kept.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// What they weigh, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl<K, V> Slot<K, V> {
    fn is_used(&self) -> bool {
        self.was_used.load(Ordering::Relaxed)
    }
}

fn at<K, V>(slots: &[Option<Box<Slot<K, V>>>], place: u32) -> Option<&Slot<K, V>> {
    slots.get(usize::try_from(place).ok()?)?.as_deref()
}

fn at_mut<K, V>(slots: &mut [Option<Box<Slot<K, V>>>], place: u32) -> Option<&mut Slot<K, V>> {
    slots.get_mut(usize::try_from(place).ok()?)?.as_deref_mut()
}

impl<K: Eq, V> Part<K, V> {
    const fn new() -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
        }
    }

    fn find(&self, hash: u64, is: impl Fn(&K) -> bool) -> Option<&Slot<K, V>> {
        let slots = &self.slots;
        let is = |place: &u32| at(slots, *place).is_some_and(|s| s.hash == hash && is(&s.key));
        at(slots, *self.table.find(hash, is)?)
    }

    fn take(&mut self, hash: u64, is: impl Fn(&K) -> bool) -> Option<Box<Slot<K, V>>> {
        let slots = &self.slots;
        let is = |place: &u32| at(slots, *place).is_some_and(|s| s.hash == hash && is(&s.key));
        let (place, _) = self.table.find_entry(hash, is).ok()?.remove();
        self.unlink(place)
    }

    /// Takes the slot out of the row, not out of the table.
    fn unlink(&mut self, place: u32) -> Option<Box<Slot<K, V>>> {
        let slot = self.slots.get_mut(usize::try_from(place).ok()?)?.take()?;
        self.free.push(place);
        match at_mut(&mut self.slots, slot.newer) {
            Some(newer) => newer.older = slot.older,
            None => self.newest = slot.older,
        }
        match at_mut(&mut self.slots, slot.older) {
            Some(older) => older.newer = slot.newer,
            None => self.oldest = slot.newer,
        }
        if self.hand == place {
            self.hand = slot.newer;
        }
        Some(slot)
    }

    fn push(&mut self, mut slot: Slot<K, V>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        slot.older = self.newest;
        if let Some(newest) = at_mut(&mut self.slots, self.newest) {
            newest.newer = place;
        } else {
            self.oldest = place;
        }
        self.newest = place;
        let hash = slot.hash;
        if let Some(free) = usize::try_from(place).ok().and_then(|at| self.slots.get_mut(at)) {
            *free = Some(Box::new(slot));
        }
        let slots = &self.slots;
        self.table.insert_unique(hash, place, |place| at(slots, *place).map_or(0, |s| s.hash));
    }

    /// Takes out what was not used since the hand last came by. Where all was, it is the turn of another
    /// part, so that what is used does not go for what is not and lies elsewhere; unless there is nothing
    /// to `spare` left.
    fn evict(&mut self, spare: &mut usize) -> Option<Box<Slot<K, V>>> {
        let mut place = if self.hand == NONE { self.oldest } else { self.hand };
        let round = (*spare).min(self.table.len());
        let mut spared = 0;
        while spared < round {
            let slot = at_mut(&mut self.slots, place)?;
            if !std::mem::take(slot.was_used.get_mut()) {
                break;
            }
            place = if slot.newer == NONE { self.oldest } else { slot.newer };
            spared += 1;
        }
        let is_whole_round = spared == self.table.len();
        *spare -= spared;
        self.hand = place;
        if is_whole_round && *spare > 0 {
            return None;
        }
        let hash = at(&self.slots, place)?.hash;
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        self.unlink(place)
    }
}

#[cfg(test)]
mod tests;
