//! What keeps memory fresh in, its tasks running out.

use std::net::SocketAddr;
use std::sync::Arc;

use super::stack::{Remembered, Told};
use super::{AppError, Shared, bind};
use crate::listen::{self, Telling};
use crate::refresh::Refresher;

/// Begins to refresh: by age and, where sources are configured, when registries tell. Gives where they
/// do.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) async fn start(
    refresher: Arc<Refresher<Remembered>>,
    told: Option<Told>,
    shared: &Shared,
) -> Result<Option<SocketAddr>, AppError> {
    let Shared { metrics, stop, tasks, searches, background, .. } = shared;
    tasks.spawn_on(Arc::clone(&refresher).keep_fresh(stop.clone()), background);
    let Some(Told { listen, tls, endpoint, queue }) = told else { return Ok(None) };
    let (listener, address) = bind(listen).await?;
    if let Some(tls) = &tls {
        tasks.spawn_on(Arc::clone(tls).follow(Arc::clone(metrics), stop.clone()), background);
    }
    let is_secure = tls.is_some();
    let telling = Telling { listener, tls, endpoint };
    let serve = listen::told(telling, Arc::clone(metrics), stop.clone(), tasks.clone());
    tasks.spawn_on(serve, background);
    tasks.spawn_on(refresher.follow(queue, stop.clone(), searches.clone()), background);
    tracing::info!(%address, tls = is_secure, "registries may tell what changed");
    Ok(Some(address))
}
