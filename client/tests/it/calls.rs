//! One question: its deadline, and what a second replica may do for it.

use std::time::Duration;

use portcullis_client::{Client, ClientError, Config, Standing};
use tokio::time::Instant;
use tonic::Code;

use crate::fake::*;
use crate::network::{Line, Net};

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn code(error: &ClientError) -> Code {
    match error {
        ClientError::NoAnswer(status) => status.code(),
        other => panic!("{other:?}"),
    }
}

/// Asks until one replica was asked, of those that `fakes` are.
async fn ask(client: &Client) -> Result<portcullis_proto::v1::CheckResponse, ClientError> {
    client.check(question("n")).await
}

#[tokio::test(start_paused = true)]
async fn the_service_is_told_how_long_its_caller_waits() {
    let (_net, fakes, client) = replicas(1).await;
    ask(&client).await.unwrap();
    let told = fakes[0].state.timeout.lock().take().unwrap();
    assert_eq!(told, "1000000u");
    let deadline = Instant::now() + Duration::from_millis(250);
    client.check_by(question("n"), deadline).await.unwrap();
    assert_eq!(fakes[0].state.timeout.lock().take().unwrap(), "250000u");
}

#[tokio::test(start_paused = true)]
async fn no_answer_comes_by_the_deadline_and_not_later() {
    let (_net, fakes, client) = replicas(2).await;
    fakes.iter().for_each(|fake| fake.act(Act::Hang));
    let begin = Instant::now();
    assert_eq!(code(&ask(&client).await.unwrap_err()), Code::DeadlineExceeded);
    // The timer of tokio is of whole milliseconds.
    assert!(begin.elapsed() <= SECOND + Duration::from_millis(2), "{:?}", begin.elapsed());
    // Who hangs once may be slow at this question; it is not asked of another.
    assert_eq!(fakes.iter().map(Fake::asked).sum::<usize>(), 1);
    assert_eq!(client.stats().retries, 0);
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_cannot_answer_another_does_once() {
    for act in [Act::Unavailable, Act::Busy(Duration::from_millis(250))] {
        let (_net, fakes, client) = replicas(2).await;
        fakes[0].act(act);
        for _ in 0..20 {
            assert_eq!(ask(&client).await.unwrap().decisions[0].message, "1");
        }
        assert!(fakes[0].asked() > 0);
        assert_eq!(client.stats().retries, fakes[0].asked() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn many_images_are_asked_of_another_replica_too() {
    let (_net, fakes, client) = replicas(2).await;
    fakes[0].act(Act::Unavailable);
    for _ in 0..20 {
        let answer = client.bulk_check(Default::default()).await.unwrap();
        assert_eq!(answer.pending, 7);
    }
    assert!(fakes[0].asked() > 0 && fakes[1].asked() == 20);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_asked_of_two_replicas_and_of_no_third() {
    let (_net, fakes, client) = replicas(3).await;
    fakes.iter().for_each(|fake| fake.act(Act::Unavailable));
    assert_eq!(code(&ask(&client).await.unwrap_err()), Code::Unavailable);
    let asked: Vec<_> = fakes.iter().map(Fake::asked).collect();
    assert_eq!(asked.iter().sum::<usize>(), 2, "{asked:?}");
    assert!(asked.iter().all(|count| *count <= 1), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_question_is_not_asked_again() {
    let (_net, fakes, client) = replicas(2).await;
    fakes.iter().for_each(|fake| fake.act(Act::Invalid));
    assert_eq!(code(&ask(&client).await.unwrap_err()), Code::InvalidArgument);
    assert_eq!(fakes.iter().map(Fake::asked).sum::<usize>(), 1);
    assert!(client.stats().replicas.iter().all(|replica| replica.failures == 0));
}

/// Each of the questions that are under way when a replica dies is answered by another.
#[tokio::test(start_paused = true)]
async fn a_replica_that_dies_loses_no_question() {
    let (_net, fakes, client) = replicas(3).await;
    fakes.iter().for_each(|fake| fake.act(Act::After(Duration::from_millis(100))));
    let asked: Vec<_> = (0..300)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let under_way = fakes[0].asked();
    assert!(under_way > 50, "{under_way}");
    fakes[0].line(Line::Cut);
    for answer in asked {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(client.stats().retries, under_way as u64);
    let standing =
        client.stats().replicas.iter().find(|r| r.address == fakes[0].address).map(|r| r.standing);
    assert_eq!(standing, Some(Standing::Down));
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_for_the_only_replica_to_come_back() {
    let (_net, fakes, client) = replicas(1).await;
    fakes[0].line(Line::Cut);
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.check_by(question("n"), Instant::now() + SECOND * 10).await }
    });
    tokio::time::sleep(SECOND * 2).await;
    fakes[0].line(Line::Open);
    asked.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_any_replica_there_is_no_answer_in_time() {
    let net = Net::default();
    let client = Client::start(&config(&net)).unwrap();
    let begin = Instant::now();
    let error = ask(&client).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(begin.elapsed() <= SECOND + Duration::from_millis(2));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named_at_once() {
    let error = Client::connect("http://127.0.0.1:1", SECOND).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "failed to reach the decision service at `http://127.0.0.1:1`");
    assert!(std::error::Error::source(&error).is_some());
    for malformed in ["127.0.0.1:1", "ftp://127.0.0.1:1", "http://"] {
        let error = Client::connect(malformed, SECOND).await.unwrap_err();
        assert!(matches!(error, ClientError::Address(_)), "{error:?}");
    }
    let error = Client::connect("https://127.0.0.1:1", SECOND).await.unwrap_err();
    assert!(matches!(error, ClientError::NoAuthorities(_)), "{error:?}");
    let none = Client::start(&Config::new::<&str>([])).unwrap_err();
    assert!(matches!(none, ClientError::Targets(0)));
}
