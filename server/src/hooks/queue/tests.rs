//! What waits, what rests, and whose turn it is.

use super::*;

fn event(image: &str) -> Event {
    Event { kind: Kind::Pushed, image: image.parse().unwrap(), subject: Subject::Unsaid }
}

fn offer(queue: &Queue, images: &[&str]) -> (usize, usize) {
    let Offered { accepted, repeated } =
        queue.offer(&images.iter().map(|image| event(image)).collect::<Vec<_>>()).unwrap();
    (accepted, repeated)
}

/// The next turn, if there is one without waiting.
async fn now(queue: &Queue) -> Option<Turn> {
    tokio::time::timeout(Duration::ZERO, queue.next()).await.ok()
}

#[tokio::test(start_paused = true)]
async fn likes_that_wait_are_one_and_a_like_of_what_was_begun_comes_once_more() {
    let queue = Queue::default();
    assert_eq!(offer(&queue, &["a.io/x:1", "a.io/x:1", "a.io/y:1"]), (2, 1));
    assert_eq!(offer(&queue, &["a.io/x:1"]), (0, 1));
    drop(now(&queue).await.unwrap());
    drop(now(&queue).await.unwrap());
    assert!(now(&queue).await.is_none());
    for _ in 0..100 {
        assert_eq!(offer(&queue, &["a.io/x:1"]), (0, 1));
    }
    assert!(now(&queue).await.is_none());
    tokio::time::advance(WINDOW).await;
    let again = now(&queue).await.unwrap();
    assert_eq!(again.event, event("a.io/x:1"));
    drop(again);
    // Nothing was said of it since.
    tokio::time::advance(WINDOW).await;
    assert!(now(&queue).await.is_none());
    assert_eq!(offer(&queue, &["a.io/x:1"]), (1, 0));
    assert!(queue.0.state.lock().begun.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_at_the_end_of_the_window() {
    let queue = Queue::default();
    offer(&queue, &["a.io/x:1"]);
    drop(queue.next().await);
    offer(&queue, &["a.io/x:1"]);
    let begun = Instant::now();
    drop(queue.next().await);
    assert!(begun.elapsed() >= WINDOW - Duration::from_millis(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_past_the_bound_takes_none_of_its_request() {
    let queue = Queue::default();
    let events = |from: usize, to: usize| {
        (from..to).map(|n| event(&format!("a.io/x:{n}"))).collect::<Vec<_>>()
    };
    queue.offer(&events(0, MAX_WAITING - 1)).unwrap();
    assert_eq!(queue.offer(&events(MAX_WAITING - 1, MAX_WAITING + 1)), Err(Full));
    assert_eq!(queue.len(), MAX_WAITING - 1);
    queue.offer(&events(MAX_WAITING - 1, MAX_WAITING)).unwrap();
    assert_eq!(queue.offer(&events(MAX_WAITING, MAX_WAITING + 1)), Err(Full));
    // What is there already needs no room.
    assert_eq!(queue.offer(&events(0, MAX_EVENTS)).unwrap().repeated, MAX_EVENTS);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_leaves_turns_to_others() {
    let queue = Queue::default();
    let many: Vec<_> = (0..100).map(|n| event(&format!("slow.io/x:{n}"))).collect();
    queue.offer(&many).unwrap();
    let mut held = Vec::new();
    while let Some(turn) = now(&queue).await {
        held.push(turn);
    }
    assert_eq!(held.len(), MAX_OF_ONE_REGISTRY);
    offer(&queue, &["quick.io/y:1"]);
    assert_eq!(now(&queue).await.unwrap().event, event("quick.io/y:1"));
    held.pop();
    assert_eq!(now(&queue).await.unwrap().event.image.registry(), "slow.io");
}

#[tokio::test(start_paused = true)]
async fn no_more_are_acted_upon_at_a_time_than_the_bound() {
    let queue = Queue::default();
    let events = (0..10).flat_map(|r| (0..10).map(move |n| event(&format!("r{r}.io/x:{n}"))));
    queue.offer(&events.collect::<Vec<_>>()).unwrap();
    let mut held = Vec::new();
    while let Some(turn) = now(&queue).await {
        held.push(turn);
    }
    assert_eq!(held.len(), MAX_AT_ONCE);
    drop(held);
    assert!(now(&queue).await.is_some());
}

/// Tries the one event of `queue` for as long as it rests, and gives when it was tried.
async fn tried(queue: &Queue) -> Vec<u64> {
    let begun = Instant::now();
    let mut times = Vec::new();
    loop {
        let turn = queue.next().await;
        times.push(begun.elapsed().as_secs());
        if !turn.rest() {
            return times;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_acted_upon_is_tried_again_so_often_and_no_more() {
    let queue = Queue::default();
    offer(&queue, &["a.io/x:1"]);
    assert_eq!(tried(&queue).await, [0, 5, 15, 35, 75, 135, 195, 255, 315]);
    assert!(queue.is_empty());
    tokio::time::advance(WINDOW).await;
    assert!(now(&queue).await.is_none());
    let state = queue.0.state.lock();
    assert!(state.seen.is_empty() && state.begun.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_anew_while_it_rests_has_all_its_tries() {
    let queue = Queue::default();
    offer(&queue, &["a.io/x:1"]);
    for _ in 0..4 {
        assert!(queue.next().await.rest());
    }
    assert_eq!(queue.len(), 1);
    // However often: it rests on, and is tried once.
    for _ in 0..100 {
        assert_eq!(offer(&queue, &["a.io/x:1"]), (0, 1));
    }
    let begun = Instant::now();
    assert_eq!(tried(&queue).await.len(), 1 + RESTS.len());
    let all: Duration = RESTS.iter().sum();
    assert_eq!(begun.elapsed().as_secs(), (RESTS[3] + all).as_secs());
}

#[tokio::test(start_paused = true)]
async fn what_waits_anyway_does_not_rest() {
    let queue = Queue::default();
    offer(&queue, &["a.io/x:1"]);
    let turn = queue.next().await;
    // Told of again while it is being tried, soon and late.
    offer(&queue, &["a.io/x:1"]);
    assert!(turn.rest());
    let turn = queue.next().await;
    tokio::time::advance(WINDOW).await;
    assert!(now(&queue).await.is_none());
    offer(&queue, &["a.io/x:1"]);
    assert_eq!(queue.len(), 1);
    assert!(turn.rest());
    assert_eq!(queue.len(), 1);
    drop(now(&queue).await.unwrap());
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_past_those_that_may_rest_is_given_up() {
    let queue = Queue::default();
    for n in 0..=MAX_RESTING {
        offer(&queue, &[&format!("a.io/x:{n}")]);
        assert_eq!(now(&queue).await.unwrap().rest(), n < MAX_RESTING, "{n}");
    }
    assert_eq!(queue.len(), MAX_RESTING);
}
