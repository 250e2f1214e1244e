//! Files of who asks in, a handshake out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::SingleCertAndKey;

use crate::demand::Authorities;
use crate::expiry::Expiry;
use crate::pair::PairFiles;
use crate::part::{Part, Source as _};
use crate::{Due, Looked, Now, Oldest, Protocols, Time, TlsError, provider, wrong};

/// What a client has of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that it verifies servers by, in PEM.
    pub authorities: PathBuf,
    /// Who it is, where it is to say so.
    pub pair: Option<PairFiles>,
    /// The oldest version that it speaks.
    pub oldest: Oldest,
    /// The protocols that it speaks in TLS.
    pub protocols: Protocols,
}

/// A client's side of TLS.
pub struct Client {
    parts: Mutex<Parts>,
    config: ArcSwap<ClientConfig>,
    oldest: Oldest,
    protocols: Protocols,
    now: Now,
}

struct Parts {
    authorities: Part<Authorities>,
    pair: Option<Part<PairFiles>>,
    expiry: Expiry,
}

/// A name as certificates of servers have it: a DNS name, or an address.
#[must_use]
pub fn name(text: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(text).ok().map(|name| name.to_owned())
}

impl Client {
    /// Reads all files.
    ///
    /// # Errors
    /// When one cannot be read or used.
    pub fn load(files: ClientFiles, now: Now) -> Result<Self, TlsError> {
        let ClientFiles { authorities, pair, oldest, protocols } = files;
        let parts = Parts {
            authorities: Part::load(Authorities(authorities))?,
            pair: pair.map(Part::load).transpose()?,
            expiry: Expiry::default(),
        };
        let config = ArcSwap::from_pointee(config(&parts, oldest, &protocols, &now)?);
        Ok(Self { parts: Mutex::new(parts), config, oldest, protocols, now })
    }

    /// As [`crate::Server::look`].
    pub fn look(&self) -> Vec<Looked> {
        let mut parts = self.parts.lock();
        let mut news = Vec::new();
        let authorities = parts.authorities.look();
        news.extend(authorities.map(|outcome| Looked { what: Authorities::NAME, outcome }));
        let pair = parts.pair.as_mut().and_then(Part::look);
        news.extend(pair.map(|outcome| Looked { what: PairFiles::NAME, outcome }));
        if news.iter().any(|looked| looked.outcome.is_ok()) {
            match config(&parts, self.oldest, &self.protocols, &self.now) {
                Ok(config) => self.config.store(Arc::new(config)),
                Err(error) => news.push(Looked { what: PairFiles::NAME, outcome: Err(error) }),
            }
        }
        news
    }

    /// From when on its certificate is valid, where it has one.
    #[must_use]
    pub fn since(&self) -> Option<OffsetDateTime> {
        Some(self.parts.lock().pair.as_ref()?.value().validity.from)
    }

    /// Until when its certificate is valid, where it has one.
    #[must_use]
    pub fn until(&self) -> Option<OffsetDateTime> {
        Some(self.parts.lock().pair.as_ref()?.value().validity.until)
    }

    /// What is to be said of the end of its certificate and was not.
    pub fn due(&self) -> Option<Due> {
        let Parts { pair, expiry, .. } = &mut *self.parts.lock();
        expiry.look(pair.as_ref()?.value().validity, (self.now)())
    }

    /// Shakes hands with a server called `name`. It takes as long as the server likes.
    ///
    /// # Errors
    /// When there is no connection; [`crate::Fault::of`] says why.
    pub async fn connect<T>(&self, name: ServerName<'static>, stream: T) -> io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsConnector::from(self.config.load_full()).connect(name, stream).await?;
        self.protocols.check(stream.get_ref().1.alpn_protocol())?;
        Ok(stream)
    }
}

fn config(
    parts: &Parts,
    oldest: Oldest,
    protocols: &Protocols,
    now: &Now,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Time(Arc::clone(now))))
        .with_protocol_versions(oldest.versions())
        .map_err(wrong)?
        .with_root_certificates(Arc::clone(parts.authorities.value()));
    let mut config = match &parts.pair {
        Some(pair) => {
            let key = Arc::clone(&pair.value().key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.names();
    config.resumption = Resumption::disabled();
    Ok(config)
}
