//! Questions of one stream in, answers out in the order in which they are found.
//!
//! What is known is answered where it is read, and many answers go out in one write. Only what has to be
//! waited for is a task.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument as _;

use super::convert::{Detail, StreamRequest};
use super::wire::Writer;
use super::{MAX_STREAM_IN_FLIGHT, convert, deadline, status, wait, wire, written};
use crate::check::{Answer, Check, CheckError, Question};
use crate::identity::Who;
use crate::metrics::Metrics;

/// Writes of answers that wait for a slow reader before its questions are no longer read.
pub(super) const STREAM_BUFFER: usize = 8;
/// How long an answer waits for a reader who takes none, before the stream is ended.
pub(super) const MAX_UNREAD: Duration = Duration::from_secs(30);
/// How many bytes of answers go out in one write: about as many as a frame of HTTP/2 has.
const BATCH: usize = 16 * 1024;
/// How many questions are answered before others have their turn.
const MAX_TURN: usize = 128;

/// One stream.
pub(super) struct AnswerStream<C, Q> {
    checker: Arc<C>,
    who: Who,
    budget: Duration,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
    questions: Q,
    answers: mpsc::Sender<Result<Bytes, Status>>,
    /// Answers that were not written out yet.
    batch: Vec<u8>,
    /// As many bytes as the batches of late had at most: this one will hardly have more.
    usual: usize,
    working: JoinSet<Bytes>,
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
    Q: Stream<Item = Result<Bytes, Status>> + Unpin,
{
    /// Answers `questions`, each a `CheckStreamRequest`, with `checker`, within `budget` where a question
    /// has no deadline of its own, and counts what panics. The other end gives `CheckStreamResponse`s with the five bytes before
    /// each, many at a time.
    pub(super) fn new(
        checker: Arc<C>,
        budget: Duration,
        stop: CancellationToken,
        metrics: Arc<Metrics>,
        questions: Q,
    ) -> (Self, mpsc::Receiver<Result<Bytes, Status>>) {
        // One more, for the last word to a caller who does not read.
        let (answers, receiver) = mpsc::channel(STREAM_BUFFER + 1);
        let (batch, working) = (Vec::new(), JoinSet::new());
        let (who, usual) = (Who::default(), 0);
        let stream =
            Self { checker, who, budget, stop, metrics, questions, answers, batch, usual, working };
        (stream, receiver)
    }

    /// The same for questions that `who` asks.
    pub(super) fn of(self, who: Who) -> Self {
        Self { who, ..self }
    }

    /// Answers until the stream ends, `until` at the latest.
    pub(super) async fn run(mut self, until: Option<Instant>) {
        let Ok(last_word) = self.answers.clone().reserve_owned().await else {
            return;
        };
        let metrics = Arc::clone(&self.metrics);
        // What panics here is not known to belong to one question.
        let all = AssertUnwindSafe(self.answer_all()).catch_unwind();
        let all =
            all.map(|end| end.unwrap_or_else(|_panic| Err(End::Told(status::lost(&metrics)))));
        let end = match until {
            None => all.await,
            Some(until) => tokio::select! {
                end = all => end,
                () = sleep_until(until) => Err(End::Told(status::deadline_exceeded())),
            },
        };
        if let Err(End::Told(status)) = end {
            last_word.send(Err(status));
        }
    }

    /// What has to be waited for is a task, so that it ends in its time, and gives back what it holds,
    /// whether or not somebody reads the answers. They end with the set.
    async fn answer_all(&mut self) -> Result<(), End> {
        let (mut more, mut draining) = (true, false);
        while more || !self.working.is_empty() {
            let has_room = self.working.len() < MAX_STREAM_IN_FLIGHT;
            tokio::select! {
                Some(answer) = self.working.join_next(), if !self.working.is_empty() => {
                    let answer = answer.map_err(|_lost| End::Told(status::lost(&self.metrics)))?;
                    self.batch.extend_from_slice(&answer);
                }
                question = self.questions.next(), if more && has_room => {
                    more = self.take(question)?;
                }
                () = self.stop.cancelled(), if more => (more, draining) = (false, true),
                () = self.answers.closed() => return Err(End::Gone),
            }
            more = more && self.take_what_is_there()?;
            self.give().await?;
        }
        if draining { Err(End::Told(status::draining())) } else { Ok(()) }
    }

    /// Takes the questions that arrived already, for one turn. `false` when there will be no more.
    fn take_what_is_there(&mut self) -> Result<bool, End> {
        for _ in 0..MAX_TURN {
            if self.batch.len() >= BATCH || self.working.len() >= MAX_STREAM_IN_FLIGHT {
                break;
            }
            // It is asked again, and by whom to wake then, before anything waits for it.
            let Some(question) = self.questions.next().now_or_never() else {
                break;
            };
            if !self.take(question)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Answers a question if its answer is known, and begins to find it out otherwise. `false` if there is
    /// none any more.
    fn take(&mut self, question: Option<Result<Bytes, Status>>) -> Result<bool, End> {
        let question = match question {
            None => return Ok(false),
            Some(question) => question.map_err(End::Told)?,
        };
        if self.batch.is_empty() {
            self.batch.reserve(self.usual);
        }
        let StreamRequest { id, check, timeout } =
            convert::stream_request(&question).map_err(End::Told)?;
        match self.wait_for(check, timeout) {
            Err(status) => Writer::new(&mut self.batch).frame(|to| error(to, id, &status)),
            Ok((question, detail, wait)) => match self.checker.check_now(&question) {
                Some(Err(failed)) => {
                    let status = status::from_check(&failed);
                    Writer::new(&mut self.batch).frame(|to| error(to, id, &status));
                }
                Some(Ok(answer)) if detail == Detail::Plain => {
                    Writer::new(&mut self.batch).frame(|to| {
                        to.number(1, id);
                        to.message(2, |to| convert::answer(to, &answer, detail));
                    });
                    drop(answer);
                    convert::done(question);
                }
                found => {
                    let (checker, until) = (Arc::clone(&self.checker), Instant::now() + wait);
                    let metrics = Arc::clone(&self.metrics);
                    let answer = async move {
                        let asked = (question, detail);
                        let answer = answered(id, checker, found, asked, until, &metrics);
                        // One that panics costs its own question.
                        let answer = AssertUnwindSafe(answer).catch_unwind().await;
                        let answer = answer.unwrap_or_else(|_panic| Err(status::lost(&metrics)));
                        answer.unwrap_or_else(|status| wire::framed(|to| error(to, id, &status)))
                    };
                    self.working.spawn(answer.in_current_span());
                }
            },
        }
        Ok(true)
    }

    /// A question with how long to wait for it.
    fn wait_for(
        &self,
        check: Result<(Question, Detail), Status>,
        timeout: Option<prost_types::Duration>,
    ) -> Result<(Question, Detail, Duration), Status> {
        let wait = match timeout.map(Duration::try_from) {
            None => self.budget,
            Some(Ok(Duration::ZERO)) => return Err(status::deadline_exceeded()),
            Some(Ok(wait)) => wait,
            Some(Err(_out_of_range)) => {
                return Err(status::invalid("timeout", "`timeout` is negative or too large"));
            }
        };
        let (question, detail) = check?;
        let mut question = Question { caller: self.who.caller(), ..question };
        self.who.bind(&mut question.context).map_err(|refusal| status::refused(&refusal))?;
        Ok((question, detail, wait.min(deadline::MAX_DEADLINE)))
    }

    /// Hands on what is to be written.
    async fn give(&mut self) -> Result<(), End> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.usual = self.batch.len().max(self.usual - self.usual / 16).min(2 * BATCH);
        let batch = Bytes::from(std::mem::take(&mut self.batch));
        match self.answers.try_send(Ok(batch)) {
            Ok(()) => {
                // Who always has questions does not keep others from theirs.
                tokio::task::consume_budget().await;
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(End::Gone),
            Err(TrySendError::Full(batch)) => {
                match timeout(MAX_UNREAD, self.answers.send(batch)).await {
                    Ok(sent) => sent.map_err(|_gone| End::Gone),
                    Err(_elapsed) => Err(End::Told(status::unread(MAX_UNREAD))),
                }
            }
        }
    }
}

/// The message with the answer to a question that may have to be waited for.
async fn answered<C: Check>(
    id: u64,
    checker: Arc<C>,
    found: Option<Result<Answer, CheckError>>,
    (question, detail): (Question, Detail),
    until: Instant,
    metrics: &Metrics,
) -> Result<Bytes, Status> {
    let answer = wait(checker.as_ref(), found, question, until).await?;
    written(answer, detail, until, metrics, move |to, answer| {
        to.number(1, id);
        to.message(2, |to| convert::answer(to, answer, detail));
    })
    .await
}

fn error(to: &mut Writer<'_>, id: u64, status: &Status) {
    to.number(1, id);
    to.message(3, |to| {
        to.number(1, i32::from(status.code()).unsigned_abs().into());
        to.text(2, status.message());
    });
}
