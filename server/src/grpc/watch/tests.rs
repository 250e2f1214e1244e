use portcullis_core::image::Digest;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;
use tonic::Code;

use super::*;
use crate::changes::{MAX_BATCH, MAX_KEPT};

/// A watcher that runs, and what it is told.
struct Watching {
    told: mpsc::Receiver<Told>,
    running: JoinHandle<()>,
    stop: CancellationToken,
}

impl Watching {
    fn begin(watchers: &Watchers, from: &[u8]) -> Self {
        let (watcher, told) =
            watchers.begin(&v1::WatchRequest { from: from.to_vec() }, Caller::default()).unwrap();
        let stop = CancellationToken::new();
        Self { told, running: tokio::spawn(watcher.run(stop.clone())), stop }
    }

    async fn next(&mut self) -> v1::WatchResponse {
        self.told.recv().await.unwrap().unwrap()
    }
}

fn digest(number: usize) -> Digest {
    Digest::of(&number.to_be_bytes())
}

fn raw(number: usize) -> Vec<u8> {
    digest(number).as_bytes().to_vec()
}

fn watchers() -> (Watchers, Changes) {
    let changes = Changes::default();
    changes.policy("r1");
    (Watchers::new(changes.clone(), Arc::default(), Handle::current()), changes)
}

#[tokio::test(start_paused = true)]
async fn a_watcher_hears_at_once_where_it_stands_and_then_each_change() {
    let (watchers, changes) = watchers();
    let mut watching = Watching::begin(&watchers, &[]);
    let first = watching.next().await;
    assert!(first.resync && !first.more && first.digests.is_empty());
    assert_eq!(first.policy_revision, "r1");
    changes.digest(digest(1));
    let second = watching.next().await;
    assert_eq!((second.digests, second.resync), (vec![raw(1)], false));
    changes.policy("r2");
    let third = watching.next().await;
    assert_eq!((third.policy_revision.as_str(), third.resync), ("r2", true));
}

#[tokio::test(start_paused = true)]
async fn t088_a_watcher_that_hears_nothing_new_hears_a_sign_of_life() {
    let (watchers, _changes) = watchers();
    let mut watching = Watching::begin(&watchers, &[]);
    let first = watching.next().await;
    for _ in 0..3 {
        let before = Instant::now();
        let sign = watching.next().await;
        assert_eq!(before.elapsed(), HEARTBEAT);
        assert!(sign.digests.is_empty() && !sign.resync && !sign.more);
        assert_eq!(sign.position, first.position);
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_changes_is_few_messages_and_none_is_missed() {
    const CHANGES: usize = 10_000;
    let (watchers, changes) = watchers();
    let mut watching = Watching::begin(&watchers, &[]);
    watching.next().await;
    let writer = tokio::spawn({
        let changes = changes.clone();
        async move {
            for number in 0..CHANGES {
                changes.digest(digest(number));
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let (mut heard, mut messages) = (Vec::new(), 0);
    while heard.len() < CHANGES {
        heard.extend(watching.next().await.digests);
        messages += 1;
    }
    writer.await.unwrap();
    assert_eq!(heard, (0..CHANGES).map(raw).collect::<Vec<_>>());
    assert!(messages <= 10_000 / 100 + 1, "{messages}");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_comes_back_hears_what_it_missed() {
    let (watchers, changes) = watchers();
    let mut watching = Watching::begin(&watchers, &[]);
    let position = watching.next().await.position;
    drop(watching);
    for number in 0..=MAX_BATCH {
        changes.digest(digest(number));
    }
    let mut watching = Watching::begin(&watchers, &position);
    let first = watching.next().await;
    assert_eq!((first.digests.len(), first.more, first.resync), (MAX_BATCH, true, false));
    let second = watching.next().await;
    assert_eq!((second.digests, second.more), (vec![raw(MAX_BATCH)], false));

    // One that was away for longer than is kept, and one of another process, start afresh.
    (0..=MAX_KEPT).for_each(|number| changes.digest(digest(number)));
    assert!(Watching::begin(&watchers, &position).next().await.resync);
    let (others, _) = self::watchers();
    assert!(Watching::begin(&others, &position).next().await.resync);
}

/// What changes meanwhile is put down all the same, and whoever reads is told at once.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_does_not_read_is_ended_and_holds_up_nobody() {
    let (watchers, changes) = watchers();
    let mut slow = Watching::begin(&watchers, &[]);
    let mut quick = Watching::begin(&watchers, &[]);
    quick.next().await;
    for number in 0..100 {
        changes.digest(digest(number));
        assert_eq!(quick.next().await.digests, [raw(number)]);
    }
    assert_eq!(slow.told.len(), BUFFER);
    sleep(MAX_UNREAD).await;
    // It had room for one message; then it is told why it ended.
    assert!(slow.next().await.resync);
    let end = slow.told.recv().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Aborted);
    slow.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn watchers_are_not_taken_on_one_past_their_bound() {
    let (watchers, _changes) = watchers();
    let none = v1::WatchRequest::default();
    let caller = |n: usize| Caller::of(([127, 0, 0, 1], u16::try_from(n).unwrap()).into());
    let begin = |n: usize| watchers.begin(&none, caller(n / MAX_WATCHERS_PER_CALLER));
    let mut taken: Vec<_> = (0..MAX_WATCHERS).map(|n| begin(n).unwrap()).collect();
    let Err(refused) = begin(MAX_WATCHERS) else { panic!("one too many") };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("this replica"), "{refused}");
    // One that goes away makes room, when its task sees it.
    let (watcher, told) = taken.pop().unwrap();
    drop(told);
    watcher.run(CancellationToken::new()).await;
    assert!(begin(MAX_WATCHERS).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_none_is_refused() {
    let (watchers, _changes) = watchers();
    for length in [1, 15, 17] {
        let request = v1::WatchRequest { from: vec![0; length] };
        let Err(refused) = watchers.begin(&request, Caller::default()) else {
            panic!("{length} bytes were taken");
        };
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopping_service_ends_its_watchers() {
    let (watchers, _changes) = watchers();
    let mut watching = Watching::begin(&watchers, &[]);
    watching.next().await;
    watching.stop.cancel();
    let end = watching.told.recv().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    watching.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_goes_away_ends_its_task() {
    let (watchers, _changes) = watchers();
    let watching = Watching::begin(&watchers, &[]);
    let now = || watchers.metrics.encode().unwrap();
    assert!(now().contains("portcullis_watchers 1\n"), "{}", now());
    drop(watching.told);
    while !watching.running.is_finished() {
        yield_now().await;
    }
    assert!(now().contains("portcullis_watchers 0\n"), "{}", now());
}
