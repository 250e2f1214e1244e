//! Protobuf in, protobuf out: what is known of an image, and why; and what is known now.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::image::Reference;
use portcullis_proto::v1;
use portcullis_proto::v1::evidence_service_server::EvidenceService;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};

use super::deadline::Deadline;
use super::{convert, status};
use crate::evidence::Inspect;
use crate::inspect::Inspector;
use crate::metrics::Metrics;
use crate::refresh::{Refresher, Remember};

/// How long an inspection may take where its caller gives no deadline. It may look at many artifacts.
const BUDGET: Duration = Duration::from_secs(10);

/// `portcullis.v1.EvidenceService` over an inspector and a refresher.
pub struct EvidenceAnswers<S, M> {
    inspector: Arc<Inspector<S>>,
    refresher: Arc<Refresher<M>>,
    background: Handle,
    metrics: Arc<Metrics>,
}

impl<S, M> EvidenceAnswers<S, M> {
    /// Shows with `inspector`, and brings up to date with `refresher`; both work in the `background`: not
    /// where calls are served. What panics is counted in `metrics`.
    #[must_use]
    pub const fn new(
        inspector: Arc<Inspector<S>>,
        refresher: Arc<Refresher<M>>,
        background: Handle,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { inspector, refresher, background, metrics }
    }
}

/// The caller's deadline, or that of [`BUDGET`].
fn deadline<T>(request: &Request<T>) -> Instant {
    let deadline = request.extensions().get::<Deadline>();
    deadline.map_or_else(|| Instant::now() + BUDGET, |deadline| deadline.0)
}

fn image(text: &str) -> Result<Reference, Status> {
    text.parse().map_err(|error| status::invalid("image", &format!("{error}")))
}

#[tonic::async_trait]
impl<S: Inspect, M: Remember> EvidenceService for EvidenceAnswers<S, M> {
    async fn get_evidence(
        &self,
        request: Request<v1::GetEvidenceRequest>,
    ) -> Result<Response<v1::GetEvidenceResponse>, Status> {
        let deadline = deadline(&request);
        let v1::GetEvidenceRequest { image: text, platforms } = request.into_inner();
        let nodes = convert::nodes("platforms", platforms.len(), &platforms)?;
        let image = image(&text)?;
        let inspector = Arc::clone(&self.inspector);
        let look = async move { inspector.inspect(&image, &nodes, deadline).await };
        // It ends when its caller goes away.
        let look = AbortOnDropHandle::new(self.background.spawn(look));
        let inspection = tokio::time::timeout_at(deadline, look)
            .await
            .map_err(|_elapsed| status::deadline_exceeded())?
            .map_err(|_lost| status::lost(&self.metrics))?
            .map_err(|error| status::from_inspect(&error))?;
        Ok(Response::new(convert::inspection(&inspection)))
    }

    async fn refresh(
        &self,
        request: Request<v1::RefreshRequest>,
    ) -> Result<Response<v1::RefreshResponse>, Status> {
        let deadline = deadline(&request);
        let v1::RefreshRequest { image: text, platforms } = request.into_inner();
        let nodes = convert::nodes("platforms", platforms.len(), &platforms)?;
        let image = image(&text)?;
        let refresher = Arc::clone(&self.refresher);
        let look = async move { refresher.asked(&image, &nodes, deadline).await };
        // It ends when its caller goes away.
        let look = AbortOnDropHandle::new(self.background.spawn(look));
        let refreshed = tokio::time::timeout_at(deadline, look)
            .await
            .map_err(|_elapsed| status::deadline_exceeded())?
            .map_err(|_lost| status::lost(&self.metrics))?
            .map_err(|error| status::from_refresh(&error))?;
        Ok(Response::new(convert::refreshed(&refreshed)))
    }
}
