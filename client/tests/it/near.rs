//! Answers that are kept, and the changes that drop them, over the wire.

use std::time::Duration;

use portcullis_client::Client;
use tokio::time::{Instant, sleep};

use crate::fake::*;
use crate::network::Line;

const SECOND: Duration = Duration::from_secs(1);
/// Enough for a message to be heard.
const MOMENT: Duration = Duration::from_millis(200);

/// Whether the answer was kept.
async fn is_near(client: &Client, namespace: &str) -> bool {
    let deadline = Instant::now() + SECOND;
    client.check_by(question(namespace), deadline).await.unwrap().near
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_until_its_age_is_over() {
    let (_net, fakes, client) = near(1).await;
    assert!(!is_near(&client, "a").await);
    assert!(is_near(&client, "a").await);
    assert!(!is_near(&client, "b").await);
    sleep(SECOND * 59).await;
    assert!(is_near(&client, "a").await);
    sleep(SECOND).await;
    assert!(!is_near(&client, "a").await);
    let near = client.stats().near.unwrap();
    assert_eq!((near.hits, near.misses, fakes[0].asked()), (2, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_asked_for_again() {
    let (_net, fakes, client) = near(1).await;
    is_near(&client, "a").await;
    fakes[0].tell(&[[2; 32]]);
    sleep(MOMENT).await;
    assert!(is_near(&client, "a").await);
    fakes[0].tell(&[[1; 32]]);
    sleep(MOMENT).await;
    assert!(!is_near(&client, "a").await);
    assert!(is_near(&client, "a").await);
    fakes[0].policy("r2");
    sleep(MOMENT).await;
    assert!(!is_near(&client, "a").await);
    assert!(is_near(&client, "a").await);
}

/// The connection is good and `Watch` says nothing: 15 seconds later nothing that is kept is used, and
/// what was missed is heard when it speaks again.
#[tokio::test(start_paused = true)]
async fn t088_a_watch_that_hangs_is_noticed_and_taken_up_where_it_stood() {
    let (_net, fakes, client) = near(1).await;
    is_near(&client, "a").await;
    is_near(&client, "b").await;
    fakes[0].state.speaks.send_replace(false);
    sleep(SECOND * 15).await;
    assert!(!is_near(&client, "a").await);
    assert!(!is_near(&client, "a").await);
    fakes[0].tell(&[[9; 32]]);
    fakes[0].state.speaks.send_replace(true);
    sleep(SECOND * 6).await;
    // What was kept before is known to be as it was.
    assert!(is_near(&client, "b").await);

    fakes[0].state.speaks.send_replace(false);
    sleep(SECOND * 15).await;
    fakes[0].tell(&[[1; 32]]);
    fakes[0].state.speaks.send_replace(true);
    sleep(SECOND * 6).await;
    assert!(!is_near(&client, "b").await);
}

/// The connection is good, and `Watch` is not: it is begun again, and nothing is used meanwhile.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_noticed_at_once() {
    let (_net, fakes, client) = near(1).await;
    is_near(&client, "a").await;
    assert!(is_near(&client, "a").await);
    fakes[0].state.hang_up.notify_waiters();
    sleep(Duration::from_millis(10)).await;
    assert!(!is_near(&client, "a").await);
    sleep(SECOND).await;
    assert!(is_near(&client, "a").await);
    assert_eq!(fakes[0].asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_process_at_the_same_address_knows_nothing_of_what_is_kept() {
    let (_net, fakes, client) = near(1).await;
    is_near(&client, "a").await;
    fakes[0].line(Line::Cut);
    sleep(MOMENT).await;
    fakes[0].restart();
    fakes[0].line(Line::Open);
    until_ready(&client, 1).await;
    sleep(MOMENT).await;
    assert!(!is_near(&client, "a").await);
    assert!(is_near(&client, "a").await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_takes_up_where_it_stood() {
    let (_net, fakes, client) = near(1).await;
    is_near(&client, "a").await;
    fakes[0].line(Line::Cut);
    sleep(MOMENT).await;
    fakes[0].line(Line::Open);
    until_ready(&client, 1).await;
    sleep(MOMENT).await;
    assert!(is_near(&client, "a").await);
    assert_eq!(fakes[0].asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_used_while_its_replica_is_heard_and_not_when_it_is_gone() {
    let (_net, fakes, client) = near(2).await;
    is_near(&client, "a").await;
    assert!(is_near(&client, "a").await);
    let first = fakes.iter().find(|fake| fake.asked() == 1).unwrap();
    first.line(Line::Cut);
    sleep(MOMENT).await;
    assert!(!is_near(&client, "a").await);
    // Now it is of the other.
    assert!(is_near(&client, "a").await);
}
