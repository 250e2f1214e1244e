//! URLs that certificates name in, the bytes behind them out: for whoever asks about revocation.
//!
//! A certificate that is trusted names them, and still they are foreign: no redirections, no
//! credentials, public addresses only unless the host is listed, and never more than was asked for.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use reqwest::dns::Resolve;
use reqwest::{Client, RequestBuilder};
use url::Url;

use super::address::{self, NoPublicAddress, PublicOnly};
use super::config::RegistryConfig;
use super::error::{RegistryConfigError, quote};
use super::host::{authority, base_authority, builder};

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Not a URL that is asked.
    #[error("`{0}` is not a URL with `http` or `https`, a host, and no user name")]
    Url(String),
    /// The host is not listed and has no public address. Nothing was sent.
    #[error(
        "`{0}` has no public address: list it in `trust.revocation.hosts` if it is to be asked"
    )]
    NotPublic(String),
    /// No connection, a TLS failure, or a broken one.
    #[error("no answer from `{host}`")]
    Unreachable {
        /// Which host was asked.
        host: String,
        /// What the HTTP client says, without the URL.
        source: reqwest::Error,
    },
    /// It answered, and not with the bytes.
    #[error("`{host}` answered with status {status}")]
    Status {
        /// Which host was asked.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// More bytes than were asked for.
    #[error("`{host}` sends more than the {limit} bytes allowed")]
    TooLarge {
        /// Which host was asked.
        host: String,
        /// The bound, in bytes.
        limit: usize,
    },
}

/// A client for single documents. It waits as long as `Patience` allows; the caller's own
/// deadline is the caller's to keep.
pub struct Downloads {
    public: Client,
    listed: Client,
    hosts: BTreeSet<String>,
    /// The host of the proxy, which may have any address and is asked for nothing itself.
    proxy: Option<String>,
}

impl Downloads {
    /// A client that speaks as the one for registries does. `hosts`, with their port unless it is
    /// the scheme's, may have any address.
    ///
    /// # Errors
    /// When a host cannot be read.
    pub fn new(
        config: &RegistryConfig,
        hosts: &BTreeSet<String>,
    ) -> Result<Self, RegistryConfigError> {
        Self::with_resolver(config, hosts, &(Arc::new(address::System::new()) as Arc<dyn Resolve>))
    }

    pub(super) fn with_resolver(
        config: &RegistryConfig,
        hosts: &BTreeSet<String>,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Self, RegistryConfigError> {
        let failed = |source| RegistryConfigError::Client { host: "revocation".into(), source };
        let proxy = config.proxy.as_ref().map(|proxy| proxy.host().to_owned());
        let public_only =
            Arc::new(PublicOnly { inner: Arc::clone(resolver), except: proxy.clone() });
        let checked = |host: &String| {
            base_authority(host).ok_or_else(|| RegistryConfigError::Authority(host.clone()))
        };
        Ok(Self {
            public: builder(config).dns_resolver(public_only).build().map_err(failed)?,
            listed: builder(config).dns_resolver(Arc::clone(resolver)).build().map_err(failed)?,
            hosts: hosts.iter().map(checked).collect::<Result<_, _>>()?,
            proxy,
        })
    }

    /// What is at `url`, of at most `limit` bytes.
    ///
    /// # Errors
    /// When it may not be asked, or does not give it.
    pub async fn get(&self, url: &str, limit: usize) -> Result<Bytes, DownloadError> {
        let (client, host, url) = self.destination(url)?;
        fetch(client.get(url), host, limit).await
    }

    /// What `url` answers to `body`, of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Downloads::get`].
    pub async fn post(
        &self,
        url: &str,
        (media_type, body): (&'static str, Vec<u8>),
        limit: usize,
    ) -> Result<Bytes, DownloadError> {
        let (client, host, url) = self.destination(url)?;
        fetch(client.post(url).header(CONTENT_TYPE, media_type).body(body), host, limit).await
    }

    fn destination(&self, text: &str) -> Result<(&Client, String, Url), DownloadError> {
        let refused = || DownloadError::Url(quote(text));
        let url = Url::parse(text).map_err(|_| refused())?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none();
        let host = authority(&url).filter(|_| is_plain).ok_or_else(refused)?;
        if self.hosts.contains(&host) {
            return Ok((&self.listed, host, url));
        }
        if !address::is_outside(&url, self.proxy.as_deref()) {
            return Err(DownloadError::NotPublic(host));
        }
        Ok((&self.public, host, url))
    }
}

async fn fetch(
    request: RequestBuilder,
    host: String,
    limit: usize,
) -> Result<Bytes, DownloadError> {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(unreachable(host, error)),
    };
    let status = response.status().as_u16();
    if status != 200 {
        return Err(DownloadError::Status { host, status });
    }
    let mut bytes = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if chunk.len() > limit.saturating_sub(bytes.len()) => {
                return Err(DownloadError::TooLarge { host, limit });
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) => return Err(unreachable(host, error)),
        }
    }
}

fn unreachable(host: String, error: reqwest::Error) -> DownloadError {
    let mut source: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if inner.is::<NoPublicAddress>() {
            return DownloadError::NotPublic(host);
        }
        source = inner.source();
    }
    DownloadError::Unreachable { host, source: error.without_url() }
}
