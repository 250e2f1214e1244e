//! The layers of one service, each around the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::signature::Trust;

use super::observed::observed;
use super::sinks::{Writer, sinks};
use super::{AppError, Shared, secured};
use crate::access::AccessScopes;
use crate::caught::Caught;
use crate::check::Decider;
use crate::config::Config;
use crate::events::{Recorded, Reported};
use crate::evidence::bulkhead::Bulkhead;
use crate::evidence::collect::Collect;
use crate::evidence::marks::{Kept, Marked};
use crate::evidence::memory::Memory;
use crate::evidence::store::Store;
use crate::hooks;
use crate::hooks::config::HooksConfig;
use crate::hooks::endpoint::Endpoint;
use crate::inspect::Inspector;
use crate::limit::Limited;
use crate::metrics::{CacheSize, Metrics};
use crate::refresh::Refresher;
use crate::registry::{Downloads, Registry, RegistryConfig};
use crate::resolve::Resolver;
use crate::revocation::Revocation;
use crate::rules::Rules;
use crate::tls::Tls;

/// How long a starting service waits for its evidence store.
const OPENING: Duration = Duration::from_millis(1_500);

/// Where evidence comes from, before it is remembered.
pub(super) type Source = Arc<Marked<Collect>>;
/// What is remembered of it.
pub(super) type Remembered = Memory<Bulkhead<Source>>;
/// What answers questions.
pub(super) type Checker = Caught<Recorded<Limited<Decider<Remembered>>>>;

/// What is served.
pub(super) struct Stack {
    pub(super) checker: Arc<Checker>,
    pub(super) reported: Arc<Reported>,
    pub(super) inspector: Inspector<Source>,
    pub(super) refresher: Arc<Refresher<Remembered>>,
    pub(super) told: Option<Told>,
    pub(super) marks: Arc<Kept>,
    pub(super) store: Store,
    /// The threads that write events.
    pub(super) writers: Vec<Writer>,
}

/// Where registries tell what changed.
pub(super) struct Told {
    pub(super) listen: SocketAddr,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) queue: hooks::queue::Queue,
}

/// Stacks the layers by `config`.
///
/// # Errors
/// When the registry client or the event file cannot be made.
pub(super) async fn stack(
    config: Config,
    shared: &Shared,
    rules: Arc<Rules>,
) -> Result<Stack, AppError> {
    let Shared { clock, metrics, changes, searches, background, .. } = shared;
    let downloads = Downloads::new(&config.registry, &config.revocation.hosts)?;
    let told = told(config.hooks, &config.registry, shared)?;
    let registry = Registry::new(observed(config.registry, metrics, clock))?;
    let access = AccessScopes::new(registry.clone());
    let start = clock.now();
    let (sinks, writers) = sinks(config.events, config.spool, start, shared).await?;

    for warning in config.profiles.warnings() {
        tracing::warn!("{warning}");
    }
    let revocation = Revocation::new(
        downloads,
        &config.revocation,
        Arc::clone(clock),
        Arc::clone(metrics),
        searches.clone(),
    );
    let store = Store::open(&config.store, metrics, background.clone());
    let collect = Collect::new(registry.clone(), config.profiles, revocation, Arc::clone(clock))
        .with_store(store.clone());
    let marks = Arc::new(Kept::start(&config.marks, Arc::clone(metrics)).await);
    let marked = Arc::new(Marked::new(collect, marks.clone(), Arc::clone(clock)));
    let inspector = Inspector::new(
        registry.clone(),
        Arc::clone(&marked),
        in_force(&rules),
        Arc::clone(clock),
        access.clone(),
    );
    let searched = Bulkhead::new(marked, &config.limits, Arc::clone(clock), Arc::clone(metrics));
    let memory = Memory::new(
        searched,
        config.memory,
        Arc::clone(clock),
        Arc::clone(metrics),
        changes.clone(),
        searches.clone(),
        background.clone(),
    );
    let resolver = Resolver::new(
        registry.clone(),
        store.clone(),
        config.resolve,
        Arc::clone(clock),
        searches.clone(),
        background.clone(),
    );
    show_names(metrics, &resolver);
    let refresher = Arc::new(Refresher::new(
        (registry, resolver.clone(), memory.clone()),
        in_force(&rules),
        access.clone(),
        Arc::clone(clock),
        Arc::clone(metrics),
        config.refresh,
    ));
    let decider = Decider::new(resolver, memory, rules, Arc::clone(clock), access, config.clusters);
    let limited = Limited::new(decider, config.max_in_flight, config.limits, Arc::clone(metrics));
    let recorded = Recorded::new(limited, sinks, start, Arc::clone(metrics));
    let reported = Arc::new(recorded.reported(Arc::clone(clock), background.clone()));
    let checker = Arc::new(Caught::new(recorded, Arc::clone(metrics)));
    store.opened(OPENING).await;
    Ok(Stack { checker, reported, inspector, refresher, told, marks, store, writers })
}

fn told(
    config: HooksConfig,
    registry: &RegistryConfig,
    shared: &Shared,
) -> Result<Option<Told>, AppError> {
    if config.sources.is_empty() {
        return Ok(None);
    }
    let (listen, queue) = (config.listen, hooks::queue::Queue::default());
    let tls =
        secured(config.tls.as_deref().cloned(), &shared.clock).map_err(AppError::EventsTls)?;
    let metrics = Arc::clone(&shared.metrics);
    let endpoint = config.endpoint(registry, queue.clone(), &shared.clock, metrics)?;
    Ok(Some(Told { listen, tls, endpoint: Arc::new(endpoint), queue }))
}

/// Shows how much is remembered of what references name.
fn show_names(metrics: &Metrics, names: &Resolver) {
    let size = names.size();
    metrics.watch_cache("names", move || {
        let (entries, bytes) = size();
        CacheSize { entries: Some(entries as u64), bytes }
    });
}

fn in_force(rules: &Arc<Rules>) -> impl Fn() -> Arc<Trust> + Send + Sync + 'static {
    let rules = Arc::clone(rules);
    move || rules.trust()
}
