//! A stream of HTTP/1.1 in, the same out, which breaks where the head of a request begins and does not end in time.
//!
//! Between requests a connection may say nothing for long: API servers keep one to use it again. hyper's own bound
//! for heads counts that time too, so that it can only be the bound for idle connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long the head of a request may take from its first byte on.
pub(super) const HEAD: Duration = Duration::from_secs(2);

/// What a connection does.
#[derive(Default)]
pub(super) struct Activity {
    /// How many requests were begun, each when its head was whole.
    begun: AtomicU64,
    /// How many of them are not answered.
    under_way: AtomicUsize,
    /// Whether a head did not end in time.
    is_slow: AtomicBool,
}

/// A request under way, until it is dropped.
pub(super) struct UnderWay(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A head of which there are bytes and that was not whole when the last of them came.
struct Head {
    /// How many requests were begun before it.
    begun: u64,
    late: Pin<Box<Sleep>>,
}

/// A stream that is read by somebody who tells `activity` what he made of it.
///
/// What was sent together with the request before is read with that, and counted from the next byte on: until then
/// it is as an idle connection.
pub(super) struct Heads<S> {
    stream: S,
    activity: Arc<Activity>,
    head: Option<Head>,
}

impl<S> Heads<S> {
    pub(super) const fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, head: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, activity, head } = self.get_mut();
        let begun = activity.begun();
        // A request that was begun since is the one of which this was the head.
        if head.as_ref().is_some_and(|head| head.begun != begun) {
            *head = None;
        }
        if let Some(head) = head
            && head.late.as_mut().poll(cx).is_ready()
        {
            activity.is_slow.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before && activity.is_idle() && head.is_none() {
            *head = Some(Head { begun, late: Box::pin(sleep(HEAD)) });
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
