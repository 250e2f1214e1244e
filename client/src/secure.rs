//! A connection in, the same in TLS out, and in words what was wrong with it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use portcullis_tls::{
    Client, ClientFiles, Due, Fault, Finder, H2, Looked, Oldest, Protocols, ServerName, name,
    system_time,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;
use tonic::codegen::http::Uri;

use crate::config::TlsConfig;
use crate::error::ClientError;
use crate::network::Connection;
use crate::stats::TlsStats;

/// How often files are looked at. A change is taken at the second look that sees it.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// TLS as it is configured.
pub(crate) struct Secure {
    client: Client,
    name: Option<ServerName<'static>>,
    taken: AtomicU64,
    kept: AtomicU64,
}

impl Secure {
    /// Reads the files.
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, ClientError> {
        let TlsConfig { authorities, pair, server_name } = config;
        let given = server_name.as_ref();
        let wrong = |given: &String| ClientError::ServerName(given.clone());
        let name = given.map(|given| name(given).ok_or_else(|| wrong(given))).transpose()?;
        let files = ClientFiles {
            authorities: authorities.clone(),
            pair: pair.clone(),
            oldest: Oldest::Tls13,
            protocols: Protocols::Demanded(vec![H2.to_vec()]),
        };
        let client = Client::load(files, system_time())?;
        Ok(Self { client, name, taken: AtomicU64::default(), kept: AtomicU64::default() })
    }

    /// The name that the certificate of the service at `url` must have.
    pub(crate) fn name(&self, url: &Uri) -> Option<ServerName<'static>> {
        let host = || url.host().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        self.name.clone().or_else(|| host().and_then(name))
    }

    /// Shakes hands. What is wrong with TLS, now or later, is `told`.
    pub(crate) async fn connect(
        &self,
        url: &Uri,
        stream: Box<dyn Connection>,
        told: Arc<OnceLock<Told>>,
    ) -> io::Result<Box<dyn Connection>> {
        let unnamed = || io::Error::new(io::ErrorKind::InvalidInput, "the host has no name");
        let name = self.name(url).ok_or_else(unnamed)?;
        match self.client.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(Heard { stream, told })),
            Err(error) => {
                tell(&told, &error);
                // Who hangs up on a greeting does not know the language, or has no place.
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    let _ = told.set(Told { fault: Fault::Broken, finder: Finder::Us });
                }
                Err(error)
            }
        }
    }

    /// Looks at the files for as long as it is polled.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            let secure = Arc::clone(&self);
            // Files are read where blocking is allowed.
            if let Err(error) = tokio::task::spawn_blocking(move || secure.look()).await {
                tracing::error!(%error, "looking at the certificate was lost");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn stats(&self) -> TlsStats {
        let validity = self.client.since().zip(self.client.until());
        TlsStats {
            certificate: validity.map(|(from, to)| (from.unix_timestamp(), to.unix_timestamp())),
            taken: self.taken.load(Ordering::Relaxed),
            kept: self.kept.load(Ordering::Relaxed),
        }
    }

    fn look(&self) {
        for Looked { what, outcome } in self.client.look() {
            match outcome {
                Ok(()) => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(what, "certificates were read again");
                }
                Err(error) => {
                    self.kept.fetch_add(1, Ordering::Relaxed);
                    let error: &(dyn std::error::Error + 'static) = &error;
                    tracing::error!(
                        what,
                        error,
                        "certificates cannot be used; those from before are"
                    );
                }
            }
        }
        match self.client.due() {
            None => {}
            Some(Due::Within(days)) => tracing::warn!(
                "the certificate for the decision service is valid for less than {days} days: put a new one in its \
                 place"
            ),
            Some(Due::Over) => tracing::error!(
                "the certificate for the decision service has expired, and it will not answer: put a new one in \
                 its place"
            ),
        }
    }
}

fn tell(told: &OnceLock<Told>, error: &io::Error) {
    if let Some((fault, finder)) = Fault::of(error) {
        // The first is the cause of all others.
        let _ = told.set(Told { fault, finder });
    }
}

/// What was wrong with TLS, and what helps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    fault: Fault,
    finder: Finder,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.finder, self.fault) {
            (Finder::Other, Fault::NoCertificate) => {
                "the service demands a certificate of who asks: give one with its key (`--tls-cert`, `--tls-key`)"
            }
            (Finder::Other, Fault::Expired) => {
                "the service says that our certificate has expired, or is not valid yet: put a new one in its place"
            }
            (Finder::Other, Fault::Revoked) => {
                "the service says that our certificate was revoked: put a new one in its place"
            }
            (Finder::Other, Fault::Untrusted) => {
                "the service does not trust the authority of our certificate: add it to `tls.clientCaFile` there, \
                 or give a certificate of another"
            }
            (Finder::Other, _) => {
                "the service refused us in the handshake: its metric `portcullis_tls_handshakes_total` says why"
            }
            (Finder::Us, Fault::Expired) => {
                "the certificate of the service has expired, or is not valid yet: it needs a new one"
            }
            (Finder::Us, Fault::Untrusted) => {
                "the certificate of the service is not of an authority that was given: give its authority \
                 (`--tls-ca`)"
            }
            (Finder::Us, Fault::Name) => {
                "the certificate of the service is not for this name: ask it by a name that it has, or say which \
                 (`--tls-server-name`)"
            }
            (Finder::Us, Fault::Version) => "the service does not speak TLS 1.3",
            (Finder::Us, Fault::Protocol) => "the service does not speak HTTP/2 in TLS",
            (Finder::Us, Fault::Broken) => {
                "the service does not speak TLS, or closed the connection: is it served in plain text, at `http://`, or \
                 does it have all the connections that its limits allow?"
            }
            (Finder::Us, _) => "the certificate of the service cannot be used",
        })
    }
}

impl std::error::Error for Told {}

/// A stream of TLS. A server refuses a client's certificate after the client has shaken hands, so that it is heard
/// by who reads first.
struct Heard<T> {
    stream: T,
    told: Arc<OnceLock<Told>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read {
            tell(&self.told, error);
        }
        read
    }
}

impl<T: AsyncRead + Unpin> Heard<T> {
    /// Who cannot write may still read why.
    fn listen(&mut self, cx: &mut Context<'_>) {
        let mut some = [0; 64];
        if let Poll::Ready(Err(error)) =
            Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut some))
        {
            tell(&self.told, &error);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Err(_))) {
            self.listen(cx);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Err(_))) {
            self.listen(cx);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
