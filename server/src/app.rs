//! A configuration in, a running service out: the one place where concrete types meet.
//!
//! ```text
//! Caught( Recorded( Limited( Decider( Resolver, Memory( Bulkhead( Marked( Collect( Registry ))))))))
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ports::Clock;
use portcullis_tls::TlsError;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::sinks::Writer;
use self::stack::{Stack, stack};
use crate::admin::{Admin, Readiness};
use crate::changes::Changes;
use crate::clock::jumps;
use crate::config::Config;
use crate::evidence::marks::Kept;
use crate::evidence::store::Store;
use crate::identity::silence;
use crate::listen;
use crate::listen::Listening;
use crate::listen::workers::Workers;
use crate::metrics::Metrics;
use crate::registry::RegistryConfigError;
use crate::rules::{Rules, RulesError};
use crate::tls::{Tls, TlsConfig};

mod stack;
mod sinks;
mod services;
mod refreshing;
mod observed;

/// How long a stopping service waits for answers that are under way.
const DRAIN: Duration = Duration::from_secs(20);

/// How often a draining service looks whether somebody is still connected.
const LOOK: Duration = Duration::from_millis(50);

/// Why the service cannot start.
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
    /// Rules or trust cannot be used.
    #[error("failed to load rules or trust")]
    Rules(#[from] RulesError),
    /// The registry client cannot be made.
    #[error("failed to set up the registry client")]
    Registry(#[from] RegistryConfigError),
    /// Certificates cannot be used.
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
    /// The same of what registries tell.
    #[error("failed to set up `registryEvents.tls`")]
    EventsTls(#[source] TlsError),
    /// The threads that serve cannot be started.
    #[error("failed to start the threads that serve gRPC")]
    Workers(#[source] io::Error),
    /// The event file cannot be opened.
    #[error("failed to open the event file `{}`", path.display())]
    Events {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The reflection service cannot be made.
    #[error("failed to set up gRPC reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A running decision service.
pub struct App {
    address: SocketAddr,
    admin_address: SocketAddr,
    hooks_address: Option<SocketAddr>,
    readiness: Arc<Readiness>,
    health: tonic_health::server::HealthReporter,
    stop: CancellationToken,
    tasks: TaskTracker,
    searches: TaskTracker,
    workers: Workers,
    drain: Duration,
    writers: Vec<Writer>,
    marks: Arc<Kept>,
    store: Store,
}

/// What all parts of one service share.
struct Shared {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    changes: Changes,
    stop: CancellationToken,
    /// Connections, and what lives as long as the service.
    tasks: TaskTracker,
    /// Searches, which end by themselves.
    searches: TaskTracker,
    /// Where all runs that is not the serving of gRPC.
    background: Handle,
}

impl Shared {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            metrics: Arc::new(Metrics::new()),
            changes: Changes::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            searches: TaskTracker::new(),
            background: Handle::current(),
        }
    }
}

impl App {
    /// Starts the service; it answers when this returns.
    ///
    /// # Errors
    /// When an address, a file or the rules cannot be used.
    pub async fn start(mut config: Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let tls = secured(config.tls.take(), &clock)?;
        let shared = Shared::new(clock);
        let rules = Arc::new(Rules::load(&config.rules)?);
        shared.changes.policy(rules.policy().revision());
        let forgetful = config.marks.folder.is_none();
        let (listen, admin, budget) = (config.listen, config.admin, config.budget);
        let (rule_files, serving) = (config.rules.clone(), config.serving.clone());
        let drain = serving.drain;
        let Stack { checker, reported, inspector, refresher, told, marks, store, writers } =
            Box::pin(stack(config, &shared, Arc::clone(&rules))).await?;
        let (health, services) = services::services(
            (checker, reported),
            inspector,
            Arc::clone(&refresher),
            budget,
            &shared,
        )
        .await?;

        let (listener, address) = bind(listen).await?;
        let (admin_listener, admin_address) = bind(admin).await?;
        let hooks_address = refreshing::start(refresher, told, &shared).await?;
        let Shared { clock, metrics, changes, stop, tasks, searches, .. } = shared;
        metrics.show_clock(&clock);
        tasks.spawn(jumps::follow(Arc::clone(&clock), Arc::clone(&metrics), stop.clone()));
        let workers = Workers::start(serving.workers).map_err(AppError::Workers)?;
        let listening = Listening { listener, config: serving, tls: tls.clone() };
        tasks.spawn(listen::grpc(
            listening,
            move |who| services.map(|front| front.for_whom(who)),
            workers.dealer(),
            Arc::clone(&metrics),
            stop.clone(),
            tasks.clone(),
        ));
        if let Some(tls) = tls {
            let (clusters, clock) = (tls.identities.clone(), Arc::clone(&clock));
            tasks.spawn(silence::follow(clusters, clock, Arc::clone(&metrics), stop.clone()));
            tasks.spawn(tls.follow(Arc::clone(&metrics), stop.clone()));
        }
        let readiness = Arc::new(Readiness::default());
        let admin = Admin { metrics: Arc::clone(&metrics), readiness: Arc::clone(&readiness) };
        tasks.spawn(listen::admin(admin_listener, Arc::new(admin), stop.clone(), tasks.clone()));
        tasks.spawn(rules.follow(rule_files, clock, metrics, changes, stop.clone()));
        readiness.set(true);
        announce(address, admin_address, forgetful);
        Ok(Self {
            address,
            admin_address,
            hooks_address,
            readiness,
            health,
            stop,
            tasks,
            searches,
            workers,
            drain,
            writers,
            marks,
            store,
        })
    }

    /// Where gRPC is served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/metrics`, `/livez` and `/readyz` are served.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where registries tell what changed; none where no source is configured.
    #[must_use]
    pub const fn hooks_address(&self) -> Option<SocketAddr> {
        self.hooks_address
    }

    /// Tells balancers that the service will stop, and answers on until they have heard: until no
    /// connection is left, or the configured time is over. What was told is told late, and who asks
    /// meanwhile, on an old connection or a new one, is answered as ever.
    pub async fn drain(&self) {
        self.readiness.set(false);
        services::not_serving(&self.health).await;
        let gone = async {
            while self.workers.open() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(self.drain, gone).await.is_err() {
            tracing::info!(left = self.workers.open(), "some callers have not gone elsewhere");
        }
    }

    /// Stops: not ready, no new connections, then waits for the answers under way, and at last for
    /// their events to be written.
    pub async fn stop(self) {
        self.readiness.set(false);
        services::not_serving(&self.health).await;
        self.stop.cancel();
        services::forget(&self.health).await;
        self.tasks.close();
        self.searches.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "some connections did not end in time");
        }
        let workers = self.workers;
        let ended = tokio::task::spawn_blocking(move || workers.end());
        if !matches!(tokio::time::timeout(DRAIN, ended).await, Ok(Ok(true))) {
            tracing::error!("the threads that serve did not end well");
        }
        let (marks, store) = (self.marks, self.store);
        let close = tokio::task::spawn_blocking(move || {
            marks.close();
            store.close();
        });
        if !matches!(tokio::time::timeout(DRAIN, close).await, Ok(Ok(()))) {
            tracing::error!("the last marks and evidence may not have been written");
        }
        // The queue closes when the last answer is given; a stuck disk must not hold up the end.
        let writers = self.writers;
        let join =
            move || writers.into_iter().fold(true, |well, writer| well & writer.join().is_ok());
        let join = tokio::task::spawn_blocking(join);
        if !matches!(tokio::time::timeout(DRAIN, join).await, Ok(Ok(true))) {
            tracing::error!("the last events may not have been written");
        }
    }
}

/// What connections are made secure by, if they are.
fn secured(
    config: Option<TlsConfig>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Tls>>, TlsError> {
    let tls = config.map(|config| Tls::load(config, Arc::clone(clock))).transpose()?;
    Ok(tls.map(Arc::new))
}

fn announce(address: SocketAddr, admin: SocketAddr, forgetful: bool) {
    tracing::info!(%address, %admin, "listening");
    if forgetful {
        tracing::info!(
            "no `dataDir` is configured: after a restart, reports older than what was seen are \
             believed, and what was seen and is gone is missing instead of withheld"
        );
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |source| AppError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
