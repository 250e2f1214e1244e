//! A registry's name in, where it is and how it may be spoken to out.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::image::Reference;
use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder};
use url::{Host as UrlHost, Url};

use super::address::{self, PublicOnly};
use super::budget::Budget;
use super::config::{Credentials, HostConfig, RegistryConfig, Unlisted};
use super::credentials::{Caller, HostPattern, Provider, Setting};
use super::error::{Fault, RegistryConfigError, RegistryError, quote};
use super::proxy::Authorities;

/// The largest block of HTTP/2 headers that is read, in bytes.
const MAX_HEADERS: u32 = 64 * 1024;
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ENDPOINT: &str = "registry-1.docker.io";
const DOCKER_HUB_REALM: &str = "auth.docker.io";

/// One registry that may be asked.
pub(super) struct Host {
    /// As image references name it; a mirror has a name of its own.
    pub(super) name: String,
    /// `scheme://host:port/`.
    pub(super) base: Url,
    /// The client that connects to it: whether it may have any address is settled in there.
    pub(super) client: Client,
    pub(super) provider: Arc<Provider>,
    pub(super) budget: Budget,
    standing: Standing,
    trusted_realms: Vec<String>,
    /// The registry that it is a mirror of.
    pub(super) mirror_of: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Listed,
    Unlisted,
}

/// All registries that may be asked.
pub(super) struct Hosts {
    listed: BTreeMap<String, Arc<Host>>,
    /// Who asks the registries that match.
    patterns: Vec<(HostPattern, Arc<Provider>)>,
    nobody: Arc<Provider>,
    /// By the registry whose mirrors they are.
    mirrors: BTreeMap<String, Vec<Arc<Host>>>,
    unlisted: Unlisted,
    public: Client,
    /// The host of the proxy, which may have any address and is nobody's registry.
    proxy: Option<String>,
}

impl Hosts {
    pub(super) fn new(
        config: &RegistryConfig,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Self, RegistryConfigError> {
        let failed = |host: &str, source| RegistryConfigError::Client { host: host.into(), source };
        let proxy = config.proxy.as_ref().map(|proxy| proxy.host().to_owned());
        let public_only =
            Arc::new(PublicOnly { inner: Arc::clone(resolver), except: proxy.clone() });
        let public = builder(config)
            .https_only(true)
            .dns_resolver(public_only)
            .build()
            .map_err(|e| failed("public registries", e))?;
        let mut listed = BTreeMap::new();
        let plain = builder(config)
            .dns_resolver(Arc::clone(resolver))
            .build()
            .map_err(|e| failed("listed registries", e))?;
        let direct = builder(config)
            .no_proxy()
            .dns_resolver(Arc::clone(resolver))
            .build()
            .map_err(|e| failed("token services", e))?;
        let caller = Caller { client: plain.clone(), direct, backoff: config.patience.backoff };
        let (clock, observer) = (Arc::clone(&config.clock), Arc::clone(&config.observer));
        let setting = Setting { clock, observer, caller };
        let provider = |host: &str, credentials: &Credentials| {
            Provider::new(host, credentials, &setting)
                .map(Arc::new)
                .map_err(|source| RegistryConfigError::Credential { host: host.to_owned(), source })
        };
        for (key, settings) in &config.hosts {
            let client = client_of(config, resolver, &plain, key, &settings.ca)?;
            let provider = provider(key, &settings.credentials)?;
            let host = listed_host(key, settings, client, provider)?;
            if listed.insert(host.name.clone(), Arc::new(host)).is_some() {
                return Err(RegistryConfigError::Twice(key.clone()));
            }
        }
        let mut mirrors: BTreeMap<String, Vec<Arc<Host>>> = BTreeMap::new();
        for (key, settings) in &config.hosts {
            for mirror in &settings.mirrors {
                let client = client_of(config, resolver, &plain, key, &mirror.ca)?;
                let provider = provider(&mirror.endpoint, &mirror.credentials)?;
                let mirror = listed_host(key, &mirror.as_host(), client, provider)?.into_mirror();
                let registry = mirror.mirror_of.clone().unwrap_or_default();
                mirrors.entry(registry).or_default().push(Arc::new(mirror));
            }
        }
        let patterns = config
            .patterns
            .iter()
            .map(|(pattern, who)| Ok((pattern.clone(), provider(pattern.text(), who)?)))
            .collect::<Result<_, _>>()?;
        let nobody = Arc::new(Provider::nobody());
        Ok(Self { listed, mirrors, patterns, nobody, unlisted: config.unlisted, public, proxy })
    }

    /// Those that are asked before `host` for what has a digest or a tag, in this order.
    pub(super) fn mirrors(&self, host: &Host) -> &[Arc<Host>] {
        self.mirrors.get(&host.name).map_or(&[], Vec::as_slice)
    }

    /// The registry with this name, if it may be asked.
    pub(super) fn find(&self, registry: &str) -> Result<Arc<Host>, RegistryError> {
        if let Some(host) = self.listed.get(registry) {
            return Ok(Arc::clone(host));
        }
        let provider = self.pattern(registry);
        if provider.is_none() && self.unlisted == Unlisted::Refused {
            return Err(RegistryError::NotConfigured(registry.to_owned()));
        }
        let not_public = || RegistryError::NotPublic(registry.to_owned());
        let base = base("https", endpoint(registry, None)).ok_or_else(not_public)?;
        if !address::is_outside(&base, self.proxy.as_deref()) {
            return Err(not_public());
        }
        Ok(Arc::new(Host {
            name: registry.to_owned(),
            base,
            client: self.public.clone(),
            provider: Arc::clone(provider.unwrap_or(&self.nobody)),
            budget: Budget::default(),
            standing: Standing::Unlisted,
            trusted_realms: Vec::new(),
            mirror_of: None,
        }))
    }

    /// The name of whom a registry is told that we are.
    pub(super) fn identity(&self, registry: &str, repository: &str) -> Arc<str> {
        let listed = self.listed.get(registry).map(|host| &host.provider);
        let provider = listed.or_else(|| self.pattern(registry)).unwrap_or(&self.nobody);
        provider.identity(registry, repository)
    }

    fn pattern(&self, registry: &str) -> Option<&Arc<Provider>> {
        let mut patterns = self.patterns.iter().rev();
        patterns.find(|(pattern, _)| pattern.matches(registry)).map(|(_, provider)| provider)
    }

    /// The client for a URL that `host` redirects to from `from`.
    ///
    /// A listed registry may lead to another listed one. All others lead to public addresses over
    /// TLS only, so that an unlisted registry cannot make us ask a listed one inside.
    pub(super) fn client_for(
        &self,
        host: &Host,
        from: &Url,
        to: &Url,
    ) -> Result<Client, RegistryError> {
        let refuse = |why| Err(RegistryError::protocol(&host.name, Fault::Redirect(why)));
        if !to.username().is_empty() || to.password().is_some() {
            return refuse("it has a user name");
        }
        if from.scheme() == "https" && to.scheme() != "https" {
            return refuse("it leaves TLS");
        }
        if host.is_origin_of(to) {
            return Ok(host.client.clone());
        }
        if host.standing == Standing::Listed
            && let Some(other) = self.listed.values().find(|other| other.is_origin_of(to))
        {
            return Ok(other.client.clone());
        }
        if to.scheme() != "https" {
            return refuse("it is not TLS");
        }
        if !address::is_outside(to, self.proxy.as_deref()) {
            return refuse("its address is not public");
        }
        Ok(self.public.clone())
    }
}

impl Host {
    /// The same as a mirror of the registry whose name it has. Its own name is another, so that it
    /// shares no token, no budget and no credential with the registry.
    fn into_mirror(self) -> Self {
        let endpoint = authority(&self.base).unwrap_or_default();
        let name = mirror_name(&self.name, &endpoint);
        Self { name, mirror_of: Some(self.name), ..self }
    }

    /// Whether `url` has exactly the scheme, host and port of this registry.
    pub(super) fn is_origin_of(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }

    /// The token server that a challenge names, if it may be told the credentials: the registry
    /// itself, one that is listed for it, or Docker Hub's own (CASES T036 to T038).
    pub(super) fn realm(&self, realm: &str) -> Result<Url, Fault> {
        let refused = || Fault::Realm(quote(realm));
        let url = Url::parse(realm).map_err(|_| refused())?;
        let secure =
            url.scheme() == "https" || (url.scheme() == "http" && self.base.scheme() == "http");
        if !secure || !url.username().is_empty() || url.password().is_some() {
            return Err(refused());
        }
        let authority = authority(&url).ok_or_else(refused)?;
        let hub = self.base.host_str() == Some(DOCKER_HUB_ENDPOINT)
            && self.base.scheme() == "https"
            && self.base.port().is_none()
            && authority == DOCKER_HUB_REALM;
        if self.is_origin_of(&url) || hub || self.trusted_realms.contains(&authority) {
            return Ok(url);
        }
        Err(refused())
    }
}

/// How a mirror is called in errors and metrics.
fn mirror_name(registry: &str, endpoint: &str) -> String {
    format!("{registry} via {endpoint}")
}

/// The names that the hosts of `config` have in errors and metrics, those of their mirrors too.
pub(super) fn names(config: &RegistryConfig) -> Vec<String> {
    let mut names = Vec::new();
    for (host, settings) in &config.hosts {
        names.push(host.clone());
        let mirrors = settings.mirrors.iter();
        names.extend(mirrors.map(|mirror| {
            let base = base(mirror.scheme.as_str(), &mirror.endpoint);
            let endpoint = base.and_then(|base| authority(&base)).unwrap_or_default();
            mirror_name(host, &endpoint)
        }));
    }
    names
}

fn client_of(
    config: &RegistryConfig,
    resolver: &Arc<dyn Resolve>,
    plain: &Client,
    key: &str,
    ca: &[Vec<u8>],
) -> Result<Client, RegistryConfigError> {
    if ca.is_empty() {
        return Ok(plain.clone());
    }
    bare_builder(config)
        .dns_resolver(Arc::clone(resolver))
        .tls_certs_only(certificates(key, ca)?)
        .build()
        .map_err(|source| RegistryConfigError::Client { host: key.to_owned(), source })
}

pub(super) fn certificates(
    key: &str,
    ca: &[Vec<u8>],
) -> Result<Vec<Certificate>, RegistryConfigError> {
    let mut all = Vec::new();
    for pem in ca {
        let found = Certificate::from_pem_bundle(pem)
            .map_err(|source| RegistryConfigError::Client { host: key.to_owned(), source })?;
        // To trust nobody is not what was meant, and to trust everybody even less.
        if found.is_empty() {
            return Err(RegistryConfigError::NoCertificate(key.to_owned()));
        }
        all.extend(found);
    }
    Ok(all)
}

fn listed_host(
    key: &str,
    settings: &HostConfig,
    client: Client,
    provider: Arc<Provider>,
) -> Result<Host, RegistryConfigError> {
    // A reference in this registry is parsed, so that the key is what references will say.
    let reference: Reference = format!("{key}/x/x")
        .parse()
        .map_err(|source| RegistryConfigError::HostSyntax { host: key.to_owned(), source })?;
    if reference.repository() != "x/x" {
        return Err(RegistryConfigError::Host(key.to_owned()));
    }
    let name = reference.registry().to_owned();
    let scheme = settings.scheme.as_str();
    let endpoint = endpoint(&name, settings.endpoint.as_deref());
    let base =
        base(scheme, endpoint).ok_or_else(|| RegistryConfigError::Authority(endpoint.into()))?;
    let trusted_realms = settings
        .trusted_realm_hosts
        .iter()
        .map(|host| {
            base_authority(host).ok_or_else(|| RegistryConfigError::Authority(host.clone()))
        })
        .collect::<Result<_, _>>()?;
    Ok(Host {
        name,
        base,
        client,
        provider,
        budget: settings.budget,
        standing: Standing::Listed,
        trusted_realms,
        mirror_of: None,
    })
}

fn endpoint<'a>(registry: &'a str, configured: Option<&'a str>) -> &'a str {
    match configured {
        Some(endpoint) => endpoint,
        None if registry == DOCKER_HUB => DOCKER_HUB_ENDPOINT,
        None => registry,
    }
}

/// `scheme://authority/`, if `authority` is a host and an optional port and nothing else.
fn base(scheme: &str, authority: &str) -> Option<Url> {
    let url = Url::parse(&format!("{scheme}://{authority}/")).ok()?;
    let bare = url.path() == "/"
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (bare && url.host().is_some()).then_some(url)
}

pub(super) fn base_authority(host: &str) -> Option<String> {
    authority(&base("https", host)?)
}

/// Host and, unless it is the scheme's own, port.
pub(super) fn authority(url: &Url) -> Option<String> {
    let host = match url.host()? {
        UrlHost::Domain(name) => name.to_owned(),
        UrlHost::Ipv4(address) => address.to_string(),
        UrlHost::Ipv6(address) => format!("[{address}]"),
    };
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

/// What every client has in common: it does exactly the request that it is told, to the address
/// that it is told.
pub(super) fn builder(config: &RegistryConfig) -> ClientBuilder {
    let Authorities(authorities) = &config.authorities;
    match authorities.as_slice() {
        [] => bare_builder(config),
        more => bare_builder(config).tls_certs_merge(more.iter().cloned()),
    }
}

/// The same, without the authorities that are trusted beside the system's.
fn bare_builder(config: &RegistryConfig) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(&config.user_agent)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .connect_timeout(config.patience.connect)
        .read_timeout(config.patience.idle)
        .timeout(config.patience.request)
        .http2_max_header_list_size(MAX_HEADERS);
    match &config.proxy {
        Some(proxy) => builder.proxy(proxy.to_reqwest()),
        None => builder,
    }
}
