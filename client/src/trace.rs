//! The trace that a question belongs to in, what the service is told of it out (W3C Trace Context).

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request};

use crate::replica::Replica;

/// The longest `traceparent` that is handed on, in bytes: twice what today's version has, for later ones.
pub const MAX_TRACEPARENT: usize = 110;
/// The longest `tracestate` that is handed on, in bytes, as the specification asks for.
pub const MAX_TRACESTATE: usize = 512;

tokio::task_local! {
    static TRACE: Trace;
}

/// The trace that a task is in.
#[derive(Clone)]
enum Trace {
    /// This is told of it.
    Told(TraceContext),
    /// Each call is a span of its own.
    Spans(Arc<dyn Tracer>),
}

/// The headers of a caller by which its trace goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    parent: MetadataValue<Ascii>,
    state: Option<MetadataValue<Ascii>>,
}

impl TraceContext {
    /// Of the values of `traceparent` and, where it came too, `tracestate`. The service reads them; here they have to
    /// be text within their bounds. `None` where the first is not, and without the second where that is not.
    #[must_use]
    pub fn of(traceparent: &[u8], tracestate: Option<&[u8]>) -> Option<Self> {
        let value = |bytes: &[u8], most: usize| {
            let bounded = Some(bytes).filter(|bytes| !bytes.is_empty() && bytes.len() <= most)?;
            MetadataValue::try_from(bounded).ok()
        };
        let state = tracestate.and_then(|state| value(state, MAX_TRACESTATE));
        Some(Self { parent: value(traceparent, MAX_TRACEPARENT)?, state })
    }

    /// Makes all that `questions` asks through a client a part of the trace, in the same task.
    // An `async fn` would hold the questions twice.
    pub fn around<F: Future>(self, questions: F) -> impl Future<Output = F::Output> {
        TRACE.scope(Trace::Told(self), questions)
    }
}

/// Who makes a span of each call that a client makes. What the near cache answers is no call, and a question that is
/// asked of a second replica is two.
pub trait Tracer: Send + Sync + 'static {
    /// A call begins, in the task that asks.
    fn begin(&self, call: &Call<'_>) -> Box<dyn CallSpan>;
}

/// A call of a replica.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The full name of the method, such as `portcullis.v1.DecisionService/Check`.
    pub method: &'static str,
    /// The host of the service, as it was configured.
    pub server: &'a str,
    /// The port of the replica.
    pub port: u16,
    /// The address of the replica.
    pub replica: IpAddr,
}

/// The span of a call.
pub trait CallSpan: Send {
    /// What the service is told of it.
    fn context(&self) -> Option<TraceContext>;

    /// The call ended with this status, by gRPC's name of it, such as `OK`. One whose caller went away is `CANCELLED`.
    fn end(&mut self, status: &'static str);
}

/// Has `tracer` make a span of each call that `questions` makes through a client, in the same task.
pub fn traced<F: Future>(tracer: Arc<dyn Tracer>, questions: F) -> impl Future<Output = F::Output> {
    TRACE.scope(Trace::Spans(tracer), questions)
}

/// The span of a call, if it has one; it ends with this at the latest.
pub(crate) struct Begun(Option<Box<dyn CallSpan>>);

impl Begun {
    /// That of a call of `method`, if this is in a trace that has spans.
    pub(crate) fn call(method: &'static str, replica: &Replica) -> Self {
        let begin = |trace: &Trace| match trace {
            Trace::Told(_) => None,
            Trace::Spans(tracer) => {
                let (server, address) = (replica.host(), replica.address());
                let (port, replica) = (address.port(), address.ip());
                Some(tracer.begin(&Call { method, server, port, replica }))
            }
        };
        Self(TRACE.try_with(begin).ok().flatten())
    }

    /// Has what `ask` asks tell of the span.
    pub(crate) fn around<T>(&self, ask: impl FnOnce() -> T) -> T {
        match self.0.as_ref().and_then(|span| span.context()) {
            Some(context) => TRACE.sync_scope(Trace::Told(context), ask),
            None => ask(),
        }
    }

    pub(crate) fn end(mut self, status: Code) {
        if let Some(mut span) = self.0.take() {
            span.end(name(status));
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(span) = &mut self.0 {
            span.end(name(Code::Cancelled));
        }
    }
}

/// A status as gRPC's specification writes it.
const fn name(status: Code) -> &'static str {
    match status {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Tells the service of the trace, if this is in one.
pub(crate) fn tell<T>(request: &mut Request<T>) {
    let Ok(Trace::Told(trace)) = TRACE.try_with(Clone::clone) else { return };
    let TraceContext { parent, state } = trace;
    request.metadata_mut().insert("traceparent", parent);
    if let Some(state) = state {
        request.metadata_mut().insert("tracestate", state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[tokio::test]
    async fn what_is_asked_in_a_trace_tells_of_it() {
        let told = |request: &Request<()>| {
            let text = |name| request.metadata().get(name).map(|v| v.to_str().unwrap().to_owned());
            (text("traceparent"), text("tracestate"))
        };
        let asked = async {
            let mut request = Request::new(());
            tell(&mut request);
            told(&request)
        };
        let parent = String::from_utf8(PARENT.to_vec()).unwrap();
        let trace = TraceContext::of(PARENT, Some(b"vendor=1")).unwrap();
        let expected = (Some(parent.clone()), Some("vendor=1".to_owned()));
        assert_eq!(trace.around(asked).await, expected);
        // One that has no state, and none at all.
        let mut request = Request::new(());
        let trace = TraceContext::of(PARENT, None).unwrap();
        trace.around(async { tell(&mut request) }).await;
        assert_eq!(told(&request), (Some(parent), None));
        let mut request = Request::new(());
        tell(&mut request);
        assert_eq!(told(&request), (None, None));
    }

    #[test]
    fn what_is_too_long_or_no_text_is_not_handed_on() {
        assert!(TraceContext::of(&[b'a'; MAX_TRACEPARENT], None).is_some());
        for parent in [&[b'a'; MAX_TRACEPARENT + 1][..], b"", b"a\nb"] {
            assert_eq!(TraceContext::of(parent, None), None);
        }
        let plain = TraceContext::of(PARENT, None);
        assert_ne!(TraceContext::of(PARENT, Some(&[b'a'; MAX_TRACESTATE])), plain);
        for state in [&[b'a'; MAX_TRACESTATE + 1][..], b"", b"a\nb"] {
            assert_eq!(TraceContext::of(PARENT, Some(state)), plain);
        }
    }
}
