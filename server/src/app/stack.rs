//! The layers of one service, each around the next.

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::signature::Trust;

use super::observed::observed;
use super::{AppError, Shared};
use crate::access::AccessScopes;
use crate::check::Decider;
use crate::config::Config;
use crate::events::{EventFile, Queue, Recorded};
use crate::evidence::collect::Collect;
use crate::evidence::marks::{Kept, Marked};
use crate::evidence::memory::Memory;
use crate::inspect::Inspector;
use crate::limit::Limited;
use crate::metrics::Metrics;
use crate::registry::{Downloads, Registry};
use crate::resolve::Resolver;
use crate::revocation::Revocation;
use crate::rules::Rules;

/// Where evidence comes from, before it is remembered.
pub(super) type Source = Arc<Marked<Collect>>;
/// What answers questions.
pub(super) type Checker = Recorded<Limited<Decider<Memory<Source>>>>;
/// The thread that writes events.
pub(super) type Writer = std::thread::JoinHandle<()>;

/// What is served.
pub(super) struct Stack {
    pub(super) checker: Arc<Checker>,
    pub(super) inspector: Inspector<Source>,
    pub(super) marks: Arc<Kept>,
    pub(super) writer: Option<Writer>,
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
    let Shared { clock, metrics, searches, background, .. } = shared;
    let downloads = Downloads::new(&config.registry, &config.revocation.hosts)?;
    let registry = Registry::new(observed(config.registry, metrics, clock))?;
    let access = AccessScopes::new(registry.clone());
    let (queue, writer) = event_file(config.events, metrics)?;

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
    let collect = Collect::new(registry.clone(), config.profiles, revocation, Arc::clone(clock));
    let marks = Arc::new(Kept::start(&config.marks, Arc::clone(metrics)).await);
    let marked = Arc::new(Marked::new(collect, marks.clone(), Arc::clone(clock)));
    let inspector = Inspector::new(
        registry.clone(),
        Arc::clone(&marked),
        in_force(&rules),
        Arc::clone(clock),
        access.clone(),
    );
    let memory = Memory::new(
        marked,
        config.memory,
        Arc::clone(clock),
        Arc::clone(metrics),
        searches.clone(),
        background.clone(),
    );
    let resolver = Resolver::new(
        registry,
        config.resolve,
        Arc::clone(clock),
        searches.clone(),
        background.clone(),
    );
    let decider = Decider::new(resolver, memory, rules, Arc::clone(clock), access, config.clusters);
    let limited = Limited::new(decider, config.max_in_flight, Arc::clone(metrics));
    let checker = Arc::new(Recorded::new(limited, queue, clock.now(), Arc::clone(metrics)));
    Ok(Stack { checker, inspector, marks, writer })
}

fn in_force(rules: &Arc<Rules>) -> impl Fn() -> Arc<Trust> + Send + Sync + 'static {
    let rules = Arc::clone(rules);
    move || rules.trust()
}

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
