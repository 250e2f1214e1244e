//! Targets in, the replica to ask next out.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::address::{Known, Target};
use crate::config::Config;
use crate::error::{ClientError, ReplicaError};
use crate::near::NearCache;
use crate::network::Network;
use crate::replica::{Observer, Replica};
use crate::secure::Secure;
use crate::stats::{ReplicaStats, Standing, TlsStats};

/// The most replicas that one client connects to. Of more, each client takes others.
pub const MAX_REPLICAS: usize = 64;
/// How often names are looked up at the most, whatever breaks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// All replicas of a service.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
    secure: Option<Arc<Secure>>,
    /// Looks at the files of TLS.
    reader: Option<JoinHandle<()>>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // It owns the tasks of the replicas, which end with it.
        self.keeper.abort();
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

struct Shared {
    replicas: ArcSwap<Vec<Arc<Replica>>>,
    near: Option<Arc<NearCache>>,
    /// How often a replica came up or went down; who waits for one looks again.
    turns: watch::Sender<u64>,
    look: Notify,
    chance: Chance,
    failure: Mutex<Option<Arc<ReplicaError>>>,
    url: String,
}

impl Observer for Shared {
    fn came_up(&self) {
        self.turns.send_modify(|turns| *turns += 1);
    }

    fn went_down(&self, why: ReplicaError) {
        *self.failure.lock() = Some(Arc::new(why));
        self.turns.send_modify(|turns| *turns += 1);
        self.look.notify_one();
    }
}

impl Pool {
    /// Begins to connect.
    pub(crate) fn start(config: &Config) -> Result<Self, ClientError> {
        let secure = config.tls.as_ref().map(Secure::load).transpose()?.map(Arc::new);
        let targets = Target::read(&config.targets, secure.as_deref())?;
        let shared = Arc::new(Shared {
            replicas: ArcSwap::default(),
            near: config.near_cache.map(|near| Arc::new(NearCache::new(near.max_bytes))),
            turns: watch::Sender::new(0),
            look: Notify::new(),
            chance: Chance::default(),
            failure: Mutex::new(None),
            url: config.targets.join(", "),
        });
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            targets,
            network: Arc::clone(&config.network),
            secure: secure.clone(),
            every: config.resolve_every,
            kept: HashMap::new(),
            tasks: JoinSet::new(),
            next: 0,
        };
        let reader = secure.clone().map(|secure| tokio::spawn(secure.follow()));
        Ok(Self { shared, keeper: tokio::spawn(keeper.run()), secure, reader })
    }

    pub(crate) fn near(&self) -> Option<&NearCache> {
        self.shared.near.as_deref()
    }

    pub(crate) fn stats(&self) -> Vec<ReplicaStats> {
        let now = Instant::now();
        self.shared.replicas.load().iter().map(|replica| replica.stats(now)).collect()
    }

    pub(crate) fn tls(&self) -> Option<TlsStats> {
        self.secure.as_deref().map(Secure::stats)
    }

    /// A replica that is ready, other than `except`: of two by chance, the one with fewer calls under
    /// way. Where none is ready, one that is avoided.
    pub(crate) fn pick(&self, except: Option<u64>) -> Option<Arc<Replica>> {
        let replicas = self.shared.replicas.load();
        let now = Instant::now();
        let (mut ready, mut avoided) = (Vec::with_capacity(replicas.len()), Vec::new());
        for replica in replicas.iter().filter(|replica| Some(replica.id) != except) {
            match replica.standing(now) {
                Standing::Ready => ready.push(replica),
                Standing::Avoided => avoided.push(replica),
                Standing::Down => {}
            }
        }
        self.shared.chance.lighter(if ready.is_empty() { &avoided } else { &ready }).cloned()
    }

    /// A replica as [`Pool::pick`] gives it, as soon as there is one.
    pub(crate) async fn wait(&self, deadline: Instant) -> Result<Arc<Replica>, ClientError> {
        let mut turns = self.shared.turns.subscribe();
        let found = timeout_at(deadline, async {
            loop {
                turns.mark_unchanged();
                if let Some(replica) = self.pick(None) {
                    return Some(replica);
                }
                if turns.changed().await.is_err() {
                    return None;
                }
            }
        });
        found.await.ok().flatten().ok_or_else(|| self.unreachable())
    }

    /// Waits until one replica is ready, or all have failed once.
    pub(crate) async fn reached(&self, deadline: Instant) -> Result<(), ClientError> {
        let mut turns = self.shared.turns.subscribe();
        let all_failed = async {
            loop {
                turns.mark_unchanged();
                if self.pick(None).is_some() || self.has_failed() {
                    return;
                }
                if turns.changed().await.is_err() {
                    return;
                }
            }
        };
        // Late is as good as failed: the pool says which it is.
        if timeout_at(deadline, all_failed).await.is_err() {
            tracing::debug!("no replica was reached in time");
        }
        self.pick(None).map(|_| ()).ok_or_else(|| self.unreachable())
    }

    fn has_failed(&self) -> bool {
        // Every replica counts a turn when it fails, and a name that has no address counts one.
        let turns = *self.shared.turns.borrow();
        self.shared.failure.lock().is_some() && turns >= self.shared.replicas.load().len() as u64
    }

    pub(crate) fn unreachable(&self) -> ClientError {
        let source: Arc<dyn Error + Send + Sync> = match self.shared.failure.lock().clone() {
            Some(failure) => failure,
            None => Arc::new(ReplicaError::Silent),
        };
        ClientError::Unreachable { url: self.shared.url.clone(), source }
    }
}

/// Looks names up, and keeps a task for each replica.
struct Keeper {
    shared: Arc<Shared>,
    targets: Vec<Target>,
    network: Arc<dyn Network>,
    secure: Option<Arc<Secure>>,
    every: Duration,
    kept: HashMap<SocketAddr, (Arc<Replica>, AbortHandle)>,
    tasks: JoinSet<()>,
    next: u64,
}

impl Keeper {
    async fn run(mut self) {
        let mut known = Known::default();
        loop {
            let (found, failure) = known.look(&self.targets, self.network.as_ref()).await;
            self.take(found);
            if let Some(failure) = failure {
                tracing::warn!(error = %failure, "the addresses from before are used");
                *self.shared.failure.lock() = Some(Arc::new(failure));
                self.shared.turns.send_modify(|turns| *turns += 1);
            }
            sleep(LOOK_PAUSE).await;
            let wait = self.every.saturating_sub(LOOK_PAUSE);
            // Whichever comes first: the time, or a connection that broke.
            if timeout(wait, self.shared.look.notified()).await.is_ok() {
                tracing::debug!("names are looked up again");
            }
        }
    }

    /// Begins with the replicas that are new, and ends with those that are gone.
    fn take(&mut self, found: std::collections::BTreeMap<SocketAddr, tonic::codegen::http::Uri>) {
        let mut found: Vec<_> = found.into_iter().collect();
        if found.len() > MAX_REPLICAS {
            found.sort_by_key(|(address, _)| self.shared.chance.rank(address));
            found.truncate(MAX_REPLICAS);
        }
        let stays = |address: &SocketAddr| found.iter().any(|(other, _)| other == address);
        self.kept.retain(|address, (replica, task)| {
            if stays(address) {
                return true;
            }
            task.abort();
            replica.down();
            if let Some(near) = &self.shared.near {
                near.forget(replica.id);
            }
            false
        });
        for (address, url) in found {
            if self.kept.contains_key(&address) {
                continue;
            }
            self.next += 1;
            let (network, secure) = (Arc::clone(&self.network), self.secure.clone());
            let replica = Arc::new(Replica::new(self.next, address, url, network, secure));
            let keep =
                Arc::clone(&replica).keep(Arc::clone(&self.shared), self.shared.near.clone());
            let task = self.tasks.spawn(keep);
            self.kept.insert(address, (replica, task));
        }
        // What was aborted is done with.
        while self.tasks.try_join_next().is_some() {}
        let mut replicas: Vec<_> = self.kept.values().map(|(r, _)| Arc::clone(r)).collect();
        replicas.sort_by_key(|replica| replica.id);
        self.shared.replicas.store(Arc::new(replicas));
    }
}

/// Numbers that differ from call to call and from client to client. They protect nothing.
struct Chance {
    seed: std::hash::RandomState,
    count: AtomicU64,
}

impl Default for Chance {
    fn default() -> Self {
        use std::hash::BuildHasher as _;
        let seed = std::hash::RandomState::new();
        let count = AtomicU64::new(seed.hash_one(0));
        Self { seed, count }
    }
}

impl Chance {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.count.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The same for the same address, and another for another client.
    fn rank(&self, address: &SocketAddr) -> u64 {
        use std::hash::BuildHasher as _;
        self.seed.hash_one(address)
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// Of two by chance, the one with fewer calls under way.
    fn lighter<'a>(&self, replicas: &[&'a Arc<Replica>]) -> Option<&'a Arc<Replica>> {
        let first = self.below(replicas.len());
        let second =
            (first + 1 + self.below(replicas.len().saturating_sub(1))) % replicas.len().max(1);
        let (first, second) = (*replicas.get(first)?, *replicas.get(second)?);
        Some(if second.load() < first.load() { second } else { first })
    }
}

#[cfg(test)]
mod tests;
