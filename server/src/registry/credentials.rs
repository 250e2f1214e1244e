//! What is configured of a registry's credentials in, what to answer its challenges with out.
//!
//! ```text
//! Provider ─ Candidate ┬─ given          as it was configured
//!                      ├─ file ─ docker  what somebody keeps up to date
//!                      └─ acr, ecr, gar  what a cloud gives to its own ── kept, call
//! ```
//!
//! Nothing is read and nobody is asked before the registry itself has asked who we are.

mod error;
mod pattern;
mod jwt;
mod file;
mod docker;
mod kept;
mod call;
mod sigv4;
mod acr;
mod aws;
mod ecr;
mod gar;

use std::path::PathBuf;
use std::sync::Arc;

use portcullis_core::ports::Clock;

pub use self::acr::AcrConfig;
pub use self::aws::AwsIdentity;
pub use self::docker::{DockerConfig, MAX_ENTRIES, MAX_TRIED};
pub use self::ecr::EcrConfig;
pub use self::error::CredentialError;
pub use self::gar::GarConfig;
pub use self::pattern::HostPattern;

pub(super) use self::call::Caller;

use self::acr::Acr;
use self::ecr::Ecr;
use self::file::{Line, Watched};
use self::gar::Gar;
use super::config::{Credentials, Secret, SecretSource};
use super::host::Host;
use super::observe::Observe;

/// The most registries, or regions, for which one provider keeps credentials; at one more it begins
/// anew. Whoever may name images may name as many as he likes.
const MAX_PLACES: usize = 1_000;

/// What answers a challenge.
pub(super) enum Credential {
    /// A name and a password: for the registry, or for its token server.
    Basic { username: String, password: Secret },
    /// A token that the token server takes in exchange for one of its own (OAuth2, RFC 6749, 6).
    Identity { token: Secret, client: Option<&'static str> },
    /// A token for the registry itself.
    Bearer(Secret),
}

impl Credential {
    /// An identity token as Docker keeps it.
    const fn identity(token: Secret) -> Self {
        Self::Identity { token, client: Some("portcullis") }
    }

    /// Whether it is a name and a password.
    pub(super) const fn is_pair(&self) -> bool {
        matches!(self, Self::Basic { .. })
    }

    /// Whose it is, as far as it says; never a part of the secret.
    fn name(&self) -> String {
        match self {
            Self::Basic { username, .. } => format!("basic:{username}"),
            Self::Identity { .. } => "identity-token".to_owned(),
            Self::Bearer(_) => "registry-token".to_owned(),
        }
    }

    fn to_config(&self) -> Credentials {
        match self {
            Self::Basic { username, password } => {
                Credentials::Basic { username: username.clone(), password: password.clone() }
            }
            Self::Identity { token, .. } => {
                Credentials::IdentityToken(SecretSource::Given(token.clone()))
            }
            Self::Bearer(token) => Credentials::RegistryToken(SecretSource::Given(token.clone())),
        }
    }
}

/// What providers share.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Arc<dyn Observe>,
    pub(super) caller: Caller,
}

/// Says who we are to the registries of one entry of the configuration.
pub(super) struct Provider(Who);

enum Who {
    One(Candidate),
    Docker { file: Watched<DockerConfig>, path: PathBuf },
}

/// One way of being somebody.
#[derive(Clone)]
pub(super) struct Candidate {
    /// Part of the key of all that is remembered of the answers; it holds no secret.
    pub(super) identity: Arc<str>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Nobody,
    Given(Arc<Credential>),
    File(Arc<Watched<Line>>, Make),
    Acr(Arc<Acr>),
    Ecr(Arc<Ecr>),
    Gar(Arc<Gar>),
}

/// What a line of a file becomes.
#[derive(Clone)]
enum Make {
    PasswordOf(String),
    Identity,
    Bearer,
}

impl Provider {
    /// For the registry `name`, or those that match it.
    pub(super) fn new(
        name: &str,
        credentials: &Credentials,
        setting: &Setting,
    ) -> Result<Self, CredentialError> {
        let of_cloud = |is_for: fn(&str) -> bool, kind| {
            let host = || CredentialError::Host { host: name.to_owned(), kind };
            if is_for(name) { Ok(()) } else { Err(host()) }
        };
        let file =
            |path: &PathBuf, make| Source::File(Arc::new(watched(path.clone(), setting)), make);
        let token = |source: &SecretSource, make: Make| match (source, make) {
            (SecretSource::File(path), make) => file(path, make),
            (SecretSource::Given(token), Make::Bearer) => {
                Source::Given(Arc::new(Credential::Bearer(token.clone())))
            }
            (SecretSource::Given(token), _) => {
                Source::Given(Arc::new(Credential::identity(token.clone())))
            }
        };
        let (identity, source) = match credentials {
            Credentials::Anonymous => ("anonymous".to_owned(), Source::Nobody),
            Credentials::Basic { username, password } => {
                let (username, password) = (username.clone(), password.clone());
                let credential = Credential::Basic { username, password };
                (credential.name(), Source::Given(Arc::new(credential)))
            }
            Credentials::PasswordFile { username, path } => {
                (format!("basic:{username}"), file(path, Make::PasswordOf(username.clone())))
            }
            Credentials::IdentityToken(source) => {
                (named("identity-token", source), token(source, Make::Identity))
            }
            Credentials::RegistryToken(source) => {
                (named("registry-token", source), token(source, Make::Bearer))
            }
            Credentials::Acr(config) => {
                of_cloud(AcrConfig::is_for, "acr")?;
                (config.identity(), Source::Acr(Arc::new(Acr::new(config.clone(), setting))))
            }
            Credentials::Ecr(config) => {
                of_cloud(EcrConfig::is_for, "ecr")?;
                (config.identity(), Source::Ecr(Arc::new(Ecr::new(config.clone(), setting))))
            }
            Credentials::Gar(config) => {
                of_cloud(GarConfig::is_for, "gar")?;
                (config.identity(), Source::Gar(Arc::new(Gar::new(config.clone(), setting))))
            }
            Credentials::DockerConfig(path) => {
                let file = watched(path.clone(), setting);
                // What it says is part of the names of what is remembered, from the first question on.
                file.read_now()?;
                return Ok(Self(Who::Docker { file, path: path.clone() }));
            }
        };
        Ok(Self(Who::One(Candidate { identity: identity.into(), source })))
    }

    /// Says nothing.
    pub(super) fn nobody() -> Self {
        Self(Who::One(Candidate::nobody()))
    }

    /// Whom to be for a repository, in the order to try; at least one.
    pub(super) async fn candidates(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Vec<Candidate>, CredentialError> {
        let (file, path) = match &self.0 {
            Who::One(candidate) => return Ok(vec![candidate.clone()]),
            Who::Docker { file, path } => (file, path),
        };
        let config = file.read().await?;
        let mut candidates: Vec<_> = config
            .matches(registry, repository)
            .map(|found| Candidate {
                identity: format!("docker:{}:{}", path.display(), found.identity).into(),
                source: Source::Given(found.credential),
            })
            .collect();
        if candidates.is_empty() {
            candidates.push(Candidate::nobody());
        }
        Ok(candidates)
    }

    /// The name of all that may be seen with the candidates for a repository, as far as is known
    /// without a look at any file.
    pub(super) fn identity(&self, registry: &str, repository: &str) -> Arc<str> {
        match &self.0 {
            Who::One(candidate) => Arc::clone(&candidate.identity),
            Who::Docker { file, path } => {
                let config = file.last();
                let found = config.iter().flat_map(|config| config.matches(registry, repository));
                let all: Vec<_> = found.map(|found| found.identity).collect();
                if all.is_empty() {
                    return Candidate::nobody().identity;
                }
                format!("docker:{}:{}", path.display(), all.join(",")).into()
            }
        }
    }
}

impl Candidate {
    fn nobody() -> Self {
        Self { identity: Arc::from("anonymous"), source: Source::Nobody }
    }

    /// The credential for `host` now, if there is anything to say.
    pub(super) async fn get(
        &self,
        host: &Host,
    ) -> Result<Option<Arc<Credential>>, CredentialError> {
        Ok(match &self.source {
            Source::Nobody => None,
            Source::Given(credential) => Some(Arc::clone(credential)),
            Source::Acr(acr) => Some(acr.get(host).await?),
            Source::Ecr(ecr) => Some(ecr.get(host).await?),
            Source::Gar(gar) => Some(gar.get(host).await?),
            Source::File(file, make) => {
                let secret = file.read().await?.text.clone();
                Some(Arc::new(match make {
                    Make::PasswordOf(username) => {
                        Credential::Basic { username: username.clone(), password: secret }
                    }
                    Make::Identity => Credential::identity(secret),
                    Make::Bearer => Credential::Bearer(secret),
                }))
            }
        })
    }

    /// Gives up a credential that `host` or its token server has refused, and says whether another
    /// may be had.
    pub(super) fn forget(&self, host: &Host, refused: &Arc<Credential>) -> bool {
        match &self.source {
            Source::Nobody | Source::Given(_) | Source::File(..) => false,
            Source::Acr(acr) => acr.forget(&host.name, refused),
            Source::Ecr(ecr) => ecr.forget(&host.name, refused),
            Source::Gar(gar) => gar.forget(refused),
        }
    }
}

/// Whether a registry is asked where its name says that it is, or on this machine, where tests are: a
/// credential of a cloud goes to no mirror.
fn is_at_home(host: &Host) -> bool {
    let base = &host.base;
    let named = base.scheme() == "https" && base.port().is_none();
    (named && base.host_str() == Some(&host.name)) || call::is_loopback(base)
}

fn watched<T: file::Content>(path: PathBuf, setting: &Setting) -> Watched<T> {
    Watched::new(path, Arc::clone(&setting.clock), Arc::clone(&setting.observer))
}

/// A token that is given says nothing of whose it is, and one in a file is its file's.
fn named(kind: &str, source: &SecretSource) -> String {
    match source {
        SecretSource::Given(_) => kind.to_owned(),
        SecretSource::File(path) => format!("{kind}:{}", path.display()),
    }
}
