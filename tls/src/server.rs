//! Files of who serves in, a handshake out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::server::TlsStream;

use crate::demand::Demand;
use crate::expiry::Expiry;
use crate::pair::{Pair, PairFiles};
use crate::part::{Part, Source as _};
use crate::{Due, Looked, Now, Oldest, Peer, Protocols, Time, TlsError, provider, wrong};

/// For how long, and for how many bytes, a client that was refused is waited for to hear it.
const LINGER: Duration = Duration::from_secs(1);
const MAX_LINGER: usize = 64 * 1024;

/// What a server has of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Who it is. None: nobody, and no handshake comes about, until a pair is given to [`Server::take`].
    pub pair: Option<PairFiles>,
    /// Whom it lets in; everybody, where there is none.
    pub clients: Option<Demand>,
    /// The oldest version that it speaks.
    pub oldest: Oldest,
    /// The protocols that it speaks in TLS, as [`crate::H2`].
    pub protocols: Protocols,
}

/// A server's side of TLS.
pub struct Server {
    parts: Mutex<Parts>,
    config: ArcSwap<ServerConfig>,
    oldest: Oldest,
    protocols: Protocols,
    now: Now,
}

struct Parts {
    pair: Own,
    clients: Option<Part<Demand>>,
    expiry: Expiry,
}

/// Who a server is.
enum Own {
    Files(Part<PairFiles>),
    Given(Option<Pair>),
}

impl Own {
    fn value(&self) -> Option<&Pair> {
        match self {
            Self::Files(part) => Some(part.value()),
            Self::Given(pair) => pair.as_ref(),
        }
    }

    fn look(&mut self) -> Option<Result<(), TlsError>> {
        match self {
            Self::Files(part) => part.look(),
            Self::Given(_) => None,
        }
    }
}

/// A server that is nobody yet.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

impl Server {
    /// Reads all files.
    ///
    /// # Errors
    /// When one cannot be read or used. A certificate that has expired can.
    pub fn load(files: ServerFiles, now: Now) -> Result<Self, TlsError> {
        let ServerFiles { pair, clients, oldest, protocols } = files;
        let parts = Parts {
            pair: pair.map_or(Ok(Own::Given(None)), |pair| Part::load(pair).map(Own::Files))?,
            clients: clients.map(Part::load).transpose()?,
            expiry: Expiry::default(),
        };
        let config = config(&parts, oldest, &protocols, &now)?;
        let config = ArcSwap::from_pointee(config);
        Ok(Self { parts: Mutex::new(parts), config, oldest, protocols, now })
    }

    /// Looks whether files have changed, and takes over what did. Blocks as long as files do. To be called every
    /// few seconds: a change is taken at the second look that sees it.
    pub fn look(&self) -> Vec<Looked> {
        let mut parts = self.parts.lock();
        let mut news = Vec::new();
        news.extend(parts.pair.look().map(|outcome| Looked { what: PairFiles::NAME, outcome }));
        let clients = parts.clients.as_mut().and_then(Part::look);
        news.extend(clients.map(|outcome| Looked { what: Demand::NAME, outcome }));
        if news.iter().any(|looked| looked.outcome.is_ok()) {
            match config(&parts, self.oldest, &self.protocols, &self.now) {
                Ok(config) => self.config.store(Arc::new(config)),
                Err(error) => news.push(Looked { what: PairFiles::NAME, outcome: Err(error) }),
            }
        }
        news
    }

    /// Is from now on who this pair says, in PEM; `called` is where it is from, for errors. What is open stays as it
    /// is.
    ///
    /// # Errors
    /// When it cannot be used; what was there before is.
    pub fn take(&self, called: &PairFiles, certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let pair = called.parse(&[certificate.to_vec(), key.to_vec()])?;
        let mut parts = self.parts.lock();
        let before = std::mem::replace(&mut parts.pair, Own::Given(Some(pair)));
        match config(&parts, self.oldest, &self.protocols, &self.now) {
            Ok(config) => self.config.store(Arc::new(config)),
            Err(error) => {
                parts.pair = before;
                return Err(error);
            }
        }
        Ok(())
    }

    /// From when on its certificate is valid, where it has one.
    #[must_use]
    pub fn since(&self) -> Option<OffsetDateTime> {
        Some(self.parts.lock().pair.value()?.validity.from)
    }

    /// Until when its certificate is valid, where it has one.
    #[must_use]
    pub fn until(&self) -> Option<OffsetDateTime> {
        Some(self.parts.lock().pair.value()?.validity.until)
    }

    /// What is to be said of the end of its certificate and was not.
    pub fn due(&self) -> Option<Due> {
        let parts = &mut *self.parts.lock();
        let validity = parts.pair.value()?.validity;
        parts.expiry.look(validity, (self.now)())
    }

    /// Shakes hands, and tells who the client is where a certificate is demanded. It takes as long as the client
    /// likes.
    ///
    /// # Errors
    /// When there is no connection; [`crate::Fault::of`] says why.
    pub async fn accept<T>(&self, stream: T) -> io::Result<(TlsStream<T>, Option<Peer>)>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let accept = TlsAcceptor::from(self.config.load_full()).accept(stream);
        let stream = match accept.into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                linger(stream).await;
                return Err(error);
            }
        };
        let session = stream.get_ref().1;
        self.protocols.check(session.alpn_protocol())?;
        let own = session.peer_certificates().and_then(<[_]>::first);
        let peer = own.map(|certificate| Peer::of(certificate)).transpose();
        let peer = peer.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((stream, peer))
    }
}

/// Lets a client that was refused hear why. It may have sent more by then, and a stream that is closed with bytes
/// unread is reset, which throws away what its other end has not read either.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let heard = async {
        stream.shutdown().await?;
        let (mut all, mut some) = (0, [0; 1024]);
        while all < MAX_LINGER {
            match stream.read(&mut some).await? {
                0 => break,
                count => all += count,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Who has gone has heard it, or will not.
    let _ = timeout(LINGER, heard).await;
}

fn config(
    parts: &Parts,
    oldest: Oldest,
    protocols: &Protocols,
    now: &Now,
) -> Result<ServerConfig, TlsError> {
    let clients = match &parts.clients {
        Some(clients) => Arc::clone(clients.value()),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let own: Arc<dyn ResolvesServerCert> = match parts.pair.value() {
        Some(pair) => Arc::new(SingleCertAndKey::from(Arc::clone(&pair.key))),
        None => Arc::new(Nobody),
    };
    let mut config =
        ServerConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(now))))
            .with_protocol_versions(oldest.versions())
            .map_err(wrong)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(own);
    config.alpn_protocols = protocols.names();
    // A session that goes on would not be verified again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests;
