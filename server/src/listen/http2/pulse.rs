//! What came of a connection in, an end to one whose client is there no longer out.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::Broken;
use crate::listen::seldom::Seldom;

/// How long a client has to answer a ping, and how often is looked whether anything came.
const TICK: Duration = Duration::from_secs(10);
/// After so many ticks without a byte a client is asked whether it is still there.
const QUIET_TICKS: u32 = 3;

/// The life of one connection.
pub(super) struct Pulse {
    pings: Option<PingPong>,
    ticks: Seldom<Ticks>,
    heard: u64,
    quiet: u32,
    is_asked: bool,
}

/// The next tick.
struct Ticks(Interval);

impl Future for Ticks {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().0.poll_tick(cx).map(drop)
    }
}

impl Pulse {
    pub(super) fn new(pings: Option<PingPong>) -> Self {
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { pings, ticks: Seldom::new(Ticks(ticks)), heard: 0, quiet: 0, is_asked: false }
    }

    /// Looks whether the client is there; `heard` says how many bytes came of it. Ready where it is not.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heard: impl Fn() -> u64) -> Poll<Broken> {
        if self.is_asked
            && let Some(pings) = &mut self.pings
            && let Poll::Ready(pong) = pings.poll_pong(cx)
        {
            if let Err(error) = pong {
                return Poll::Ready(error.into());
            }
            self.is_asked = false;
        }
        while Pin::new(&mut self.ticks).poll(cx).is_ready() {
            if self.is_asked {
                return Poll::Ready(Broken::Silent);
            }
            let heard = heard();
            let before = std::mem::replace(&mut self.heard, heard);
            self.quiet = if heard == before { self.quiet + 1 } else { 0 };
            if self.quiet >= QUIET_TICKS
                && let Some(pings) = &mut self.pings
            {
                if let Err(error) = pings.send_ping(Ping::opaque()) {
                    return Poll::Ready(error.into());
                }
                (self.quiet, self.is_asked) = (0, true);
            }
        }
        Poll::Pending
    }
}
