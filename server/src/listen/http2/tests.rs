//! Calls of a client of `h2`, which reads or does not.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use h2::client::{Builder as Client, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use hyper::service::service_fn;
use parking_lot::Mutex;
use tokio::io::{DuplexStream, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::exchange::SEND_TIMEOUT;
use super::*;

mod leavers;

/// Data as it is given, and at the end trailers.
struct Given(Option<mpsc::Receiver<Bytes>>);

impl Body for Given {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(given) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(given.poll_recv(cx));
        if next.is_none() {
            self.0 = None;
        }
        let frame = next.map_or_else(|| Frame::trailers(HeaderMap::new()), Frame::data);
        Poll::Ready(Some(Ok(frame)))
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Given>, Infallible>> + Send>>;

/// An answer that is there, of `pieces`.
fn known(pieces: impl IntoIterator<Item = Bytes>) -> Answer {
    let (give, given) = mpsc::channel(64);
    pieces.into_iter().for_each(|piece| give.try_send(piece).unwrap());
    Box::pin(async { Ok(Response::new(Given(Some(given)))) })
}

/// Counts how often it is written to.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A client of a service, and what its connection did.
struct Scene {
    client: SendRequest<Bytes>,
    /// Whether the service stands still.
    stands: Arc<AtomicBool>,
    /// Why it ended the connection.
    ended: Arc<Mutex<Option<Broken>>>,
    writes: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Scene {
    /// A client that gives each stream a window of `window` bytes.
    async fn new(
        window: u32,
        answer: impl Fn(Request<Received>) -> Answer + Send + Unpin + 'static,
    ) -> Self {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let (writes, turns) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let wire = Wire::new(Counted(ours, Arc::clone(&writes)));
        let metrics = Arc::new(Metrics::new());
        let mut served = Http2::new(wire, service_fn(answer), Arc::clone(&metrics));
        let (stands, ended) = (Arc::<AtomicBool>::default(), Arc::<Mutex<_>>::default());
        let (count, standing, end) = (Arc::clone(&turns), Arc::clone(&stands), Arc::clone(&ended));
        tokio::spawn(std::future::poll_fn(move |cx| {
            if standing.load(Ordering::Relaxed) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            count.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut served).poll(cx).map(|served| *end.lock() = served.err())
        }));
        let mut client = Client::new();
        client.initial_window_size(window);
        let (client, connection) = client.handshake::<_, Bytes>(theirs).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let client = client.ready().await.unwrap();
        settle().await;
        Self { client, stands, ended, writes, turns, metrics }
    }

    fn call(&mut self, path: &str) -> ResponseFuture {
        let request = Request::builder().uri(format!("http://host{path}")).body(()).unwrap();
        self.client.send_request(request, true).unwrap().0
    }

    async fn body(&mut self, path: &str) -> RecvStream {
        self.call(path).await.unwrap().into_body()
    }
}

/// All others have had their turns.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Expects that the stream of `body` is reset `after` some time.
async fn is_reset(body: &mut RecvStream, after: Duration) {
    let begun = Instant::now();
    let error = body.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    assert_eq!(begun.elapsed().as_secs(), after.as_secs());
}

const WIDE: u32 = 64 * 1024;

#[tokio::test(start_paused = true)]
async fn answers_that_are_known_go_out_in_one_write_and_one_turn() {
    let mut scene = Scene::new(WIDE, |_| known([Bytes::from_static(&[7; 700])])).await;
    drop(scene.body("/first").await);
    settle().await;
    let before = [scene.writes.load(Ordering::Relaxed), scene.turns.load(Ordering::Relaxed)];
    let calls: Vec<_> = (0..16).map(|_| scene.call("/")).collect();
    for call in calls {
        let mut body = call.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), [7; 700][..]);
        assert!(body.data().await.is_none() && body.trailers().await.unwrap().is_some());
    }
    settle().await;
    let after = [scene.writes.load(Ordering::Relaxed), scene.turns.load(Ordering::Relaxed)];
    assert_eq!(after, before.map(|count| count + 1));
}

#[tokio::test]
async fn answers_that_take_long_leave_others_their_turns() {
    const CALLS: usize = 4;
    let answer = |_| {
        std::thread::sleep(MAX_TURN);
        known([])
    };
    let mut scene = Scene::new(WIDE, answer).await;
    let before = scene.turns.load(Ordering::Relaxed);
    let calls: Vec<_> = (0..CALLS).map(|_| scene.call("/")).collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!(scene.turns.load(Ordering::Relaxed) >= before + CALLS);
}

#[tokio::test]
async fn an_answer_that_is_waited_for_holds_up_no_other() {
    let (tell, told) = oneshot::channel();
    let told = Mutex::new(Some(told));
    let mut scene = Scene::new(WIDE, move |request| match request.uri().path() {
        "/later" => {
            let told = told.lock().take().unwrap();
            Box::pin(async move {
                told.await.unwrap();
                known([Bytes::from_static(b"late")]).await
            })
        }
        _ => known([Bytes::from_static(b"soon")]),
    })
    .await;
    let later = scene.call("/later");
    assert_eq!(scene.body("/").await.data().await.unwrap().unwrap(), "soon");
    tell.send(()).unwrap();
    let mut later = later.await.unwrap().into_body();
    assert_eq!(later.data().await.unwrap().unwrap(), "late");
}

async fn fail() -> Result<Response<Given>, Infallible> {
    panic!("of a test")
}

#[tokio::test]
async fn t141_a_call_that_panics_ends_alone_and_is_counted() {
    let mut scene = Scene::new(WIDE, |request| match request.uri().path() {
        "/at-once" => panic!("of a test"),
        "/known" => Box::pin(fail()),
        "/later" => Box::pin(async {
            tokio::task::yield_now().await;
            fail().await
        }),
        _ => known([]),
    })
    .await;
    for path in ["/at-once", "/known", "/later"] {
        let error = scene.call(path).await.unwrap_err();
        assert!(error.is_reset(), "{path}: {error}");
        scene.call("/").await.unwrap();
    }
    let text = scene.metrics.encode().unwrap();
    assert!(text.contains("portcullis_panics_total{what=\"call\"} 3"), "{text}");
}

#[tokio::test]
async fn who_resets_its_stream_is_no_longer_answered() {
    let (held, dropped) = oneshot::channel::<()>();
    let held = Mutex::new(Some(held));
    let mut scene = Scene::new(WIDE, move |_| {
        let held = held.lock().take();
        Box::pin(async move {
            let _held = held;
            std::future::pending().await
        })
    })
    .await;
    let call = scene.call("/");
    settle().await;
    drop(call);
    assert!(dropped.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn t129_an_answer_that_nobody_takes_is_dropped() {
    let (give, given) = mpsc::channel(1);
    give.send(Bytes::from_static(b"answer")).await.unwrap();
    let given = Mutex::new(Some(given));
    let answer = move |_: Request<Received>| -> Answer {
        let given = given.lock().take();
        Box::pin(async { Ok(Response::new(Given(given))) })
    };
    let mut scene = Scene::new(0, answer).await;
    let mut body = scene.body("/").await;
    is_reset(&mut body, SEND_TIMEOUT).await;
    // What it held is gone with it.
    assert!(give.is_closed());
}

#[tokio::test(start_paused = true)]
async fn t129_the_rest_of_an_answer_that_nobody_takes_is_dropped() {
    let mut scene = Scene::new(1, |_| known([Bytes::from_static(&[7; 40_000])])).await;
    let mut body = scene.body("/").await;
    assert_eq!(body.data().await.unwrap().unwrap().len(), 1);
    is_reset(&mut body, SEND_TIMEOUT).await;
    // The last byte as well as the second.
    let mut scene = Scene::new(39_999, |_| known([Bytes::from_static(&[7; 40_000])])).await;
    let mut body = scene.body("/").await;
    let mut taken = 0;
    while taken < 39_999 {
        taken += body.data().await.unwrap().unwrap().len();
    }
    is_reset(&mut body, SEND_TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_keeps_its_stream_while_it_takes_something() {
    let mut scene = Scene::new(4, |_| known([Bytes::from_static(&[7; 100])])).await;
    let mut body = scene.body("/").await;
    for _ in 0..4 {
        assert_eq!(body.data().await.unwrap().unwrap().len(), 4);
        sleep(SEND_TIMEOUT - Duration::from_secs(1)).await;
        body.flow_control().release_capacity(4).unwrap();
    }
    assert_eq!(body.data().await.unwrap().unwrap().len(), 4);
    is_reset(&mut body, SEND_TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_us_may_wait() {
    let (give, given) = mpsc::channel(1);
    let given = Mutex::new(Some(given));
    let answer = move |_: Request<Received>| -> Answer {
        let given = given.lock().take();
        Box::pin(async { Ok(Response::new(Given(given))) })
    };
    let mut scene = Scene::new(4, answer).await;
    let mut body = scene.body("/").await;
    sleep(SEND_TIMEOUT * 100).await;
    give.send(Bytes::from_static(b"answer")).await.unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "answ");
    // And when there is something, the reader's time begins.
    is_reset(&mut body, SEND_TIMEOUT).await;
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let large: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let answer = Bytes::from(large.clone());
    let mut scene = Scene::new(WIDE, move |_| known([answer.clone()])).await;
    let mut body = scene.body("/").await;
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    assert!(read == large);
    assert!(body.trailers().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn room_for_requests_comes_back_whatever_their_size() {
    let mut scene = Scene::new(WIDE, |request| {
        Box::pin(async move {
            let read = request.into_body().collect().await.unwrap().to_bytes();
            known([Bytes::from(read.len().to_string())]).await
        })
    })
    .await;
    // Each time more than a connection has room for.
    for (size, count) in [(2 * 1024, 700), (2 * 1024 + 1, 700), (1024 * 1024 + 1, 2)] {
        for _ in 0..count {
            let request = Request::builder().uri("http://host/").body(()).unwrap();
            let (answer, mut body) = scene.client.send_request(request, false).unwrap();
            body.send_data(vec![7; size].into(), true).unwrap();
            let answer = async {
                let mut answer = answer.await.unwrap().into_body();
                let read = answer.data().await.unwrap().unwrap();
                answer.flow_control().release_capacity(read.len()).unwrap();
                read
            };
            let read = tokio::time::timeout(Duration::from_secs(5), answer).await;
            assert_eq!(read.unwrap(), size.to_string());
        }
    }
}
