//! What is remembered and asked about in, the same looked at again before it is old out: for what no
//! event told, and for registries that tell nothing.
//!
//! One task does it. A registry that does not answer is left alone for longer each time, and asked by one
//! refresh when that has passed; what is known stays, as old as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use portcullis_core::image::{Digest, Reference};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Aging, Outcome, Reason, Refresher, Remember};
use crate::caught::{lasting, survive};
use crate::evidence::Question;

/// How often it is looked for what will soon be old.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// The most refreshes of one registry at a time.
pub const MAX_OF_ONE_REGISTRY: usize = 4;
/// The most refreshes of one registry in one go; the rest comes in the next.
pub const MAX_IN_ONE_GO: usize = 1_000;
/// After how many images that could not be found out, and none that could, a registry is left alone: one
/// image may be gone, and holds up no other.
const TELLING: usize = 3;
/// For how long a registry is left alone that did not answer, or an image that panicked; twice as long each
/// time.
const REST: Duration = Duration::from_secs(5);
/// The longest of that.
const MAX_REST: Duration = Duration::from_mins(5);

/// A registry that did not answer when it was asked last.
#[derive(Debug)]
struct Doubted {
    /// What it was asked about since it answered, as far as that is telling.
    images: BTreeSet<Digest>,
    /// How often it was left alone since then, and until when it is.
    rests: u32,
    until: Instant,
}

/// An image whose refresh panicked.
struct Lost {
    times: u32,
    until: Instant,
}

/// What came of the refreshes of one registry: of which images it did not tell, as far as that is
/// telling, of which it was lost in a panic, and whether it answered any.
struct Went {
    registry: String,
    failed: BTreeSet<Digest>,
    lost: BTreeSet<Digest>,
    answered: bool,
}

type Going<'a> = Pin<Box<dyn Future<Output = Went> + Send + 'a>>;

/// What is under way, and what is left alone for a while.
#[derive(Default)]
struct Course {
    busy: BTreeSet<String>,
    doubted: BTreeMap<String, Doubted>,
    /// They would come first each time: nothing was remembered that puts them off.
    lost: BTreeMap<Digest, Lost>,
}

impl<M: Remember> Refresher<M> {
    /// Keeps fresh what is asked about, until `stop`.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        let (metrics, until) = (Arc::clone(&self.metrics), stop.clone());
        lasting("sweep", metrics, until, || Arc::clone(&self).sweep(stop.clone())).await;
    }

    async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut course = Course::default();
        let mut going: FuturesUnordered<Going<'_>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(went) = going.next(), if !going.is_empty() => course.ended(went),
                _ = ticks.tick() => {
                    course.forget();
                    for (registry, due) in self.due(&course) {
                        course.busy.insert(registry.clone());
                        going.push(Box::pin(self.go(registry, due)));
                    }
                }
            }
        }
    }

    /// What is to be looked at now, by registry, the oldest first.
    fn due(&self, course: &Course) -> BTreeMap<String, Vec<Question>> {
        let trust = (self.trust)();
        let mut due: BTreeMap<String, Vec<Aging>> = BTreeMap::new();
        for aging in self.memory.aging(self.asked_since(), self.clock.now()) {
            // What was found under another trust is nobody's answer any more.
            let may_ask = course.may_ask(aging.image.registry()) && !course.puts_off(&aging.image);
            if aging.trust == trust.revision() && may_ask {
                due.entry(aging.image.registry().to_owned()).or_default().push(aging);
            }
        }
        let sorted = due.into_iter().map(|(registry, mut aging)| {
            aging.sort_by_key(|aging| aging.due);
            // Of one that did not answer, one refresh finds out whether it does; another each time.
            let rests = course.doubted.get(&registry).map_or(0, |doubted| doubted.rests);
            let (from, most) = match rests {
                0 => (0, MAX_IN_ONE_GO),
                rests => (rests as usize % aging.len().max(1), 1),
            };
            let questions = aging.into_iter().skip(from).take(most).filter_map(|aging| {
                let Aging { image, access, .. } = aging;
                Some(Question { digest: image.digest()?, image, trust: Arc::clone(&trust), access })
            });
            (registry, questions.collect())
        });
        sorted.collect()
    }

    async fn go(&self, registry: String, due: Vec<Question>) -> Went {
        let looks = due.into_iter().map(|question| async move {
            let deadline = Instant::now() + self.config.timeout;
            // One that panics costs itself, and not what all registries have under way.
            let look = self.look(&question, Reason::Age, deadline);
            let look = survive("sweep", &self.metrics, look).await;
            (question.digest, look.map(|look| look.outcome))
        });
        let looks: Vec<_> = looks.collect();
        let mut looks = stream::iter(looks).buffer_unordered(MAX_OF_ONE_REGISTRY);
        let (mut failed, mut lost, mut answered) = (BTreeSet::new(), BTreeSet::new(), false);
        while let Some((digest, outcome)) = looks.next().await {
            if outcome.is_none() {
                lost.insert(digest);
            }
            answered |= outcome.is_some_and(|outcome| outcome != Outcome::Failed);
            if outcome == Some(Outcome::Failed) && failed.len() < TELLING {
                failed.insert(digest);
            }
            // The others would not fare better. A panic says nothing of the registry: the next go has them.
            if failed.len() + lost.len() >= TELLING && !answered {
                break;
            }
        }
        Went { registry, failed, lost, answered }
    }
}

impl Course {
    fn may_ask(&self, registry: &str) -> bool {
        let rests = self.doubted.get(registry).is_some_and(|d| Instant::now() < d.until);
        !self.busy.contains(registry) && !rests
    }

    /// Whether the refresh of `image` panicked a short while ago.
    fn puts_off(&self, image: &Reference) -> bool {
        let lost = image.digest().and_then(|digest| self.lost.get(&digest));
        lost.is_some_and(|lost| Instant::now() < lost.until)
    }

    /// Forgets what panicked long ago: the next time counts as the first again.
    fn forget(&mut self) {
        let now = Instant::now();
        self.lost.retain(|_, lost| now < lost.until + MAX_REST);
    }

    fn ended(&mut self, went: Went) {
        let Went { registry, failed, lost, answered } = went;
        self.busy.remove(&registry);
        let now = Instant::now();
        for digest in lost {
            let lost = self.lost.entry(digest).or_insert(Lost { times: 0, until: now });
            lost.until = now + rest(lost.times);
            lost.times = lost.times.saturating_add(1);
        }
        if answered {
            self.doubted.remove(&registry);
            return;
        }
        let unknown = || Doubted { images: BTreeSet::new(), rests: 0, until: now };
        let doubted = self.doubted.entry(registry.clone()).or_insert_with(unknown);
        doubted.images.extend(failed);
        if doubted.images.len() >= TELLING {
            doubted.images = doubted.images.iter().take(TELLING).copied().collect();
            if doubted.rests == 0 {
                tracing::warn!(
                    registry,
                    "a registry does not answer: what is known of it grows old"
                );
            }
            doubted.until = now + rest(doubted.rests);
            doubted.rests = doubted.rests.saturating_add(1);
        }
    }
}

/// For how long something is left alone that was `times` before.
fn rest(times: u32) -> Duration {
    REST.saturating_mul(2_u32.saturating_pow(times)).min(MAX_REST)
}

#[cfg(test)]
mod tests;
