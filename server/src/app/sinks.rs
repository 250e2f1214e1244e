//! Where events go in, the threads that write them out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::{AppError, Shared};
use crate::events::spool::{Spool, SpoolConfig};
use crate::events::{EventFile, Queue, Sinks};
use crate::metrics::Metrics;

/// How long a start waits for the folder of the record of decisions.
const OPEN: Duration = Duration::from_secs(5);

/// A thread that writes events.
pub(super) type Writer = std::thread::JoinHandle<()>;

/// The record of decisions and the event file, as far as they are configured.
///
/// # Errors
/// When the event file cannot be opened.
pub(super) async fn sinks(
    file: Option<PathBuf>,
    config: SpoolConfig,
    start: OffsetDateTime,
    shared: &Shared,
) -> Result<(Sinks, Vec<Writer>), AppError> {
    let (queue, writer) = event_file(file, &shared.metrics)?;
    let is_wanted = config.folder.is_some();
    let (spool, spool_writer) = spool(config, start, shared).await;
    let writers = writer.into_iter().chain(spool_writer).collect();
    let unrecorded = is_wanted && spool.is_none();
    Ok((Sinks { spool, queue, unrecorded }, writers))
}

/// The record of decisions, if there is a folder for it. One that cannot be used costs the record, not the
/// service (CASES T163).
async fn spool(
    config: SpoolConfig,
    start: OffsetDateTime,
    shared: &Shared,
) -> (Option<Spool>, Option<Writer>) {
    let Some(folder) = config.folder.clone() else { return (None, None) };
    let path = folder.display().to_string();
    let (clock, metrics) = (Arc::clone(&shared.clock), Arc::clone(&shared.metrics));
    let open = move || -> io::Result<(Spool, Writer)> {
        let (spool, writer) = Spool::open(config, folder, start, clock, metrics);
        let thread = std::thread::Builder::new().name("spool".to_owned());
        Ok((spool, thread.spawn(move || writer.run())?))
    };
    let opened = tokio::time::timeout(OPEN, shared.background.spawn_blocking(open)).await;
    match opened {
        Ok(Ok(Ok((spool, writer)))) => return (Some(spool), Some(writer)),
        Ok(Ok(Err(error))) => tracing::error!(%error, path, "events are not recorded"),
        Ok(Err(error)) => tracing::error!(%error, path, "events are not recorded"),
        Err(_elapsed) => tracing::error!(path, "events are not recorded: the disk does not answer"),
    }
    (None, None)
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
