//! The tokens of workloads in, Entra's access tokens out; and those of a machine's managed identity.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::{Answer, Asked, Service};
use crate::TestkitError;

/// An application in Entra that has a federated credential.
#[derive(Debug, Clone)]
pub struct Application {
    /// The tenant's identifier.
    pub tenant: String,
    /// The application's.
    pub client: String,
    /// The token that it trusts now.
    pub assertion: String,
    /// The access token that it is given.
    pub access_token: String,
    /// For how long that is good, as the answer says.
    pub expires_in: serde_json::Value,
}

/// Entra with one application; its metadata service gives the same token to the machine.
#[derive(Debug)]
pub struct Entra {
    /// Where it is.
    pub service: Service,
    application: Arc<Mutex<Application>>,
}

impl Entra {
    /// Starts it.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(application: Application) -> Result<Self, TestkitError> {
        let application = Arc::new(Mutex::new(application));
        let shared = Arc::clone(&application);
        let service = Service::start(move |asked| {
            let application = shared.lock();
            if asked.path == "/metadata/identity/oauth2/token" {
                metadata(&application, asked)
            } else {
                token(&application, asked)
            }
        })
        .await?;
        Ok(Self { service, application })
    }

    /// Changes what it knows.
    pub fn change(&self, change: impl FnOnce(&mut Application)) {
        change(&mut self.application.lock());
    }
}

fn token(application: &Application, asked: &Asked) -> Answer {
    if !asked.is("POST", &format!("/{}/oauth2/v2.0/token", application.tenant)) {
        return refused(400, "invalid_request", 90_002, &asked.path);
    }
    let Some(form) = asked.form() else {
        return refused(400, "invalid_request", 900_144, "the body is no form");
    };
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("grant_type") != "client_credentials" {
        return refused(400, "unsupported_grant_type", 70_003, field("grant_type"));
    }
    if field("client_id") != application.client {
        return refused(400, "unauthorized_client", 700_016, field("client_id"));
    }
    if field("scope") != "https://containerregistry.azure.net/.default" {
        return refused(400, "invalid_scope", 70_011, field("scope"));
    }
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    if field("client_assertion_type") != kind || form.len() != 5 {
        return refused(
            401,
            "invalid_client",
            7_000_216,
            "the parameters are not those of a client",
        );
    }
    if field("client_assertion") != application.assertion {
        // As a hostile or careless service would: the text of the error repeats what was sent.
        return refused(401, "invalid_client", 700_213, field("client_assertion"));
    }
    given(application)
}

fn metadata(application: &Application, asked: &Asked) -> Answer {
    let query: Vec<_> = url::form_urlencoded::parse(asked.query.as_bytes()).collect();
    let has = |name: &str, value: &str| query.iter().any(|(n, v)| n == name && v == value);
    let good = asked.method == "GET"
        && asked.header("metadata") == Some("true")
        && has("api-version", "2018-02-01")
        && has("resource", "https://containerregistry.azure.net")
        && query.iter().all(|(name, value)| name != "client_id" || *value == application.client);
    if good { given(application) } else { refused(400, "invalid_request", 0, &asked.query) }
}

fn given(application: &Application) -> Answer {
    Answer::json(
        200,
        &json!({
            "token_type": "Bearer",
            "expires_in": application.expires_in,
            "ext_expires_in": 3599,
            "access_token": application.access_token,
        }),
    )
}

fn refused(status: u16, error: &str, number: u32, what: &str) -> Answer {
    Answer::json(
        status,
        &json!({
            "error": error,
            "error_description": format!("AADSTS{number}: not this one: {what}"),
            "error_codes": [number],
            "timestamp": "2026-08-01 12:00:00Z",
        }),
    )
}
