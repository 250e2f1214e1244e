//! One question in, the answer of the first source that has one out: OCSP, and then CRLs.
//!
//! The order is that of the reference implementation: CRLs where a certificate names no OCSP
//! responder, or none of them knows. Of several URLs of a kind the first one that answers counts:
//! whatever is read says all that there is to say of the certificate.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::ports::Clock;
use portcullis_core::signature::revocation::{
    Answer, CrlError, Inquiry, MAX_CRL, MAX_OCSP_RESPONSE, MAX_SOURCES, OcspError, RevocationList,
};
use portcullis_core::signature::{CertificateError, RevocationQuestion, RevocationStatus};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::RevocationConfig;
use crate::chain::detail;
use crate::metrics::Metrics;
use crate::registry::{DownloadError, Downloads};

/// The most CRLs that are held at a time, each of at most [`MAX_CRL`] bytes.
const MAX_LISTS: usize = 4;
const OCSP_REQUEST: &str = "application/ocsp-request";

/// Why a source has no answer.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("the certificates cannot be asked about")]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error(transparent)]
    Ocsp(#[from] OcspError),
    #[error(transparent)]
    Crl(#[from] CrlError),
    #[error("there is no delta CRL, and one is named")]
    Delta(#[source] Box<Self>),
    #[error("no answer within {} s", .0.as_secs_f64())]
    Deadline(Duration),
    #[error("reading ended without a result")]
    Lost,
    #[error("no URL of a source is named")]
    Nobody,
}

/// Whom certificates name.
pub(super) struct Sources {
    downloads: Downloads,
    ocsp_timeout: Duration,
    crl_timeout: Duration,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    lists: Semaphore,
}

impl Sources {
    pub(super) fn new(
        downloads: Downloads,
        config: &RevocationConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let RevocationConfig { hosts: _, ocsp_timeout, crl_timeout } = *config;
        let lists = Semaphore::new(MAX_LISTS);
        Self { downloads, ocsp_timeout, crl_timeout, clock, metrics, lists }
    }

    /// How long [`Sources::ask`] takes at the most.
    pub(super) fn patience(&self) -> Duration {
        self.ocsp_timeout + self.crl_timeout
    }

    /// What is said of the certificate, or why nobody says anything, for people.
    pub(super) async fn ask(&self, question: &RevocationQuestion) -> Result<Answer, String> {
        let inquiry = match Inquiry::new(question) {
            Ok(inquiry) => inquiry,
            Err(error) => return Err(detail(&SourceError::from(error))),
        };
        if question.ocsp.is_empty() && question.crl.is_empty() {
            return Err(detail(&SourceError::Nobody));
        }
        let mut why = Vec::new();
        if !question.ocsp.is_empty() {
            let asked = within(self.ocsp_timeout, self.ocsp(&inquiry, question)).await;
            match self.counted("ocsp", asked) {
                Ok(Answer { status: RevocationStatus::Unknown { detail }, .. }) => why.push(detail),
                Ok(answer) => return Ok(answer),
                Err(error) => why.push(format!("OCSP: {}", detail(&error))),
            }
        }
        if !question.crl.is_empty() {
            let asked = within(self.crl_timeout, self.crl(&inquiry, question)).await;
            match self.counted("crl", asked) {
                Ok(answer) => return Ok(answer),
                Err(error) => why.push(format!("CRL: {}", detail(&error))),
            }
        }
        let why = why.join("; ");
        tracing::warn!(certificate = question.subject, why, "revocation is not known");
        Err(why)
    }

    fn counted(
        &self,
        method: &'static str,
        asked: Result<Answer, SourceError>,
    ) -> Result<Answer, SourceError> {
        let outcome = match &asked {
            Ok(Answer { status: RevocationStatus::Good, .. }) => "good",
            Ok(Answer { status: RevocationStatus::Revoked { .. }, .. }) => "revoked",
            Ok(_) => "unknown",
            Err(_) => "failed",
        };
        self.metrics.revocation_check(method, outcome);
        asked
    }

    async fn ocsp(
        &self,
        inquiry: &Inquiry,
        question: &RevocationQuestion,
    ) -> Result<Answer, SourceError> {
        let mut failures = Failures::default();
        for url in question.ocsp.iter().take(MAX_SOURCES) {
            match self.responder(inquiry, url).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failures.add(url, error),
            }
        }
        Err(failures.first())
    }

    async fn responder(&self, inquiry: &Inquiry, url: &str) -> Result<Answer, SourceError> {
        let body = (OCSP_REQUEST, inquiry.ocsp_request());
        let response = self.downloads.post(url, body, MAX_OCSP_RESPONSE).await?;
        Ok(inquiry.ocsp(&response, self.clock.now())?)
    }

    async fn crl(
        &self,
        inquiry: &Inquiry,
        question: &RevocationQuestion,
    ) -> Result<Answer, SourceError> {
        let _room = self.lists.acquire().await.map_err(|_closed| SourceError::Lost)?;
        let mut failures = Failures::default();
        for url in question.crl.iter().take(MAX_SOURCES) {
            match self.lists(inquiry, url, &question.freshest_crl).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failures.add(url, error),
            }
        }
        Err(failures.first())
    }

    /// A complete list with the changes to it, where the certificate or the list names any.
    async fn lists(
        &self,
        inquiry: &Inquiry,
        url: &str,
        freshest: &[String],
    ) -> Result<Answer, SourceError> {
        let list = self.list(inquiry, url, None).await?;
        let deltas = [freshest, list.freshest()].concat();
        if deltas.is_empty() {
            return Ok(list.answer(None));
        }
        let mut failures = Failures::default();
        for url in deltas.iter().take(MAX_SOURCES) {
            match self.list(inquiry, url, Some(&list)).await {
                Ok(delta) => return Ok(list.answer(Some(&delta))),
                Err(error) => failures.add(url, error),
            }
        }
        Err(SourceError::Delta(Box::new(failures.first())))
    }

    /// Reads a list: of changes, where there is a complete one. A long one takes long, so it is read
    /// where blocking is allowed.
    async fn list(
        &self,
        inquiry: &Inquiry,
        url: &str,
        complete: Option<&RevocationList>,
    ) -> Result<RevocationList, SourceError> {
        let bytes: Bytes = self.downloads.get(url, MAX_CRL).await?;
        let (inquiry, complete, now) = (inquiry.clone(), complete.cloned(), self.clock.now());
        let read = move || match complete {
            None => inquiry.list(&bytes, now),
            Some(complete) => inquiry.delta(&complete, &bytes, now),
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(list) => Ok(list?),
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, "reading a CRL was lost");
                Err(SourceError::Lost)
            }
        }
    }
}

/// Why so many URLs had no answer. The first one counts; the others are in the log.
#[derive(Default)]
struct Failures(Option<SourceError>);

impl Failures {
    fn add(&mut self, url: &str, error: SourceError) {
        tracing::debug!(url, detail = %detail(&error), "no answer about a certificate");
        self.0.get_or_insert(error);
    }

    fn first(self) -> SourceError {
        self.0.unwrap_or(SourceError::Nobody)
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    // Boxed, because what goes on in there is large.
    timeout(limit, Box::pin(work)).await.unwrap_or(Err(SourceError::Deadline(limit)))
}
