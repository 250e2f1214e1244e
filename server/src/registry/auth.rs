//! Authentication challenges in, what to send with a request out.
//!
//! The token protocol is that of the distribution project ("Token Authentication Specification").
//! A registry is hostile until it has shown otherwise: it may name any token server, and the
//! password goes only to those that [`Host::realm`] lets through. The scope is ours, not the
//! challenge's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use moka::Expiry;
use moka::future::Cache;
use tokio::time::Instant;

use super::body;
use super::challenge::Challenge;
use super::credentials::{Candidate, Credential};
use super::error::{Fault, RegistryError};
use super::exchange::{Exchange, Request};
use super::host::Host;
use super::observe::Route;
use super::token::{LONGEST_LIFE, Token, read_token};

/// The largest answer of a token server that is read, in bytes.
pub(super) const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// How much memory the tokens that are kept take at most, in bytes.
const MAX_TOKENS: u64 = 16 * 1024 * 1024;
/// What the cache itself takes for an entry, in bytes: about.
const ENTRY: usize = 256;

/// What a request wants to do in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Actions {
    Pull,
    PullAndPush,
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::PullAndPush => "pull,push",
        })
    }
}

/// What is sent in `Authorization`.
#[derive(Clone)]
pub(super) enum Authorization {
    /// A name and a password.
    Basic(Arc<Credential>),
    /// A token.
    Bearer(Arc<Token>),
}

impl Authorization {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Basic(a), Self::Basic(b)) => Arc::ptr_eq(a, b),
            (Self::Bearer(a), Self::Bearer(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Two registries may share an endpoint, so the endpoint is not the key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) actions: Actions,
    /// Who asks.
    pub(super) identity: Arc<str>,
}

struct Life;

impl Expiry<Key, Authorization> for Life {
    fn expire_after_create(
        &self,
        _: &Key,
        made: &Authorization,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(match made {
            Authorization::Basic(_) => Duration::from_secs_f64(LONGEST_LIFE),
            Authorization::Bearer(token) => token.life,
        })
    }
}

/// What was last accepted, by whom and for what.
pub(super) struct Tokens {
    kept: Cache<Key, Authorization>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        let kept = Cache::builder().weigher(weight).max_capacity(MAX_TOKENS).expire_after(Life);
        Self { kept: kept.build() }
    }

    pub(super) async fn find(&self, key: &Key) -> Option<Authorization> {
        self.kept.get(key).await
    }

    /// Forgets what was refused, unless another request has renewed it already.
    pub(super) async fn forget(&self, key: &Key, refused: &Authorization) {
        if self.kept.get(key).await.is_some_and(|kept| kept.is(refused)) {
            self.kept.invalidate(key).await;
        }
    }

    /// Answers `challenge`. All who are challenged for one key at once wait for one token; that the
    /// time of whoever asks for it is up is no answer to the others.
    pub(super) async fn answer(
        &self,
        exchange: &Exchange,
        host: &Host,
        key: &Key,
        challenge: &Challenge,
        candidate: &Candidate,
        deadline: Instant,
    ) -> Result<Authorization, RegistryError> {
        let answer = || async {
            let get = async || {
                let credential = candidate.get(host).await;
                let failed = |source| RegistryError::Credential { host: host.name.clone(), source };
                credential.map_err(failed)
            };
            let credential = get().await?;
            match (challenge, credential) {
                (Challenge::Basic, Some(credential)) if credential.is_pair() => {
                    Ok(Authorization::Basic(credential))
                }
                (Challenge::Basic, _) => Err(denied(host, key, 401)),
                (Challenge::Bearer { realm, service }, credential) => {
                    let service = service.as_deref();
                    let asked = Asked { realm, service, credential, deadline };
                    let mut token = fetch(exchange, host, key, &asked).await;
                    // What was made for us may have ended before its time.
                    if let (Err(RegistryError::Denied { .. }), Some(refused)) =
                        (&token, &asked.credential)
                        && candidate.forget(host, refused)
                    {
                        let asked = Asked { credential: get().await?, ..asked };
                        token = fetch(exchange, host, key, &asked).await;
                    }
                    let token = token?;
                    Ok(Authorization::Bearer(Arc::new(token)))
                }
            }
        };
        loop {
            let mut asked = false;
            let work = async {
                asked = true;
                answer().await
            };
            let answered = self.kept.try_get_with(key.clone(), Box::pin(work)).await;
            let is_anothers = !asked && answered.as_ref().is_err_and(|e| e.is_the_askers());
            if !is_anothers || deadline <= Instant::now() {
                return answered.map_err(|error| RegistryError::clone(&error));
            }
        }
    }
}

/// How much memory an entry takes, in bytes, with all it points to.
fn weight(key: &Key, made: &Authorization) -> u32 {
    let names = size_of::<Key>() + key.registry.len() + key.repository.len() + key.identity.len();
    let behind = match made {
        // Of that there is one for all repositories.
        Authorization::Basic(_) => 0,
        Authorization::Bearer(token) => size_of::<Token>() + token.value.expose().len(),
    };
    let all = ENTRY + names + size_of::<Authorization>() + behind;
    u32::try_from(all).unwrap_or(u32::MAX)
}

/// What a token server is asked with.
struct Asked<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    credential: Option<Arc<Credential>>,
    deadline: Instant,
}

async fn fetch(
    exchange: &Exchange,
    host: &Host,
    key: &Key,
    asked: &Asked<'_>,
) -> Result<Token, RegistryError> {
    let Asked { realm, service, credential, deadline } = asked;
    let (service, deadline) = (*service, *deadline);
    let refuse = |fault| RegistryError::protocol(&host.name, fault);
    let url = host.realm(realm).map_err(refuse)?;
    let scope = format!("repository:{}:{}", key.repository, key.actions);
    let (request, authorization) = match credential.as_deref() {
        // It is for the registry itself: its token server has nothing to add.
        Some(Credential::Bearer(token)) => {
            let life = Duration::from_secs_f64(LONGEST_LIFE);
            return Ok(Token { value: token.clone(), life });
        }
        Some(Credential::Identity { token, client }) => {
            let mut fields = vec![("grant_type", "refresh_token")];
            fields.extend(service.map(|service| ("service", service)));
            fields.extend(client.map(|client| ("client_id", client)));
            fields.extend([("scope", scope.as_str()), ("refresh_token", token.expose())]);
            (Request::form(url, &fields, deadline), None)
        }
        Some(Credential::Basic { .. }) | None => {
            let mut url = url;
            if let Some(service) = service {
                url.query_pairs_mut().append_pair("service", service);
            }
            url.query_pairs_mut().append_pair("scope", &scope);
            let request = Request::get(Route::Token, url, "application/json", deadline);
            (request, credential.clone().map(Authorization::Basic))
        }
    };
    let url = request.url.clone();
    let response =
        exchange.send(host, &host.client, &request, &url, authorization.as_ref()).await?;
    match response.status().as_u16() {
        200 => {}
        status @ (401 | 403) => return Err(denied(host, key, status)),
        // How OAuth2 says that the token that was given is not good (RFC 6749, 5.2).
        400 if request.method == Method::POST => return Err(denied(host, key, 400)),
        status => return Err(refuse(Fault::Status(status))),
    }
    let bytes = body::read(host, response, "token answer", MAX_TOKEN_ANSWER).await?;
    read_token(&bytes).map_err(refuse)
}

fn denied(host: &Host, key: &Key, status: u16) -> RegistryError {
    let (host, repository) = (host.name.clone(), key.repository.clone());
    RegistryError::Denied { host, repository, status }
}

/// What a request with this method needs a token for.
pub(super) fn actions(method: &Method) -> Actions {
    if *method == Method::GET { Actions::Pull } else { Actions::PullAndPush }
}

#[cfg(test)]
mod tests;
