//! A configuration in, a running shim out: the one place where its parts meet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use portcullis_client::{
    Client, ClientError, Config as ClientConfig, NearCacheConfig, PairFiles, TlsConfig as ClientTls,
};
use portcullis_tls::Now;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ask::{Asker, Clock};
use crate::breaker::Breaker;
use crate::config::{Config, KnownConfig, ServiceTls};
use crate::known::LastKnown;
use crate::listen::Serving;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::renewal::{Keeper as Renewal, RenewalError};
use crate::reports::{Keeper as ReportKeeper, NoRun, Reports};
use crate::reviewer::Reviewer;
use crate::tls::{Certificates, TlsError};
use crate::webhook::{Patience, Webhook};

/// How long a shim that begins waits for the service before it takes reviews without it.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// How often it looks whether the service is there.
const LOOK: Duration = Duration::from_millis(100);
/// How often what was last known is written, if it changed.
const WRITE_EVERY: Duration = Duration::from_secs(30);
/// How long the last reports may take to be sent.
const LAST_REPORTS: Duration = Duration::from_secs(5);
/// How long the last of them may take to be written.
const LAST_WRITE: Duration = Duration::from_secs(5);
/// How long connections may take to end at last.
const END: Duration = Duration::from_secs(15);

/// Why the shim cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("failed to load the certificate")]
    Tls(#[from] TlsError),
    /// The certificate cannot be made here.
    #[error("failed to set up `tls.self`")]
    Renewal(#[from] RenewalError),
    /// The service's addresses or the files to ask it with cannot be used.
    #[error("`service` cannot be used")]
    Client(#[from] ClientError),
    /// Nothing can be told of answers that are given without the service.
    #[error("failed to begin reports")]
    Reports(#[from] NoRun),
}

/// A running shim.
pub struct App {
    address: SocketAddr,
    admin_address: SocketAddr,
    webhook: Arc<Webhook>,
    drain: Duration,
    /// Ends connections, and what lives as long as the shim.
    stop: CancellationToken,
    tasks: TaskTracker,
    keeper: Keeper,
    /// Ends the sending of reports.
    told: CancellationToken,
    sender: JoinHandle<()>,
    reports: JoinHandle<ReportKeeper>,
}

/// Writes what was last known.
#[derive(Clone)]
struct Keeper {
    asker: Arc<Asker>,
    config: KnownConfig,
    metrics: Arc<Metrics>,
}

impl App {
    /// Starts the shim; it answers when this returns.
    ///
    /// # Errors
    /// When an address or a file cannot be used.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, AppError> {
        if config.namespace.is_none() {
            tracing::warn!(
                "it is not known in which namespace this is: set `namespace`, or its own pods are asked about"
            );
        }
        let now = now(Arc::clone(&clock));
        let certificates = Arc::new(Certificates::load(&config.tls, Arc::clone(&now))?);
        let client = Client::start(&client(&config))?;
        let known = LastKnown::new(config.known.limit, config.known.tags, config.known.max_bytes);
        let reports = Arc::new(Reports::new(config.reports.max_bytes)?);
        let report_keeper = ReportKeeper::new(Arc::clone(&reports), &config.reports, &config.place);
        let sending_client = client.clone();
        let asker = Arc::new(Asker {
            client,
            known,
            reports: Arc::clone(&reports),
            breaker: Breaker::default(),
            fail: config.fail,
            place: config.place,
            clock,
            unlabelled: AtomicU64::new(0),
        });
        let metrics = Arc::new(Metrics::with(asker.clone()));
        certificates.tell(&metrics);
        let keeper = Keeper {
            asker: Arc::clone(&asker),
            config: config.known,
            metrics: Arc::clone(&metrics),
        };
        keeper.read();
        let reviewer = Reviewer {
            asker: Arc::clone(&asker),
            settings: config.reviews,
            exempt: config.exempt,
            metrics: Arc::clone(&metrics),
        };
        let bounds = config.bounds;
        let patience =
            Patience { timeout: config.timeout, margin: config.margin, body: bounds.body_timeout };
        let places = Places::new(bounds.reviews, bounds.reviews_per_peer);
        let (shown, counted) = (Arc::clone(&certificates), Arc::clone(&metrics));
        let webhook = Arc::new(Webhook::new(reviewer, shown, counted, patience, places));
        let (listener, address) = bind(config.listen).await?;
        let (admin_listener, admin_address) = bind(config.admin).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        if let Some(renewal) = config.tls.renewal {
            let renewal = Renewal::load(renewal, &certificates, &metrics, now)?;
            tasks.spawn(renewal.run(stop.clone()));
        }
        let serving = Serving {
            webhook: Arc::clone(&webhook),
            certificates: Arc::clone(&certificates),
            metrics: Arc::clone(&metrics),
            places: Places::new(bounds.connections, bounds.connections_per_peer),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(serving.clone().webhook(listener));
        tasks.spawn(serving.admin(admin_listener));
        tasks.spawn(Arc::clone(&certificates).follow(metrics, stop.clone()));
        tasks.spawn(keeper.clone().run(stop.clone()));
        tasks.spawn(ready(Arc::clone(&webhook), certificates, asker, stop.clone()));
        let told = CancellationToken::new();
        let sender = tokio::spawn(reports.send(sending_client, told.clone(), LAST_REPORTS));
        let reports = tokio::spawn(report_keeper.run(told.clone()));
        tracing::info!(%address, admin = %admin_address, "listening");
        Ok(Self {
            address,
            admin_address,
            webhook,
            drain: config.drain,
            stop,
            tasks,
            keeper,
            told,
            sender,
            reports,
        })
    }

    /// Where reviews are taken.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/metrics`, `/livez` and `/readyz` are served.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Says that it is not ready, and answers on for the configured time, on connections old and new: API
    /// servers hear late of it, and use what is open.
    pub async fn drain(&self) {
        self.webhook.drain();
        sleep(self.drain).await;
    }

    /// Stops: no new connections, then waits for the answers under way, and writes what was last known.
    pub async fn stop(self) {
        self.webhook.drain();
        self.stop.cancel();
        self.tasks.close();
        if timeout(END, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "some connections did not end in time");
        }
        self.keeper.write().await;
        // No more answers are given: what can still be told is told, and the rest is written.
        self.told.cancel();
        if let Err(error) = self.sender.await {
            tracing::error!(%error, "the sending of reports ended early");
        }
        let write = async {
            match self.reports.await {
                Ok(mut keeper) => drop(keeper.write().await),
                Err(error) => tracing::error!(%error, "the keeping of reports ended early"),
            }
        };
        if timeout(LAST_WRITE, write).await.is_err() {
            tracing::error!("the last reports may not have been written");
        }
    }
}

/// Takes reviews as soon as the service is there, and without it after [`FIRST_CONTACT`]: who takes none sends
/// the API server back to its own fail policy, which says nothing to anybody.
///
/// Never before there is a certificate that API servers trust: where we make it ourselves, they are told first.
async fn ready(
    webhook: Arc<Webhook>,
    certificates: Arc<Certificates>,
    asker: Arc<Asker>,
    stop: CancellationToken,
) {
    while certificates.expires().is_none() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
    }
    let until = Instant::now() + FIRST_CONTACT;
    while !asker.is_reached() {
        if Instant::now() >= until {
            tracing::warn!("the decision service is not there: the fail policy holds until it is");
            break;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
    }
    webhook.ready();
    tracing::info!("ready");
}

impl Keeper {
    /// Takes what was written before.
    fn read(&self) {
        let Some(path) = &self.config.file else { return };
        let now = (self.asker.clock)();
        match self.asker.known.read(path, &self.asker.place.cluster, now) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "answers of before the restart count on"),
            Err(error) => {
                let error = crate::chain(&error);
                tracing::warn!(error, "what was last known before the restart is forgotten");
            }
        }
    }

    /// Writes from time to time, until `stop`.
    async fn run(self, stop: CancellationToken) {
        let mut written = self.asker.known.changes();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(WRITE_EVERY) => {}
            }
            let changes = self.asker.known.changes();
            if changes != written {
                written = changes;
                self.write().await;
            }
        }
    }

    async fn write(&self) {
        let Some(path) = self.config.file.clone() else { return };
        let asker = Arc::clone(&self.asker);
        let now = (asker.clock)();
        let write = move || asker.known.write(&path, &asker.place.cluster, now);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.metrics.known_failed();
                let error = crate::chain(&error);
                tracing::error!(error, "what was last known is not kept over a restart");
            }
            Err(error) => tracing::error!(%error, "the writing of what was last known ended early"),
        }
    }
}

/// The clock as certificates are verified by it.
fn now(clock: Clock) -> Now {
    Arc::new(move || OffsetDateTime::from(clock()))
}

/// The client library's part of the configuration.
fn client(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new(config.service.servers.iter().cloned());
    client.timeout = config.timeout;
    client.tls = config.service.tls.clone().map(|tls| {
        let ServiceTls { authorities, pair, server_name } = tls;
        let pair = pair.map(|(certificate, key)| PairFiles { certificate, key });
        ClientTls { authorities, pair, server_name }
    });
    let max_bytes = config.service.near_bytes;
    client.near_cache = (max_bytes > 0).then_some(NearCacheConfig { max_bytes });
    client
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |source| AppError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
