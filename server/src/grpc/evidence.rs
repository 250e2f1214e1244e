//! Protobuf in, protobuf out: what is known of an image, and why.

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

/// How long an inspection may take where its caller gives no deadline. It may look at many artifacts.
const BUDGET: Duration = Duration::from_secs(10);

/// `portcullis.v1.EvidenceService` over an inspector.
pub struct EvidenceAnswers<S> {
    inspector: Arc<Inspector<S>>,
    background: Handle,
}

impl<S> EvidenceAnswers<S> {
    /// Answers with `inspector`, which works in the `background`: not where calls are served.
    #[must_use]
    pub const fn new(inspector: Arc<Inspector<S>>, background: Handle) -> Self {
        Self { inspector, background }
    }
}

#[tonic::async_trait]
impl<S: Inspect> EvidenceService for EvidenceAnswers<S> {
    async fn get_evidence(
        &self,
        request: Request<v1::GetEvidenceRequest>,
    ) -> Result<Response<v1::GetEvidenceResponse>, Status> {
        let deadline = request.extensions().get::<Deadline>();
        let deadline = deadline.map_or_else(|| Instant::now() + BUDGET, |deadline| deadline.0);
        let v1::GetEvidenceRequest { image, platforms } = request.into_inner();
        let nodes = convert::nodes("platforms", platforms.len(), &platforms)?;
        let image: Reference =
            image.parse().map_err(|error| status::invalid("image", &format!("{error}")))?;
        let inspector = Arc::clone(&self.inspector);
        let look = async move { inspector.inspect(&image, &nodes, deadline).await };
        // It ends when its caller goes away.
        let look = AbortOnDropHandle::new(self.background.spawn(look));
        let inspection = tokio::time::timeout_at(deadline, look)
            .await
            .map_err(|_elapsed| status::deadline_exceeded())?
            .map_err(|error| status::lost(&error))?
            .map_err(|error| status::from_inspect(&error))?;
        Ok(Response::new(convert::inspection(&inspection)))
    }
}
