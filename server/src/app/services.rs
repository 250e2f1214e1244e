//! What answers in, the gRPC services over it out.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use portcullis_proto::v1::evidence_service_server::EvidenceServiceServer;
use portcullis_proto::v1::{decision_service_server, evidence_service_server};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Layer as _;

use super::stack::{Checker, Remembered, Source};
use super::{AppError, Shared};
use crate::events::Reported;
use crate::grpc::deadline::{DeadlineLayer, Deadlined};
use crate::grpc::evidence::EvidenceAnswers;
use crate::grpc::front::Front;
use crate::grpc::meter::Metered;
use crate::grpc::watch::{Watch, Watchers};
use crate::grpc::{Decisions, MAX_SMALL_REQUEST};
use crate::inspect::Inspector;
use crate::refresh::Refresher;

/// The decision service, whose calls are answered before tonic sees them.
const DECISIONS: &str = decision_service_server::SERVICE_NAME;

/// All that is served over gRPC.
pub(super) type Services = Metered<Front<Checker, TowerToHyperService<Deadlined<Routes>>>>;
type EvidenceServer = EvidenceServiceServer<EvidenceAnswers<Source, Remembered>>;

/// All services, with health and reflection.
///
/// # Errors
/// When reflection cannot be made.
pub(super) async fn services(
    (checker, reported): (Arc<Checker>, Arc<Reported>),
    inspector: Inspector<Source>,
    refresher: Arc<Refresher<Remembered>>,
    budget: Duration,
    shared: &Shared,
) -> Result<(HealthReporter, Services), AppError> {
    let (stop, tasks) = (shared.stop.clone(), shared.tasks.clone());
    let decisions = Decisions::new(checker, budget, stop, tasks, Arc::clone(&shared.metrics))
        .recording(reported);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(DECISIONS, ServingStatus::Serving).await;
    health.set_serving::<EvidenceServer>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(portcullis_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The details of errors.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?
        .max_decoding_message_size(MAX_SMALL_REQUEST);
    let health_service = health_service.max_decoding_message_size(MAX_SMALL_REQUEST);
    let answers = EvidenceAnswers::new(
        Arc::new(inspector),
        refresher,
        shared.background.clone(),
        Arc::clone(&shared.metrics),
    );
    let inspections = EvidenceServer::new(answers).max_decoding_message_size(MAX_SMALL_REQUEST);
    let (changes, metrics) = (shared.changes.clone(), Arc::clone(&shared.metrics));
    let watchers = Watchers::new(changes, metrics, shared.background.clone());
    let watch = Watch::new(watchers, shared.stop.clone(), shared.tasks.clone());
    let routes = Routes::new(inspections)
        .add_service(watch)
        .add_service(health_service)
        .add_service(reflection);
    let routes = TowerToHyperService::new(DeadlineLayer.layer(routes.prepare()));
    let services = Metered::new(Front::new(decisions, routes), Arc::clone(&shared.metrics));
    Ok((health, services))
}

/// Tells health checks that the service takes no more.
pub(super) async fn not_serving(health: &HealthReporter) {
    health.set_service_status(DECISIONS, ServingStatus::NotServing).await;
    health.set_not_serving::<EvidenceServer>().await;
}

/// Ends the calls of who follows its health: they have been told, and must not hold up the end.
pub(super) async fn forget(health: &HealthReporter) {
    let mut health = health.clone();
    for service in ["", DECISIONS, evidence_service_server::SERVICE_NAME] {
        health.clear_service_status(service).await;
    }
}
