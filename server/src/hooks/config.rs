//! What is configured of registry events in, the endpoint for them out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderName;
use portcullis_core::ports::Clock;
use url::Url;

use super::dialect::Dialect;
use super::endpoint::{Endpoint, Source};
use super::google_token::{GoogleToken, KEYS, Keys};
use super::guard::Guard;
use super::queue::Queue;
use super::scope::{Listed, Scope};
use super::secret_file::SecretFile;
use crate::metrics::Metrics;
use crate::registry::{Downloads, RegistryConfig, RegistryConfigError};
use crate::tls::TlsConfig;

/// The most sources.
pub const MAX_SOURCES: usize = 64;

/// Who may tell that something changed.
#[derive(Clone)]
pub struct HooksConfig {
    /// Where events are taken: a loopback address, where there is no TLS.
    pub listen: SocketAddr,
    /// How they are taken in TLS, if they are.
    pub tls: Option<Box<TlsConfig>>,
    /// By name; none: nothing is listened on.
    pub sources: BTreeMap<String, SourceConfig>,
}

/// One of them.
#[derive(Clone)]
pub struct SourceConfig {
    /// What it speaks.
    pub dialect: Dialect,
    /// How it shows who it is.
    pub guard: GuardConfig,
    /// Of what it may tell.
    pub scope: Scope,
}

/// How a sender shows who it is, as [`Guard`].
#[derive(Clone)]
pub enum GuardConfig {
    /// The value of a header.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its values.
        secret: SecretFile,
    },
    /// `Authorization: Bearer …`.
    Bearer(SecretFile),
    /// `Authorization: Basic …`.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        secret: SecretFile,
    },
    /// A parameter of the URL.
    Query {
        /// Its name.
        parameter: String,
        /// Its values.
        secret: SecretFile,
    },
    /// A token that Google signed.
    Google {
        /// What the subscription puts into `aud`.
        audience: String,
        /// The service account of the subscription.
        email: String,
        /// Where the keys are, if not at [`KEYS`]. It may have any address.
        keys_url: Option<Url>,
    },
}

impl Default for HooksConfig {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7081));
        Self { listen, tls: None, sources: BTreeMap::new() }
    }
}

impl HooksConfig {
    /// The endpoint, which puts into `queue` what it is told about the registries of `registry`.
    ///
    /// # Errors
    /// When the client for Google's keys cannot be made.
    pub fn endpoint(
        self,
        registry: &RegistryConfig,
        queue: Queue,
        clock: &Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Endpoint, RegistryConfigError> {
        let listed = Listed {
            hosts: registry.hosts.keys().cloned().collect(),
            patterns: registry.patterns.keys().cloned().collect(),
        };
        let mut sources = BTreeMap::new();
        for (name, SourceConfig { dialect, guard, scope }) in self.sources {
            let guard = guard.into_guard(registry, clock)?;
            sources.insert(name, Source { dialect, guard, scope });
        }
        Ok(Endpoint::new(sources, listed, queue, metrics))
    }
}

impl GuardConfig {
    fn into_guard(
        self,
        registry: &RegistryConfig,
        clock: &Arc<dyn Clock>,
    ) -> Result<Guard, RegistryConfigError> {
        Ok(match self {
            Self::Header { name, secret } => Guard::Header { name, secret },
            Self::Bearer(secret) => Guard::Bearer(secret),
            Self::Basic { username, secret } => Guard::Basic { username, secret },
            Self::Query { parameter, secret } => Guard::Query { parameter, secret },
            Self::Google { audience, email, keys_url } => {
                let host = |url: &Url| {
                    let host = url.host_str()?;
                    Some(
                        url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
                    )
                };
                let hosts = keys_url.as_ref().and_then(host).into_iter().collect();
                let downloads = Downloads::new(registry, &hosts)?;
                let url = keys_url.map_or_else(|| KEYS.to_owned(), |url| url.to_string());
                let keys = Keys::new(url, downloads);
                let clock = Arc::clone(clock);
                Guard::Google(Box::new(GoogleToken { audience, email, keys, clock }))
            }
        })
    }
}
