//! Answers in, the last that was known out, for as long as a limit says, also after a restart.
//!
//! It is for the time when the service is away. An answer is found again for the same containers in a
//! context that agrees in what the answer depends on (`vary`), as in the near cache, but for longer. Of an
//! answer that an exemption made, no more than the exemption's own time counts. What is written to the
//! file is bound to the cluster, and is not believed if a byte of it is another than was written.

mod file;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use portcullis_client::answer_key;
use portcullis_proto::v1;
use prost::Message as _;

pub use self::file::KnownError;

/// The most that may be configured to be kept, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// How many kinds of `vary` are remembered: there is one a policy, and few policies follow each other.
const MAX_VARIES: usize = 8;
/// The longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 512;
/// What an answer costs besides what it says.
const OVERHEAD: usize = 512;
/// How far ahead of the clock an answer may be: clocks are set.
const SKEW: Duration = Duration::from_secs(300);

type Key = [u8; 32];

/// What was last known.
pub(crate) struct LastKnown {
    limit: Duration,
    tags: bool,
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<Key, Entry>,
    /// The oldest first.
    order: BTreeMap<u64, Key>,
    next: u64,
    bytes: usize,
    varies: Vec<Vec<String>>,
    /// How often something was put in; who writes the file knows by it whether there is anything to write.
    changes: u64,
}

#[derive(Clone)]
struct Entry {
    order: u64,
    /// When the service gave it, in seconds since 1970.
    at: u64,
    /// When the first exemption that it stands on ends, or the clock changes it otherwise.
    until: u64,
    response: Arc<v1::CheckResponse>,
}

impl Entry {
    /// Whether it was said after `other`; of one second, in the order in which it came.
    fn is_after(&self, other: &Self) -> bool {
        (self.at, self.order) > (other.at, other.order)
    }

    fn denies(&self) -> bool {
        self.response.action() == v1::Action::Deny
    }
}

impl LastKnown {
    pub(crate) fn new(limit: Duration, tags: bool, max_bytes: usize) -> Self {
        Self { limit, tags, max_bytes, kept: Mutex::default() }
    }

    /// Keeps an answer of the service.
    pub(crate) fn keep(
        &self,
        request: &v1::CheckRequest,
        response: &v1::CheckResponse,
        now: SystemTime,
    ) {
        let justified = request.context.as_ref().is_some_and(|c| !c.break_glass.trim().is_empty());
        if justified {
            return;
        }
        let reusable = response.max_age.is_some_and(|age| age.seconds > 0 || age.nanos > 0);
        // Of exemptions that are not told, nobody knows when they end.
        let untold = response.decisions.iter().any(|decision| {
            usize::try_from(decision.exemptions_total).unwrap_or(usize::MAX)
                > decision.exemptions.len()
        });
        // What was said before of this question does not count any more, under whatever policy.
        self.kept.lock().forget(request);
        if !reusable || untold {
            return;
        }
        let Some(key) = key(request, &response.vary) else { return };
        let entry =
            Entry { order: 0, at: seconds(now), until: end(response), response: slim(response) };
        self.kept.lock().put(key, entry, self.max_bytes);
    }

    /// What was last known, and how long ago, if it still counts. For advice that is what was said last, of whichever
    /// purpose. Nothing is admitted by advice; but what it denied since then is denied, and what it would have
    /// allowed since then is not known to be denied.
    pub(crate) fn find(
        &self,
        request: &v1::CheckRequest,
        now: SystemTime,
    ) -> Option<(Arc<v1::CheckResponse>, Duration)> {
        let last = |purpose: v1::Purpose| {
            let asked = v1::CheckRequest { purpose: purpose.into(), ..request.clone() };
            self.last(&asked, now)
        };
        let (admission, advice) = (last(v1::Purpose::Admission), last(v1::Purpose::Advice));
        let (entry, age) = match (admission, advice) {
            (Some(admission), Some(advice)) => {
                let is_advised = advice.0.is_after(&admission.0);
                let denies = |(entry, _): &(Entry, Duration)| entry.denies();
                match request.purpose() {
                    v1::Purpose::Advice if is_advised => advice,
                    v1::Purpose::Advice => admission,
                    _ if is_advised && denies(&advice) => advice,
                    _ if is_advised && denies(&admission) => return None,
                    _ => admission,
                }
            }
            (Some(admission), None) => admission,
            (None, Some(advice)) => {
                let counts = request.purpose() == v1::Purpose::Advice || advice.0.denies();
                counts.then_some(advice)?
            }
            (None, None) => return None,
        };
        let holds = self.tags
            || entry.response.decisions.iter().zip(&request.containers).all(|(decision, asked)| {
                decision.action() == v1::Action::Deny || asked.image.contains("@sha256:")
            });
        holds.then_some((entry.response, age))
    }

    /// What was said last of a question of one purpose, under whatever policy it was; where it has ended, nothing.
    fn last(&self, request: &v1::CheckRequest, now: SystemTime) -> Option<(Entry, Duration)> {
        let varies = self.kept.lock().varies.clone();
        let entries = varies.iter().filter_map(|vary| {
            let key = key(request, vary)?;
            self.kept.lock().by_key.get(&key).cloned()
        });
        let entry = entries.max_by_key(|entry| (entry.at, entry.order))?;
        let age = self.age(&entry, now)?;
        Some((entry, age))
    }

    /// How old an answer is, if it still counts.
    fn age(&self, entry: &Entry, now: SystemTime) -> Option<Duration> {
        let now = seconds(now);
        if entry.at > now + SKEW.as_secs() || entry.until <= now {
            return None;
        }
        let age = Duration::from_secs(now.saturating_sub(entry.at));
        (age <= self.limit).then_some(age)
    }

    /// How many answers there are, and how many bytes they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.by_key.len(), kept.bytes)
    }

    /// How often something was put in.
    pub(crate) fn changes(&self) -> u64 {
        self.kept.lock().changes
    }

    /// Writes all that still counts to `path`, in one step.
    pub(crate) fn write(
        &self,
        path: &Path,
        cluster: &str,
        now: SystemTime,
    ) -> Result<(), KnownError> {
        let kept = self.kept.lock();
        let entries: Vec<_> = kept
            .order
            .values()
            .filter_map(|key| Some((*key, kept.by_key.get(key)?.clone())))
            .collect();
        drop(kept);
        let live = entries.into_iter().filter(|(_, entry)| self.age(entry, now).is_some());
        file::write(path, cluster, live)
    }

    /// Takes what a file has that still counts; gives how many answers that are.
    pub(crate) fn read(
        &self,
        path: &Path,
        cluster: &str,
        now: SystemTime,
    ) -> Result<usize, KnownError> {
        let mut taken = 0;
        for (key, entry) in file::read(path, cluster)? {
            if self.age(&entry, now).is_some() {
                self.kept.lock().put(key, entry, self.max_bytes);
                taken += 1;
            }
        }
        Ok(taken)
    }
}

impl Kept {
    /// Drops what is kept of a question.
    fn forget(&mut self, request: &v1::CheckRequest) {
        let keys: Vec<_> = self.varies.iter().filter_map(|vary| key(request, vary)).collect();
        for key in keys {
            if let Some(dropped) = self.by_key.remove(&key) {
                self.bytes -= weight(&dropped);
                self.order.remove(&dropped.order);
                self.changes += 1;
            }
        }
    }

    fn put(&mut self, key: Key, mut entry: Entry, max_bytes: usize) {
        let vary = &entry.response.vary;
        if !self.varies.contains(vary) {
            if self.varies.len() >= MAX_VARIES {
                self.varies.pop();
            }
            // The newest is the likeliest.
            self.varies.insert(0, vary.clone());
        }
        entry.order = self.next;
        self.next += 1;
        self.changes += 1;
        self.bytes += weight(&entry);
        self.order.insert(entry.order, key);
        if let Some(before) = self.by_key.insert(key, entry) {
            self.bytes -= weight(&before);
            self.order.remove(&before.order);
        }
        while self.bytes > max_bytes {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            if let Some(dropped) = self.by_key.remove(&oldest) {
                self.bytes -= weight(&dropped);
            }
        }
    }
}

/// The bytes that an entry takes, as in the near cache: texts have 24 bytes for what is two on the wire.
fn weight(entry: &Entry) -> usize {
    6 * entry.response.encoded_len() + OVERHEAD
}

fn key(request: &v1::CheckRequest, vary: &[String]) -> Option<Key> {
    let key = answer_key(request, vary)?;
    digest(&SHA256, &key).as_ref().try_into().ok()
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// When the answer becomes another by the clock alone, or the first exemption ends without which it would be
/// another.
fn end(response: &v1::CheckResponse) -> u64 {
    let exemptions = response.decisions.iter().flat_map(|decision| &decision.exemptions);
    let ends = exemptions.filter_map(|exemption| exemption.until.as_ref());
    let ends = ends.chain(&response.changes_at);
    ends.map(|until| u64::try_from(until.seconds).unwrap_or(0)).min().unwrap_or(u64::MAX)
}

/// What of an answer is needed to give it again.
fn slim(response: &v1::CheckResponse) -> Arc<v1::CheckResponse> {
    let decisions = response.decisions.iter().map(|decision| v1::Decision {
        container: decision.container.clone(),
        image: decision.image.clone(),
        digest: decision.digest.clone(),
        action: decision.action,
        rule: decision.rule.clone(),
        message: cut(&decision.message).to_owned(),
        ..v1::Decision::default()
    });
    Arc::new(v1::CheckResponse {
        action: response.action,
        decisions: decisions.collect(),
        policy_revision: response.policy_revision.clone(),
        evaluated_at: response.evaluated_at,
        max_age: None,
        vary: response.vary.clone(),
        advice: response.advice,
        changes_at: response.changes_at,
    })
}

/// At most [`MAX_MESSAGE`] bytes of a text.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(MAX_MESSAGE);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
