//! Changes in, messages to a watcher out, as fast as it reads and no faster.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_server::SERVICE_NAME;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::{Body, StdError, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use self::places::{Full, Place, Places};
use super::stream::MAX_UNREAD;
use super::{MAX_SMALL_REQUEST, status};
use crate::caller::Caller;
use crate::caught::survive;
use crate::changes::{Changes, Position, Since};
use crate::metrics::Metrics;

mod places;

/// What it is called by.
const PATH: &str = "/portcullis.v1.DecisionService/Watch";
/// The most watchers at a time.
pub const MAX_WATCHERS: usize = 1_000;
/// The most of one caller, so that others have theirs. Fewer than the streams of one connection, which
/// is a caller of its own on this machine.
pub const MAX_WATCHERS_PER_CALLER: usize = 100;
/// The longest that a watcher hears nothing.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long changes are gathered after a message: a storm of them must not be a storm of messages.
const GATHER: Duration = Duration::from_millis(100);
/// When a watcher that was turned away should come again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Messages that wait for a slow watcher. More wait where they cost nothing, in [`Changes`].
const BUFFER: usize = 1;

type Told = Result<v1::WatchResponse, Status>;

/// `Watch` of the decision service. Its other calls are answered before they come here.
#[derive(Clone)]
pub struct Watch {
    watchers: Watchers,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Watch {
    /// Tells `watchers`, as tasks of `tasks`, until `stop`.
    #[must_use]
    pub const fn new(watchers: Watchers, stop: CancellationToken, tasks: TaskTracker) -> Self {
        Self { watchers, stop, tasks }
    }
}

impl NamedService for Watch {
    const NAME: &'static str = SERVICE_NAME;
}

impl ServerStreamingService<v1::WatchRequest> for Watch {
    type Response = v1::WatchResponse;
    type ResponseStream = ReceiverStream<Told>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<v1::WatchRequest>) -> Self::Future {
        let caller = request.extensions().get().copied().unwrap_or_default();
        ready(self.watchers.begin(request.get_ref(), caller).map(|(watcher, told)| {
            // Ends when the caller goes away or no longer reads, or the service stops.
            let (run, metrics) =
                (watcher.run(self.stop.clone()), Arc::clone(&self.watchers.metrics));
            let run = async move {
                survive("watch", &metrics, run).await;
            };
            self.tasks.spawn_on(run, &self.watchers.background);
            Response::new(ReceiverStream::new(told))
        }))
    }
}

impl<B> Service<http::Request<B>> for Watch
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let watch = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("the service has no such call").into_http());
            }
            let codec = ProstCodec::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_SMALL_REQUEST);
            Ok(grpc.server_streaming(watch, request).await)
        })
    }
}

/// Takes on watchers, up to [`MAX_WATCHERS`] and [`MAX_WATCHERS_PER_CALLER`]. Clones share the places.
#[derive(Clone)]
pub struct Watchers {
    changes: Changes,
    places: Places,
    metrics: Arc<Metrics>,
    background: Handle,
}

impl Watchers {
    /// Tells of `changes`, on the runtime of `background`: who watches must not hold up who asks.
    #[must_use]
    pub fn new(changes: Changes, metrics: Arc<Metrics>, background: Handle) -> Self {
        Self { changes, places: Places::default(), metrics, background }
    }

    /// A watcher of `caller` that stands where `request` says, and what it will be told.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when `from` is not a position, RESOURCE_EXHAUSTED when there are too many.
    fn begin(
        &self,
        request: &v1::WatchRequest,
        caller: Caller,
    ) -> Result<(Watcher, mpsc::Receiver<Told>), Status> {
        let from = match request.from.as_slice() {
            [] => None,
            from => Some(Position::read(from).ok_or_else(|| {
                let message =
                    "`from` is not a position: give the `position` of a message as it came";
                status::invalid("from", message)
            })?),
        };
        let place = self.places.take(caller).map_err(|full| {
            let message = match full {
                Full::Service => {
                    format!("{MAX_WATCHERS} watch this replica already, which is its limit")
                }
                Full::Caller => format!(
                    "this caller watches {MAX_WATCHERS_PER_CALLER} times already, which is the limit \
                     of one caller: share one call to `Watch`"
                ),
            };
            status::overloaded(&message, RETRY_AFTER)
        })?;
        let (sender, receiver) = mpsc::channel(BUFFER);
        let changes = self.changes.clone();
        let metrics = Arc::clone(&self.metrics);
        metrics.watchers(1);
        Ok((Watcher { changes, metrics, from, sender, _place: place }, receiver))
    }
}

/// One watcher.
struct Watcher {
    changes: Changes,
    metrics: Arc<Metrics>,
    from: Option<Position>,
    sender: mpsc::Sender<Told>,
    _place: Place,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.metrics.watchers(-1);
    }
}

impl Watcher {
    /// Tells what changes until it goes away, does not read, or the service stops.
    async fn run(self, stop: CancellationToken) {
        let is_told = tokio::select! {
            end = self.tell() => match end {
                Some(status) => {
                    let told = timeout(MAX_UNREAD, self.sender.send(Err(status))).await;
                    told.is_ok_and(|sent| sent.is_ok())
                }
                None => return,
            },
            // One that does not read must not hold up the end; it sees that the call is over.
            () = stop.cancelled() => self.sender.try_send(Err(status::draining())).is_ok(),
            () = self.sender.closed() => return,
        };
        if !is_told {
            tracing::debug!("a watcher did not read why its call ended");
        }
    }

    /// Tells what changes; returns why it ends.
    async fn tell(&self) -> Option<Status> {
        let mut woken = self.changes.subscribe();
        let mut at = self.from;
        loop {
            woken.mark_unchanged();
            let since = self.changes.since(at);
            at = Some(since.position);
            let more = since.more;
            if since.resync {
                self.metrics.watch_resync();
            }
            match timeout(MAX_UNREAD, self.sender.send(Ok(message(since)))).await {
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return None,
                Err(_elapsed) => return Some(status::unread(MAX_UNREAD)),
            }
            if more {
                continue;
            }
            sleep(GATHER).await;
            // Without a change, what is sent after it is the sign of life.
            if let Ok(Err(_gone)) = timeout(HEARTBEAT - GATHER, woken.changed()).await {
                return None;
            }
        }
    }
}

fn message(since: Since) -> v1::WatchResponse {
    let Since { position, revision, digests, resync, more } = since;
    v1::WatchResponse {
        position: position.bytes().to_vec(),
        policy_revision: revision.as_ref().to_owned(),
        digests: digests.iter().map(|digest| digest.as_bytes().to_vec()).collect(),
        resync,
        more,
    }
}

#[cfg(test)]
mod tests;
