//! A configuration in, a running service out: the one place where concrete types meet.
//!
//! ```text
//! Recorded( Limited( Decider( Resolver, Memory( Marked( Collect( Registry ))))))
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use portcullis_core::ports::Clock;
use portcullis_core::signature::Trust;
use portcullis_proto::v1::decision_service_server::DecisionServiceServer;
use portcullis_proto::v1::evidence_service_server::EvidenceServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer as _;

use crate::access::AccessScopes;
use crate::admin::{Admin, Readiness};
use crate::check::Decider;
use crate::config::Config;
use crate::events::{EventFile, Queue, Recorded};
use crate::evidence::collect::Collect;
use crate::evidence::marks::{Kept, Marked};
use crate::evidence::memory::Memory;
use crate::grpc::deadline::DeadlineLayer;
use crate::grpc::evidence::EvidenceAnswers;
use crate::grpc::{Decisions, MAX_REQUEST};
use crate::inspect::Inspector;
use crate::limit::Limited;
use crate::listen;
use crate::metrics::Metrics;
use crate::registry::{
    Downloads, Observe, Outcome, Registry, RegistryConfig, RegistryConfigError, Route,
};
use crate::resolve::Resolver;
use crate::revocation::Revocation;
use crate::rules::{Rules, RulesError};

/// How long a stopping service waits for answers that are under way.
const DRAIN: Duration = Duration::from_secs(20);

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
    #[error("failed to load the rules")]
    Rules(#[from] RulesError),
    /// The registry client cannot be made.
    #[error("failed to set up the registry client")]
    Registry(#[from] RegistryConfigError),
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
    readiness: Arc<Readiness>,
    health: tonic_health::server::HealthReporter,
    stop: CancellationToken,
    tasks: TaskTracker,
    searches: TaskTracker,
    writer: Option<std::thread::JoinHandle<()>>,
    marks: Arc<Kept>,
}

impl App {
    /// Starts the service; it answers when this returns.
    ///
    /// # Errors
    /// When an address, a file or the rules cannot be used.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let metrics = Arc::new(Metrics::new());
        let (stop, tasks, searches) =
            (CancellationToken::new(), TaskTracker::new(), TaskTracker::new());
        let rules = Arc::new(Rules::load(&config.rules)?);
        let downloads = Downloads::new(&config.registry, &config.revocation.hosts)?;
        let registry = Registry::new(observed(config.registry, &metrics, &clock))?;
        let access = AccessScopes::new(registry.clone());
        let (queue, writer) = event_file(config.events, &metrics)?;

        for warning in config.profiles.warnings() {
            tracing::warn!("{warning}");
        }
        let revocation = Revocation::new(
            downloads,
            &config.revocation,
            Arc::clone(&clock),
            Arc::clone(&metrics),
            searches.clone(),
        );
        let collect =
            Collect::new(registry.clone(), config.profiles, revocation, Arc::clone(&clock));
        let forgetful = config.marks.folder.is_none();
        let marks = Arc::new(Kept::start(&config.marks, Arc::clone(&metrics)).await);
        let marked = Arc::new(Marked::new(collect, marks.clone(), Arc::clone(&clock)));
        let inspector = Inspector::new(
            registry.clone(),
            Arc::clone(&marked),
            in_force(&rules),
            Arc::clone(&clock),
            access.clone(),
        );
        let memory = Memory::new(
            marked,
            config.memory,
            Arc::clone(&clock),
            Arc::clone(&metrics),
            searches.clone(),
        );
        let resolver =
            Resolver::new(registry, config.resolve, Arc::clone(&clock), searches.clone());
        let decider = Decider::new(
            resolver,
            memory,
            Arc::clone(&rules),
            Arc::clone(&clock),
            access,
            config.clusters,
        );
        let limited = Limited::new(decider, config.max_in_flight, Arc::clone(&metrics));
        let checker = Arc::new(Recorded::new(limited, queue, clock.now(), Arc::clone(&metrics)));

        let decisions = Decisions::new(checker, config.budget, stop.clone(), tasks.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        let service = DecisionServiceServer::new(decisions).max_decoding_message_size(MAX_REQUEST);
        health.set_serving::<DecisionServiceServer<Decisions<()>>>().await;
        health.set_serving::<EvidenceServiceServer<EvidenceAnswers<Arc<Marked<Collect>>>>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(portcullis_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let inspections = EvidenceServiceServer::new(EvidenceAnswers::new(Arc::new(inspector)))
            .max_decoding_message_size(MAX_REQUEST);
        let routes = tonic::service::Routes::new(service)
            .add_service(inspections)
            .add_service(health_service)
            .add_service(reflection);

        let (listener, address) = bind(config.listen).await?;
        let (admin_listener, admin_address) = bind(config.admin).await?;
        let service = TowerToHyperService::new(DeadlineLayer.layer(routes));
        tasks.spawn(listen::grpc(listener, service, stop.clone(), tasks.clone()));
        let readiness = Arc::new(Readiness::default());
        let admin = Admin { metrics: Arc::clone(&metrics), readiness: Arc::clone(&readiness) };
        tasks.spawn(listen::admin(admin_listener, Arc::new(admin), stop.clone(), tasks.clone()));
        tasks.spawn(rules.follow(config.rules, clock, metrics, stop.clone()));
        readiness.set(true);
        announce(address, admin_address, forgetful);
        Ok(Self { address, admin_address, readiness, health, stop, tasks, searches, writer, marks })
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

    /// Stops: not ready, no new connections, then waits for the answers under way, and at last for
    /// their events to be written.
    pub async fn stop(self) {
        self.readiness.set(false);
        self.health.set_not_serving::<DecisionServiceServer<Decisions<()>>>().await;
        self.health
            .set_not_serving::<EvidenceServiceServer<EvidenceAnswers<Arc<Marked<Collect>>>>>()
            .await;
        self.stop.cancel();
        self.tasks.close();
        self.searches.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "some connections did not end in time");
        }
        let marks = self.marks;
        let close = tokio::task::spawn_blocking(move || marks.close());
        if !matches!(tokio::time::timeout(DRAIN, close).await, Ok(Ok(()))) {
            tracing::error!("the last marks may not have been written");
        }
        let Some(writer) = self.writer else { return };
        // The queue closes when the last answer is given; a stuck disk must not hold up the end.
        let join = tokio::task::spawn_blocking(move || writer.join().is_ok());
        if !matches!(tokio::time::timeout(DRAIN, join).await, Ok(Ok(true))) {
            tracing::error!("the last events may not have been written");
        }
    }
}

fn in_force(rules: &Arc<Rules>) -> impl Fn() -> Arc<Trust> + Send + Sync + 'static {
    let rules = Arc::clone(rules);
    move || rules.trust()
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

type Writer = std::thread::JoinHandle<()>;

fn event_file(
    path: Option<PathBuf>,
    metrics: &Arc<Metrics>,
) -> Result<(Option<Queue>, Option<Writer>), AppError> {
    let Some(path) = path else {
        return Ok((None, None));
    };
    let failed = |source| AppError::Events { path: path.clone(), source };
    let (file, queue) = EventFile::open(path.clone(), Arc::clone(metrics)).map_err(failed)?;
    let writer = std::thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || file.run())
        .map_err(failed)?;
    Ok((Some(queue), Some(writer)))
}

/// Counts the requests to registries: listed hosts by name, all others together.
struct Counted {
    listed: std::collections::BTreeSet<String>,
    metrics: Arc<Metrics>,
}

impl Observe for Counted {
    fn on_request(&self, registry: &str, route: Route, outcome: Outcome) {
        let host = if self.listed.contains(registry) { registry } else { "unlisted" };
        let outcome = match outcome {
            Outcome::Answered(200..=299) => "ok",
            Outcome::Answered(300..=399) => "redirected",
            Outcome::Answered(401 | 403) => "denied",
            Outcome::Answered(404) => "not_found",
            Outcome::Answered(429) => "throttled",
            Outcome::Answered(400..=499) => "refused",
            Outcome::Answered(_) => "failed",
            Outcome::Unanswered => "unanswered",
            Outcome::Withheld => "withheld",
            Outcome::Shed => "shed",
        };
        self.metrics.registry_request(host, route.as_str(), outcome);
    }

    fn on_wait(&self, registry: &str, waited: Duration) {
        let host = if self.listed.contains(registry) { registry } else { "unlisted" };
        self.metrics.registry_waited(host, waited);
    }

    fn on_content(&self, hit: bool, kept_bytes: u64) {
        self.metrics.registry_content(if hit { "hit" } else { "miss" }, kept_bytes);
    }

    fn on_credential(&self, kind: &'static str, outcome: &'static str) {
        self.metrics.credential(kind, outcome);
    }
}

fn observed(
    config: RegistryConfig,
    metrics: &Arc<Metrics>,
    clock: &Arc<dyn Clock>,
) -> RegistryConfig {
    let listed = Registry::names(&config).into_iter().collect();
    let observer = Arc::new(Counted { listed, metrics: Arc::clone(metrics) });
    RegistryConfig { observer, clock: Arc::clone(clock), ..config }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_registries_are_named_in_metrics() {
        let metrics = Arc::new(Metrics::new());
        let listed = std::collections::BTreeSet::from(["reg.io".to_owned()]);
        let counted = Counted { listed, metrics: Arc::clone(&metrics) };
        for (registry, outcome) in [
            ("reg.io", Outcome::Answered(200)),
            ("one.example", Outcome::Answered(429)),
            ("two.example", Outcome::Answered(429)),
        ] {
            counted.on_request(registry, Route::Manifest, outcome);
        }
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"{host="reg.io",route="manifest",outcome="ok"} 1"#), "{text}");
        let others = r#"{host="unlisted",route="manifest",outcome="throttled"} 2"#;
        assert!(text.contains(others), "{text}");
        assert!(!text.contains("example"), "{text}");
    }
}
