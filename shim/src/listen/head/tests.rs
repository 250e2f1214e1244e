use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::{IDLE, http};
use super::*;

const GET: &[u8] = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A client's end of a connection, which is served as ours are, and whether it was ended for a slow head.
struct Client {
    stream: DuplexStream,
    served: JoinHandle<bool>,
}

impl Client {
    fn new() -> Self {
        let (stream, served) = duplex(64 * 1024);
        let activity = Arc::<Activity>::default();
        let counted = Arc::clone(&activity);
        let answer = service_fn(move |request: Request<Incoming>| {
            let under_way = counted.begin();
            async move {
                let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
                drop(under_way);
                let said = read.map_or_else(|error| error.to_string(), |read| read.to_string());
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(said))))
            }
        });
        let heads = TokioIo::new(Heads::new(served, Arc::clone(&activity)));
        let served = tokio::spawn(async move {
            let _ = http(IDLE).http1_only().serve_connection(heads, answer).await;
            activity.is_slow()
        });
        Self { stream, served }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// An answer that is there.
    async fn answered(&mut self) {
        let mut bytes = [0; 1024];
        let count = self.stream.read(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    }

    /// After how long it is ended, and whether for a slow head.
    async fn ended(mut self) -> (Duration, bool) {
        let begin = Instant::now();
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
        (begin.elapsed(), self.served.await.unwrap())
    }
}

/// To the whole second: timers have steps of a millisecond.
#[track_caller]
fn check((after, is_slow): (Duration, bool), seconds: u64, expected: bool) {
    assert_eq!((after.as_millis() + 500) / 1000, seconds.into());
    assert_eq!(is_slow, expected);
}

#[tokio::test(start_paused = true)]
async fn t066_a_head_has_two_seconds_from_its_first_byte_on_however_its_bytes_come() {
    let mut client = Client::new();
    sleep(Duration::from_secs(60)).await;
    client.send(b"G").await;
    check(client.ended().await, 2, true);
    // A byte now and then gives it no more.
    let mut client = Client::new();
    let (one, rest) = GET.split_at(1);
    client.send(one).await;
    for byte in &rest[..3] {
        sleep(Duration::from_millis(600)).await;
        client.send(&[*byte]).await;
    }
    check(client.ended().await, 0, true);
}

#[tokio::test(start_paused = true)]
async fn t066_the_next_head_has_as_much_and_one_that_is_in_time_is_answered() {
    let mut client = Client::new();
    for _ in 0..3 {
        sleep(Duration::from_secs(100)).await;
        let (one, rest) = GET.split_at(20);
        client.send(one).await;
        sleep(HEAD - Duration::from_millis(100)).await;
        client.send(rest).await;
        client.answered().await;
    }
    sleep(Duration::from_secs(100)).await;
    client.send(&GET[..GET.len() - 1]).await;
    check(client.ended().await, 2, true);
}

#[tokio::test(start_paused = true)]
async fn t066_who_says_nothing_is_idle_and_a_body_is_no_head() {
    let mut client = Client::new();
    client.send(GET).await;
    client.answered().await;
    check(client.ended().await, IDLE.as_secs(), false);
    check(Client::new().ended().await, IDLE.as_secs(), false);
    let mut client = Client::new();
    client.send(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n").await;
    for _ in 0..4 {
        sleep(Duration::from_secs(5)).await;
        client.send(b"x").await;
    }
    client.answered().await;
}

/// What came with the request before has the time of an idle connection, and from its next byte on that of a head.
#[tokio::test(start_paused = true)]
async fn t066_a_head_that_came_with_the_request_before_is_counted_from_its_next_byte_on() {
    let mut client = Client::new();
    client.send(&[GET, b"GET /"].concat()).await;
    client.answered().await;
    sleep(Duration::from_secs(10)).await;
    client.send(b"l").await;
    check(client.ended().await, 2, true);
    let mut client = Client::new();
    client.send(&[GET, b"GET /"].concat()).await;
    client.answered().await;
    check(client.ended().await, IDLE.as_secs(), false);
}
