//! One connection in, its end out: when its client has gone or says nothing, it is old, or the service
//! stops.

use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::seldom::Seldom;
use crate::caught::survive;
use crate::chain::chain;
use crate::metrics::Metrics;

/// How long a client may take to say that it speaks HTTP/2.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes that say so (RFC 9113, section 3.4).
const PREFACE: u64 = 24;
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
    /// Nothing came of its handshake.
    Insecure,
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
            Self::Insecure => "insecure",
            Self::Silent => "silent",
            Self::Overdue => "overdue",
        }
    }
}

/// A connection that can be told to end when what is under way on it is answered.
pub(super) trait Graceful: Future<Output = Result<(), Self::Error>> {
    /// Why it broke.
    type Error: Error;

    /// Tells it to.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// A connection of HTTP/1.
pub(super) struct Http1<C>(pub(super) Pin<Box<C>>);

impl<C: GracefulConnection<Error = hyper::Error>> Future for Http1<C> {
    type Output = Result<(), hyper::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.as_mut().poll(cx)
    }
}

impl<C: GracefulConnection<Error = hyper::Error>> Graceful for Http1<C> {
    type Error = hyper::Error;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.get_mut().0.as_mut().graceful_shutdown();
    }
}

/// A connection with its bounds.
pub(super) struct Connection<C, H> {
    connection: C,
    lifetime: Duration,
    preface: Option<H>,
}

impl<C: Graceful> Connection<C, fn() -> u64> {
    /// A connection that is used for `lifetime`.
    pub(super) const fn new(connection: C, lifetime: Duration) -> Self {
        Self { connection, lifetime, preface: None }
    }
}

impl<C: Graceful, H: Fn() -> u64> Connection<C, H> {
    /// The same that ends soon where the preface of HTTP/2 is not `heard`, which gives how many bytes came.
    pub(super) fn with_preface(connection: C, lifetime: Duration, heard: H) -> Self {
        Self { connection, lifetime, preface: Some(heard) }
    }

    /// Serves it until it ends. What is under way when it is old, or `stop` comes, is answered first,
    /// and the client is told to ask elsewhere, so that no request is lost.
    pub(super) async fn serve(self, stop: &CancellationToken) -> End {
        let Self { connection, lifetime, preface } = self;
        let mut connection = pin!(connection);
        let begun = Instant::now();
        if let Some(heard) = preface {
            let late = pin!(async {
                tokio::select! {
                    () = sleep_until(begun + HANDSHAKE_TIMEOUT) => (),
                    () = stop.cancelled() => (),
                }
            });
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => Some(ended),
                () = Seldom::new(late) => None,
            };
            match ended {
                Some(ended) => return how(&ended),
                None if heard() < PREFACE => return End::Silent,
                None => {}
            }
        }
        let old = pin!(async {
            tokio::select! {
                () = stop.cancelled() => DRAIN,
                () = sleep_until(begun + lifetime) => GRACE,
            }
        });
        let grace = tokio::select! {
            biased;
            ended = connection.as_mut() => return how(&ended),
            grace = Seldom::new(old) => grace,
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

/// How a connection ends that is `served`. One that panics ends alone, and is counted.
pub(super) async fn caught<T: From<End>>(served: impl Future<Output = T>, metrics: &Metrics) -> T {
    survive("connection", metrics, served).await.unwrap_or_else(|| End::Broken.into())
}

fn how<E: Error>(ended: &Result<(), E>) -> End {
    match ended {
        Ok(()) => End::Closed,
        Err(error) => {
            tracing::debug!(error = chain(error), "a connection broke");
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

#[cfg(test)]
mod tests;
