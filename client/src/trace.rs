//! The trace that a question belongs to in, what the service is told of it out (W3C Trace Context).

use std::future::Future;

use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

/// The longest `traceparent` that is handed on, in bytes: twice what today's version has, for later ones.
pub const MAX_TRACEPARENT: usize = 110;
/// The longest `tracestate` that is handed on, in bytes, as the specification asks for.
pub const MAX_TRACESTATE: usize = 512;

tokio::task_local! {
    static TRACE: TraceContext;
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
    pub async fn around<F: Future>(self, questions: F) -> F::Output {
        TRACE.scope(self, questions).await
    }
}

/// Tells the service of the trace, if this is in one.
pub(crate) fn tell<T>(request: &mut Request<T>) {
    let Ok(trace) = TRACE.try_with(Clone::clone) else { return };
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
