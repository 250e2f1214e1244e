//! Whether a call is traced in, spans out: decided before the first span is made, so that a call that
//! is not kept costs a look at one header, and nothing where traces are off.

use std::str::FromStr as _;
use std::sync::OnceLock;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of every span but the first of a trace. They are at level debug under it, so that no
/// log shows them, and are made only within a span that is kept.
pub(crate) const SPANS: &str = "portcullis::spans";
/// The target of the first span of a trace here: made only where [`sampled`] says so.
pub(crate) const ROOTS: &str = "portcullis::spans::root";

/// The longest `tracestate` that is continued, in bytes: what W3C asks to be handed on.
const MAX_STATE: usize = 512;

/// How many of the traces that begin here are kept; not set where traces are off.
static SAMPLING: OnceLock<Sampling> = OnceLock::new();
/// Who is told of traces; not set where traces are off.
static PROPAGATION: OnceLock<Propagation> = OnceLock::new();

/// Who is told the trace that a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// Nobody.
    None,
    /// Registries, under their own name.
    ToRegistries,
}

/// The share of traces that begin here which is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling {
    /// Of 2^64 random numbers, so many mean yes.
    below: u128,
}

impl Sampling {
    /// `ratio` from 0.0 (none) to 1.0 (all).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and 2^64"
    )]
    pub(crate) fn ratio(ratio: f64) -> Self {
        // 2^64, which a `u64` cannot hold.
        Self { below: (ratio.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0) as u128 }
    }

    fn keeps(self, number: u64) -> bool {
        u128::from(number) < self.below
    }
}

/// Traces are on from now on, for the whole process.
pub(crate) fn begin(sampling: Sampling, propagation: Propagation) {
    PROPAGATION.get_or_init(|| propagation);
    // Logging is set up once for a process, and so is this.
    SAMPLING.get_or_init(|| sampling);
}

/// Where the trace of a call begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Beginning {
    /// At the caller, whose span this is.
    Caller(SpanContext),
    /// Here.
    Here,
}

/// Whether the trace of a call is kept, by its `traceparent` header, if it has one: a caller's
/// decision holds, and of the others a share is kept.
pub(crate) fn sampled<'a>(
    traceparent: impl FnOnce() -> Option<&'a [u8]>,
    tracestate: impl FnOnce() -> Option<&'a str>,
) -> Option<Beginning> {
    let sampling = SAMPLING.get()?;
    decided(*sampling, rand, traceparent(), tracestate)
}

fn decided<'a>(
    sampling: Sampling,
    rand: impl FnOnce() -> u64,
    traceparent: Option<&[u8]>,
    tracestate: impl FnOnce() -> Option<&'a str>,
) -> Option<Beginning> {
    match traceparent.and_then(parent) {
        None => sampling.keeps(rand()).then_some(Beginning::Here),
        Some((_, _, flags)) if !flags.is_sampled() => None,
        Some((trace, span, flags)) => {
            let state = tracestate().filter(|state| state.len() <= MAX_STATE);
            let state = state.and_then(|state| TraceState::from_str(state).ok());
            let state = state.unwrap_or_default();
            Some(Beginning::Caller(SpanContext::new(trace, span, flags, true, state)))
        }
    }
}

/// A header by W3C Trace Context: version, trace, span and flags, as lower-case hexadecimal digits.
/// What is malformed counts as not being there.
fn parent(header: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (fixed, more) = header.split_at_checked(55)?;
    let text = std::str::from_utf8(fixed).ok()?;
    let mut parts = text.split('-');
    let mut part = |digits: usize| {
        let part = parts.next().filter(|part| part.len() == digits)?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        part.bytes().all(hex).then_some(part)
    };
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    // Later versions may have more fields, but this one may not.
    let ends = match version {
        "ff" => false,
        "00" => more.is_empty(),
        _ => more.first().is_none_or(|byte| *byte == b'-'),
    };
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let valid = ends && trace != TraceId::INVALID && span != SpanId::INVALID;
    valid.then_some((trace, span, flags))
}

/// A number that nobody needs to be unable to guess.
fn rand() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    thread_local! {
        static STATE: std::cell::Cell<u64> = std::cell::Cell::new(RandomState::new().build_hasher().finish());
    }
    // SplitMix64; a thread that ends gives no more numbers, and asks for none.
    STATE
        .try_with(|state| {
            let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            state.set(next);
            let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
        .unwrap_or(u64::MAX)
}

/// What a registry is to be told of the trace that `span` is in, as the value of `traceparent`, if
/// anything.
pub(crate) fn traceparent(span: &Span) -> Option<String> {
    if PROPAGATION.get() != Some(&Propagation::ToRegistries) {
        return None;
    }
    let context = kept(span)?;
    Some(format!("00-{}-{}-01", context.trace_id(), context.span_id()))
}

/// Writes a field into the current span, if it is kept and has that field.
pub(crate) fn record(field: &'static str, value: &'static str) {
    if SAMPLING.get().is_some() {
        Span::current().record(field, value);
    }
}

/// The trace that the current span is in, if it is kept.
pub(crate) fn trace_id() -> Option<TraceId> {
    SAMPLING.get()?;
    current().map(|context| context.trace_id())
}

/// The current span as others may refer to it, if it is kept.
pub(crate) fn current() -> Option<SpanContext> {
    SAMPLING.get()?;
    kept(&Span::current())
}

fn kept(span: &Span) -> Option<SpanContext> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    (context.is_valid() && context.is_sampled()).then(|| context.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[track_caller]
    fn check(header: &str, expected: Option<bool>) {
        let parent = parent(header.as_bytes());
        assert_eq!(parent.map(|(_, _, flags)| flags.is_sampled()), expected, "{header:?}");
    }

    #[test]
    fn a_callers_header_is_read_as_w3c_has_it() {
        check(&format!("00-{TRACE}-{SPAN}-01"), Some(true));
        check(&format!("00-{TRACE}-{SPAN}-00"), Some(false));
        check(&format!("00-{TRACE}-{SPAN}-03"), Some(true));
        check(&format!("00-{TRACE}-{SPAN}-02"), Some(false));
        // Later versions may say more.
        check(&format!("cc-{TRACE}-{SPAN}-01-what"), Some(true));
        check(&format!("cc-{TRACE}-{SPAN}-01.what"), None);
        check(&format!("00-{TRACE}-{SPAN}-01-what"), None);
        check(&format!("ff-{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{}-{SPAN}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00-{TRACE}-{SPAN}-0"), None);
        check(&format!("00-{TRACE}-{SPAN}-+1"), None);
        check(&format!("00-{TRACE}{SPAN}--01"), None);
        check("", None);
        check(&"é".repeat(28), None);
    }

    fn decide(ratio: f64, rand: u64, header: Option<&str>) -> Option<Beginning> {
        decided(Sampling::ratio(ratio), || rand, header.map(str::as_bytes), || Some("a=b"))
    }

    #[test]
    fn a_callers_decision_holds_whatever_share_is_kept() {
        let yes = decide(0.0, 0, Some(&format!("00-{TRACE}-{SPAN}-01")));
        let Some(Beginning::Caller(context)) = yes else { panic!("{yes:?}") };
        assert_eq!(context.trace_id().to_string(), TRACE);
        assert_eq!(context.trace_state().header(), "a=b");
        assert!(context.is_remote() && context.is_sampled());
        assert_eq!(decide(1.0, 0, Some(&format!("00-{TRACE}-{SPAN}-00"))), None);
        // What is malformed is nobody's decision.
        assert_eq!(decide(1.0, 0, Some("no")), Some(Beginning::Here));
        assert_eq!(decide(0.0, 0, Some("no")), None);
    }

    #[test]
    fn a_share_of_the_others_is_kept() {
        assert_eq!(decide(0.0, 0, None), None);
        assert_eq!(decide(1.0, u64::MAX, None), Some(Beginning::Here));
        assert_eq!(decide(0.5, u64::MAX / 2, None), Some(Beginning::Here));
        assert_eq!(decide(0.5, u64::MAX / 2 + 1, None), None);
        let sampling = Sampling::ratio(0.25);
        let kept = (0..100_000).filter(|_| sampling.keeps(rand())).count();
        assert!((24_000..26_000).contains(&kept), "{kept}");
    }

    #[test]
    fn a_state_that_is_too_long_is_left_behind() {
        let header = format!("00-{TRACE}-{SPAN}-01");
        let state = |length: usize| {
            let state = format!("a={}", "b".repeat(length - 2));
            let parent = Some(header.as_bytes());
            match decided(Sampling::ratio(0.0), || 0, parent, || Some(&state)) {
                Some(Beginning::Caller(context)) => context.trace_state().header().len(),
                other => panic!("{other:?}"),
            }
        };
        // A member of it may have 256 characters.
        assert_eq!(state(200), 200);
        assert_eq!(state(MAX_STATE + 1), 0);
    }
}
