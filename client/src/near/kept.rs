//! What a near cache holds, under one lock: answers, what they are from, and what is heard of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use portcullis_proto::v1;
use prost::Message as _;
use tokio::time::Instant;

use super::key::{Digest, Mask};
use super::{STALL, Ticket};
use crate::stats::NearStats;

/// The most sets of fields that answers may depend on at a time. A policy has one, and one more for
/// images of several platforms; of a policy before and one after there are as many.
pub(super) const MAX_MASKS: usize = 8;
/// The most changes that are remembered for answers that are under way.
const MAX_CHANGES: usize = 16_384;
/// No answer takes more than this part of the whole.
const MAX_SHARE: usize = 8;

/// An answer that may be kept.
pub(super) struct Draft {
    pub(super) mask: Mask,
    pub(super) key: Box<[u8]>,
    pub(super) until: Instant,
    /// Seconds and nanoseconds by the replica's clock.
    pub(super) evaluated_at: (i64, i32),
    pub(super) digests: Vec<Digest>,
    pub(super) response: Arc<v1::CheckResponse>,
}

impl Draft {
    /// The bytes that it takes, with what finds it again. Messages have a vector or a text of 24 bytes
    /// for what is two bytes on the wire, and up to as much again for room to grow.
    fn weight(&self) -> usize {
        const ENTRY: usize = 512;
        const DIGEST: usize = 32 + 128;
        let message = self.response.encoded_len() * 6;
        ENTRY + message + 2 * self.key.len() + self.digests.len() * DIGEST
    }
}

struct Entry {
    draft: Draft,
    replica: u64,
    weight: usize,
    /// Whether it was given since the hand of the clock was here last.
    used: bool,
}

/// What is heard of one replica.
#[derive(Default)]
struct Heard {
    position: Vec<u8>,
    revision: Option<String>,
    /// When, if all that changed until then is known.
    at: Option<Instant>,
    resyncs: u64,
}

impl Heard {
    fn is_current(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now.saturating_duration_since(at) < STALL)
    }
}

pub(super) struct Kept {
    max_bytes: usize,
    bytes: usize,
    next: u64,
    entries: HashMap<u64, Entry>,
    keys: HashMap<Box<[u8]>, u64>,
    digests: HashMap<Digest, HashSet<u64>>,
    /// Entries in the order in which the hand of the clock comes to them; some may be gone.
    clock: VecDeque<u64>,
    masks: Vec<(Mask, usize)>,
    heard: HashMap<u64, Heard>,
    /// The policy that a replica said to be in force last, once one said that it changed.
    newest: Option<String>,
    changes: u64,
    /// Changes before this one may have been of anything.
    floor: u64,
    changed: HashMap<Digest, u64>,
    order: VecDeque<(u64, Digest)>,
    dropped: u64,
    evicted: u64,
}

impl Kept {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            next: 0,
            entries: HashMap::new(),
            keys: HashMap::new(),
            digests: HashMap::new(),
            clock: VecDeque::new(),
            masks: Vec::new(),
            heard: HashMap::new(),
            newest: None,
            changes: 0,
            floor: 0,
            changed: HashMap::new(),
            order: VecDeque::new(),
            dropped: 0,
            evicted: 0,
        }
    }

    /// The sets of fields that answers depend on which are kept.
    pub(super) fn masks(&self) -> [Option<Mask>; MAX_MASKS] {
        let mut masks = [None; MAX_MASKS];
        for (place, (mask, _)) in masks.iter_mut().zip(&self.masks) {
            *place = Some(*mask);
        }
        masks
    }

    /// The answer under `key`, if it holds at `now`.
    pub(super) fn find(&mut self, key: &[u8], now: Instant) -> Option<Arc<v1::CheckResponse>> {
        let id = *self.keys.get(key)?;
        let entry = self.entries.get_mut(&id)?;
        if entry.draft.until <= now {
            self.remove(id);
            return None;
        }
        // It may be as good as ever when the replica is heard again.
        if !self.heard.get(&entry.replica)?.is_current(now) {
            return None;
        }
        entry.used = true;
        Some(Arc::clone(&entry.draft.response))
    }

    pub(super) fn ticket(&self, replica: u64, now: Instant) -> Option<Ticket> {
        let heard = self.heard.get(&replica).filter(|heard| heard.is_current(now))?;
        Some(Ticket { replica, asked: now, changes: self.changes, resyncs: heard.resyncs })
    }

    /// Keeps an answer, unless something changed since it was asked for that it may not know.
    pub(super) fn keep(&mut self, ticket: &Ticket, draft: Draft, now: Instant) {
        let weight = draft.weight();
        if draft.until <= now
            || weight > self.max_bytes / MAX_SHARE
            || !self.is_unchanged(ticket, &draft, now)
        {
            return;
        }
        if let Some(id) = self.keys.get(&draft.key).copied() {
            let is_newer = self.entries.get(&id).is_some_and(|entry| {
                entry.replica == ticket.replica && entry.draft.evaluated_at > draft.evaluated_at
            });
            if is_newer {
                return;
            }
            self.remove(id);
        }
        let has_room = self.masks.len() < MAX_MASKS;
        match self.masks.iter_mut().find(|(mask, _)| *mask == draft.mask) {
            Some((_, count)) => *count += 1,
            None if has_room => self.masks.push((draft.mask, 1)),
            None => return,
        }
        self.next += 1;
        let id = self.next;
        self.keys.insert(draft.key.clone(), id);
        for digest in &draft.digests {
            self.digests.entry(*digest).or_default().insert(id);
        }
        self.bytes += weight;
        self.entries.insert(id, Entry { draft, replica: ticket.replica, weight, used: false });
        self.clock.push_back(id);
        self.make_room();
    }

    /// Whether an answer is of what is the case now.
    fn is_unchanged(&self, ticket: &Ticket, draft: &Draft, now: Instant) -> bool {
        let Some(heard) = self.heard.get(&ticket.replica).filter(|h| h.is_current(now)) else {
            return false;
        };
        let revision = &draft.response.policy_revision;
        // What was newest is nothing any more once no replica has it.
        let has_it =
            |newest: &String| self.heard.values().any(|h| h.revision.as_ref() == Some(newest));
        let newest = self.newest.as_ref().filter(|newest| has_it(newest));
        let is_newest = newest.is_none_or(|newest| newest == revision);
        let changed = |digest| self.changed.get(digest).is_some_and(|at| *at > ticket.changes);
        is_newest
            && heard.revision.as_ref() == Some(revision)
            && heard.resyncs == ticket.resyncs
            && ticket.changes >= self.floor
            && !draft.digests.iter().any(changed)
    }

    pub(super) fn heard(&mut self, replica: u64, message: &v1::WatchResponse, now: Instant) {
        let heard = self.heard.entry(replica).or_default();
        let revision = &message.policy_revision;
        let is_new = heard.revision.as_ref().is_some_and(|before| before != revision);
        heard.revision = Some(revision.clone());
        heard.position.clone_from(&message.position);
        // While more is to come, it is not known what changed until now.
        heard.at = (!message.more).then_some(now);
        heard.resyncs += u64::from(message.resync);
        if is_new {
            self.policy(revision);
        }
        if message.resync {
            self.drop_those(|entry| entry.replica == replica);
        }
        for raw in &message.digests {
            match Digest::try_from(raw.as_slice()) {
                Ok(digest) => self.digest(digest),
                // Of what we cannot read we cannot say what it is about.
                Err(_) => self.everything(),
            }
        }
    }

    /// Another policy is in force, of one replica at least: what others say by the one before is not
    /// kept any more.
    fn policy(&mut self, revision: &str) {
        self.newest = Some(revision.to_owned());
        self.all_changed();
        self.drop_those(|entry| entry.draft.response.policy_revision != revision);
    }

    fn everything(&mut self) {
        self.all_changed();
        self.drop_those(|_| true);
    }

    /// No answer that is under way is kept.
    fn all_changed(&mut self) {
        self.changes += 1;
        self.floor = self.changes;
        self.changed.clear();
        self.order.clear();
    }

    fn digest(&mut self, digest: Digest) {
        self.changes += 1;
        if self.order.len() == MAX_CHANGES
            && let Some((number, oldest)) = self.order.pop_front()
        {
            self.floor = number;
            if self.changed.get(&oldest) == Some(&number) {
                self.changed.remove(&oldest);
            }
        }
        self.order.push_back((self.changes, digest));
        self.changed.insert(digest, self.changes);
        for id in self.digests.get(&digest).cloned().unwrap_or_default() {
            self.dropped += 1;
            self.remove(id);
        }
    }

    pub(super) fn position(&self, replica: u64) -> Vec<u8> {
        self.heard.get(&replica).map(|heard| heard.position.clone()).unwrap_or_default()
    }

    pub(super) fn lost(&mut self, replica: u64) {
        if let Some(heard) = self.heard.get_mut(&replica) {
            heard.at = None;
        }
    }

    pub(super) fn forget(&mut self, replica: u64) {
        self.heard.remove(&replica);
        self.drop_those(|entry| entry.replica == replica);
    }

    fn drop_those(&mut self, is_concerned: impl Fn(&Entry) -> bool) {
        let concerned = self.entries.iter().filter(|(_, entry)| is_concerned(entry));
        let ids: Vec<_> = concerned.map(|(id, _)| *id).collect();
        self.dropped += ids.len() as u64;
        for id in ids {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(entry.weight);
        self.keys.remove(&entry.draft.key);
        for digest in &entry.draft.digests {
            if let Some(ids) = self.digests.get_mut(digest) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.digests.remove(digest);
                }
            }
        }
        if let Some((_, count)) = self.masks.iter_mut().find(|(m, _)| *m == entry.draft.mask) {
            *count -= 1;
        }
        self.masks.retain(|(_, count)| *count > 0);
        // What is gone is left on the clock until there is too much of it.
        if self.clock.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.clock.retain(|id| entries.contains_key(id));
        }
    }

    /// Second chance: whoever was given since the hand came by stays for one round more.
    fn make_room(&mut self) {
        while self.bytes > self.max_bytes {
            let Some(id) = self.clock.pop_front() else { return };
            match self.entries.get_mut(&id) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.clock.push_back(id);
                }
                Some(_) => {
                    self.evicted += 1;
                    self.remove(id);
                }
                None => {}
            }
        }
    }

    pub(super) fn stats(&self) -> NearStats {
        NearStats {
            dropped: self.dropped,
            evicted: self.evicted,
            entries: self.entries.len(),
            bytes: self.bytes,
            ..NearStats::default()
        }
    }
}
