//! Replicas that come, drain, go and turn into black holes.

use std::time::Duration;

use portcullis_client::{Client, Standing};
use tokio::time::Instant;

use crate::fake::*;
use crate::network::Line;

const SECOND: Duration = Duration::from_secs(1);

/// Asks so many questions, one after the other, and wants all answered.
async fn ask(client: &Client, count: usize) {
    for _ in 0..count {
        client.check(question("n")).await.unwrap();
    }
}

#[track_caller]
fn standing(client: &Client, fake: &Fake) -> Option<Standing> {
    let stats = client.stats();
    let replica = stats.replicas.iter().find(|replica| replica.address == fake.address);
    replica.map(|replica| replica.standing)
}

/// Case T139, the client's half: it takes one look-up, not the age of a connection.
#[tokio::test(start_paused = true)]
async fn t139_a_replica_that_is_added_gets_its_share() {
    const QUESTIONS: usize = 3_000;
    let (net, mut fakes, client) = replicas(2).await;
    ask(&client, 10).await;
    fakes.push(Fake::start(&net, 2).await);
    net.name(fakes.iter().map(|fake| fake.address));
    tokio::time::sleep(SECOND * 11).await;
    let before: Vec<_> = fakes.iter().map(Fake::asked).collect();
    ask(&client, QUESTIONS).await;
    let mean = QUESTIONS / fakes.len();
    for (fake, before) in fakes.iter().zip(before) {
        let share = fake.asked() - before;
        assert!(share.abs_diff(mean) < mean / 5, "{share} of {QUESTIONS}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_taken_away_gets_no_more_and_answers_what_it_has() {
    let (net, fakes, client) = replicas(2).await;
    fakes.iter().for_each(|fake| fake.act(Act::After(SECOND * 20)));
    let under_way: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            let deadline = Instant::now() + SECOND * 25;
            tokio::spawn(async move { client.check_by(question("n"), deadline).await })
        })
        .collect();
    net.name([fakes[1].address]);
    tokio::time::sleep(SECOND * 12).await;
    assert_eq!(standing(&client, &fakes[0]), None);
    assert!(fakes[0].asked() > 0);
    for answer in under_way {
        answer.await.unwrap().unwrap();
    }
    fakes[1].act(Act::Answer);
    let before = fakes[0].asked();
    ask(&client, 50).await;
    assert_eq!(fakes[0].asked(), before);
    assert_eq!(client.stats().retries, 0);
}

/// Case T140, the client's half: who says that it drains is asked no more, and who is asked in the
/// moment before refuses, and another answers.
#[tokio::test(start_paused = true)]
async fn t140_a_draining_replica_loses_no_question() {
    let (_net, fakes, client) = replicas(3).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move {
            for _ in 0..2_000 {
                client.check(question("n")).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    tokio::time::sleep(SECOND / 2).await;
    fakes[0].drain().await;
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(standing(&client, &fakes[0]), Some(Standing::Down));
    let asked = fakes[0].asked();
    // It is still there, and its address is still known.
    tokio::time::sleep(SECOND).await;
    assert_eq!(fakes[0].asked(), asked);
    fakes[0].line(Line::Cut);
    asking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_serves_again_is_asked_again() {
    let (_net, fakes, client) = replicas(2).await;
    fakes[0].drain().await;
    until_ready(&client, 1).await;
    fakes[0].act(Act::Answer);
    fakes[0]
        .health
        .set_serving::<portcullis_proto::v1::decision_service_server::DecisionServiceServer<Told>>()
        .await;
    until_ready(&client, 2).await;
    fakes[1].line(Line::Cut);
    until_ready(&client, 1).await;
    fakes[1].line(Line::Open);
    until_ready(&client, 2).await;
    ask(&client, 100).await;
    assert!(fakes.iter().all(|fake| fake.asked() > 20));
}

/// Nothing is refused and nothing is reset; only its silence tells. Each question has its answer within its second.
#[tokio::test(start_paused = true)]
async fn t146_a_replica_that_stands_still_costs_no_question_and_its_connection_is_left_after_its_probes()
 {
    let (_net, fakes, client) = replicas(2).await;
    fakes[0].line(Line::Frozen);
    ask(&client, 100).await;
    assert_ne!(standing(&client, &fakes[0]), Some(Standing::Ready));
    let stats = client.stats();
    // One finds it out, and another one each time that it is tried again.
    assert!((1..=4).contains(&stats.retries), "{stats:?}");
    tokio::time::sleep(SECOND * 16).await;
    assert_eq!(standing(&client, &fakes[0]), Some(Standing::Down));
    ask(&client, 100).await;
    fakes[0].line(Line::Open);
    until_ready(&client, 2).await;
}

/// It is at work, and says so: the second one would only do the same work again.
#[tokio::test(start_paused = true)]
async fn t146_a_replica_that_is_slow_and_there_is_waited_for() {
    let (_net, fakes, client) = replicas(2).await;
    fakes.iter().for_each(|fake| fake.act(Act::After(SECOND * 9 / 10)));
    ask(&client, 20).await;
    let asked: usize = fakes.iter().map(Fake::asked).sum();
    assert_eq!((asked, client.stats().retries), (20, 0));
    assert!(fakes.iter().all(|fake| standing(&client, fake) == Some(Standing::Ready)));
}

/// What is asked beside so many waits for a stream before it is sent, also whether it is there at all: that this is
/// not answered says nothing of the replica.
#[tokio::test(start_paused = true)]
async fn t146_a_replica_that_has_more_questions_than_streams_is_not_taken_for_one_that_stands_still()
 {
    let (_net, fakes, client) = replicas(2).await;
    // The first of them end when who asked whether it is there has just given up.
    fakes.iter().for_each(|fake| fake.act(Act::After(Duration::from_millis(470))));
    let count = 2 * (usize::try_from(MAX_STREAMS).unwrap() + 20);
    let asked: Vec<_> = (0..count)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.check(question("n")).await })
        })
        .collect();
    for answer in asked {
        answer.await.unwrap().unwrap();
    }
    let asked: usize = fakes.iter().map(Fake::asked).sum();
    assert_eq!((asked, client.stats().retries), (count, 0));
    assert!(fakes.iter().all(|fake| standing(&client, fake) == Some(Standing::Ready)));
}

/// What it had to say when it stood still is not taken for an answer to what is asked now.
#[tokio::test(start_paused = true)]
async fn t146_what_a_replica_says_after_it_stood_still_is_of_nobodys_question() {
    let (_net, fakes, client) = replicas(2).await;
    fakes[0].line(Line::Frozen);
    ask(&client, 50).await;
    fakes[0].state.answer.lock().policy_revision = "old".to_owned();
    fakes[0].line(Line::Open);
    tokio::time::sleep(SECOND / 10).await;
    fakes[0].state.answer.lock().policy_revision = "new".to_owned();
    fakes[1].state.answer.lock().policy_revision = "new".to_owned();
    until_ready(&client, 2).await;
    for _ in 0..100 {
        assert_eq!(client.check(question("n")).await.unwrap().policy_revision, "new");
    }
    assert!(fakes[0].asked() > 10, "it is asked again");
}

#[tokio::test(start_paused = true)]
async fn the_one_with_fewer_calls_under_way_is_asked() {
    let (_net, fakes, client) = replicas(2).await;
    fakes[0].act(Act::After(SECOND * 9 / 10));
    let asked: Vec<_> = (0..200)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(number)).await;
                client.check(question("n")).await
            })
        })
        .collect();
    for answer in asked {
        answer.await.unwrap().unwrap();
    }
    // The quick one is free each time, and so gets nearly all.
    assert!(fakes[0].asked() < 20, "{}", fakes[0].asked());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_leaves_no_connection() {
    let (_net, fakes, client) = replicas(1).await;
    ask(&client, 1).await;
    let state = std::sync::Arc::downgrade(&fakes[0].state);
    drop(client);
    drop(fakes);
    tokio::time::sleep(SECOND).await;
    // The tasks of its connections held it.
    assert!(state.upgrade().is_none());
}
