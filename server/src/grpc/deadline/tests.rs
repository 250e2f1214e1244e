//! Timeouts as callers write them, and what is done in them.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tonic::{Code, Status};

use super::*;

/// Never answers, and counts who asks.
#[derive(Clone, Default)]
struct Never {
    asked: Arc<AtomicUsize>,
    working: Arc<AtomicUsize>,
}

struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Request<()>> for Never {
    type Response = Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.working.fetch_add(1, Ordering::SeqCst);
        let working = Working(Arc::clone(&self.working));
        Box::pin(async move {
            let _working = working;
            pending().await
        })
    }
}

/// The answer to a request with this header, and how long it took.
async fn ask(never: &Never, header: Option<&str>) -> (Status, Duration) {
    let mut request = Request::new(());
    if let Some(header) = header {
        request.headers_mut().insert("grpc-timeout", header.parse().unwrap());
    }
    let begun = Instant::now();
    let mut service = DeadlineLayer.layer(never.clone());
    let answer = service.call(request).await.unwrap();
    (Status::from_header_map(answer.headers()).unwrap(), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn t138_a_slow_answer_is_given_up_at_the_deadline_and_dropped() {
    let never = Never::default();
    for (header, expected) in [
        (Some("250m"), Duration::from_millis(250)),
        (Some("10S"), Duration::from_secs(10)),
        (Some("99999999H"), MAX_DEADLINE),
        // Without a time, a request that never comes whole ends too.
        (None, MAX_DEADLINE),
    ] {
        let (status, took) = ask(&never, header).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{header:?}");
        assert!(took.abs_diff(expected) <= Duration::from_millis(1), "{header:?}: {took:?}");
        assert_eq!(never.working.load(Ordering::SeqCst), 0);
    }
    assert_eq!(never.asked.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn t133_what_has_no_time_or_a_malformed_one_is_not_worked_on() {
    let never = Never::default();
    for (header, code) in [
        ("0m", Code::DeadlineExceeded),
        ("00000000n", Code::DeadlineExceeded),
        ("-1m", Code::InvalidArgument),
        ("1x", Code::InvalidArgument),
    ] {
        let (status, took) = ask(&never, Some(header)).await;
        assert_eq!((status.code(), took), (code, Duration::ZERO), "{header}");
    }
    assert_eq!(never.asked.load(Ordering::SeqCst), 0);
}

#[track_caller]
fn check(header: &str, expected: Option<Duration>) {
    assert_eq!(parse(header), expected, "{header:?}");
}

#[test]
fn the_header_is_read_as_the_specification_has_it() {
    check("1S", Some(Duration::from_secs(1)));
    check("250m", Some(Duration::from_millis(250)));
    check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
    check("7u", Some(Duration::from_micros(7)));
    check("8n", Some(Duration::from_nanos(8)));
    check("2M", Some(Duration::from_secs(120)));
    check("0m", Some(Duration::ZERO));
}

#[test]
fn malformed_headers_are_refused() {
    for header in
        ["", "S", "1", "1x", "-1m", "+1m", " 1m", "1 m", "123456789m", "1.5S", "1s", "１S"]
    {
        check(header, None);
    }
}
