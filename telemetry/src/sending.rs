//! Spans in, what a collector takes out: what does not get there is counted, and told of once an outage.
//!
//! OpenTelemetry's processor sends batches from a thread of its own, and drops what has no room in its queue. It counts
//! neither that nor batches that could not be sent. So the room is given here, before its queue is full.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

/// How many spans wait to be sent at the most, unless `OTEL_BSP_MAX_QUEUE_SIZE` says how many.
const MAX_WAITING: usize = 2_048;

/// Spans that did not get to the collector, by the whole process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Spans that did not get to the collector: there was no room for them, or it was not there.
#[must_use]
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

fn lose(spans: usize) {
    LOST.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A processor that sends by `exporter`, in the background and within bounds.
pub(crate) fn processor<E>(exporter: E, most: usize) -> Bounded<BatchSpanProcessor>
where
    E: SpanExporter + Send + 'static,
{
    let counts = Arc::new(Counts::default());
    let (shared, is_out) = (Arc::clone(&counts), AtomicBool::new(false));
    let told = Told { inner: exporter, counts: shared, is_out };
    let config = BatchConfigBuilder::default().with_max_queue_size(most).build();
    let inner = BatchSpanProcessor::builder(told).with_batch_config(config).build();
    Bounded { inner, counts, most, has_ended: AtomicBool::new(false) }
}

/// How many spans may wait, by what the environment says of it; read as the library reads it.
pub(crate) fn most(configured: Option<OsString>) -> usize {
    let configured = configured.and_then(|text| text.to_str()?.parse().ok());
    configured.filter(|most| *most > 0).unwrap_or(MAX_WAITING)
}

/// Spans of which it is not known yet whether they get there.
#[derive(Debug, Default)]
struct Counts {
    /// Those that no exporter has yet.
    waiting: AtomicUsize,
    /// These, and those that are being sent.
    open: AtomicUsize,
}

/// Gives spans to `inner` while there is room.
#[derive(Debug)]
pub(crate) struct Bounded<P> {
    inner: P,
    counts: Arc<Counts>,
    most: usize,
    has_ended: AtomicBool,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let one_more = |waiting| (waiting < self.most).then_some(waiting + 1);
        let waiting = &self.counts.waiting;
        if self.has_ended.load(Ordering::Relaxed)
            || waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err()
        {
            return lose(1);
        }
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.has_ended.store(true, Ordering::Relaxed);
        let ended = self.inner.shutdown_with_timeout(timeout);
        if ended.is_err() {
            lose(self.counts.open.load(Ordering::Relaxed));
        }
        ended
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends by `inner`, and tells of it when that begins to fail and when it works again.
struct Told<E> {
    inner: E,
    counts: Arc<Counts>,
    /// Whether the last batch could not be sent.
    is_out: AtomicBool,
}

impl<E> fmt::Debug for Told<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("is_out", &self.is_out).finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.counts.waiting.fetch_sub(spans, Ordering::Relaxed);
        let sent = self.inner.export(batch).await;
        self.counts.open.fetch_sub(spans, Ordering::Relaxed);
        match &sent {
            Ok(()) => {
                if self.is_out.swap(false, Ordering::Relaxed) {
                    tracing::info!(lost = lost(), "spans are sent again");
                }
            }
            Err(error) => {
                lose(spans);
                if !self.is_out.swap(true, Ordering::Relaxed) {
                    let error = error.to_string().replace(char::is_control, " ");
                    tracing::warn!(error, "spans cannot be sent: they are lost until they can");
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests;
