//! Bodies that come in parts.

use std::convert::Infallible;
use std::task::Waker;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tonic::Code;

use super::*;

fn room() -> &'static Room {
    Box::leak(Box::default())
}

fn messages<B>(room: &'static Room, body: B) -> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let caller = Caller::default();
    Messages { taken: Taken::new(room, caller), ..Messages::new(body, caller) }
}

/// A body of what is sent.
fn body() -> (mpsc::Sender<Bytes>, impl Body<Data = Bytes, Error = Infallible> + Unpin) {
    let (sender, mut sent) = mpsc::channel(4);
    let frames = stream::poll_fn(move |cx| {
        sent.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    });
    (sender, StreamBody::new(frames))
}

/// The five bytes before a message of `length`, and so many of its bytes.
fn part(length: usize, there: usize) -> Bytes {
    let mut data = vec![0];
    data.extend(u32::try_from(length).unwrap().to_be_bytes());
    data.resize(data.len() + there, 7);
    data.into()
}

fn only<B>(messages: &mut Messages<B>) -> Poll<Result<Bytes, Status>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    messages.poll_only(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_arrives_whole_takes_no_room() {
    let room = room();
    let mut whole = messages(room, Full::new(part(3 * SMALL, 3 * SMALL)));
    let Poll::Ready(Ok(message)) = only(&mut whole) else { panic!("all of it is there") };
    assert_eq!((message.len(), room.held()), (3 * SMALL, (0, 0)));
    let mut cut = messages(room, Full::new(part(3 * SMALL, SMALL)));
    let Poll::Ready(Err(status)) = only(&mut cut) else { panic!("its end is there") };
    assert_eq!((status.code(), room.held()), (Code::InvalidArgument, (0, 0)));
}

#[tokio::test]
async fn every_byte_that_waits_is_counted_until_it_is_given_on() {
    let room = room();
    let (sender, body) = body();
    let mut messages = messages(room, body);
    assert!(only(&mut messages).is_pending());
    assert_eq!(room.held(), (0, 0));
    sender.send(part(SMALL, 0)).await.unwrap();
    assert!(only(&mut messages).is_pending());
    assert_eq!(room.held(), (5, 1));
    sender.send(vec![7; SMALL].into()).await.unwrap();
    // It is whole, but the end of the request is not there.
    assert!(only(&mut messages).is_pending());
    assert_eq!(room.held(), (SMALL, 1));
    drop(sender);
    let Poll::Ready(Ok(message)) = only(&mut messages) else { panic!("all of it is there") };
    assert_eq!(message.len(), SMALL);
    // Also while it is answered.
    assert_eq!(room.held(), (0, 0));
}

#[tokio::test]
async fn what_has_no_room_is_turned_away_and_gives_back_what_it_had() {
    let room = room();
    let (sender, body) = body();
    let mut messages = messages(room, body);
    let mut others: Vec<Taken> = Vec::new();
    sender.send(part(2 * SMALL, SMALL)).await.unwrap();
    assert!(only(&mut messages).is_pending());
    loop {
        let mut other = Taken::new(room, Caller::default());
        if other.hold(2 * SMALL).is_err() {
            break;
        }
        others.push(other);
    }
    let held = room.held().0;
    sender.send(vec![7; SMALL - 1].into()).await.unwrap();
    let Poll::Ready(Err(status)) = only(&mut messages) else { panic!("there is no room") };
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(messages);
    assert_eq!(room.held().0, held - SMALL - 5);
}

#[tokio::test(start_paused = true)]
async fn t132_a_message_of_a_stream_that_is_not_ended_ends_the_stream() {
    let (sender, body) = body();
    let mut messages = messages(room(), body);
    // Before a message, and between two, there is time.
    for _ in 0..2 {
        assert!(messages.next().now_or_never().is_none());
        tokio::time::sleep(3 * MAX_DEADLINE).await;
        assert!(messages.next().now_or_never().is_none());
        sender.send(part(3, 3)).await.unwrap();
        assert_eq!(messages.next().await.unwrap().unwrap(), [7; 3][..]);
    }
    // Each byte in time, and not the last one.
    let begun = Instant::now();
    sender.send(part(100, 0)).await.unwrap();
    let drip = async {
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _gone = sender.send(vec![7].into()).await;
        }
    };
    let read = messages.next();
    tokio::select! {
        biased;
        read = read => {
            assert_eq!(read.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
            assert_eq!(begun.elapsed(), MAX_DEADLINE);
        }
        () = drip => panic!("it has no end"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_read_is_not_late() {
    let (sender, body) = body();
    let mut messages = messages(room(), body);
    sender.send(part(3, 1)).await.unwrap();
    assert!(messages.next().now_or_never().is_none());
    // Whoever reads has other things to do, and the rest of it has to wait.
    tokio::time::sleep(2 * MAX_DEADLINE).await;
    sender.send(vec![7].into()).await.unwrap();
    assert!(messages.next().now_or_never().is_none());
    sender.send(vec![7].into()).await.unwrap();
    assert_eq!(messages.next().await.unwrap().unwrap(), [7; 3][..]);
    // And is late then.
    sender.send(part(3, 1)).await.unwrap();
    assert_eq!(messages.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
}
