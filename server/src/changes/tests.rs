use super::*;

fn digest(number: usize) -> Digest {
    Digest::of(&number.to_be_bytes())
}

fn changes() -> (Changes, Position) {
    let changes = Changes::default();
    changes.policy("r1");
    let begin = changes.since(None);
    assert!(begin.resync && !begin.more && begin.digests.is_empty());
    (changes, begin.position)
}

#[test]
fn a_watcher_hears_what_came_after_it_and_nothing_twice() {
    let (changes, begin) = changes();
    let nothing = changes.since(Some(begin));
    assert!(!nothing.resync && nothing.digests.is_empty() && nothing.position == begin);
    changes.digest(digest(1));
    changes.digest(digest(2));
    let first = changes.since(Some(begin));
    assert_eq!(first.digests, [digest(1), digest(2)]);
    changes.digest(digest(1));
    let second = changes.since(Some(first.position));
    assert_eq!((second.digests, second.resync, second.more), (vec![digest(1)], false, false));
    // Another watcher reads the same, in its own time.
    assert_eq!(changes.since(Some(begin)).digests, [digest(1), digest(2), digest(1)]);
}

#[test]
fn one_digest_that_changes_often_is_told_once() {
    let (changes, begin) = changes();
    for _ in 0..3 {
        changes.digest(digest(1));
    }
    let since = changes.since(Some(begin));
    assert_eq!(since.digests, [digest(1)]);
    assert!(changes.since(Some(since.position)).digests.is_empty());
}

#[test]
fn another_policy_or_trust_is_told_as_everything() {
    let (changes, begin) = changes();
    changes.digest(digest(1));
    changes.policy("r2");
    let since = changes.since(Some(begin));
    assert!(since.resync && since.digests.is_empty());
    assert_eq!(&*since.revision, "r2");
    // The trust changed; the policy did not.
    changes.policy("r2");
    let trust = changes.since(Some(since.position));
    assert!(trust.resync);
    assert_eq!(&*trust.revision, "r2");
    assert!(!changes.since(Some(trust.position)).resync);
}

#[test]
fn changes_are_read_in_parts_of_a_bound() {
    let (changes, mut at) = changes();
    for number in 0..=MAX_BATCH {
        changes.digest(digest(number));
    }
    let first = changes.since(Some(at));
    assert_eq!((first.digests.len(), first.more), (MAX_BATCH, true));
    at = first.position;
    let last = changes.since(Some(at));
    assert_eq!((last.digests, last.more), (vec![digest(MAX_BATCH)], false));
}

#[test]
fn who_lags_one_past_what_is_kept_is_told_everything() {
    let (changes, begin) = changes();
    for number in 0..MAX_KEPT {
        changes.digest(digest(number));
    }
    let since = changes.since(Some(begin));
    assert!(!since.resync && since.more);
    changes.digest(digest(MAX_KEPT));
    let since = changes.since(Some(begin));
    assert!(since.resync && !since.more && since.digests.is_empty());
    assert!(!changes.since(Some(since.position)).resync);
}

#[test]
fn a_position_of_another_process_or_of_the_future_is_told_everything() {
    let ((one, at), (other, _)) = (changes(), changes());
    assert!(other.since(Some(at)).resync);
    let future = Position { number: at.number + 1, ..at };
    assert!(one.since(Some(future)).resync);
}

#[test]
fn positions_are_sixteen_bytes() {
    let position = Position { epoch: u64::MAX - 1, number: 7 };
    assert_eq!(Position::read(&position.bytes()), Some(position));
    for malformed in [0, 1, 8, 15, 17] {
        assert_eq!(Position::read(&vec![0; malformed]), None);
    }
}

/// Whoever waits is woken by each change, from whatever threads they come.
#[tokio::test]
async fn who_waits_is_woken_and_reads_every_change() {
    const EACH: usize = 500;
    let (changes, mut at) = changes();
    let mut woken = changes.subscribe();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let changes = changes.clone();
            std::thread::spawn(move || {
                (0..EACH).for_each(|n| changes.digest(digest(writer * EACH + n)));
            })
        })
        .collect();
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < 4 * EACH {
        woken.wait_for(|head| *head > at.number).await.unwrap();
        let since = changes.since(Some(at));
        assert!(!since.resync);
        heard.extend(since.digests);
        at = since.position;
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}
