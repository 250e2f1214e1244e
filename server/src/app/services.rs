//! What answers in, the gRPC services over it out.

use std::sync::Arc;
use std::time::Duration;

use portcullis_proto::v1::decision_service_server::DecisionServiceServer;
use portcullis_proto::v1::evidence_service_server::EvidenceServiceServer;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use super::stack::{Checker, Source};
use super::{AppError, Shared};
use crate::grpc::evidence::EvidenceAnswers;
use crate::grpc::{Decisions, MAX_REQUEST};
use crate::inspect::Inspector;

type DecisionsServer = DecisionServiceServer<Decisions<Checker>>;
type EvidenceServer = EvidenceServiceServer<EvidenceAnswers<Source>>;

/// All services, with health and reflection.
///
/// # Errors
/// When reflection cannot be made.
pub(super) async fn routes(
    checker: Arc<Checker>,
    inspector: Inspector<Source>,
    budget: Duration,
    shared: &Shared,
) -> Result<(HealthReporter, Routes), AppError> {
    let decisions = Decisions::new(checker, budget, shared.stop.clone(), shared.tasks.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    let decisions = DecisionsServer::new(decisions).max_decoding_message_size(MAX_REQUEST);
    health.set_serving::<DecisionsServer>().await;
    health.set_serving::<EvidenceServer>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(portcullis_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let inspections = EvidenceServer::new(EvidenceAnswers::new(Arc::new(inspector)))
        .max_decoding_message_size(MAX_REQUEST);
    let routes = Routes::new(decisions)
        .add_service(inspections)
        .add_service(health_service)
        .add_service(reflection);
    Ok((health, routes))
}

/// Tells health checks that the service takes no more.
pub(super) async fn not_serving(health: &HealthReporter) {
    health.set_not_serving::<DecisionsServer>().await;
    health.set_not_serving::<EvidenceServer>().await;
}
