//! Many questions over one call.

use std::collections::BTreeMap;

use portcullis_proto::v1;
use portcullis_proto::v1::check_stream_response::Result as Outcome;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::gate::Gate;
use crate::world::*;

/// Both ends of a stream.
pub(crate) struct Asked {
    questions: mpsc::Sender<v1::CheckStreamRequest>,
    answers: Streaming<v1::CheckStreamResponse>,
}

impl Asked {
    pub(crate) async fn begin(world: &World) -> Self {
        let (questions, receiver) = mpsc::channel(16);
        let answers = world.client.clone().check_stream(ReceiverStream::new(receiver)).await;
        Self { questions, answers: answers.unwrap().into_inner() }
    }

    pub(crate) async fn ask(&self, id: u64, check: Option<v1::CheckRequest>) {
        let request = v1::CheckStreamRequest { id, check, timeout: None };
        self.questions.send(request).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> (u64, Outcome) {
        let answer = self.answers.message().await.unwrap().unwrap();
        (answer.id, answer.result.unwrap())
    }
}

#[track_caller]
pub(crate) fn action(outcome: &Outcome) -> Action {
    match outcome {
        Outcome::Check(answer) => answer.action(),
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn answers_carry_the_id_of_their_question() {
    let world = World::new().await;
    let (good, bad) = (world.scanned("good", &clean()), world.scanned("bad", &critical()));
    let mut stream = Asked::begin(&world).await;
    for id in 0..10 {
        let image = if id % 2 == 0 { &good } else { &bad };
        stream.ask(id, Some(question(&image.name))).await;
    }
    let mut actions = BTreeMap::new();
    for _ in 0..10 {
        let (id, outcome) = stream.next().await;
        assert_eq!(actions.insert(id, action(&outcome)), None);
    }
    assert!((0..10).all(|id| {
        let expected = if id % 2 == 0 { Action::Allow } else { Action::Deny };
        actions.get(&id) == Some(&expected)
    }));
    // The caller ends the stream, and so it ends.
    drop(stream.questions);
    assert!(stream.answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_bad_question_gets_its_error_and_the_stream_goes_on() {
    let world = World::new().await;
    let good = world.scanned("good", &clean());
    let mut stream = Asked::begin(&world).await;
    stream.ask(1, None).await;
    stream.ask(2, Some(v1::CheckRequest::default())).await;
    stream.ask(3, Some(question("UPPER"))).await;
    let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let check = Some(question(&good.name));
    let request = v1::CheckStreamRequest { id: 4, check, timeout: negative };
    stream.questions.send(request).await.unwrap();
    let zero = Some(prost_types::Duration::default());
    let check = Some(question(&good.name));
    let request = v1::CheckStreamRequest { id: 5, check, timeout: zero };
    stream.questions.send(request).await.unwrap();
    let mut codes = BTreeMap::new();
    for _ in 0..5 {
        let (id, outcome) = stream.next().await;
        let Outcome::Error(error) = outcome else { panic!("{id} was answered") };
        codes.insert(id, Code::from_i32(error.code));
    }
    let invalid = |id| (id, Code::InvalidArgument);
    let mut expected = BTreeMap::from([1, 2, 3, 4].map(invalid));
    expected.insert(5, Code::DeadlineExceeded);
    assert_eq!(codes, expected);

    stream.ask(6, Some(question(&good.name))).await;
    let (id, outcome) = stream.next().await;
    assert_eq!((id, action(&outcome)), (6, Action::Allow));
}

#[tokio::test]
async fn a_slow_question_does_not_hold_up_a_fast_one() {
    let mut site = Site::new().await;
    let gate = Gate::before(&mut site).await;
    let world = site.start().await;
    let (slow, fast) = (world.scanned("slow", &clean()), world.scanned("fast", &clean()));
    gate.hold("/it/slow/");
    let mut stream = Asked::begin(&world).await;
    stream.ask(1, Some(question(&slow.name))).await;
    gate.until_one_waits().await;
    stream.ask(2, Some(question(&fast.name))).await;
    assert_eq!(stream.next().await.0, 2);
    gate.open();
    let (id, outcome) = stream.next().await;
    assert_eq!((id, action(&outcome)), (1, Action::Allow));
}

/// A stream may be open for days, and a rollout must not wait for it.
#[tokio::test]
async fn a_stopping_service_answers_what_was_asked_and_ends_the_stream() {
    let mut site = Site::new().await;
    let gate = Gate::before(&mut site).await;
    let world = site.start().await;
    let image = world.scanned("app", &clean());
    gate.hold("/referrers/");
    let mut stream = Asked::begin(&world).await;
    stream.ask(1, Some(question(&image.name))).await;
    gate.until_one_waits().await;
    let stopped = tokio::spawn(world.stop());
    gate.open();
    let (id, outcome) = stream.next().await;
    assert_eq!((id, action(&outcome)), (1, Action::Allow));
    let end = stream.answers.message().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    stopped.await.unwrap();
}
