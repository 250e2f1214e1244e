//! A listener in, connections that have a place out, whatever the system says.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::caller::network;
use crate::caught::survive_now;
use crate::metrics::Metrics;

/// How long to wait after the system refused a connection, for want of file handles say.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection, and its place until it ends.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
}

/// Gives connections to `serve` until `stop`. One for which there is no place is closed at once: its
/// client can ask another replica, which it could not while it waits in the system's queue.
pub(super) async fn all(
    listener: TcpListener,
    doors: Doors,
    stop: &CancellationToken,
    mut serve: impl FnMut(Accepted),
) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                // One that panics costs itself, and not all that are to come.
                survive_now("connection", &doors.metrics, || {
                    let Some(place) = doors.place(peer.ip()) else { return };
                    // An answer must not wait for the acknowledgement of the one before (43 ms once
                    // per connection).
                    if stream.set_nodelay(true).is_ok() {
                        serve(Accepted { stream, peer, place });
                    }
                });
            }
            // Their clients were gone before they were taken.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                doors.metrics.connection_refused(doors.listener, "system");
                // Once for all that follow: it may go on for long.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "connections cannot be accepted; they wait");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// How many connections there may be, and how many there are.
#[derive(Clone)]
pub(super) struct Doors {
    listener: &'static str,
    limit: usize,
    per_peer: usize,
    open: Arc<Mutex<Open>>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Doors {
    /// At most `limit` connections of `listener`, and `per_peer` of one peer.
    pub(super) fn new(
        listener: &'static str,
        limit: usize,
        per_peer: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { listener, limit, per_peer, open: Arc::default(), metrics }
    }

    /// A place for one connection from `peer`, if there is one.
    pub(super) fn place(&self, peer: IpAddr) -> Option<Place> {
        let peer = network(peer);
        let mut open = self.open.lock();
        if open.all >= self.limit {
            self.metrics.connection_refused(self.listener, "total");
            return None;
        }
        let of_peer = open.by_peer.entry(peer).or_default();
        if *of_peer >= self.per_peer {
            self.metrics.connection_refused(self.listener, "peer");
            return None;
        }
        *of_peer += 1;
        open.all += 1;
        self.metrics.connections(self.listener, 1);
        Some(Place { doors: self.clone(), peer })
    }
}

/// One connection's place.
pub(super) struct Place {
    doors: Doors,
    peer: IpAddr,
}

impl Place {
    /// Counts how its connection ended.
    pub(super) fn ended(self, how: &'static str) {
        self.doors.metrics.connection_ended(self.doors.listener, how);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.doors.open.lock();
        open.all -= 1;
        if let Entry::Occupied(mut of_peer) = open.by_peer.entry(self.peer) {
            *of_peer.get_mut() -= 1;
            // No more is remembered than there are connections.
            if *of_peer.get() == 0 {
                of_peer.remove();
            }
        }
        self.doors.metrics.connections(self.doors.listener, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn t141_a_connection_whose_beginning_panics_costs_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new());
        let doors = Doors::new("grpc", 2, 2, Arc::clone(&metrics));
        let (told, mut heard) = tokio::sync::mpsc::channel(1);
        let mut count = 0;
        let serve = move |accepted| {
            count += 1;
            assert_ne!(count, 1, "a fault that was put here");
            told.try_send(accepted).unwrap();
        };
        let clients = async {
            let first = TcpStream::connect(address).await.unwrap();
            let _second = TcpStream::connect(address).await.unwrap();
            let accepted: Accepted = heard.recv().await.unwrap();
            first.readable().await.unwrap();
            assert_eq!(first.try_read(&mut [0]).unwrap(), 0);
            drop(accepted);
        };
        let stop = CancellationToken::new();
        tokio::select! {
            () = all(listener, doors.clone(), &stop, serve) => panic!("it ended"),
            () = clients => {}
        }
        assert_eq!(doors.open.lock().all, 0);
        let text = metrics.encode().unwrap();
        assert!(text.contains("portcullis_panics_total{what=\"connection\"} 1"), "{text}");
    }

    #[test]
    fn one_connection_past_the_limit_has_no_place() {
        let doors = Doors::new("grpc", 2, 2, Arc::default());
        let first = doors.place(address("192.0.2.1")).unwrap();
        let _second = doors.place(address("192.0.2.2")).unwrap();
        assert!(doors.place(address("192.0.2.3")).is_none());
        drop(first);
        assert!(doors.place(address("192.0.2.3")).is_some());
    }

    #[test]
    fn one_peer_does_not_take_all_places() {
        let doors = Doors::new("grpc", 10, 2, Arc::default());
        let first = doors.place(address("2001:db8::1")).unwrap();
        let second = doors.place(address("2001:db8::2")).unwrap();
        assert!(doors.place(address("2001:db8::3")).is_none());
        assert!(doors.place(address("2001:db8:0:1::3")).is_some());
        drop((first, second));
        // Who has no connection is not remembered.
        assert!(doors.open.lock().by_peer.is_empty());
        assert_eq!(doors.open.lock().all, 0);
    }
}
