//! A stream in, the same in TLS out, and who is at its other end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_tls::Fault;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::accept::Doors;
use super::connection::HANDSHAKE_TIMEOUT;
use crate::caller::Caller;
use crate::identity::Who;
use crate::metrics::Metrics;
use crate::tls::Tls;

/// The most handshakes at a time: each takes some of a thread's time, and who begins one may never end it.
pub(super) const MAX_HANDSHAKES: usize = 4096;
/// The same with one peer.
pub(super) const MAX_HANDSHAKES_PER_PEER: usize = 128;

/// Where connections are made secure.
#[derive(Clone)]
pub(super) struct Gate {
    tls: Arc<Tls>,
    turns: Doors,
    pub(super) metrics: Arc<Metrics>,
}

/// A connection that is secure.
pub(super) struct Secured {
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) who: Who,
    /// For how long the certificate of its client is valid, if it has one.
    pub(super) valid: Duration,
}

impl Gate {
    pub(super) fn new(tls: Arc<Tls>, metrics: Arc<Metrics>) -> Self {
        let counted = Arc::clone(&metrics);
        let listener = tls.served.handshakes();
        let turns = Doors::new(listener, MAX_HANDSHAKES, MAX_HANDSHAKES_PER_PEER, counted);
        Self { tls, turns, metrics }
    }

    fn ended(&self, outcome: &'static str) {
        self.metrics.handshake(self.tls.served.listener(), outcome);
    }

    /// Shakes hands; None, and counted, if nothing comes of it.
    pub(super) async fn pass(&self, stream: TcpStream, from: SocketAddr) -> Option<Secured> {
        // Who says nothing has the place of its connection, and takes no turn from others.
        let begun = timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut [0])).await;
        match begun {
            Ok(Ok(count)) if count > 0 => {}
            Ok(_) => return None,
            Err(_elapsed) => {
                self.ended("late");
                return None;
            }
        }
        let _turn = self.turns.place(from.ip())?;
        let shaken = timeout(HANDSHAKE_TIMEOUT, self.tls.server.accept(stream)).await;
        let (stream, peer) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => {
                let fault = Fault::of(&error).map_or("gone", |(fault, _)| fault.as_str());
                self.ended(fault);
                tracing::debug!(%from, fault, %error, "a handshake failed");
                return None;
            }
            Err(_elapsed) => {
                self.ended("late");
                return None;
            }
        };
        self.ended("ok");
        let caller = Caller::of(from);
        let (who, valid) = match &peer {
            Some(peer) => (self.tls.identities.who(caller, peer), self.tls.left(peer.until)),
            None => (Who::open(caller), Duration::MAX),
        };
        Some(Secured { stream: Box::new(stream), who, valid })
    }
}

#[cfg(test)]
mod tests;
