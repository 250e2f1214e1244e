//! Protobuf in, protobuf out: the contract over whatever answers questions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use hyper::body::Body;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::Status;
use tracing::{Instrument as _, Span};

use self::convert::Detail;
use self::messages::Messages;
use self::reply::Reply;
use self::stream::AnswerStream;
use crate::answered::{Batch, Hear};
use crate::check::bulk::{Bulk, BulkQuestion};
use crate::check::{Answer, Check, CheckError, Question};
use crate::identity::Who;
use crate::metrics::Metrics;

pub mod deadline;
pub mod evidence;
pub mod meter;
pub mod watch;
pub mod convert;
pub mod status;
pub(crate) mod front;
mod stream;
mod messages;
mod reply;
mod wire;
mod span;

/// The most bytes of one request message.
pub const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// The same of the calls that are answered by tonic, all of whose messages are small.
pub const MAX_SMALL_REQUEST: usize = 64 * 1024;
/// The most questions of one stream that are waited for at a time; the next is read when one is
/// answered, which slows the caller by HTTP/2's own flow control.
pub const MAX_STREAM_IN_FLIGHT: usize = 128;

/// `portcullis.v1.DecisionService` over a checker.
pub struct Decisions<C> {
    checker: Arc<C>,
    reported: Option<Arc<dyn Hear>>,
    budget: Duration,
    stop: CancellationToken,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

/// An answer, with the five bytes before it, or who will give it.
enum Answered {
    Now(Result<Bytes, Status>),
    Later(std::pin::Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>),
}

impl<C> Decisions<C> {
    /// Answers with `checker`, within `budget` where a caller gives no deadline. Streams are tasks of
    /// `tasks`, and take no more questions after `stop`. What panics in them is counted in `metrics`.
    #[must_use]
    pub fn new(
        checker: Arc<C>,
        budget: Duration,
        stop: CancellationToken,
        tasks: TaskTracker,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { checker, reported: None, budget, stop, tasks, metrics }
    }

    /// The same, with `reported` for what others answered.
    #[must_use]
    pub fn recording(self, reported: Arc<dyn Hear>) -> Self {
        Self { reported: Some(reported), ..self }
    }

    /// Answers `ReportAnswered`.
    fn report(&self, message: &[u8], who: &Who, deadline: Instant) -> Answered {
        let Some(reported) = self.reported.clone() else {
            return Answered::Now(Err(status::no_reports()));
        };
        let mut batch = match convert::reports(message) {
            Ok(batch) => Batch { caller: who.caller(), ..batch },
            Err(status) => return Answered::Now(Err(status)),
        };
        for report in &mut batch.reports {
            if let Err(refusal) = who.bind(&mut report.context) {
                return Answered::Now(Err(status::refused(&refusal)));
            }
        }
        Answered::Later(Box::pin(async move {
            timeout_at(deadline, reported.hear(batch))
                .await
                .map_err(|_elapsed| status::deadline_exceeded())?
                .map_err(|error| status::from_hear(&error))?;
            Ok(wire::framed(|_empty| {}))
        }))
    }
}

impl<C: Check> Decisions<C> {
    /// Answers `Check`.
    fn check(&self, message: &[u8], who: &Who, deadline: Instant) -> Answered {
        let (mut question, detail) = match convert::question(message) {
            Ok((question, detail)) => (Question { caller: who.caller(), ..question }, detail),
            Err(status) => return Answered::Now(Err(status)),
        };
        if let Err(refusal) = who.bind(&mut question.context) {
            return Answered::Now(Err(status::refused(&refusal)));
        }
        match (self.checker.check_now(&question), detail) {
            (Some(answer), Detail::Plain) => {
                let answer = answer
                    .map(|answer| wire::framed(|to| convert::answer(to, &answer, detail)))
                    .map_err(|error| status::from_check(&error));
                convert::done(question);
                Answered::Now(answer)
            }
            (found, _) => {
                let (checker, metrics) = (Arc::clone(&self.checker), Arc::clone(&self.metrics));
                Answered::Later(Box::pin(async move {
                    let answer = wait(checker.as_ref(), found, question, deadline).await?;
                    written(answer, detail, deadline, &metrics, move |to, answer| {
                        convert::answer(to, answer, detail);
                    })
                    .await
                }))
            }
        }
    }

    /// Begins to answer `CheckStream`: ends when the caller ends it, its time is up, it goes away or no
    /// longer reads, or the service stops.
    fn stream<B>(
        &self,
        questions: Messages<B>,
        who: Who,
        span: Option<Span>,
        until: Option<Instant>,
    ) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error,
    {
        let (checker, metrics) = (Arc::clone(&self.checker), Arc::clone(&self.metrics));
        let (stream, answers) =
            AnswerStream::new(checker, self.budget, self.stop.clone(), metrics, questions);
        let run = stream.of(who).run(until);
        match span {
            Some(span) => self.tasks.spawn(run.instrument(span)),
            None => self.tasks.spawn(run),
        };
        streaming(answers)
    }
}

impl<C: Bulk> Decisions<C> {
    /// Answers `BulkCheck`.
    fn bulk_check(&self, message: &[u8], who: &Who, deadline: Instant) -> Answered {
        let mut question = match convert::bulk_question(message) {
            Ok(question) => BulkQuestion { caller: who.caller(), ..question },
            Err(status) => return Answered::Now(Err(status)),
        };
        if let Err(refusal) = who.bind(&mut question.context) {
            return Answered::Now(Err(status::refused(&refusal)));
        }
        let checker = Arc::clone(&self.checker);
        Answered::Later(Box::pin(async move {
            let answer = timeout_at(deadline, checker.bulk(question))
                .await
                .map_err(|_elapsed| status::deadline_exceeded())?
                .map_err(|error| status::from_check(&error))?;
            Ok(wire::framed(|to| convert::bulk_answer(to, &answer)))
        }))
    }
}

/// A response whose messages are still to come.
fn streaming(messages: mpsc::Receiver<Result<Bytes, Status>>) -> Response<Reply> {
    reply::response(Reply::Stream(messages))
}

/// The answer to a question, which may be `found` already.
async fn wait<C: Check>(
    checker: &C,
    found: Option<Result<Answer, CheckError>>,
    question: Question,
    deadline: Instant,
) -> Result<Answer, Status> {
    let answer = match found {
        Some(answer) => answer,
        None => timeout_at(deadline, checker.check(question, deadline))
            .await
            .map_err(|_elapsed| status::deadline_exceeded())?,
    };
    answer.map_err(|error| status::from_check(&error))
}

/// The message of an answer. Explanations may take their time, which others must not wait for; one that panics
/// is counted.
async fn written(
    answer: Answer,
    detail: Detail,
    deadline: Instant,
    metrics: &Metrics,
    write: impl FnOnce(&mut wire::Writer<'_>, &Answer) + Send + 'static,
) -> Result<Bytes, Status> {
    let write = move || wire::framed(|to| write(to, &answer));
    match detail {
        Detail::Plain => Ok(write()),
        Detail::Explained => {
            // One whose caller has gone, or whose time is up, is not begun.
            let write = AbortOnDropHandle::new(tokio::task::spawn_blocking(write));
            timeout_at(deadline, write)
                .await
                .map_err(|_elapsed| status::deadline_exceeded())?
                .map_err(|_lost| status::lost(metrics))
        }
    }
}

#[cfg(test)]
mod tests;
