//! Whether a call is traced in, spans out: decided before the first span is made, so that a call that
//! is not kept costs a look at one header, and nothing where traces are off.

use std::str::FromStr as _;
use std::sync::OnceLock;

pub use opentelemetry::trace::TraceId;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceState};
use tracing::{Span, Value};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of every span but the first of a trace. They are at level debug under it, so that no
/// log shows them, and are made only within a span that is kept.
pub const SPANS: &str = "portcullis::spans";
/// The target of the first span of a trace here: made only where [`sampled`] says so.
pub const ROOTS: &str = "portcullis::spans::root";

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

/// Where a trace begins that is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Beginning {
    /// At the caller, whose span this is.
    Caller(SpanContext),
    /// Here.
    Here,
}

impl Beginning {
    /// Makes `span`, the first one here, a part of the trace.
    pub fn of(self, span: &Span) {
        let Self::Caller(caller) = self else { return };
        let caller = Context::new().with_remote_span_context(caller);
        // Fails only where the span is in no trace, and then there is nothing to join.
        if let Err(error) = span.set_parent(caller) {
            tracing::debug!(%error, "the caller's trace is not continued");
        }
    }
}

/// What becomes of the trace of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// It is kept.
    Kept(Beginning),
    /// It is not, as its caller says.
    LeftByCaller,
    /// It is not, and nobody else has a say in it.
    Left,
}

/// What becomes of the trace of a call, by its `traceparent` header, if it has one: a caller's decision holds, and of
/// the others a share is kept. Nothing where traces are off.
pub fn choose<'a>(
    traceparent: impl FnOnce() -> Option<&'a [u8]>,
    tracestate: impl FnOnce() -> Option<&'a str>,
) -> Option<Choice> {
    let sampling = SAMPLING.get()?;
    Some(chosen(*sampling, rand, traceparent(), tracestate))
}

/// The same, of which no more is asked than whether it is kept.
pub fn sampled<'a>(
    traceparent: impl FnOnce() -> Option<&'a [u8]>,
    tracestate: impl FnOnce() -> Option<&'a str>,
) -> Option<Beginning> {
    match choose(traceparent, tracestate)? {
        Choice::Kept(beginning) => Some(beginning),
        Choice::LeftByCaller | Choice::Left => None,
    }
}

fn chosen<'a>(
    sampling: Sampling,
    rand: impl FnOnce() -> u64,
    traceparent: Option<&[u8]>,
    tracestate: impl FnOnce() -> Option<&'a str>,
) -> Choice {
    match traceparent.and_then(parent) {
        None if sampling.keeps(rand()) => Choice::Kept(Beginning::Here),
        None => Choice::Left,
        Some((_, _, flags)) if !flags.is_sampled() => Choice::LeftByCaller,
        Some((trace, span, flags)) => {
            let state = tracestate().filter(|state| state.len() <= MAX_STATE);
            let state = state.and_then(|state| TraceState::from_str(state).ok());
            let state = state.unwrap_or_default();
            let caller = SpanContext::new(trace, span, flags, true, state);
            Choice::Kept(Beginning::Caller(caller))
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
#[must_use]
pub fn for_registries(span: &Span) -> Option<String> {
    let is_told = PROPAGATION.get() == Some(&Propagation::ToRegistries);
    if is_told { traceparent(span) } else { None }
}

/// The trace that `span` is in, as the value of `traceparent`, if it is kept.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let context = kept(span)?;
    Some(format!("00-{}-{}-01", context.trace_id(), context.span_id()))
}

/// The `tracestate` that goes with that, if there is one.
#[must_use]
pub fn tracestate(span: &Span) -> Option<String> {
    Some(kept(span)?.trace_state().header()).filter(|state| !state.is_empty())
}

/// A `traceparent` of a trace that is not kept, for those whom we ask: they would choose anew otherwise, and keep what
/// has no beginning. It is the same for all, which nobody sees.
#[must_use]
pub fn left() -> &'static str {
    static LEFT: OnceLock<String> = OnceLock::new();
    // Neither number may be zero.
    LEFT.get_or_init(|| format!("00-{:016x}{:016x}-{:016x}-00", rand(), rand() | 1, rand() | 1))
}

/// Writes a field into the current span, if it is kept and has that field.
pub fn record(field: &'static str, value: impl Value) {
    if SAMPLING.get().is_some() {
        Span::current().record(field, value);
    }
}

/// The trace that the current span is in, if it is kept.
#[must_use]
pub fn trace_id() -> Option<TraceId> {
    SAMPLING.get()?;
    kept(&Span::current()).map(|context| context.trace_id())
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

    fn decide(ratio: f64, rand: u64, header: Option<&str>) -> Choice {
        chosen(Sampling::ratio(ratio), || rand, header.map(str::as_bytes), || Some("a=b"))
    }

    const HERE: Choice = Choice::Kept(Beginning::Here);

    #[test]
    fn a_callers_decision_holds_whatever_share_is_kept() {
        let yes = decide(0.0, 0, Some(&format!("00-{TRACE}-{SPAN}-01")));
        let Choice::Kept(Beginning::Caller(context)) = yes else { panic!("{yes:?}") };
        assert_eq!(context.trace_id().to_string(), TRACE);
        assert_eq!(context.trace_state().header(), "a=b");
        assert!(context.is_remote() && context.is_sampled());
        assert_eq!(decide(1.0, 0, Some(&format!("00-{TRACE}-{SPAN}-00"))), Choice::LeftByCaller);
        // What is malformed is nobody's decision.
        assert_eq!(decide(1.0, 0, Some("no")), HERE);
        assert_eq!(decide(0.0, 0, Some("no")), Choice::Left);
    }

    #[test]
    fn a_share_of_the_others_is_kept() {
        assert_eq!(decide(0.0, 0, None), Choice::Left);
        assert_eq!(decide(1.0, u64::MAX, None), HERE);
        assert_eq!(decide(0.5, u64::MAX / 2, None), HERE);
        assert_eq!(decide(0.5, u64::MAX / 2 + 1, None), Choice::Left);
        let sampling = Sampling::ratio(0.25);
        let kept = (0..100_000).filter(|_| sampling.keeps(rand())).count();
        assert!((24_000..26_000).contains(&kept), "{kept}");
    }

    #[test]
    fn what_is_left_is_told_so_in_the_form_of_the_header() {
        assert_eq!(decide(1.0, 0, Some(left())), Choice::LeftByCaller);
        assert_eq!(left(), left());
    }

    #[test]
    fn what_is_left_allocates_nothing() {
        // Of this process nothing is kept from here on.
        begin(Sampling::ratio(0.0), Propagation::None);
        let (other, callers) = (left(), format!("00-{TRACE}-{SPAN}-00"));
        assert_eq!(choose(|| None, || None), Some(Choice::Left));
        let costs = allocation_counter::measure(|| {
            for header in [None, Some(callers.as_str()), Some(other), Some("no")] {
                assert!(sampled(|| header.map(str::as_bytes), || Some("a=b")).is_none());
                record("portcullis.review.source", "service");
                assert_eq!(trace_id(), None);
            }
        });
        assert_eq!(costs.count_total, 0);
    }

    #[test]
    fn a_state_that_is_too_long_is_left_behind() {
        let header = format!("00-{TRACE}-{SPAN}-01");
        let state = |length: usize| {
            let state = format!("a={}", "b".repeat(length - 2));
            let parent = Some(header.as_bytes());
            match chosen(Sampling::ratio(0.0), || 0, parent, || Some(&state)) {
                Choice::Kept(Beginning::Caller(context)) => context.trace_state().header().len(),
                other => panic!("{other:?}"),
            }
        };
        // A member of it may have 256 characters.
        assert_eq!(state(200), 200);
        assert_eq!(state(MAX_STATE + 1), 0);
    }
}
