//! Who gets a turn, and when.

use std::time::Duration;

use futures_util::poll;
use tokio::task::yield_now;

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test(start_paused = true)]
async fn one_past_the_limit_waits_for_its_turn() {
    let turns = Turns::new(2, 2);
    let first = turns.take("a.io", soon()).await.unwrap();
    let _second = turns.take("a.io", soon()).await.unwrap();
    let mut third = Box::pin(turns.take("b.io", soon()));
    assert!(poll!(&mut third).is_pending());
    drop(first);
    let third = third.await.unwrap();
    assert_eq!(turns.sizes(), (2, 0, 2));
    drop(third);
    assert_eq!(turns.sizes(), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn t112_a_registry_that_never_answers_takes_its_own_turns_alone() {
    let turns = Turns::new(4, 2);
    let _held = [
        turns.take("hole.io", soon()).await.unwrap(),
        turns.take("hole.io", soon()).await.unwrap(),
    ];
    let mut more: Vec<_> = (0..100).map(|_| Box::pin(turns.take("hole.io", soon()))).collect();
    for one in &mut more {
        assert!(poll!(one).is_pending());
    }
    for _ in 0..1_000 {
        drop(turns.take("good.io", soon()).await.unwrap());
    }
    assert_eq!(turns.sizes(), (2, 100, 1));
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_next_and_registries_take_turns() {
    let turns = Turns::new(1, 1);
    let held = turns.take("a.io", soon()).await.unwrap();
    let mut old = Box::pin(turns.take("a.io", soon()));
    let mut new = Box::pin(turns.take("a.io", soon()));
    assert!(poll!(&mut old).is_pending() && poll!(&mut new).is_pending());
    drop(held);
    assert!(poll!(&mut old).is_pending());
    let new = new.await.unwrap();
    drop(new);
    drop(old.await.unwrap());

    // Of two registries, the one that has less under way.
    let turns = Turns::new(3, 3);
    let busy = [turns.take("a.io", soon()).await, turns.take("a.io", soon()).await];
    let other = turns.take("b.io", soon()).await.unwrap();
    let mut quiet = Box::pin(turns.take("c.io", soon()));
    let mut newest = Box::pin(turns.take("a.io", soon()));
    assert!(poll!(&mut quiet).is_pending() && poll!(&mut newest).is_pending());
    drop(other);
    assert!(poll!(&mut newest).is_pending());
    quiet.await.unwrap();
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn t135_one_whose_time_is_up_is_not_worked_on() {
    let turns = Turns::new(1, 1);
    assert_eq!(turns.take("a.io", Instant::now()).await.err(), Some(NoTurn::Expired));
    let held = turns.take("a.io", soon()).await.unwrap();
    let short = Instant::now() + Duration::from_secs(1);
    let mut late = Box::pin(turns.take("a.io", short));
    assert!(poll!(&mut late).is_pending());
    // Its turn comes after its time, and before it could see that its time is up.
    tokio::time::advance(Duration::from_secs(2)).await;
    drop(held);
    assert_eq!(late.await.err(), Some(NoTurn::Expired));
    assert_eq!(turns.sizes(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_past_the_bound_sends_the_oldest_away() {
    let turns = Arc::new(Turns::new(1, 1));
    let held = turns.take("a.io", soon()).await.unwrap();
    let mut waiting = Vec::new();
    for n in 0..=MAX_WAITING {
        let turns = Arc::clone(&turns);
        let registry = format!("r{}.io", n % 7);
        waiting.push(tokio::spawn(async move { turns.take(&registry, soon()).await.map(drop) }));
        yield_now().await;
    }
    assert_eq!(turns.sizes().1, MAX_WAITING);
    let mut waiting = waiting.into_iter();
    assert_eq!(waiting.next().unwrap().await.unwrap(), Err(NoTurn::Crowded));
    drop(held);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(turns.sizes(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn t137_who_stops_waiting_leaves_no_trace() {
    let turns = Turns::new(1, 1);
    let held = turns.take("a.io", soon()).await.unwrap();
    let mut gone = Box::pin(turns.take("b.io", soon()));
    assert!(poll!(&mut gone).is_pending());
    drop(gone);
    assert_eq!(turns.sizes(), (1, 0, 1));

    // It is given a turn, and goes before it hears of it: the next gets it.
    let mut next = Box::pin(turns.take("b.io", soon()));
    assert!(poll!(&mut next).is_pending());
    let mut gone = Box::pin(turns.take("b.io", soon()));
    assert!(poll!(&mut gone).is_pending());
    drop(held);
    drop(gone);
    drop(next.await.unwrap());
    assert_eq!(turns.sizes(), (0, 0, 0));
}
