//! An address in, a replica out: connected, watched and judged.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::error::ReplicaError;
use crate::near::{NearCache, STALL};
use crate::network::Network;
use crate::secure::{Secure, Told};
use crate::stats::{ReplicaStats, Standing};
use crate::{CONNECT, MAX_ANSWER};

/// What is asked for its health: gRPC's own protocol, under the name of what we call.
pub(crate) const SERVICE: &str = "portcullis.v1.DecisionService";
/// How often a connection is probed, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many failures in a row leave a replica alone for a while.
const EJECT_AFTER: u32 = 5;
/// For how long the first time; each time doubles it, [`MAX_DOUBLINGS`] times at the most.
const EJECT_FOR: Duration = Duration::from_secs(1);
const MAX_DOUBLINGS: u32 = 5;
/// The longest that a replica is left alone for being at its limit, whatever it says.
const MAX_BUSY: Duration = Duration::from_secs(10);
/// How long to wait after a connection failed: at first, and at the most.
const BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// One replica of the service.
pub(crate) struct Replica {
    pub(crate) id: u64,
    address: SocketAddr,
    url: Uri,
    network: Arc<dyn Network>,
    secure: Option<Arc<Secure>>,
    began: Instant,
    channel: Mutex<Option<Channel>>,
    up: AtomicBool,
    /// Microseconds after `began` until which it is left alone.
    avoid_until: AtomicU64,
    failed_in_a_row: AtomicU32,
    ejected_in_a_row: AtomicU32,
    in_flight: AtomicUsize,
    calls: AtomicU64,
    failures: AtomicU64,
    ejections: AtomicU64,
}

/// A call under way; it counts until it is dropped, also when its caller goes away.
pub(crate) struct InFlight(Arc<Replica>);

impl InFlight {
    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a replica's connection tells of it.
pub(crate) trait Observer: Send + Sync + 'static {
    /// It is asked from now on.
    fn came_up(&self);
    /// It cannot be asked.
    fn went_down(&self, why: ReplicaError);
}

impl Replica {
    pub(crate) fn new(
        id: u64,
        address: SocketAddr,
        url: Uri,
        network: Arc<dyn Network>,
        secure: Option<Arc<Secure>>,
    ) -> Self {
        Self {
            id,
            address,
            url,
            network,
            secure,
            began: Instant::now(),
            channel: Mutex::new(None),
            up: AtomicBool::new(false),
            avoid_until: AtomicU64::new(0),
            failed_in_a_row: AtomicU32::new(0),
            ejected_in_a_row: AtomicU32::new(0),
            in_flight: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
        }
    }

    /// Whether it is asked at `now`.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        if !self.up.load(Ordering::Acquire) {
            Standing::Down
        } else if self.after_begin(now) < self.avoid_until.load(Ordering::Relaxed) {
            Standing::Avoided
        } else {
            Standing::Ready
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host of its service, as it was configured.
    pub(crate) fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
    }

    fn after_begin(&self, at: Instant) -> u64 {
        let span = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(span).unwrap_or(u64::MAX)
    }

    /// How many calls are under way.
    pub(crate) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Begins a call, unless it went down meanwhile.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<(InFlight, Channel)> {
        let channel = self.channel.lock().clone()?;
        Some((self.count(), channel))
    }

    /// Counts a call.
    pub(crate) fn count(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// It answered, if only with an error of its own.
    pub(crate) fn answered(&self) {
        // Read first: it is written by every call otherwise.
        if self.failed_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failed_in_a_row.store(0, Ordering::Relaxed);
        }
        if self.ejected_in_a_row.load(Ordering::Relaxed) != 0 {
            self.ejected_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// It did not answer. After [`EJECT_AFTER`] in a row it is left alone for a while.
    pub(crate) fn failed(&self, now: Instant) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.failed_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        // Those that were under way when it was ejected are of the same fault.
        if in_a_row >= EJECT_AFTER {
            self.eject(now);
        }
    }

    /// It does not even say that it is there, and is left alone at once.
    pub(crate) fn stands_still(&self, now: Instant) {
        self.eject(now);
    }

    fn eject(&self, now: Instant) {
        if self.standing(now) == Standing::Avoided {
            return;
        }
        self.failed_in_a_row.store(0, Ordering::Relaxed);
        let before = self.ejected_in_a_row.fetch_add(1, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.avoid(now + EJECT_FOR * 2_u32.pow(before.min(MAX_DOUBLINGS)));
        tracing::warn!(address = %self.address, "a replica fails, and is left alone for a while");
    }

    /// It is at its limit, and says for how long.
    pub(crate) fn busy(&self, now: Instant, span: Duration) {
        self.avoid(now + span.min(MAX_BUSY));
    }

    fn avoid(&self, until: Instant) {
        self.avoid_until.fetch_max(self.after_begin(until), Ordering::Relaxed);
    }

    pub(crate) fn stats(&self, now: Instant) -> ReplicaStats {
        ReplicaStats {
            address: self.address,
            standing: self.standing(now),
            in_flight: self.load(),
            calls: self.calls.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            ejections: self.ejections.load(Ordering::Relaxed),
        }
    }

    /// Keeps connected, for as long as it is polled.
    pub(crate) async fn keep(
        self: Arc<Self>,
        observer: Arc<impl Observer>,
        near: Option<Arc<NearCache>>,
    ) {
        let mut backoff = BACKOFF;
        loop {
            let began = Instant::now();
            let why = self.connection(observer.as_ref(), near.as_ref()).await;
            self.down();
            tracing::debug!(address = %self.address, error = %why, "a replica is gone");
            observer.went_down(why);
            if began.elapsed() > MAX_BACKOFF {
                // It was good for a while, and may only have ended of its age.
                backoff = BACKOFF;
                continue;
            }
            sleep(backoff).await;
            backoff = MAX_BACKOFF.min(backoff * 2);
        }
    }

    /// No new calls. Those under way hold the connection, and are answered.
    pub(crate) fn down(&self) {
        self.up.store(false, Ordering::Release);
        *self.channel.lock() = None;
    }

    fn up(&self, channel: Channel, observer: &impl Observer) {
        *self.channel.lock() = Some(channel);
        self.failed_in_a_row.store(0, Ordering::Relaxed);
        self.up.store(true, Ordering::Release);
        tracing::debug!(address = %self.address, "a replica serves");
        observer.came_up();
    }

    /// Connects, and follows what it says until the connection is no good; gives why it is not.
    async fn connection(
        &self,
        observer: &impl Observer,
        near: Option<&Arc<NearCache>>,
    ) -> ReplicaError {
        let told = Arc::new(OnceLock::new());
        let why = self.connected(observer, near, Arc::clone(&told)).await;
        // What TLS says of it says more than what became of the connection.
        told.get().map_or(why, |told| ReplicaError::Tls(*told))
    }

    async fn connected(
        &self,
        observer: &impl Observer,
        near: Option<&Arc<NearCache>>,
        told: Arc<OnceLock<Told>>,
    ) -> ReplicaError {
        let channel = match self.connect(told).await {
            Ok(channel) => channel,
            Err(error) => return ReplicaError::Connect(error),
        };
        let watched = async {
            match near {
                Some(near) => self.watch(near, channel.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            why = self.health(&channel, observer) => why,
            () = watched => ReplicaError::Silent,
        }
    }

    async fn connect(&self, told: Arc<OnceLock<Told>>) -> Result<Channel, tonic::transport::Error> {
        let (network, address) = (Arc::clone(&self.network), self.address);
        let (secure, url) = (self.secure.clone(), self.url.clone());
        let connector = tower::service_fn(move |_: Uri| {
            let connecting = network.connect(address);
            let (secure, url, told) = (secure.clone(), url.clone(), Arc::clone(&told));
            let connecting = async move {
                let stream = connecting.await?;
                match secure {
                    None => Ok(stream),
                    Some(secure) => secure.connect(&url, stream, told).await,
                }
            };
            async move {
                match timeout(CONNECT, connecting).await {
                    Ok(connected) => connected.map(TokioIo::new),
                    Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        });
        Endpoint::from(self.url.clone())
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
    }

    /// Follows its health until it says no more.
    async fn health(&self, channel: &Channel, observer: &impl Observer) -> ReplicaError {
        let mut client = HealthClient::new(channel.clone());
        let request = HealthCheckRequest { service: SERVICE.to_owned() };
        let failed = |status| ReplicaError::Health(Box::new(status));
        let mut stream = match timeout(CONNECT, client.watch(request)).await {
            Ok(Ok(stream)) => stream.into_inner(),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                // So gRPC has it: who does not tell is taken to be well.
                self.up(channel.clone(), observer);
                return std::future::pending().await;
            }
            Ok(Err(status)) => return failed(status),
            Err(_elapsed) => return ReplicaError::Silent,
        };
        // The first word must come soon; after it, silence is good, and a dead connection is found
        // by its probes.
        let mut next = timeout(CONNECT, stream.message()).await;
        loop {
            match next {
                Ok(Ok(Some(health))) if health.status() == ServingStatus::Serving => {
                    self.up(channel.clone(), observer);
                }
                Ok(Ok(Some(_))) => {
                    self.down();
                    observer.went_down(ReplicaError::NotServing);
                }
                Ok(Ok(None)) | Err(_) => return ReplicaError::Silent,
                Ok(Err(status)) => return failed(status),
            }
            next = Ok(stream.message().await);
        }
    }

    /// Tells the near cache what changes, for as long as it is polled.
    async fn watch(&self, near: &Arc<NearCache>, channel: Channel) {
        let mut client = DecisionServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let _lost = Lost { near, id: self.id };
        let mut backoff = BACKOFF;
        loop {
            let request = v1::WatchRequest { from: near.position(self.id) };
            if let Ok(Ok(stream)) = timeout(STALL, client.watch(request)).await {
                let mut stream = stream.into_inner();
                // One that says nothing hangs: it is begun anew, from where it stood.
                while let Ok(Ok(Some(message))) = timeout(STALL, stream.message()).await {
                    near.heard(self.id, &message, Instant::now());
                    backoff = BACKOFF;
                }
            }
            near.lost(self.id);
            sleep(backoff).await;
            backoff = MAX_BACKOFF.min(backoff * 2);
        }
    }
}

/// Tells the near cache that nothing is heard any more, also when its task is dropped.
struct Lost<'a> {
    near: &'a NearCache,
    id: u64,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        self.near.lost(self.id);
    }
}

#[cfg(test)]
mod tests;
