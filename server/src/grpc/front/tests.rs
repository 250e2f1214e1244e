//! Requests that had to wait for their turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Full;
use hyper::service::service_fn;
use portcullis_core::policy::Policy;
use portcullis_proto::v1;
use prost::Message as _;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Code;

use super::*;
use crate::check::bulk::{BulkAnswer, BulkQuestion};
use crate::check::{Answer, CheckError, Question};
use crate::metrics::Metrics;

const BUDGET: Duration = Duration::from_secs(1);

/// A body that is here since a time.
struct Since(Full<Bytes>, Instant);

impl Body for Since {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

impl Arrived for Since {
    fn at(&self) -> Instant {
        self.1
    }
}

/// Answers all that it is asked.
#[derive(Default)]
struct Quick(AtomicUsize);

impl Check for Quick {
    async fn check(&self, _: Question, _: Instant) -> Result<Answer, CheckError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Answer {
            context: Arc::default(),
            decided: Vec::new(),
            policy: Arc::new(Policy::default_policy()),
            evaluated_at: OffsetDateTime::UNIX_EPOCH,
            max_age: Duration::ZERO,
            depends: &[],
            purpose: Default::default(),
        })
    }
}

impl Bulk for Quick {
    async fn bulk(&self, _: BulkQuestion) -> Result<BulkAnswer, CheckError> {
        panic!("nobody asks so")
    }
}

/// The code of the answer to a question with this `grpc-timeout` that waited so long for its turn, how many
/// were worked on, and whether it is counted as one whose time was up.
async fn asked(timeout: Option<&str>, waited: Duration) -> (Code, usize, bool) {
    let (checker, metrics) = (Arc::new(Quick::default()), Arc::new(Metrics::new()));
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let decisions = Decisions::new(Arc::clone(&checker), BUDGET, stop, tasks, Arc::clone(&metrics));
    let others = service_fn(async |_: Request<Small<Since>>| -> Result<_, Infallible> {
        Ok(Response::new(tonic::body::Body::empty()))
    });
    let container = v1::Container { name: "c".to_owned(), image: "reg.io/app:v1".to_owned() };
    let question =
        v1::CheckRequest { context: None, containers: vec![container], explain: false, purpose: 0 };
    let question = question.encode_to_vec();
    let mut message = vec![0];
    message.extend(u32::try_from(question.len()).unwrap().to_be_bytes());
    message.extend(question);
    let mut request = Request::post("/portcullis.v1.DecisionService/Check")
        .header(header::CONTENT_TYPE, "application/grpc");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    let body = Since(Full::new(message.into()), Instant::now());
    tokio::time::advance(waited).await;
    let front = Front::new(decisions, others);
    let answer = front.call(request.body(body).unwrap()).await.unwrap();
    let code = answer.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    let counted = "portcullis_no_answers_total{what=\"check\",outcome=\"expired_in_queue\"} 1";
    let is_counted = metrics.encode().unwrap().contains(counted);
    (code.unwrap_or(Code::Ok), checker.0.load(Ordering::Relaxed), is_counted)
}

#[tokio::test(start_paused = true)]
async fn t135_what_waited_for_its_turn_for_all_its_time_is_not_worked_on() {
    let just = |all: Duration| all - Duration::from_millis(1);
    for (timeout, all) in [(None, BUDGET), (Some("100m"), Duration::from_millis(100))] {
        assert_eq!(asked(timeout, just(all)).await, (Code::Ok, 1, false), "{timeout:?}");
        assert_eq!(asked(timeout, all).await, (Code::DeadlineExceeded, 0, true), "{timeout:?}");
    }
}
