//! Replicas that fail, and for how long they are left alone.

use super::*;

fn replica() -> Arc<Replica> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let replica =
        Replica::new(0, address, Uri::from_static("http://a:1"), Arc::new(crate::Tcp), None);
    replica.up.store(true, Ordering::Release);
    Arc::new(replica)
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_fails_in_a_row_is_left_alone_for_longer_each_time() {
    let replica = replica();
    for doublings in 0..=MAX_DOUBLINGS + 1 {
        for _ in 0..EJECT_AFTER {
            assert_eq!(replica.standing(Instant::now()), Standing::Ready);
            replica.failed(Instant::now());
        }
        let span = EJECT_FOR * 2_u32.pow(doublings.min(MAX_DOUBLINGS));
        tokio::time::advance(span - Duration::from_millis(1)).await;
        assert_eq!(replica.standing(Instant::now()), Standing::Avoided);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    // One answer, and it begins anew.
    replica.answered();
    (0..EJECT_AFTER).for_each(|_| replica.failed(Instant::now()));
    tokio::time::advance(EJECT_FOR).await;
    assert_eq!(replica.standing(Instant::now()), Standing::Ready);
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_not_in_a_row_are_borne() {
    let replica = replica();
    for _ in 0..10 {
        (1..EJECT_AFTER).for_each(|_| replica.failed(Instant::now()));
        replica.answered();
    }
    assert_eq!(replica.standing(Instant::now()), Standing::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_busy_replica_is_believed_up_to_a_bound() {
    let replica = replica();
    replica.busy(Instant::now(), Duration::from_secs(3600));
    tokio::time::advance(MAX_BUSY - Duration::from_millis(1)).await;
    assert_eq!(replica.standing(Instant::now()), Standing::Avoided);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(replica.standing(Instant::now()), Standing::Ready);
}
