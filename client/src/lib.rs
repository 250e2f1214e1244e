//! The client library: the addresses of replicas in, answers of a decision service out.
//!
//! ```text
//! check ─ near cache ─ call (deadline, one retry) ─ pool (health, balance) ─ replica
//!             └───────────── Watch: what to drop ──────────────────────────────┘
//! ```
//!
//! A denial is an answer. [`ClientError`] means that there is none, and only the caller knows what
//! that should mean for an image.
//!
//! ```no_run
//! # async fn example() -> Result<(), portcullis_client::ClientError> {
//! use std::time::Duration;
//! use portcullis_client::{Client, Config, NearCacheConfig};
//! use portcullis_proto::v1;
//!
//! let mut config = Config::new(["http://portcullis.portcullis:7443"]);
//! config.timeout = Duration::from_secs(1);
//! config.near_cache = Some(NearCacheConfig::default());
//! let client = Client::start(&config)?;
//! let container = v1::Container { name: "main".into(), image: "nginx:1.29".into() };
//! let request = v1::CheckRequest { containers: vec![container], ..Default::default() };
//! let answer = client.check(request).await?;
//! assert_ne!(answer.action(), v1::Action::Unspecified);
//! # Ok(()) }
//! ```

mod config;
mod error;
mod network;
mod address;
mod secure;
mod near;
mod call;
mod pool;
mod replica;
mod reports;
mod stats;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_client::DecisionServiceClient;
use portcullis_proto::v1::evidence_service_client::EvidenceServiceClient;
use tokio::time::Instant;

pub use self::address::MAX_TARGETS;
pub use portcullis_tls::{PairFiles, TlsError};

pub use self::config::{Config, NearCacheConfig, TlsConfig};
pub use self::error::{ClientError, ErrorKind};
pub use self::near::{MAX_AGE, answer_key};
pub use self::network::{Connecting, Connection, Network, Resolving, Tcp};
pub use self::pool::MAX_REPLICAS;
pub use self::reports::EncodedReports;
pub use self::stats::{NearStats, ReplicaStats, Standing, Stats, TlsStats};
pub use self::trace::{
    Call, CallSpan, MAX_TRACEPARENT, MAX_TRACESTATE, TraceContext, Tracer, traced,
};

use self::call::Calls;

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// The full names of the methods that are called, for the spans of the calls.
const CHECK: &str = "portcullis.v1.DecisionService/Check";
const BULK_CHECK: &str = "portcullis.v1.DecisionService/BulkCheck";
const REPORT_ANSWERED: &str = "portcullis.v1.DecisionService/ReportAnswered";
const REFRESH: &str = "portcullis.v1.EvidenceService/Refresh";
const GET_EVIDENCE: &str = "portcullis.v1.EvidenceService/GetEvidence";
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Connections to the replicas of a decision service. Cheap to clone; clones share them, and with the
/// last clone they end.
#[derive(Clone)]
pub struct Client {
    calls: Arc<Calls>,
    timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// An answer, and where it is from.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The answer.
    pub response: Arc<v1::CheckResponse>,
    /// Whether it was kept by the near cache.
    pub near: bool,
}

impl Client {
    /// Connects to the service at `url` (`http://host:port`), without TLS and a near cache. Each question may
    /// take `timeout`. Every address of the host's name is a replica.
    ///
    /// # Errors
    /// When the address is malformed or no replica can be reached.
    pub async fn connect(url: &str, timeout: Duration) -> Result<Self, ClientError> {
        Self::reach(&Config { timeout, ..Config::new([url]) }).await
    }

    /// As [`Client::start`], and waits for a replica.
    ///
    /// # Errors
    /// As [`Client::start`], and when no replica can be reached.
    pub async fn reach(config: &Config) -> Result<Self, ClientError> {
        let client = Self::start(config)?;
        client.calls.pool().reached(Instant::now() + CONNECT).await?;
        Ok(client)
    }

    /// Begins to connect to all replicas, and returns at once: a question that comes before one is
    /// reached waits for it. It belongs to the tokio runtime that it is called in.
    ///
    /// # Errors
    /// When a target is malformed, or there is none or too many, or the files of TLS cannot be used.
    pub fn start(config: &Config) -> Result<Self, ClientError> {
        Ok(Self { calls: Arc::new(Calls::start(config)?), timeout: config.timeout })
    }

    /// Asks one question, within the time-out of the configuration.
    ///
    /// # Errors
    /// When there is no answer within the time-out, or the question is malformed.
    pub async fn check(&self, request: v1::CheckRequest) -> Result<v1::CheckResponse, ClientError> {
        let answer = self.check_by(request, Instant::now() + self.timeout).await?;
        Ok(Arc::unwrap_or_clone(answer.response))
    }

    /// Asks one question that is to be answered by `deadline`, which the service is told. An answer
    /// that the near cache has comes without a copy.
    ///
    /// # Errors
    /// When there is no answer by the deadline, or the question is malformed.
    pub async fn check_by(
        &self,
        request: v1::CheckRequest,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        self.ask(&request, deadline).await
    }

    /// The same of a question that the caller keeps: it is copied only where it is sent.
    ///
    /// # Errors
    /// As [`Client::check_by`].
    pub async fn ask(
        &self,
        request: &v1::CheckRequest,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        let near = self.calls.pool().near();
        if let Some(response) = near.and_then(|near| near.find(request, Instant::now())) {
            return Ok(Answer { response, near: true });
        }
        let called = self.calls.call(CHECK, deadline, near, |replica, left| {
            let request = timed(request.clone(), left);
            let mut client =
                DecisionServiceClient::new(replica).max_decoding_message_size(MAX_ANSWER);
            async move { client.check(request).await }
        });
        let called = called.await?;
        let response = Arc::new(called.answer);
        if let (Some(near), Some(ticket)) = (near, called.ticket) {
            near.keep(&ticket, request, &response, Instant::now());
        }
        Ok(Answer { response, near: false })
    }

    /// The answer that the near cache has, if it has one. Nobody is asked.
    #[must_use]
    pub fn kept(&self, request: &v1::CheckRequest) -> Option<Arc<v1::CheckResponse>> {
        self.calls.pool().near().and_then(|near| near.find(request, Instant::now()))
    }

    /// Has a replica ask the registry of an image now, whatever it remembers.
    ///
    /// # Errors
    /// When there is no answer within the time-out, or the request is malformed.
    pub async fn refresh(
        &self,
        request: v1::RefreshRequest,
    ) -> Result<v1::RefreshResponse, ClientError> {
        let called =
            self.calls.call(REFRESH, Instant::now() + self.timeout, None, |replica, left| {
                let request = timed(request.clone(), left);
                let mut client =
                    EvidenceServiceClient::new(replica).max_decoding_message_size(MAX_ANSWER);
                async move { client.refresh(request).await }
            });
        Ok(called.await?.answer)
    }

    /// Asks what would be decided about many images in one context, from what a replica knows now.
    /// Nothing of it is kept.
    ///
    /// # Errors
    /// When there is no answer within the time-out, or the request is malformed.
    pub async fn bulk_check(
        &self,
        request: v1::BulkCheckRequest,
    ) -> Result<v1::BulkCheckResponse, ClientError> {
        let called =
            self.calls.call(BULK_CHECK, Instant::now() + self.timeout, None, |replica, left| {
                let request = timed(request.clone(), left);
                let mut client =
                    DecisionServiceClient::new(replica).max_decoding_message_size(MAX_ANSWER);
                async move { client.bulk_check(request).await }
            });
        Ok(called.await?.answer)
    }

    /// Reports answers that were given without the service. Where the first replica does not say that it has them,
    /// another is told too: the service tells them apart by run and number.
    ///
    /// # Errors
    /// When there is no answer by the deadline, or a report is malformed.
    pub async fn report(
        &self,
        reports: &EncodedReports,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let called = self.calls.call(REPORT_ANSWERED, deadline, None, |replica, left| {
            let request = timed(reports.clone(), left);
            async move { reports::report_answered(replica, request).await }
        });
        called.await.map(drop)
    }

    /// Asks what is attached to an image in its registry now, and what of it is believed.
    ///
    /// # Errors
    /// When there is no answer within the time-out, or the request is malformed.
    pub async fn evidence(
        &self,
        request: v1::GetEvidenceRequest,
    ) -> Result<v1::GetEvidenceResponse, ClientError> {
        let called =
            self.calls.call(GET_EVIDENCE, Instant::now() + self.timeout, None, |replica, left| {
                let request = timed(request.clone(), left);
                let mut client =
                    EvidenceServiceClient::new(replica).max_decoding_message_size(MAX_ANSWER);
                async move { client.get_evidence(request).await }
            });
        Ok(called.await?.answer)
    }

    /// What was done so far, and how the replicas are.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.calls.stats()
    }
}

/// A request that says how long its caller waits, and which trace it is in.
fn timed<T>(message: T, left: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(left);
    trace::tell(&mut request);
    request
}
