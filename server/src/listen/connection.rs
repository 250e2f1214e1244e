//! One connection in, its end out: when its client has gone or says nothing, it is old, or the service
//! stops.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a client may take to say that it speaks HTTP/2.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes that say so (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// How long the answers under way on an old connection may take, once its client was told.
const GRACE: Duration = Duration::from_secs(30);
/// How long a connection lives on after the service was told to stop.
const DRAIN: Duration = Duration::from_secs(15);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its client closed it, or all was answered after the client was told to.
    Closed,
    /// It broke, or the client did not keep to the protocol or its bounds.
    Broken,
    /// Its client did not say that it speaks HTTP/2.
    Silent,
    /// Something on it did not end in time, after the client was told.
    Overdue,
}

impl End {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Overdue => "overdue",
        }
    }
}

/// A connection that can be told to end when what is under way on it is answered.
pub(super) trait Graceful: Future<Output = Result<(), hyper::Error>> {
    /// Tells it to.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<C: GracefulConnection<Error = hyper::Error>> Graceful for C {
    fn graceful_shutdown(self: Pin<&mut Self>) {
        GracefulConnection::graceful_shutdown(self);
    }
}

/// A connection with its bounds.
pub(super) struct Connection<C> {
    connection: C,
    lifetime: Duration,
    preface: Option<Heard>,
}

impl<C: Graceful> Connection<C> {
    /// A connection that is used for `lifetime`.
    pub(super) const fn new(connection: C, lifetime: Duration) -> Self {
        Self { connection, lifetime, preface: None }
    }

    /// Ends it soon where the preface of HTTP/2 is not `heard`.
    pub(super) fn with_preface(self, heard: Heard) -> Self {
        Self { preface: Some(heard), ..self }
    }

    /// Serves it until it ends. What is under way when it is old, or `stop` comes, is answered first,
    /// and the client is told to ask elsewhere, so that no request is lost.
    pub(super) async fn serve(self, stop: &CancellationToken) -> End {
        let Self { connection, lifetime, preface } = self;
        let mut connection = std::pin::pin!(connection);
        let begun = Instant::now();
        if let Some(heard) = preface {
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = sleep_until(begun + HANDSHAKE_TIMEOUT) => None,
                () = stop.cancelled() => None,
            };
            match ended {
                Some(ended) => return how(&ended),
                None if !heard.all() => return End::Silent,
                None => {}
            }
        }
        let grace = tokio::select! {
            ended = connection.as_mut() => return how(&ended),
            () = stop.cancelled() => DRAIN,
            () = sleep_until(begun + lifetime) => GRACE,
        };
        Graceful::graceful_shutdown(connection.as_mut());
        let end = Instant::now() + grace;
        // An old connection does not hold up the end, and neither does who watches for ever, as health
        // checks do.
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            ended = connection => how(&ended),
            () = stopped => End::Overdue,
            () = sleep_until(end) => End::Overdue,
        }
    }
}

fn how(ended: &Result<(), hyper::Error>) -> End {
    match ended {
        Ok(()) => End::Closed,
        Err(error) => {
            tracing::debug!(%error, "a connection broke");
            End::Broken
        }
    }
}

/// For how long connections are used: not all for the same time, or their clients would all come back
/// together.
pub(super) struct Lifetime {
    age: Duration,
    random: RandomState,
    count: AtomicUsize,
}

impl Lifetime {
    /// Of `age`, give or take a tenth.
    pub(super) fn about(age: Duration) -> Self {
        Self { age, random: RandomState::new(), count: AtomicUsize::new(0) }
    }

    /// The one of the next connection.
    pub(super) fn one(&self) -> Duration {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let share = u32::try_from(self.random.hash_one(count) % 2001).unwrap_or(1000);
        self.age * (9000 + share) / 10_000
    }
}

/// How much of the preface was heard.
pub(super) struct Heard(Arc<AtomicUsize>);

impl Heard {
    /// What reads and writes as `io`, and what was heard of it.
    pub(super) fn new<T>(io: T) -> (Listened<T>, Self) {
        let heard = Arc::new(AtomicUsize::new(0));
        (Listened { io, heard: Arc::clone(&heard), count: 0 }, Self(heard))
    }

    fn all(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= PREFACE
    }
}

/// A stream of which the first bytes are counted.
pub(super) struct Listened<T> {
    io: T,
    heard: Arc<AtomicUsize>,
    count: usize,
}

impl<T: AsyncRead + Unpin> AsyncRead for Listened<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if self.count < PREFACE {
            self.count = self.count.saturating_add(buffer.filled().len() - before);
            self.heard.store(self.count, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Listened<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
