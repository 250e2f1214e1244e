//! One question in, one final HTTP response out: throttled, retried, redirected, authorised.
//!
//! From the inside: [`Exchange::send`] sends to one URL, twice at most; [`Exchange::follow`] goes
//! after redirections; [`Exchange::ask`] answers challenges.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use portcullis_telemetry::spans;
use reqwest::{Client, Response};
use tokio::time::Instant;
use tracing::{Instrument as _, debug, warn};
use url::Url;

use super::address::NoPublicAddress;
use super::auth::{self, Authorization, Key, Tokens};
use super::breaker::{Breakers, Pass};
use super::budget::{Budget, Budgets, Turn};
use super::challenge::Challenge;
use super::config::Patience;
use super::credentials::{Candidate, Credential};
use super::error::{Fault, RegistryError};
use super::gate::{Gate, jitter};
use super::host::{Host, Hosts};
use super::observe::{Observe, Outcome, Route};
use super::trace;

/// The most redirections that one question follows.
pub(super) const MAX_REDIRECTS: usize = 3;
/// The most times that one URL is asked, where the host fails or cannot be reached.
pub(super) const MAX_TRIES: usize = 2;

/// All that requests share.
pub(super) struct Exchange {
    pub(super) hosts: Hosts,
    pub(super) gate: Gate,
    pub(super) budgets: Budgets,
    pub(super) breakers: Breakers,
    pub(super) tokens: Tokens,
    pub(super) patience: Patience,
    pub(super) observer: Arc<dyn Observe>,
}

/// A request before anything is known of its authorisation.
pub(super) struct Request {
    pub(super) route: Route,
    pub(super) method: Method,
    pub(super) url: Url,
    /// Until when its turn may be waited for.
    pub(super) deadline: Instant,
    accept: &'static str,
    body: Option<(Bytes, String)>,
}

impl Request {
    pub(super) const fn get(
        route: Route,
        url: Url,
        accept: &'static str,
        deadline: Instant,
    ) -> Self {
        Self { route, method: Method::GET, url, deadline, accept, body: None }
    }

    /// A question to a token server with the fields of a form.
    pub(super) fn form(url: Url, fields: &[(&str, &str)], deadline: Instant) -> Self {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let body = Some((Bytes::from(form), "application/x-www-form-urlencoded".to_owned()));
        Self {
            route: Route::Token,
            method: Method::POST,
            url,
            deadline,
            accept: "application/json",
            body,
        }
    }

    /// A part of a push, with `body` and its media type.
    pub(super) const fn push(
        method: Method,
        url: Url,
        body: Option<(Bytes, String)>,
        deadline: Instant,
    ) -> Self {
        Self { route: Route::Push, method, url, deadline, accept: "*/*", body }
    }
}

impl Exchange {
    /// Asks `request` about `repository`, as everybody who may have access to it in turn. The
    /// response may have any status but 401, 403, 429, 5xx and a redirection.
    pub(super) async fn ask(
        &self,
        host: &Host,
        repository: &str,
        request: &Request,
    ) -> Result<Response, RegistryError> {
        let candidates = host.provider.candidates(&host.name, repository).await;
        let candidates = candidates
            .map_err(|source| RegistryError::Credential { host: host.name.clone(), source })?;
        let mut known = Vec::new();
        let mut unknown = Vec::new();
        for candidate in candidates {
            let key = Key {
                registry: host.name.clone(),
                repository: repository.to_owned(),
                actions: auth::actions(&request.method),
                identity: Arc::clone(&candidate.identity),
            };
            // Who was let in before is asked as first.
            let ranked =
                if self.tokens.find(&key).await.is_some() { &mut known } else { &mut unknown };
            ranked.push((key, candidate));
        }
        let mut last = None;
        for (key, candidate) in known.into_iter().chain(unknown) {
            match self.ask_as(host, request, &key, &candidate).await {
                Err(denied @ RegistryError::Denied { .. }) => last = Some(denied),
                answered => return answered,
            }
        }
        Err(last.unwrap_or_else(|| denied(host, repository, StatusCode::UNAUTHORIZED)))
    }

    /// Asks `request` as one candidate, with a token where one is wanted. A token that is refused is
    /// renewed once (ECR says so with 403), and so is the credential behind it.
    async fn ask_as(
        &self,
        host: &Host,
        request: &Request,
        key: &Key,
        candidate: &Candidate,
    ) -> Result<Response, RegistryError> {
        let mut authorization = self.tokens.find(key).await;
        let mut fresh = false;
        loop {
            let response = self.follow(host, request, authorization.as_ref()).await?;
            let status = response.status();
            if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Ok(response);
            }
            let denied = || denied(host, &key.repository, status);
            let refused = authorization.take();
            if let Some(refused) = &refused {
                self.tokens.forget(key, refused).await;
                if let Authorization::Basic(credential) = refused {
                    candidate.forget(host, credential);
                }
            }
            // Only the registry itself may challenge; where it redirects to may not.
            if fresh || !host.is_origin_of(response.url()) {
                return Err(denied());
            }
            let challenge = Challenge::parse(response.headers())
                .map_err(|fault| RegistryError::protocol(&host.name, fault))?;
            match challenge {
                Some(challenge) => {
                    // The token's request has a turn of its own: whoever kept this one would wait
                    // for himself where all turns are taken.
                    drop(response);
                    let deadline = request.deadline;
                    let answer =
                        self.tokens.answer(self, host, key, &challenge, candidate, deadline);
                    authorization = Some(answer.await?);
                    fresh = true;
                }
                // An old token may be refused without a challenge: ask without, to get one.
                None if refused.is_some() => {}
                None => return Err(denied()),
            }
        }
    }

    /// Sends `request`, and goes where the answer leads. What authorises it is left behind at the
    /// first step off the registry's origin, and not taken up again.
    async fn follow(
        &self,
        host: &Host,
        request: &Request,
        mut authorization: Option<&Authorization>,
    ) -> Result<Response, RegistryError> {
        let refuse = |why| RegistryError::protocol(&host.name, Fault::Redirect(why));
        let mut client = host.client.clone();
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            if !host.is_origin_of(&url) {
                authorization = None;
            }
            let response = self.send(host, &client, request, &url, authorization).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            if request.method != Method::GET {
                return Err(refuse("a push is not redirected"));
            }
            let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            let location = location.ok_or_else(|| refuse("it has no readable location"))?;
            let next = url.join(location).map_err(|_| refuse("its location is not a URL"))?;
            client = self.hosts.client_for(host, &url, &next)?;
            url = next;
        }
        Err(refuse("there are too many"))
    }

    /// Sends `request` to `url`, once more if the host fails. A host that throttles is left alone
    /// from then on, by everybody.
    pub(super) async fn send(
        &self,
        host: &Host,
        client: &Client,
        request: &Request,
        url: &Url,
        authorization: Option<&Authorization>,
    ) -> Result<Response, RegistryError> {
        let origin = url.origin().ascii_serialization();
        let (lane, budget) = lane(host, request, url, &origin);
        let mut tries = 1;
        loop {
            let turn = self.turn(host, request, &lane, &budget, &origin).await?;
            let pass = self.pass(host, request, &lane, &origin)?;
            let span = trace::span(request.route, &request.method, url, tries - 1);
            let mut message = build(client, request, url, authorization);
            if host.is_origin_of(url)
                && request.route != Route::Token
                && let Some(traceparent) = spans::for_registries(&span)
            {
                message = message.header("traceparent", traceparent);
            }
            let (began, sent) = (Instant::now(), message.send());
            let sent = sent.instrument(span.clone()).await;
            let took = began.elapsed();
            trace::ended(&span, &sent);
            let outcome =
                sent.as_ref().map_or(Outcome::Unanswered, |r| Outcome::Answered(r.status().into()));
            let rest = if sent.is_ok() { pass.answered() } else { pass.unanswered() };
            if let Some(rest) = rest {
                warn!(registry = host.name, ?rest, "it does not answer, and is left alone");
            }
            self.observer.on_request(&host.name, request.route, outcome, Some(took));
            debug!(registry = host.name, route = request.route.as_str(), ?outcome, tries);
            let error = match sent {
                Err(error) if error.is_timeout() && !error.is_connect() => {
                    return Err(unreachable(host, error));
                }
                Err(error) => unreachable(host, error),
                Ok(mut response) => match response.status() {
                    status if is_throttled(&response) => {
                        debug!(registry = host.name, %status, "throttled");
                        let retry_after = self.gate.close(lane, response.headers()).await;
                        return Err(RegistryError::Throttled { host: origin, retry_after });
                    }
                    status if status.is_server_error() => {
                        RegistryError::Failed { host: host.name.clone(), status: status.into() }
                    }
                    _ => {
                        response.extensions_mut().insert(turn);
                        return Ok(response);
                    }
                },
            };
            drop(turn);
            if tries == MAX_TRIES || matches!(error, RegistryError::NotPublic(_)) {
                return Err(error);
            }
            tries += 1;
            let backoff = self.patience.backoff;
            tokio::time::sleep(backoff + jitter(backoff)).await;
        }
    }
}

impl Exchange {
    /// Waits until the host may be asked. One that wants to be left alone is not, also if it says so
    /// while its turn is waited for.
    async fn turn(
        &self,
        host: &Host,
        request: &Request,
        lane: &str,
        budget: &Budget,
        origin: &str,
    ) -> Result<Turn, RegistryError> {
        self.open(host, request, lane, origin).await?;
        if request.deadline <= Instant::now() {
            return Err(RegistryError::Deadline);
        }
        let Ok(turn) = self.budgets.turn(lane, budget, request.deadline).await else {
            self.observer.on_request(&host.name, request.route, Outcome::Shed, None);
            return Err(RegistryError::OverBudget { host: origin.to_owned() });
        };
        if !turn.waited.is_zero() {
            self.observer.on_wait(&host.name, turn.waited);
            self.open(host, request, lane, origin).await?;
        }
        Ok(turn)
    }

    /// Whether a host that did not answer may be asked again.
    fn pass(
        &self,
        host: &Host,
        request: &Request,
        lane: &str,
        origin: &str,
    ) -> Result<Pass, RegistryError> {
        self.breakers.admit(lane).map_err(|retry_after| {
            self.observer.on_request(&host.name, request.route, Outcome::Withheld, None);
            RegistryError::Silent { host: origin.to_owned(), retry_after }
        })
    }

    async fn open(
        &self,
        host: &Host,
        request: &Request,
        lane: &str,
        origin: &str,
    ) -> Result<(), RegistryError> {
        let Some(retry_after) = self.gate.closed_for(lane).await else {
            return Ok(());
        };
        self.observer.on_request(&host.name, request.route, Outcome::Withheld, None);
        Err(RegistryError::Throttled { host: origin.to_owned(), retry_after })
    }
}

/// Who shares a budget and a `Retry-After`, and that budget. A registry counts whom it knows: those
/// with one credential, which is one registry's name with us (CASES T111). Where it redirects to has a
/// lane for each registry's name too: others may redirect to the same storage, and what they spend or
/// are told there is theirs.
fn lane(host: &Host, request: &Request, url: &Url, origin: &str) -> (String, Budget) {
    if host.is_origin_of(url) || request.route == Route::Token {
        return (format!("{} {origin}", host.name), host.budget);
    }
    (format!("{} to {origin}", host.name), Budget::default())
}

fn is_throttled(response: &Response) -> bool {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => response.headers().contains_key(RETRY_AFTER),
        _ => false,
    }
}

fn build(
    client: &Client,
    request: &Request,
    url: &Url,
    authorization: Option<&Authorization>,
) -> reqwest::RequestBuilder {
    let mut builder =
        client.request(request.method.clone(), url.clone()).header(ACCEPT, request.accept);
    if let Some((bytes, media_type)) = &request.body {
        builder = builder.header(CONTENT_TYPE, media_type).body(bytes.clone());
    }
    match authorization {
        None => builder,
        Some(Authorization::Bearer(token)) => builder.bearer_auth(token.value.expose()),
        Some(Authorization::Basic(credential)) => match &**credential {
            Credential::Basic { username, password } => {
                builder.basic_auth(username, Some(password.expose()))
            }
            Credential::Identity { .. } | Credential::Bearer(_) => builder,
        },
    }
}

fn denied(host: &Host, repository: &str, status: StatusCode) -> RegistryError {
    RegistryError::Denied {
        host: host.name.clone(),
        repository: repository.to_owned(),
        status: status.as_u16(),
    }
}

/// An error of the HTTP client, without its URL: that may hold a signature to be kept.
pub(super) fn unreachable(host: &Host, error: reqwest::Error) -> RegistryError {
    let mut source: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if inner.is::<NoPublicAddress>() {
            return RegistryError::NotPublic(host.name.clone());
        }
        source = inner.source();
    }
    RegistryError::Unreachable { host: host.name.clone(), source: Arc::new(error.without_url()) }
}
