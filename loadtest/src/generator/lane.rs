//! One connection of a generator, which is made again when it breaks.

use std::net::SocketAddr;

use mio::{Interest, Poll, Token};

use super::ledger::{Ledger, STREAM};
use crate::clock::SECOND;
use crate::connection::{Connection, ConnectionError};
use crate::hpack::Headers;
use crate::questions::Call;

/// How long to wait before a connection that broke is made again, in nanoseconds.
const PAUSE: u64 = SECOND / 20;

/// What each connection is opened with.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) target: SocketAddr,
    pub(super) call: Call,
    pub(super) timeout: Option<String>,
}

pub(super) struct Lane {
    way: Way,
    token: Token,
    connection: Option<Connection>,
    /// The long call of [`Call::CheckStream`], and how many of its questions are not answered.
    stream: Option<u32>,
    in_stream: usize,
    retry_at: u64,
    /// Whether something waits to be sent.
    pub(super) dirty: bool,
    /// Why it broke the last time.
    pub(super) broke: Option<ConnectionError>,
}

impl Lane {
    pub(super) const fn new(token: Token, way: Way) -> Self {
        Self {
            way,
            token,
            connection: None,
            stream: None,
            in_stream: 0,
            retry_at: 0,
            dirty: false,
            broke: None,
        }
    }

    /// Begins to connect, where there is no connection and it is time.
    pub(super) fn open(&mut self, poll: &Poll, now: u64) {
        if self.connection.is_some() || now < self.retry_at {
            return;
        }
        let Way { target, call, timeout } = &self.way;
        // A stream has no end that is known when it begins.
        let timeout = timeout.as_deref().filter(|_| *call != Call::CheckStream);
        let headers = Headers::new(&target.to_string(), call.path(), timeout);
        let opened = Connection::open(*target, headers).and_then(|mut connection| {
            connection.socket.set_nodelay(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut connection.socket, self.token, interest)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => (self.connection, self.dirty) = (Some(connection), true),
            Err(error) => self.fail(error.into(), now),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether questions can be asked.
    pub(super) fn is_settled(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_settled)
    }

    /// Questions that are not answered.
    pub(super) fn in_flight(&self) -> usize {
        match self.way.call {
            Call::CheckStream => self.in_stream,
            _ => self.connection.as_ref().map_or(0, Connection::open_calls),
        }
    }

    /// Whether a question of `length` bytes can be asked now.
    pub(super) fn has_room(&mut self, length: usize) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        if self.way.call != Call::CheckStream {
            return connection.has_room(length);
        }
        if self.stream.is_none() && connection.has_room(length) {
            self.stream = Some(connection.begin(STREAM, None));
        }
        self.stream.is_some_and(|stream| connection.can_send(stream, length))
    }

    /// Asks: the caller has asked [`Self::has_room`]. A question that has waited has so many
    /// milliseconds `left`.
    pub(super) fn ask(&mut self, tag: u64, message: &[u8], left: Option<u64>) {
        let Some(connection) = &mut self.connection else { return };
        self.dirty = true;
        if let Some(stream) = self.stream {
            self.in_stream += 1;
            connection.send(stream, message, 0);
        } else {
            connection.call(tag, message, left);
        }
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, ledger: &mut Ledger, now: u64) {
        self.dirty = false;
        let Some(connection) = &mut self.connection else { return };
        if let Err(error) = connection.flush() {
            self.lose(error, ledger, now);
        }
    }

    /// Takes what came.
    pub(super) fn receive(&mut self, ledger: &mut Ledger, now: u64) {
        let Some(connection) = &mut self.connection else { return };
        ledger.stream_answers = 0;
        ledger.stream_ended = false;
        let received = connection.receive(ledger);
        // What came may have to be acknowledged.
        self.dirty = true;
        self.in_stream = self.in_stream.saturating_sub(ledger.stream_answers);
        if let Err(error) = received {
            return self.lose(error, ledger, now);
        }
        if ledger.stream_ended {
            ledger.lose(self.token.0, now);
            (self.stream, self.in_stream) = (None, 0);
        }
        if connection.is_leaving() && connection.open_calls() == 0 {
            (self.connection, self.stream, self.in_stream) = (None, None, 0);
        }
    }

    /// Gives up the connection and what is under way on it.
    pub(super) fn abandon(&mut self) {
        (self.connection, self.stream, self.in_stream) = (None, None, 0);
        self.retry_at = 0;
    }

    fn lose(&mut self, error: ConnectionError, ledger: &mut Ledger, now: u64) {
        ledger.lose(self.token.0, now);
        self.abandon();
        self.fail(error, now);
    }

    fn fail(&mut self, error: ConnectionError, now: u64) {
        self.broke = Some(error);
        self.retry_at = now + PAUSE;
    }
}
