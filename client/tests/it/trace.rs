//! Calls in, their spans out: one for each replica that is asked, and none for what is kept.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_client::{Call, CallSpan, Client, TraceContext, Tracer, traced};
use tokio::time::{Instant, timeout};

use crate::fake::*;

const SECOND: Duration = Duration::from_secs(1);

/// What was told of calls: as they began, and as they ended.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Tracer for Seen {
    fn begin(&self, call: &Call<'_>) -> Box<dyn CallSpan> {
        let Call { method, server, port, replica } = call;
        let mut seen = self.0.lock();
        seen.push(format!("{method} {server} {port} {replica}"));
        Box::new(Span { number: seen.len(), seen: self.clone() })
    }
}

struct Span {
    number: usize,
    seen: Seen,
}

impl CallSpan for Span {
    fn context(&self) -> Option<TraceContext> {
        TraceContext::of(format!("span {}", self.number).as_bytes(), None)
    }

    fn end(&mut self, status: &'static str) {
        self.seen.0.lock().push(status.to_owned());
    }
}

/// Asks, and gives what was seen of it, without the addresses of replicas.
async fn seen(client: &Client) -> Vec<String> {
    let seen = Seen::default();
    let deadline = Instant::now() + SECOND;
    let asked = traced(Arc::new(seen.clone()), client.check_by(question("n"), deadline));
    drop(timeout(SECOND / 2, asked).await);
    std::mem::take(&mut *seen.0.lock())
}

const CALL: &str = "portcullis.v1.DecisionService/Check portcullis 7443 10.0.0";

#[tokio::test(start_paused = true)]
async fn a_call_is_a_span_and_what_is_kept_is_none() {
    let (_net, fakes, client) = near(1).await;
    assert_eq!(seen(&client).await, [format!("{CALL}.0"), "OK".to_owned()]);
    assert_eq!(fakes[0].state.trace.lock().take().unwrap(), "span 1");
    assert!(seen(&client).await.is_empty());
    // Nobody makes spans here.
    client.check(question("other")).await.unwrap();
    assert_eq!(*fakes[0].state.trace.lock(), None);
}

#[tokio::test(start_paused = true)]
async fn a_second_replica_is_a_second_span_and_hears_of_its_own() {
    let (_net, fakes, client) = replicas(2).await;
    fakes[0].act(Act::Unavailable);
    for _ in 0..20 {
        let seen = seen(&client).await;
        if let [first, failed, second, last] = seen.as_slice() {
            assert_eq!((first, second), (&format!("{CALL}.0"), &format!("{CALL}.1")));
            assert_eq!((failed.as_str(), last.as_str()), ("UNAVAILABLE", "OK"));
            assert_eq!(fakes[0].state.trace.lock().take().unwrap(), "span 1");
            assert_eq!(fakes[1].state.trace.lock().take().unwrap(), "span 3");
            return;
        }
        assert_eq!(seen, [format!("{CALL}.1"), "OK".to_owned()]);
    }
    panic!("the first replica was never asked");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_caller() {
    let (_net, fakes, client) = replicas(1).await;
    fakes[0].act(Act::Hang);
    assert_eq!(seen(&client).await, [format!("{CALL}.0"), "CANCELLED".to_owned()]);
    let seen = Seen::default();
    let asked = client.check_by(question("n"), Instant::now() + SECOND / 4);
    traced(Arc::new(seen.clone()), asked).await.unwrap_err();
    assert_eq!(*seen.0.lock(), [format!("{CALL}.0"), "DEADLINE_EXCEEDED".to_owned()]);
}
