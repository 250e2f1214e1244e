//! The layers of one service, each around the next.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::signature::Trust;

use super::observed::observed;
use super::sinks::{Writer, sinks};
use super::{AppError, Shared};
use crate::access::AccessScopes;
use crate::caught::Caught;
use crate::check::Decider;
use crate::config::Config;
use crate::events::Recorded;
use crate::evidence::bulkhead::Bulkhead;
use crate::evidence::collect::Collect;
use crate::evidence::marks::{Kept, Marked};
use crate::evidence::memory::Memory;
use crate::evidence::store::Store;
use crate::inspect::Inspector;
use crate::limit::Limited;
use crate::registry::{Downloads, Registry};
use crate::resolve::Resolver;
use crate::revocation::Revocation;
use crate::rules::Rules;

/// How long a starting service waits for its evidence store.
const OPENING: Duration = Duration::from_millis(1_500);

/// Where evidence comes from, before it is remembered.
pub(super) type Source = Arc<Marked<Collect>>;
/// What answers questions.
pub(super) type Checker = Caught<Recorded<Limited<Decider<Memory<Bulkhead<Source>>>>>>;

/// What is served.
pub(super) struct Stack {
    pub(super) checker: Arc<Checker>,
    pub(super) inspector: Inspector<Source>,
    pub(super) marks: Arc<Kept>,
    pub(super) store: Store,
    /// The threads that write events.
    pub(super) writers: Vec<Writer>,
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
        registry,
        store.clone(),
        config.resolve,
        Arc::clone(clock),
        searches.clone(),
        background.clone(),
    );
    let decider = Decider::new(resolver, memory, rules, Arc::clone(clock), access, config.clusters);
    let limited = Limited::new(decider, config.max_in_flight, config.limits, Arc::clone(metrics));
    let recorded = Recorded::new(limited, sinks, start, Arc::clone(metrics));
    let checker = Arc::new(Caught::new(recorded, Arc::clone(metrics)));
    store.opened(OPENING).await;
    Ok(Stack { checker, inspector, marks, store, writers })
}

fn in_force(rules: &Arc<Rules>) -> impl Fn() -> Arc<Trust> + Send + Sync + 'static {
    let rules = Arc::clone(rules);
    move || rules.trust()
}
