//! Which registries may be asked, how, and with whose credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ports::Clock;

use super::budget::Budget;
use super::credentials::{AcrConfig, EcrConfig, GarConfig, HostPattern};
use super::observe::{Observe, Unobserved};
use super::proxy::{Authorities, Proxy};
pub use super::secret::Secret;
use crate::clock::SystemClock;

/// What a registry is told of who asks. It goes to that registry's origin and its trusted token
/// servers, and nowhere else.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user name and a password, as Basic authentication or to the token server.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// As [`Self::Basic`], with the password in a file that is read again when it changes.
    PasswordFile {
        /// The user name.
        username: String,
        /// The file of the password: one line, at most 1 MiB.
        path: PathBuf,
    },
    /// A token that the registry's token server takes in exchange for one of its own, as `docker
    /// login` keeps it (`identitytoken`).
    IdentityToken(SecretSource),
    /// A token for the registry itself (`registrytoken`).
    RegistryToken(SecretSource),
    /// A file as Docker's `config.json` or a Kubernetes pull secret, read again when it changes.
    DockerConfig(PathBuf),
    /// An identity in Azure, for registries of Azure.
    Acr(AcrConfig),
    /// An identity in AWS, for registries of AWS.
    Ecr(EcrConfig),
    /// An identity in Google Cloud, for registries of Google Cloud.
    Gar(GarConfig),
}

/// Where a secret is.
#[derive(Clone)]
pub enum SecretSource {
    /// Here.
    Given(Secret),
    /// In a file that is read again when it changes: one line, at most 1 MiB.
    File(PathBuf),
}

/// How a listed registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// TLS. The only way to unlisted hosts.
    Https,
    /// Plain text, for this host and port only.
    Http,
}

impl Scheme {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// Another place where what a registry holds can be had. It is told nothing of who asks the registry
/// itself.
#[derive(Clone)]
pub struct MirrorConfig {
    /// Its host and optional port.
    pub endpoint: String,
    /// How to speak to it.
    pub scheme: Scheme,
    /// Who asks it.
    pub credentials: Credentials,
    /// As for a listed registry.
    pub trusted_realm_hosts: Vec<String>,
    /// As for a listed registry.
    pub ca: Vec<Vec<u8>>,
}

impl MirrorConfig {
    pub(super) fn as_host(&self) -> HostConfig {
        let Self { endpoint, scheme, credentials, trusted_realm_hosts, ca } = self.clone();
        let endpoint = Some(endpoint);
        HostConfig {
            scheme,
            endpoint,
            credentials,
            trusted_realm_hosts,
            ca,
            ..HostConfig::default()
        }
    }
}

/// Whether hosts that are not listed may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// Over TLS and on public addresses only, without credentials.
    Public,
    /// Never.
    Refused,
}

/// One listed registry.
#[derive(Clone)]
pub struct HostConfig {
    /// How to speak to it.
    pub scheme: Scheme,
    /// Host and optional port to connect to in place of the registry's own name, for a mirror. Docker
    /// Hub's is `registry-1.docker.io` unless it is set.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// Hosts, with their port unless it is the scheme's, of token servers that may be told the
    /// credentials beside the registry itself.
    pub trusted_realm_hosts: Vec<String>,
    /// Certificate authorities in PEM. If there are any, only they are trusted for this host.
    pub ca: Vec<Vec<u8>>,
    /// How much it is asked at the most.
    pub budget: Budget,
    /// Asked before it for manifests and blobs, in this order.
    pub mirrors: Vec<MirrorConfig>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            scheme: Scheme::Https,
            endpoint: None,
            credentials: Credentials::Anonymous,
            trusted_realm_hosts: Vec::new(),
            ca: Vec::new(),
            budget: Budget::default(),
            mirrors: Vec::new(),
        }
    }
}

/// How long is waited for one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For one request with its whole answer.
    pub request: Duration,
    /// Before a request is made a second time; up to as much again is added at random.
    pub backoff: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            idle: Duration::from_secs(5),
            request: Duration::from_secs(10),
            backoff: Duration::from_millis(100),
        }
    }
}

/// How many bytes of content are kept, unless it is said.
const DEFAULT_CONTENT_BYTES: u64 = 64 * 1024 * 1024;

/// All about the registries that one [`super::Registry`] asks. It is one tenant's: another tenant's
/// credentials need another `Registry`, and so never share a token.
#[derive(Clone)]
pub struct RegistryConfig {
    /// Listed registries by host and port as image references name them (`docker.io`,
    /// `localhost:5000`). They may have any address.
    pub hosts: BTreeMap<String, HostConfig>,
    /// Credentials for registries whose host matches a pattern and is not in `hosts`, on the port of
    /// TLS only. They are asked even where others are not, at public addresses only. Where several
    /// patterns match, the last one in their order counts, in which `*` is before all letters.
    pub patterns: BTreeMap<HostPattern, Credentials>,
    /// Whether others may be asked.
    pub unlisted: Unlisted,
    /// How long is waited.
    pub patience: Patience,
    /// How many bytes of content that never changes are kept at the most.
    pub content_bytes: u64,
    /// Through which proxy all registries are asked.
    pub proxy: Option<Proxy>,
    /// Who is trusted beside the authorities of the system, for hosts without authorities of their own.
    pub authorities: Authorities,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// Is told of every request.
    pub observer: Arc<dyn Observe>,
    /// Says when a credential ends.
    pub clock: Arc<dyn Clock>,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            patterns: BTreeMap::new(),
            unlisted: Unlisted::Public,
            patience: Patience::default(),
            content_bytes: DEFAULT_CONTENT_BYTES,
            proxy: None,
            authorities: Authorities::default(),
            user_agent: concat!("portcullis/", env!("CARGO_PKG_VERSION")).to_owned(),
            observer: Arc::new(Unobserved),
            clock: Arc::new(SystemClock),
        }
    }
}
