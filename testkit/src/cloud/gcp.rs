//! Identities of Google Cloud in, access tokens out; and a registry that takes them.
//!
//! One address serves the metadata service, the token service, the service that lends accounts, and
//! the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Answer, Asked, Service, registry, registry_error, repository};
use crate::TestkitError;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Who may have which token.
#[derive(Debug, Clone)]
pub struct Principal {
    /// `default`, or the service account's address.
    pub account: String,
    /// `//iam.googleapis.com/projects/…/providers/…`
    pub audience: String,
    /// The subject token that is trusted now.
    pub subject: String,
    /// The access token that is given.
    pub access_token: String,
    /// For how long it is good, as the answer says.
    pub expires_in: Value,
    /// The access token of the account that is lent, and when it ends as RFC 3339 has it.
    pub lent: (String, String),
}

/// Google Cloud with one principal.
#[derive(Debug)]
pub struct Google {
    /// Where it is.
    pub service: Service,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    principal: Principal,
    given: u32,
    tokens: BTreeMap<String, String>,
}

impl Google {
    /// Starts it.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(principal: Principal) -> Result<Self, TestkitError> {
        let state = State { principal, given: 0, tokens: BTreeMap::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let answer = move |asked: &Asked| shared.lock().answer(asked);
        Ok(Self { service: Service::start(answer).await?, state })
    }

    /// Changes what it knows.
    pub fn change(&self, change: impl FnOnce(&mut Principal)) {
        change(&mut self.state.lock().principal);
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let Principal { account, .. } = &self.principal;
        let metadata = format!("/computeMetadata/v1/instance/service-accounts/{account}/token");
        let lend = format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
        match asked.path.as_str() {
            "/v1/token" => self.exchange(asked),
            "/v2/token" => self.registry_token(asked),
            path if path == metadata => self.metadata(asked),
            path if path == lend => self.lend(asked),
            path if path.starts_with("/v2/") => self.image(asked),
            _ => Answer::json(404, &json!({"error": {"code": 404, "status": "NOT_FOUND"}})),
        }
    }

    fn metadata(&self, asked: &Asked) -> Answer {
        if asked.method != "GET" || asked.header("metadata-flavor") != Some("Google") {
            return Answer::new(403, "text/html", "<html>Missing Metadata-Flavor:Google</html>");
        }
        let Principal { access_token, expires_in, .. } = &self.principal;
        Answer::json(
            200,
            &json!({"access_token": access_token, "expires_in": expires_in, "token_type": "Bearer"}),
        )
    }

    fn exchange(&self, asked: &Asked) -> Answer {
        let form = asked.form().unwrap_or_default();
        let is = |name: &str, value: &str| form.get(name).is_some_and(|given| given == value);
        let asks = asked.method == "POST"
            && is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            && is("scope", SCOPE)
            && is("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
            && is("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
            && form.len() == 6;
        if !asks || !is("audience", &self.principal.audience) {
            let body = json!({"error": "invalid_request", "error_description": "no such audience"});
            return Answer::json(400, &body);
        }
        if !is("subject_token", &self.principal.subject) {
            // As a careless service would: the text of the error repeats what was sent.
            let text = form.get("subject_token");
            let body = json!({"error": "invalid_grant", "error_description": text});
            return Answer::json(400, &body);
        }
        let Principal { access_token, expires_in, .. } = &self.principal;
        Answer::json(
            200,
            &json!({
                "access_token": access_token,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": expires_in,
            }),
        )
    }

    fn lend(&self, asked: &Asked) -> Answer {
        let body: Option<Value> = serde_json::from_slice(&asked.body).ok();
        let is_json = asked.header("content-type") == Some("application/json");
        let Principal { access_token, lent: (token, end), .. } = &self.principal;
        if asked.method != "POST" || asked.bearer() != Some(access_token) {
            let error = json!({"code": 401, "status": "UNAUTHENTICATED", "message": "no"});
            return Answer::json(401, &json!({ "error": error }));
        }
        if !is_json || body != Some(json!({"scope": [SCOPE]})) {
            let error = json!({"code": 400, "status": "INVALID_ARGUMENT", "message": "no"});
            return Answer::json(400, &json!({ "error": error }));
        }
        Answer::json(200, &json!({"accessToken": token, "expireTime": end}))
    }

    fn registry_token(&mut self, asked: &Asked) -> Answer {
        let query: BTreeMap<_, _> = url::form_urlencoded::parse(asked.query.as_bytes()).collect();
        let Principal { access_token, lent: (lent, _), .. } = &self.principal;
        let good = |(user, password): (String, String)| {
            user == "oauth2accesstoken" && (password == *access_token || password == *lent)
        };
        if asked.method != "GET" || !asked.basic().is_some_and(good) {
            return registry_error(403, "DENIED");
        }
        let Some(scope) = query.get("scope") else { return registry_error(400, "DENIED") };
        self.given += 1;
        let token = format!("canary-gar-token-{}", self.given);
        self.tokens.insert(token.clone(), scope.clone().into_owned());
        Answer::json(200, &json!({"token": token, "expires_in": 3600}))
    }

    fn image(&self, asked: &Asked) -> Answer {
        let wanted = format!("repository:{}:pull", repository(&asked.path).unwrap_or_default());
        if asked.bearer().and_then(|token| self.tokens.get(token)) == Some(&wanted) {
            return registry(asked);
        }
        let host = asked.header("host").unwrap_or_default();
        registry_error(401, "UNAUTHORIZED").challenge(format!(
            "Bearer realm=\"http://{host}/v2/token\",service=\"{host}\",scope=\"{wanted}\""
        ))
    }
}
