//! Streams whose caller does not read.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream};
use portcullis_core::policy::Policy;
use portcullis_proto::v1;
use prost::Message as _;
use time::OffsetDateTime;
use tokio::task::yield_now;

use super::stream::{MAX_UNREAD, STREAM_BUFFER};
use super::wire::Frames;
use super::*;
use crate::limit::{LimitConfig, Limited};
use crate::metrics::Metrics;

const BUDGET: Duration = Duration::from_secs(2);
/// Slow enough to be under way when the answers are no longer taken.
const SLOW: &str = "registry.example/slow:v1";
const QUICK: &str = "registry.example/quick:v1";
/// More than enough for every task to do what it can.
const TURNS: usize = 10_000;

/// Answers at once, or never where the image is slow.
#[derive(Default)]
struct Stub {
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// Counts a question that is under way.
struct UnderWay<'a>(&'a Stub);

impl<'a> UnderWay<'a> {
    fn new(stub: &'a Stub) -> Self {
        let now = stub.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        stub.most.fetch_max(now, Ordering::Relaxed);
        Self(stub)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Check for Stub {
    async fn check(&self, question: Question, _: Instant) -> Result<Answer, CheckError> {
        let _under_way = UnderWay::new(self);
        if question.containers.iter().any(|(_, image)| image.repository() == "slow") {
            pending::<()>().await;
        }
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

fn check_of(image: &str) -> v1::CheckRequest {
    let container = v1::Container { name: "c".to_owned(), image: image.to_owned() };
    v1::CheckRequest { context: None, containers: vec![container], explain: false, purpose: 0 }
}

fn questions(image: &str, count: usize) -> Vec<Result<Bytes, Status>> {
    let check = Some(check_of(image));
    let question = v1::CheckStreamRequest { id: 1, check, timeout: None };
    vec![Ok(question.encode_to_vec().into()); count]
}

/// The answers in one write.
fn answers_in(batch: Bytes) -> Vec<v1::CheckStreamResponse> {
    let mut frames = Frames::default();
    frames.push(batch);
    let next = || frames.next().unwrap();
    std::iter::from_fn(next).map(|m| v1::CheckStreamResponse::decode(m).unwrap()).collect()
}

/// A stream of `questions` to `checker`.
fn begin<C: Check, Q>(
    checker: Arc<C>,
    questions: Q,
) -> (AnswerStream<C, Q>, mpsc::Receiver<Result<Bytes, Status>>)
where
    Q: stream::Stream<Item = Result<Bytes, Status>> + Unpin,
{
    AnswerStream::new(checker, BUDGET, CancellationToken::new(), Arc::default(), questions)
}

async fn ask(checker: &Arc<impl Check>) -> Result<Bytes, Status> {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let decisions = Decisions::new(Arc::clone(checker), BUDGET, stop, tasks, Arc::default());
    match decisions.check(
        &check_of(QUICK).encode_to_vec(),
        &Who::default(),
        Instant::now() + BUDGET,
    ) {
        Answered::Now(answer) => answer,
        Answered::Later(answer) => answer.await,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_gives_back_what_it_holds() {
    const SLOW_ONES: usize = 100;
    let metrics = Arc::new(Metrics::new());
    let checker =
        Arc::new(Limited::new(Stub::default(), SLOW_ONES, LimitConfig::default(), metrics));
    let mut asked = questions(SLOW, SLOW_ONES);
    // Without a question: these are answered at once, and nobody takes the answers.
    let empty = v1::CheckStreamRequest { id: 2, check: None, timeout: None };
    asked.extend(vec![Ok(empty.encode_to_vec().into()); 10_000]);
    let asked = stream::iter(asked).chain(stream::pending());
    let (stream, mut unread) = begin(Arc::clone(&checker), asked);
    let running = tokio::spawn(stream.run(None));
    while unread.len() < STREAM_BUFFER {
        yield_now().await;
    }
    // What is known was answered before the others began to be found out.
    for _ in 0..TURNS {
        yield_now().await;
    }
    assert_eq!(ask(&checker).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    tokio::time::advance(BUDGET * 2).await;
    // The clock stands still, so that the stream does not end here.
    for _ in 0..TURNS {
        yield_now().await;
    }
    ask(&checker).await.unwrap();
    assert!(!running.is_finished());

    // Nobody reads: it ends, and says so after what it had already found.
    running.await.unwrap();
    let mut last = None;
    while let Some(answer) = unread.recv().await {
        last = Some(answer);
    }
    assert_eq!(last.unwrap().unwrap_err().code(), tonic::Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_slowly_is_answered_whole() {
    const COUNT: usize = STREAM_BUFFER + 3;
    let asked = stream::iter(questions(QUICK, COUNT));
    let (stream, mut answers) = begin(Arc::new(Stub::default()), asked);
    let running = tokio::spawn(stream.run(None));
    let mut count = 0;
    loop {
        // Of the paused clock, which goes on when everything waits.
        tokio::time::sleep(MAX_UNREAD - Duration::from_millis(1)).await;
        let Some(answer) = answers.recv().await else { break };
        count += answers_in(answer.unwrap()).len();
    }
    assert_eq!(count, COUNT);
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn questions_are_not_read_one_past_their_bound() {
    let checker = Arc::new(Stub::default());
    let asked = stream::iter(questions(SLOW, MAX_STREAM_IN_FLIGHT + 1));
    let (stream, mut answers) = begin(Arc::clone(&checker), asked);
    let running = tokio::spawn(stream.run(None));
    let mut count = 0;
    while let Some(late) = answers.recv().await {
        for late in answers_in(late.unwrap()) {
            assert!(matches!(late.result, Some(v1::check_stream_response::Result::Error(_))));
            count += 1;
        }
    }
    assert_eq!(count, MAX_STREAM_IN_FLIGHT + 1);
    assert_eq!(checker.most.load(Ordering::Relaxed), MAX_STREAM_IN_FLIGHT);
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_under_way_ends_with_its_stream() {
    let checker = Arc::new(Stub::default());
    let asked = stream::iter(questions(SLOW, 3)).chain(stream::pending());
    let (stream, answers) = begin(Arc::clone(&checker), asked);
    let running = tokio::spawn(stream.run(None));
    while checker.under_way.load(Ordering::Relaxed) < 3 {
        yield_now().await;
    }
    drop(answers);
    running.await.unwrap();
    while checker.under_way.load(Ordering::Relaxed) > 0 {
        yield_now().await;
    }
}

/// Panics where it is asked about these images: at once, or when its answer is waited for.
struct Faulty;

impl Check for Faulty {
    fn check_now(&self, question: &Question) -> Option<Result<Answer, CheckError>> {
        assert_ne!(question.containers[0].1.repository(), "now", "a fault that was put here");
        None
    }

    async fn check(&self, question: Question, until: Instant) -> Result<Answer, CheckError> {
        yield_now().await;
        assert_ne!(question.containers[0].1.repository(), "later", "a fault that was put here");
        Stub::default().check(question, until).await
    }
}

#[tokio::test]
async fn t141_a_panic_in_a_stream_costs_its_question_and_is_counted() {
    use v1::check_stream_response::Result as Outcome;
    let metrics = Arc::new(Metrics::new());
    let count = || {
        let text = metrics.encode().unwrap();
        let line = "portcullis_panics_total{what=\"question\"} ";
        text.lines().find_map(|l| l.strip_prefix(line)).unwrap().parse::<usize>().unwrap()
    };
    let asked = ["later", "quick", "later"].map(|name| format!("registry.example/{name}:v1"));
    let asked: Vec<_> = asked.iter().flat_map(|image| questions(image, 1)).collect();
    let stop = CancellationToken::new();
    let start = |asked| {
        let asked = stream::iter(asked);
        AnswerStream::new(Arc::new(Faulty), BUDGET, stop.clone(), Arc::clone(&metrics), asked)
    };
    let (stream, mut answers) = start(asked);
    stream.run(None).await;
    let mut codes = Vec::new();
    while let Some(answer) = answers.recv().await {
        codes.extend(answers_in(answer.unwrap()).into_iter().map(|a| match a.result.unwrap() {
            Outcome::Error(error) => error.code,
            Outcome::Check(_) => 0,
        }));
    }
    codes.sort_unstable();
    assert_eq!(codes, [0, tonic::Code::Internal as i32, tonic::Code::Internal as i32]);
    assert_eq!(count(), 2);
    // Where it is not one question's, the stream ends, and says why.
    let (stream, mut answers) = start(questions("registry.example/now:v1", 1));
    stream.run(Some(Instant::now() + BUDGET)).await;
    let status = answers.recv().await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Internal);
    assert!(answers.recv().await.is_none());
    assert_eq!(count(), 3);
}
