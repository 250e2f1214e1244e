//! A body in, over one connection, the body of the answer out: HTTP/1.1 as far as it is needed here.

use std::io::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::All;
use crate::measure::Outcome;

/// The longest head of an answer that is read, and the longest body, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;
/// The same of its body.
pub(super) const MAX_BODY: usize = 1024 * 1024;
/// How much of an answer is read at once, in bytes.
const ROOM: usize = 16 * 1024;
/// What is between head and body.
const BLANK: &[u8] = b"\r\n\r\n";
/// The code of gRPC for what there is no room for; the status of HTTP for it is 429.
const EXHAUSTED: u16 = 8;

/// One connection, made when it is needed.
#[derive(Default)]
pub(super) struct Line {
    stream: Option<TlsStream<TcpStream>>,
    body: Vec<u8>,
    request: Vec<u8>,
    reply: Vec<u8>,
    received: u64,
}

/// Where the body of an answer is.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    /// Where the body begins.
    end: usize,
}

impl Line {
    /// Where the body of the next request is written to.
    pub(super) const fn body(&mut self) -> &mut Vec<u8> {
        &mut self.body
    }

    /// The length of the body of the last answer; 0 where there was none.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// The next request is made on another connection.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// Sends the body, and gives that of the answer.
    pub(super) async fn ask(&mut self, all: &All, path: &str) -> Result<&[u8], Outcome> {
        let Self { stream, body, request, reply, received } = self;
        *received = 0;
        request.clear();
        // The headers of Go's client. Writing to a vector cannot fail.
        let length = body.len();
        let _ = write!(
            request,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kube-apiserver-admission\r\n\
             Content-Length: {length}\r\nAccept: application/json, */*\r\n\
             Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
        );
        request.extend_from_slice(body);
        let stream = match stream {
            Some(stream) => stream,
            none => none.insert(connect(all).await.map_err(|_| Outcome::Lost)?),
        };
        stream.write_all(request).await.map_err(|_| Outcome::Lost)?;
        stream.flush().await.map_err(|_| Outcome::Lost)?;
        reply.clear();
        reply.reserve(ROOM);
        let mut head = None;
        loop {
            let read = stream.read_buf(reply).await.map_err(|_| Outcome::Lost)?;
            if read == 0 {
                return Err(Outcome::Lost);
            }
            if head.is_none() {
                head = Head::read(reply)?;
            }
            let Some(Head { status, length, end }) = head else { continue };
            if reply.len() < end + length {
                continue;
            }
            *received = u64::try_from(length).unwrap_or(u64::MAX);
            return match status {
                200 => reply.get(end..end + length).ok_or(Outcome::Wrong),
                429 => Err(Outcome::Refused(EXHAUSTED)),
                _ => Err(Outcome::Wrong),
            };
        }
    }
}

async fn connect(all: &All) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(all.target).await?;
    stream.set_nodelay(true)?;
    all.connector.connect(all.name.clone(), stream).await
}

impl Head {
    /// The head of an answer; none where it is not whole yet.
    fn read(reply: &[u8]) -> Result<Option<Self>, Outcome> {
        let Some(blank) = reply.windows(BLANK.len()).position(|four| four == BLANK) else {
            return if reply.len() > MAX_HEAD { Err(Outcome::Wrong) } else { Ok(None) };
        };
        let text = reply.get(..blank).and_then(|head| std::str::from_utf8(head).ok());
        let mut lines = text.ok_or(Outcome::Wrong)?.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
        let status = status.and_then(|status| status.parse().ok()).ok_or(Outcome::Wrong)?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let length = length.filter(|length| *length <= MAX_BODY).ok_or(Outcome::Wrong)?;
        Ok(Some(Self { status, length, end: blank + BLANK.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: &str, expected: Result<Option<(u16, usize)>, Outcome>) {
        let read = Head::read(reply.as_bytes());
        assert_eq!(read.map(|head| head.map(|head| (head.status, head.length))), expected);
    }

    #[test]
    fn the_head_says_where_the_body_is() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", Ok(None));
        check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", Ok(Some((200, 5))));
        check("HTTP/1.1 429 Too Many\r\nDate: x\r\nContent-Length:0\r\n\r\n", Ok(Some((429, 0))));
        check("HTTP/1.1 200 OK\r\nother: 5\r\n\r\n", Err(Outcome::Wrong));
        check("HTTP/2 200\r\ncontent-length: 5\r\n\r\n", Err(Outcome::Wrong));
        check("HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", Err(Outcome::Wrong));
    }

    #[test]
    fn an_answer_past_a_bound_is_no_answer() {
        let of = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        check(&of(MAX_BODY), Ok(Some((200, MAX_BODY))));
        check(&of(MAX_BODY + 1), Err(Outcome::Wrong));
        check(&"x".repeat(MAX_HEAD), Ok(None));
        check(&"x".repeat(MAX_HEAD + 1), Err(Outcome::Wrong));
    }
}
