//! Protobuf in, protobuf out: the contract over whatever answers questions.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::Stream;
use portcullis_proto::v1;
use portcullis_proto::v1::decision_service_server::DecisionService;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::check::Check;
use crate::grpc::deadline::Deadline;

pub mod deadline;
pub mod evidence;
pub mod convert;
pub mod status;
mod span;

/// The names of the calls, as traces have them.
const CHECK: &str = "portcullis.v1.DecisionService/Check";
const CHECK_STREAM: &str = "portcullis.v1.DecisionService/CheckStream";

/// The most bytes of one request message.
pub const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// The most questions of one stream that are worked on at a time; the next is read when one is
/// answered, which slows the caller by HTTP/2's own flow control.
pub const MAX_STREAM_IN_FLIGHT: usize = 128;
/// Answers that wait for a slow reader before its questions are no longer read.
const STREAM_BUFFER: usize = 64;
/// How long an answer waits for a reader who takes none, before the stream is ended.
const MAX_UNREAD: Duration = Duration::from_secs(30);

/// `portcullis.v1.DecisionService` over a checker.
pub struct Decisions<C> {
    checker: Arc<C>,
    budget: Duration,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<C> Decisions<C> {
    /// Answers with `checker`, within `budget` where a caller gives no deadline. Streams are tasks of
    /// `tasks`, and take no more questions after `stop`.
    #[must_use]
    pub fn new(
        checker: Arc<C>,
        budget: Duration,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { checker, budget, stop, tasks }
    }
}

#[tonic::async_trait]
impl<C: Check> DecisionService for Decisions<C> {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let deadline = request
            .extensions()
            .get::<Deadline>()
            .map_or_else(|| Instant::now() + self.budget, |deadline| deadline.0);
        let span = span::call(CHECK, request.metadata());
        let answer = answer(self.checker.as_ref(), request.into_inner(), deadline);
        let answer = answer.instrument(span.clone()).await;
        span::ended(&span, &answer);
        answer.map(Response::new)
    }

    type CheckStreamStream =
        Pin<Box<dyn Stream<Item = Result<v1::CheckStreamResponse, Status>> + Send>>;

    async fn check_stream(
        &self,
        request: Request<Streaming<v1::CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        let span = span::call(CHECK_STREAM, request.metadata());
        let (stream, receiver) = AnswerStream::new(
            Arc::clone(&self.checker),
            self.budget,
            self.stop.clone(),
            request.into_inner(),
        );
        // Ends when the caller ends the stream, goes away or no longer reads, or the service stops.
        self.tasks.spawn(stream.run().instrument(span));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

type Answered = Result<v1::CheckStreamResponse, Status>;

/// One stream: questions in, answers out in the order in which they are found.
struct AnswerStream<C, Q> {
    checker: Arc<C>,
    budget: Duration,
    stop: CancellationToken,
    questions: Q,
    answers: mpsc::Sender<Answered>,
}

/// Why a stream ends before all its questions are answered.
enum End {
    /// Its caller is gone, and hears nothing.
    Gone,
    /// Its caller is to hear this.
    Told(Status),
}

impl<C, Q> AnswerStream<C, Q>
where
    C: Check,
    Q: Stream<Item = Result<v1::CheckStreamRequest, Status>> + Unpin,
{
    fn new(
        checker: Arc<C>,
        budget: Duration,
        stop: CancellationToken,
        questions: Q,
    ) -> (Self, mpsc::Receiver<Answered>) {
        // One more, for the last word to a caller who does not read.
        let (answers, receiver) = mpsc::channel(STREAM_BUFFER + 1);
        (Self { checker, budget, stop, questions, answers }, receiver)
    }

    async fn run(mut self) {
        let Ok(last_word) = self.answers.clone().reserve_owned().await else {
            return;
        };
        if let Err(End::Told(status)) = self.answer_all().await {
            last_word.send(Err(status));
        }
    }

    /// Each question is a task, so that it ends in its time, and gives back what it holds, whether
    /// or not somebody reads the answers. They end with the set.
    async fn answer_all(&mut self) -> Result<(), End> {
        let mut working = JoinSet::new();
        let (mut more, mut draining) = (true, false);
        while more || !working.is_empty() {
            tokio::select! {
                Some(answer) = working.join_next(), if !working.is_empty() => {
                    let answer = answer.map_err(|error| End::Told(status::lost(&error)))?;
                    self.give(answer).await?;
                }
                question = self.questions.next(), if more && working.len() < MAX_STREAM_IN_FLIGHT => {
                    match question {
                        Some(Ok(question)) => {
                            let answer = one(Arc::clone(&self.checker), self.budget, question);
                            working.spawn(answer.in_current_span());
                        }
                        Some(Err(status)) => return Err(End::Told(status)),
                        None => more = false,
                    }
                }
                () = self.stop.cancelled(), if more => (more, draining) = (false, true),
                () = self.answers.closed() => return Err(End::Gone),
            }
        }
        if draining { Err(End::Told(status::draining())) } else { Ok(()) }
    }

    async fn give(&self, answer: v1::CheckStreamResponse) -> Result<(), End> {
        match timeout(MAX_UNREAD, self.answers.send(Ok(answer))).await {
            Ok(sent) => sent.map_err(|_gone| End::Gone),
            Err(_elapsed) => Err(End::Told(status::unread(MAX_UNREAD))),
        }
    }
}

async fn one<C: Check>(
    checker: Arc<C>,
    budget: Duration,
    request: v1::CheckStreamRequest,
) -> v1::CheckStreamResponse {
    let id = request.id;
    let timeout = request.timeout.map(Duration::try_from);
    let result = match (request.check, timeout) {
        (None, _) => Err(status::invalid("check", "a question without `check`")),
        (_, Some(Err(_))) => Err(status::invalid("timeout", "`timeout` is negative or too large")),
        (Some(check), timeout) => {
            let wait = timeout.and_then(Result::ok).unwrap_or(budget).min(deadline::MAX_DEADLINE);
            answer(checker.as_ref(), check, Instant::now() + wait).await
        }
    };
    let result = match result {
        Ok(check) => v1::check_stream_response::Result::Check(check),
        Err(status) => v1::check_stream_response::Result::Error(v1::CheckError {
            code: i32::from(status.code()),
            message: status.message().to_owned(),
        }),
    };
    v1::CheckStreamResponse { id, result: Some(result) }
}

async fn answer<C: Check>(
    checker: &C,
    request: v1::CheckRequest,
    deadline: Instant,
) -> Result<v1::CheckResponse, Status> {
    let detail = convert::Detail::of(&request);
    let question = convert::question(request)?;
    let is_in_time = Instant::now() < deadline;
    let answer = match is_in_time.then(|| checker.check_now(&question)).flatten() {
        Some(answer) => answer,
        None => tokio::time::timeout_at(deadline, checker.check(question, deadline))
            .await
            .map_err(|_elapsed| status::deadline_exceeded())?,
    };
    let answer = answer.map_err(|error| status::from_check(&error))?;
    match detail {
        convert::Detail::Plain => Ok(convert::answer(&answer)),
        convert::Detail::Explained => {
            // It may take its time, which others must not wait for.
            let explained = tokio::task::spawn_blocking(move || convert::explain(&answer));
            tokio::time::timeout_at(deadline, explained)
                .await
                .map_err(|_elapsed| status::deadline_exceeded())?
                .map_err(|error| status::lost(&error))
        }
    }
}

#[cfg(test)]
mod tests;
