//! A registry of Azure: an access token in, a refresh token, an access token, and an image out.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use portcullis_core::ports::Clock;
use serde_json::json;

use super::{Answer, Asked, Service, jwt, registry, registry_error, repository};
use crate::TestkitError;

/// For how long a refresh token is good, in seconds.
const REFRESH_LIFE: i64 = 3 * 3600;

/// A registry of Azure.
#[derive(Debug)]
pub struct Acr {
    /// Where it is.
    pub service: Service,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    name: String,
    tenant: Option<String>,
    access_token: String,
    given: u32,
    refresh: BTreeMap<String, i64>,
    /// Tokens by the one scope that they permit.
    tokens: BTreeMap<String, String>,
}

impl Acr {
    /// A registry that is called `name`, `<x>.azurecr.io`, of `tenant` if that must be said, which
    /// takes `access_token`. Its refresh tokens have `canary` in them.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(
        name: &str,
        tenant: Option<&str>,
        access_token: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TestkitError> {
        let state = Arc::new(Mutex::new(State {
            name: name.to_owned(),
            tenant: tenant.map(str::to_owned),
            access_token: access_token.to_owned(),
            given: 0,
            refresh: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }));
        let shared = Arc::clone(&state);
        let answer = move |asked: &Asked| shared.lock().answer(asked, clock.now().unix_timestamp());
        Ok(Self { service: Service::start(answer).await?, state })
    }

    /// Ends all tokens that were given.
    pub fn expire(&self) {
        let mut state = self.state.lock();
        state.refresh.clear();
        state.tokens.clear();
    }

    /// Takes another access token from now on.
    pub fn take(&self, access_token: &str) {
        access_token.clone_into(&mut self.state.lock().access_token);
    }
}

impl State {
    fn answer(&mut self, asked: &Asked, now: i64) -> Answer {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/oauth2/exchange") => self.exchange(asked, now),
            ("POST", "/oauth2/token") => self.token(asked, now),
            ("GET", path) if path.starts_with("/v2/") => self.image(asked),
            _ => registry_error(404, "NAME_UNKNOWN"),
        }
    }

    fn exchange(&mut self, asked: &Asked, now: i64) -> Answer {
        let form = asked.form().unwrap_or_default();
        let field = |name: &str| form.get(name).map(String::as_str);
        if field("grant_type") != Some("access_token")
            || field("service") != Some(&self.name)
            || field("tenant") != self.tenant.as_deref()
            || form.len() != 3 + usize::from(self.tenant.is_some())
        {
            return registry_error(400, "INVALID_REQUEST");
        }
        if field("access_token") != Some(&self.access_token) {
            return registry_error(401, "UNAUTHORIZED");
        }
        let token = self.next("refresh", now + REFRESH_LIFE);
        self.refresh.insert(token.clone(), now + REFRESH_LIFE);
        Answer::json(200, &json!({"refresh_token": token}))
    }

    fn token(&mut self, asked: &Asked, now: i64) -> Answer {
        let form = asked.form().unwrap_or_default();
        let field = |name: &str| form.get(name).map(String::as_str);
        let scope = field("scope").unwrap_or_default().to_owned();
        if field("grant_type") != Some("refresh_token")
            || field("service") != Some(&self.name)
            || !scope.starts_with("repository:")
            || form.len() != 4
        {
            return registry_error(400, "INVALID_REQUEST");
        }
        let good = field("refresh_token").and_then(|token| self.refresh.get(token));
        if good.is_none_or(|end| *end <= now) {
            return registry_error(401, "UNAUTHORIZED");
        }
        let token = self.next("access", now + 3600);
        self.tokens.insert(token.clone(), scope);
        // As it is: without a number.
        Answer::json(200, &json!({"access_token": token}))
    }

    fn image(&self, asked: &Asked) -> Answer {
        let wanted = format!("repository:{}:pull", repository(&asked.path).unwrap_or_default());
        let scope = asked.bearer().and_then(|token| self.tokens.get(token));
        if scope == Some(&wanted) {
            return registry(asked);
        }
        let host = asked.header("host").unwrap_or_default();
        registry_error(401, "UNAUTHORIZED").challenge(format!(
            "Bearer realm=\"http://{host}/oauth2/token\",service=\"{}\",scope=\"{wanted}\"",
            self.name
        ))
    }

    fn next(&mut self, kind: &str, end: i64) -> String {
        self.given += 1;
        jwt(&format!("canary-acr-{kind}-{}", self.given), end)
    }
}
