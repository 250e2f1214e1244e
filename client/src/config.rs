//! What a client is told by whoever uses it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_tls::PairFiles;

use crate::network::{Network, Tcp};

/// How a client finds its replicas and how long it waits for them.
#[derive(Clone)]
pub struct Config {
    /// Where the service is, `http://host:port` each, or `https://host:port` with [`Config::tls`]; at most [`crate::MAX_TARGETS`]. Each address that a
    /// host's name has is a replica of its own.
    pub targets: Vec<String>,
    /// How long one question may take.
    pub timeout: Duration,
    /// How much of a question's time must be left to ask a second replica where the first cannot
    /// answer; a question that has less time from the beginning needs half of that left.
    pub retry_floor: Duration,
    /// How often names are looked up again. It is done at once where a connection breaks.
    pub resolve_every: Duration,
    /// Who looks names up and connects.
    pub network: Arc<dyn Network>,
    /// By whom the service is known and who asks it; none where it is asked in plain text.
    pub tls: Option<TlsConfig>,
    /// Whether answers are kept, and how many.
    pub near_cache: Option<NearCacheConfig>,
}

/// How a service is asked in TLS. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The authorities of the service, in PEM.
    pub authorities: PathBuf,
    /// The certificate of who asks, and its key.
    pub pair: Option<PairFiles>,
    /// The name that the certificate of the service has, where it is not that of the target.
    pub server_name: Option<String>,
}

/// How much a near cache keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearCacheConfig {
    /// The most that is kept, in bytes of memory.
    pub max_bytes: usize,
}

impl Default for NearCacheConfig {
    /// 64 MiB.
    fn default() -> Self {
        Self { max_bytes: 64 * 1024 * 1024 }
    }
}

impl Config {
    /// The service at `targets`, one second for each question, 0.7 of it for a second replica, names
    /// looked up every 10 seconds, and nothing kept.
    pub fn new<T: Into<String>>(targets: impl IntoIterator<Item = T>) -> Self {
        Self {
            targets: targets.into_iter().map(Into::into).collect(),
            timeout: Duration::from_secs(1),
            retry_floor: Duration::from_millis(700),
            resolve_every: Duration::from_secs(10),
            network: Arc::new(Tcp),
            tls: None,
            near_cache: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { targets, timeout, retry_floor, resolve_every, network: _, tls, near_cache } =
            self;
        f.debug_struct("Config")
            .field("targets", targets)
            .field("timeout", timeout)
            .field("retry_floor", retry_floor)
            .field("resolve_every", resolve_every)
            .field("tls", tls)
            .field("near_cache", near_cache)
            .finish_non_exhaustive()
    }
}
