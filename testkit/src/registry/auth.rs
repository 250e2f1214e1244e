//! Authorization headers in, a yes or a challenge out.
//!
//! Bearer tokens follow the distribution token specification: the challenge names realm, service
//! and scope, the realm gives a token for them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use portcullis_core::image::Digest;
use serde_json::json;

use super::answer::Answer;
use super::flavor::{Flavor, TokenForm};
use super::route::Call;

/// The most tokens that live at once; at one more, all before it end.
pub(super) const MAX_TOKENS: usize = 4_096;
/// The life of a token as the token endpoint states it, in seconds. The registry itself ends tokens
/// only when it is told to.
const EXPIRES_IN: u32 = 300;

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// Everybody.
    #[default]
    Anonymous,
    /// Who sends these with every request (RFC 7617).
    Basic(Credentials),
    /// Who sends a token that the registry's own token endpoint gave. The endpoint gives one to
    /// whoever sends these.
    Bearer(Credentials),
    /// As `Bearer`, but the endpoint gives a token for pulling to everybody.
    AnonymousBearer,
}

/// A name and a password.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credentials {
    fn header(&self) -> String {
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

/// How a credential that is not (or no longer) good is answered. A request without any is always
/// answered 401 with a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refusal {
    /// 401 with a challenge, as the specification has it.
    #[default]
    Unauthorized,
    /// 403 without a challenge, as ECR answers an expired token.
    Forbidden,
}

/// Who may ask, and the tokens given so far.
#[derive(Debug, Default)]
pub(super) struct Access {
    auth: Auth,
    pub(super) flavor: Flavor,
    pub(super) refusal: Refusal,
    given: u64,
    tokens: BTreeMap<String, Vec<Scope>>,
}

/// Something that a token permits: `repository:<name>:<action>`.
#[derive(Debug, PartialEq, Eq)]
struct Scope {
    repository: String,
    actions: Vec<String>,
}

impl Access {
    pub(super) fn set(&mut self, auth: Auth) {
        self.auth = auth;
        self.expire();
    }

    pub(super) fn expire(&mut self) {
        self.tokens.clear();
    }

    /// The answer to a request that may not go on; `None` if it may.
    pub(super) fn challenge(
        &self,
        host: &str,
        method: &Method,
        call: Call<'_>,
        headers: &HeaderMap,
    ) -> Option<Answer> {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match &self.auth {
            Auth::Anonymous => None,
            Auth::Basic(expected) => {
                let mut challenge = format!("Basic realm=\"{host}\"");
                if self.flavor == Flavor::Ecr {
                    challenge = format!(
                        "Basic realm=\"http://{host}/\",service=\"{}\"",
                        self.flavor.service(host)
                    );
                }
                match given {
                    Some(given) if given == expected.header() => None,
                    Some(_) => Some(self.refuse(&challenge)),
                    None => Some(challenged(&challenge)),
                }
            }
            Auth::Bearer(_) | Auth::AnonymousBearer => {
                let action =
                    if matches!(*method, Method::GET | Method::HEAD) { "pull" } else { "push" };
                self.token_challenge(host, action, call, given)
            }
        }
    }

    fn token_challenge(
        &self,
        host: &str,
        action: &str,
        call: Call<'_>,
        given: Option<&str>,
    ) -> Option<Answer> {
        let (path, service) = (self.flavor.token_path(), self.flavor.service(host));
        let mut challenge = format!("Bearer realm=\"http://{host}{path}\",service=\"{service}\"");
        if let Some(repository) = call.repository() {
            let actions = if action == "push" { "pull,push" } else { "pull" };
            challenge.push_str(&format!(",scope=\"repository:{repository}:{actions}\""));
        }
        let Some(given) = given else {
            return Some(challenged(&challenge));
        };
        let token = given.strip_prefix("Bearer ").unwrap_or_default();
        let Some(scopes) = self.tokens.get(token) else {
            return Some(self.refuse(&format!("{challenge},error=\"invalid_token\"")));
        };
        let permits = |repository: &str| {
            scopes
                .iter()
                .any(|s| s.repository == repository && s.actions.iter().any(|a| a == action))
        };
        if call.repository().is_none_or(permits) {
            None
        } else {
            // A good token for something else is a mistake of the client's, never an expiry.
            Some(challenged(&format!("{challenge},error=\"insufficient_scope\"")))
        }
    }

    /// Answers a request to the token endpoint, `GET /token?service=…&scope=…` as it is mostly.
    pub(super) fn token(&mut self, host: &str, query: &str, headers: &HeaderMap) -> Answer {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let may_push = match &self.auth {
            Auth::Bearer(expected) if given == Some(expected.header().as_str()) => true,
            Auth::AnonymousBearer => false,
            Auth::Bearer(_) => return challenged(&format!("Basic realm=\"{host}\"")),
            Auth::Anonymous | Auth::Basic(_) => return Answer::new(StatusCode::NOT_FOUND),
        };
        let mut service = None;
        let mut scopes = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "service" => service = Some(value.into_owned()),
                "scope" => scopes.extend(value.split(' ').map(str::to_owned)),
                _ => {}
            }
        }
        if service != Some(self.flavor.service(host)) {
            return Answer::error(StatusCode::BAD_REQUEST, "DENIED", "no such service");
        }
        let Some(mut scopes) = scopes.iter().map(|s| Scope::read(s)).collect::<Option<Vec<_>>>()
        else {
            return Answer::error(StatusCode::BAD_REQUEST, "DENIED", "malformed scope");
        };
        if !may_push {
            for scope in &mut scopes {
                scope.actions.retain(|action| action == "pull");
            }
        }
        if self.tokens.len() >= MAX_TOKENS {
            self.expire();
        }
        self.given += 1;
        let token = Digest::of(format!("{host} {}", self.given).as_bytes()).hex();
        let body = match self.flavor.token_form() {
            TokenForm::Both => json!({
                "token": token,
                "access_token": token,
                "expires_in": EXPIRES_IN,
            }),
            TokenForm::Token => json!({ "token": token }),
            TokenForm::AccessToken => json!({ "access_token": token }),
        };
        self.tokens.insert(token, scopes);
        Answer::ok("application/json", body.to_string())
    }

    fn refuse(&self, challenge: &str) -> Answer {
        match self.refusal {
            Refusal::Unauthorized => challenged(challenge),
            Refusal::Forbidden => Answer::error(
                StatusCode::FORBIDDEN,
                "DENIED",
                "your authorization token has expired, reauthenticate and try again",
            ),
        }
    }
}

impl Scope {
    fn read(text: &str) -> Option<Self> {
        let (name, actions) = text.strip_prefix("repository:")?.rsplit_once(':')?;
        let actions = actions.split(',').map(str::to_owned).collect();
        Some(Self { repository: name.to_owned(), actions })
    }
}

fn challenged(challenge: &str) -> Answer {
    Answer::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
        .header(WWW_AUTHENTICATE, challenge)
}
