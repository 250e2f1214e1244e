//! The way to registries as configured in, what the HTTP client needs of it out.
//!
//! Through a proxy, names are resolved by the proxy, and the addresses behind them are the proxy's to
//! refuse. Address literals are checked here all the same, and so are the names that are asked
//! directly.

use reqwest::{Certificate, NoProxy};
use url::Url;

use super::config::Secret;
use super::error::RegistryConfigError;
use super::host::certificates;

/// An HTTP proxy.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    inner: reqwest::Proxy,
}

impl Proxy {
    /// The proxy at `url`, for all hosts but `except`: names, which stand for what is below them too,
    /// addresses, and networks as `10.0.0.0/8`.
    ///
    /// # Errors
    /// When `url` is not `http` or `https` with a host and an optional port.
    pub fn new(
        url: &str,
        credentials: Option<(&str, &Secret)>,
        except: &[String],
    ) -> Result<Self, RegistryConfigError> {
        let refused = || RegistryConfigError::Proxy(url.to_owned());
        let parsed = Url::parse(url).map_err(|_| refused())?;
        let bare = matches!(parsed.scheme(), "http" | "https")
            && parsed.username().is_empty()
            && parsed.password().is_none()
            && parsed.path() == "/"
            && parsed.query().is_none()
            && parsed.fragment().is_none();
        let host = parsed.host_str().filter(|_| bare).ok_or_else(refused)?.to_owned();
        let mut inner = reqwest::Proxy::all(parsed).map_err(|_| refused())?;
        if let Some((username, password)) = credentials {
            inner = inner.basic_auth(username, password.expose());
        }
        let inner = inner.no_proxy(NoProxy::from_string(&except.join(",")));
        Ok(Self { host, inner })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn to_reqwest(&self) -> reqwest::Proxy {
        self.inner.clone()
    }
}

/// Certificate authorities that are trusted beside the system's, as those of a proxy that looks into
/// TLS.
#[derive(Clone, Default)]
pub struct Authorities(pub(super) Vec<Certificate>);

impl Authorities {
    /// The authorities of a bundle in PEM.
    ///
    /// # Errors
    /// When it has no certificate, or one that cannot be read.
    pub fn new(pem: &[u8]) -> Result<Self, RegistryConfigError> {
        Ok(Self(certificates("all registries", &[pem.to_vec()])?))
    }
}
