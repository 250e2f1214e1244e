//! Clients that reset their streams: in need, and to do harm.

use super::super::leavers::MAX_LEAVERS;
use super::*;
use crate::listen::MAX_STREAMS;

fn never(_: Request<Received>) -> Answer {
    Box::pin(std::future::pending())
}

impl Scene {
    /// Calls as many times as streams may be open, and leaves them all.
    async fn leave_together(&mut self) {
        let calls: Vec<_> = (0..MAX_STREAMS).map(|_| self.call("/")).collect();
        settle().await;
        drop(calls);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn callers_whose_time_is_up_while_a_service_stands_still_keep_their_connection() {
    let answer = |request: Request<Received>| match request.uri().path() {
        "/last" => known([Bytes::from_static(b"answer")]),
        _ => never(request),
    };
    let mut scene = Scene::new(WIDE, answer).await;
    // As often as may be, and the same again a second later.
    for last in ["/last", "/last"] {
        scene.stands.store(true, Ordering::Relaxed);
        for _ in 0..MAX_LEAVERS / MAX_STREAMS {
            scene.leave_together().await;
        }
        scene.stands.store(false, Ordering::Relaxed);
        assert_eq!(scene.body(last).await.data().await.unwrap().unwrap(), "answer");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(scene.ended.lock().is_none());
}

#[tokio::test(start_paused = true)]
async fn t123_streams_that_are_left_without_end_end_their_connection() {
    let mut scene = Scene::new(WIDE, never).await;
    // Never so many together that they could not be read.
    let mut ended = false;
    for _ in 0..=MAX_LEAVERS / MAX_STREAMS {
        scene.stands.store(true, Ordering::Relaxed);
        scene.leave_together().await;
        scene.stands.store(false, Ordering::Relaxed);
        settle().await;
        ended = scene.ended.lock().is_some();
        if ended {
            break;
        }
    }
    assert!(ended);
    assert!(matches!(*scene.ended.lock(), Some(Broken::Flood)));
    let error = scene.client.ready().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
}
