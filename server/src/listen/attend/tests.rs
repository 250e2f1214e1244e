//! Streams whose readers take, or do not.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;

/// Gives frames as long as there are some.
#[derive(Clone, Default)]
struct Frames(Arc<Mutex<VecDeque<Bytes>>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.lock().pop_front();
        next.map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

/// As hyper sends a body: a frame is asked for once the one before was taken, each time `taken` says so.
async fn send(mut body: Telling<Frames>, taken: Arc<Notify>, again: Arc<Notify>) {
    loop {
        let look = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).is_ready()));
        if look.await { taken.notified().await } else { again.notified().await }
    }
}

struct Reader {
    frames: Frames,
    taken: Arc<Notify>,
    again: Arc<Notify>,
    stream: tokio::task::JoinHandle<()>,
}

fn reader(count: usize) -> Reader {
    let frames = Frames(Arc::new(Mutex::new(vec![Bytes::from_static(b"answer"); count].into())));
    let (taken, again) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let sent = send(Telling::new(frames.clone()), Arc::clone(&taken), Arc::clone(&again));
    let stream = tokio::spawn(Stream { stream: sent, turn: Turn::Ours, patience: None });
    Reader { frames, taken, again, stream }
}

#[tokio::test(start_paused = true)]
async fn t129_an_answer_that_nobody_takes_is_dropped() {
    let begun = Instant::now();
    let reader = reader(1);
    reader.stream.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), SEND_TIMEOUT.as_secs());
    // What it held is gone with it.
    assert_eq!(Arc::strong_count(&reader.frames.0), 1);
}

#[tokio::test]
async fn a_large_answer_is_offered_in_parts() {
    let frames = Frames::default();
    frames.0.lock().push_back(vec![7; 2 * MAX_PART + 1].into());
    let mut body = Telling::new(frames);
    for expected in [MAX_PART, MAX_PART, 1] {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn t129_the_rest_of_an_answer_that_nobody_takes_is_dropped() {
    let reader = reader(0);
    reader.frames.0.lock().push_back(vec![7; 2 * MAX_PART].into());
    // A window of one byte takes the first part, and no more.
    reader.taken.notify_one();
    let begun = Instant::now();
    reader.stream.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), SEND_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_keeps_its_stream_while_it_takes_something() {
    let reader = reader(5);
    for _ in 0..4 {
        tokio::time::sleep(SEND_TIMEOUT - Duration::from_secs(1)).await;
        assert!(!reader.stream.is_finished());
        reader.taken.notify_one();
    }
    let last = Instant::now();
    reader.stream.await.unwrap();
    assert_eq!(last.elapsed().as_secs(), SEND_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_us_may_wait() {
    let reader = reader(1);
    reader.taken.notify_one();
    tokio::time::sleep(SEND_TIMEOUT * 100).await;
    assert!(!reader.stream.is_finished());
    // And when there is something, the reader's time begins.
    reader.frames.0.lock().push_back(Bytes::from_static(b"answer"));
    reader.again.notify_one();
    let offered = Instant::now();
    reader.stream.await.unwrap();
    assert_eq!(offered.elapsed().as_secs(), SEND_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn streams_within_one_thread_do_not_tell_each_other() {
    let (slow, waiting) = (reader(1), reader(0));
    slow.stream.await.unwrap();
    tokio::time::sleep(SEND_TIMEOUT * 2).await;
    assert!(!waiting.stream.is_finished());
}
