//! The order and the bounds of what waits, and what is told of what has no room.

use super::*;

fn report(by: v1::AnsweredBy, containers: usize) -> v1::Answered {
    let container = v1::AnsweredContainer { image: "app".to_owned(), ..Default::default() };
    v1::Answered {
        answered_by: by.into(),
        containers: vec![container; containers],
        ..v1::Answered::default()
    }
}

fn queue(max_bytes: usize) -> Queue {
    Queue::new([7; 16], max_bytes)
}

fn decoded(answered: &Bytes) -> v1::Answered {
    v1::Answered::decode(answered.clone()).unwrap()
}

/// Numbers and how many were dropped, of the next call.
fn next(queue: &Queue) -> (Vec<u64>, u64) {
    let batch = queue.batch(MAX_REPORTS).unwrap();
    let numbers = batch.request.answered.iter().map(|answered| decoded(answered).number);
    (numbers.collect(), batch.request.dropped)
}

#[test]
fn what_has_no_room_is_dropped_and_the_gap_shows() {
    let mut one = queue(usize::MAX);
    one.push(report(v1::AnsweredBy::FailPolicy, 1));
    let mut queue = queue(2 * one.bytes());
    let pushed = [1, 2, 3].map(|_| queue.push(report(v1::AnsweredBy::FailPolicy, 1)));
    assert_eq!(pushed, [true, true, false]);
    assert_eq!(next(&queue), (vec![1, 2], 1));
    assert_eq!(queue.pop(1), 1);
    assert!(queue.push(report(v1::AnsweredBy::FailPolicy, 1)));
    assert_eq!(next(&queue), (vec![2, 4], 1));
    assert_eq!((queue.made(), queue.dropped(), queue.len()), (4, 1, 2));
    queue.pop(9);
    assert_eq!((queue.bytes(), queue.near_bytes, queue.len()), (0, 0, 0));
    let batch = queue.batch(MAX_REPORTS).unwrap();
    assert_eq!((batch.request.dropped, batch.request.answered.len()), (1, 0));
    assert_eq!(queue.standing(0).lost, [Lost { run: [7; 16], count: 1 }]);
    queue.sent(&batch);
    assert!(queue.batch(MAX_REPORTS).is_none() && queue.standing(0).lost.is_empty());
}

#[test]
fn the_near_cache_leaves_half_of_the_room_to_others() {
    let mut one = queue(usize::MAX);
    one.push(report(v1::AnsweredBy::NearCache, 1));
    let mut queue = queue(4 * one.bytes());
    let pushed = [1, 2, 3].map(|_| queue.push(report(v1::AnsweredBy::NearCache, 1)));
    assert_eq!(pushed, [true, true, false]);
    let pushed = [1, 2, 3].map(|_| queue.push(report(v1::AnsweredBy::LastKnown, 1)));
    assert_eq!(pushed, [true, true, false]);
}

#[test]
fn a_call_has_no_more_than_the_service_takes_and_at_least_one() {
    let mut many = queue(usize::MAX);
    for _ in 0..=MAX_REPORTS {
        many.push(report(v1::AnsweredBy::FailPolicy, 1));
    }
    let batch = many.batch(MAX_REPORTS).unwrap();
    assert_eq!((batch.request.answered.len(), batch.is_full), (MAX_REPORTS, true));
    many.pop(1);
    assert!(!many.batch(MAX_REPORTS).unwrap().is_full);
    assert_eq!(many.batch(1).unwrap().request.answered.len(), 1);
    let mut wide = queue(usize::MAX);
    for _ in 0..17 {
        wide.push(report(v1::AnsweredBy::FailPolicy, 256));
    }
    assert_eq!(next(&wide).0.len(), MAX_CONTAINERS / 256);
    let mut long = queue(usize::MAX);
    for _ in 0..2 {
        let cause = "x".repeat(MAX_CALL);
        long.push(v1::Answered { cause, ..report(v1::AnsweredBy::FailPolicy, 1) });
    }
    assert_eq!(next(&long).0, [1]);
}

#[test]
fn what_was_written_before_comes_first_under_its_own_run() {
    let mut queue = queue(usize::MAX);
    let before = v1::Answered { run: vec![1; 16], number: 9, ..v1::Answered::default() };
    queue.restore(before.encode_to_vec().into());
    queue.restore(Bytes::from_static(b"\xff"));
    queue.push(report(v1::AnsweredBy::FailPolicy, 1));
    let batch = queue.batch(MAX_REPORTS).unwrap();
    let of = |at: usize| {
        let answered = decoded(&batch.request.answered[at]);
        (answered.run[0], answered.number)
    };
    assert_eq!((of(0), of(1)), ((1, 9), (7, 1)));
    // What no report was is not of this run.
    assert_eq!((queue.dropped(), batch.request.dropped), (1, 0));
}

#[test]
fn what_a_run_before_dropped_is_told_after_its_reports_and_once() {
    let lost = |run: u8, count| Lost { run: [run; 16], count };
    let mut one = queue(usize::MAX);
    one.push(report(v1::AnsweredBy::FailPolicy, 1));
    let mut queue = queue(2 * one.bytes());
    queue.restore_lost([lost(1, 3), lost(2, 1)]);
    for number in 1..=3 {
        let before =
            v1::Answered { number, run: vec![2; 16], ..report(v1::AnsweredBy::LastKnown, 1) };
        queue.restore(before.encode_to_vec().into());
    }
    // One of them has no room any more.
    assert_eq!(queue.dropped(), 1);
    assert!(!queue.push(report(v1::AnsweredBy::FailPolicy, 1)));
    assert_eq!(queue.standing(0).lost, [lost(1, 3), lost(2, 2), lost(7, 1)]);
    let mut told = Vec::new();
    while let Some(batch) = queue.batch(MAX_REPORTS) {
        told.push((batch.request.run[0], batch.request.dropped, batch.request.answered.len()));
        assert!(batch.is_full, "there may be more to say");
        queue.sent(&batch);
    }
    assert_eq!(told, [(7, 1, 2), (1, 3, 0), (2, 2, 0)]);
    assert!(queue.standing(0).lost.is_empty());
}

#[test]
fn what_nobody_takes_is_told_of_as_dropped_and_more_runs_than_are_known_lose_no_count() {
    let mut queue = queue(usize::MAX);
    queue.push(report(v1::AnsweredBy::FailPolicy, 1));
    let batch = queue.batch(1).unwrap();
    queue.give_up(&batch);
    assert_eq!((queue.dropped(), next(&queue)), (1, (vec![], 1)));
    // What came in between is not known to be told.
    let batch = queue.batch(1).unwrap();
    queue.lose(Lost { run: [7; 16], count: 1 });
    queue.sent(&batch);
    assert_eq!(next(&queue), (vec![], 2));
    let run = |number: usize| u128::try_from(number).unwrap().to_be_bytes();
    queue.restore_lost((0..MAX_RUNS).map(|number| Lost { run: run(number), count: 1 }));
    let standing = queue.standing(0).lost;
    assert_eq!(standing.len(), MAX_RUNS);
    assert_eq!(standing[0], Lost { run: run(1), count: 2 });
}
