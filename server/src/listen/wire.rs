//! A stream of bytes in, the same out with all that was written in one turn sent as one piece.
//!
//! HTTP/2 flushes whenever it is asked and has something, which is a system call for each answer. Here what it
//! writes is held, and whoever asks it sends what is held at the end of a turn.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that are held; more are sent at once, as far as the system takes them, and then wait in
/// HTTP/2, which takes no more questions meanwhile.
const MAX_HELD: usize = 32 * 1024;
/// How much room is kept for the next turn.
const KEPT: usize = 4 * 1024;

/// A stream that is shared by what frames it and what sends.
pub(super) struct Wire<T>(Arc<Mutex<Inner<T>>>);

struct Inner<T> {
    io: T,
    /// How many bytes came.
    heard: u64,
    held: Vec<u8>,
    /// How many of those held were sent.
    sent: usize,
}

impl<T> Clone for Wire<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Wire<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Arc::new(Mutex::new(Inner { io, heard: 0, held: Vec::new(), sent: 0 })))
    }

    /// How many bytes came.
    pub(super) fn heard(&self) -> u64 {
        self.0.lock().heard
    }
}

impl<T: AsyncWrite + Unpin> Wire<T> {
    /// Sends what is held, and what TLS took and did not send yet.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_send(cx)
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, held, sent, .. } = self;
        while let Some(rest) = held.get(*sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *sent += count,
            }
        }
        if !held.is_empty() {
            *sent = 0;
            held.clear();
            held.shrink_to(KEPT);
        }
        Pin::new(io).poll_flush(cx)
    }

    fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.held.len() >= MAX_HELD {
            ready!(self.poll_send(cx))?;
        }
        let count = bytes.len().min(MAX_HELD - self.held.len());
        self.held.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        let before = buffer.filled().len();
        let read = Pin::new(&mut inner.io).poll_read(cx, buffer);
        inner.heard += (buffer.filled().len() - before) as u64;
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_hold(cx, bytes)
    }

    /// HTTP/2 puts small frames together for who says so; they are copied anyway.
    fn is_write_vectored(&self) -> bool {
        false
    }

    /// Sends nothing: that is for the end of a turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_written_goes_out_when_the_turn_ends() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut wire = Wire::new(ours);
        for piece in [&b"one"[..], b"", b"two"] {
            wire.write_all(piece).await.unwrap();
            wire.flush().await.unwrap();
        }
        let mut read = [0; 6];
        let early = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut read);
            Poll::Ready(Pin::new(&mut theirs).poll_read(cx, &mut buffer).is_ready())
        });
        assert!(!early.await);
        poll_fn(|cx| wire.poll_send(cx)).await.unwrap();
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"onetwo");
    }

    /// Takes all, and sends it when it is asked a second time, as TLS does where the system takes no more.
    struct Slow {
        taken: usize,
        asked: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.taken += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.asked += 1;
            if self.asked < 2 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.taken = 0;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_was_taken_and_not_sent_is_sent_though_nothing_is_held() {
        let mut wire = Wire::new(Slow { taken: 0, asked: 0 });
        wire.write_all(b"answer").await.unwrap();
        poll_fn(|cx| wire.poll_send(cx)).await.unwrap();
        assert_eq!(wire.0.lock().io.taken, 0);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_held_up_to_a_bound() {
        let (ours, mut theirs) = tokio::io::duplex(1_000);
        let mut wire = Wire::new(ours);
        let mut written = 0;
        let bytes = vec![7; 999];
        let mut write = |wire: &mut Wire<_>, cx: &mut Context<'_>| {
            while let Poll::Ready(count) = Pin::new(&mut *wire).poll_write(cx, &bytes) {
                written += count.unwrap();
                assert!(written <= MAX_HELD + 1_000);
            }
            written
        };
        let written = poll_fn(|cx| Poll::Ready(write(&mut wire, cx))).await;
        assert_eq!(written, MAX_HELD);
        // All of it comes, once it is taken.
        let sent = poll_fn(|cx| wire.poll_send(cx));
        let mut read = vec![0; MAX_HELD];
        let (sent, taken) = tokio::join!(sent, theirs.read_exact(&mut read));
        sent.unwrap();
        assert_eq!(taken.unwrap(), MAX_HELD);
        assert!(read.iter().all(|byte| *byte == 7));
        assert!(wire.0.lock().held.capacity() <= KEPT);
    }
}
