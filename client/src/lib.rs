//! The client library: an address in, answers of a decision service out.
//!
//! A denial is an answer. [`ClientError`] means that there is none, and only the caller knows what
//! that should mean for an image.

use std::time::Duration;

use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_proto::v1::evidence_service_client::EvidenceServiceClient;
use tonic::transport::{Channel, Endpoint};

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not one.
    #[error("`{0}` is not a server address: expected `http://host:port`")]
    Address(String),
    /// The service cannot be reached.
    #[error("failed to reach the decision service at `{url}`")]
    Unreachable {
        /// As given.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The service has no answer.
    #[error("the decision service has no answer")]
    NoAnswer(#[source] Box<tonic::Status>),
}

/// A connection to a decision service. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    decisions: DecisionServiceClient<Channel>,
    evidence: EvidenceServiceClient<Channel>,
    timeout: Duration,
}

impl Client {
    /// Connects to `url` (`http://host:port`). Each question may take `timeout`.
    ///
    /// # Errors
    /// When the address is malformed or the service cannot be reached.
    pub async fn connect(url: &str, timeout: Duration) -> Result<Self, ClientError> {
        let malformed = || ClientError::Address(url.to_owned());
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| malformed())?;
        // There is no TLS yet, and what is no URL at all reads as a host.
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
            return Err(malformed());
        }
        let channel = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|source| ClientError::Unreachable { url: url.to_owned(), source })?;
        let decisions =
            DecisionServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let evidence = EvidenceServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        Ok(Self { decisions, evidence, timeout })
    }

    /// Asks one question.
    ///
    /// # Errors
    /// When there is no answer within the time-out, or the question is malformed.
    pub async fn check(&self, request: v1::CheckRequest) -> Result<v1::CheckResponse, ClientError> {
        let mut request = tonic::Request::new(request);
        request.set_timeout(self.timeout);
        self.decisions
            .clone()
            .check(request)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| ClientError::NoAnswer(Box::new(status)))
    }

    /// Asks what is attached to an image in its registry now, and what of it is believed.
    ///
    /// # Errors
    /// When there is no answer within the time-out, or the request is malformed.
    pub async fn evidence(
        &self,
        request: v1::GetEvidenceRequest,
    ) -> Result<v1::GetEvidenceResponse, ClientError> {
        let mut request = tonic::Request::new(request);
        request.set_timeout(self.timeout);
        self.evidence
            .clone()
            .get_evidence(request)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| ClientError::NoAnswer(Box::new(status)))
    }
}
