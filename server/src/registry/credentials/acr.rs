//! An identity in Azure in, the token out that Azure Container Registry takes.
//!
//! ```text
//! federated token ─ Entra ─┐
//!       managed identity ──┴─ access token ─ /oauth2/exchange ─ refresh token ─ /oauth2/token
//! ```
//!
//! The last step is what every registry has for an identity token. The access token goes to
//! registries of Azure alone (CASES T040, T041; CVE-2025-27403).
//! [AAD-OAuth](https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use parking_lot::Mutex;
use serde::Deserialize;
use url::Url;

use super::call::{Call, Seconds, oauth_code, own_endpoint};
use super::error::CredentialError;
use super::file::{Line, Watched};
use super::kept::{Given, Kept};
use super::{Credential, MAX_PLACES, Setting, jwt, watched};
use crate::registry::config::Secret;
use crate::registry::host::Host;

/// Where Entra is, for the clouds that there are.
const AUTHORITIES: [&str; 4] = [
    "https://login.microsoftonline.com/",
    "https://login.microsoftonline.us/",
    "https://login.chinacloudapi.cn/",
    "https://login.partner.microsoftonline.cn/",
];
/// Where a machine's managed identity is.
const METADATA: &str = "http://169.254.169.254/";
const SCOPE: &str = "https://containerregistry.azure.net/.default";
const RESOURCE: &str = "https://containerregistry.azure.net";
const SUFFIXES: [&str; 3] = [".azurecr.io", ".azurecr.us", ".azurecr.cn"];
/// How long a refresh token is good if it does not say.
const UNSAID: Duration = Duration::from_hours(1);

/// Who asks registries of Azure.
#[derive(Clone)]
pub struct AcrConfig {
    who: Who,
    tenant: Option<String>,
    origin: Url,
}

#[derive(Clone)]
enum Who {
    Workload { client: String, token_file: PathBuf },
    Managed { client: Option<String> },
}

impl AcrConfig {
    /// A workload identity: an application with a federated credential. `authority` is one of
    /// Azure's.
    ///
    /// # Errors
    /// When the tenant or the client is not an identifier, or the authority is not Azure's.
    pub fn workload(
        tenant: &str,
        client: &str,
        token_file: PathBuf,
        authority: Option<&str>,
    ) -> Result<Self, CredentialError> {
        let [public, ..] = AUTHORITIES;
        let authority = authority.unwrap_or(public);
        let origin = Url::parse(authority).ok().filter(|url| AUTHORITIES.contains(&url.as_str()));
        let origin = origin.ok_or_else(|| CredentialError::Endpoint(authority.to_owned()))?;
        let client = identifier(client)?;
        let tenant = Some(identifier(tenant)?);
        Ok(Self { who: Who::Workload { client, token_file }, tenant, origin })
    }

    /// The managed identity of the machine; with `client`, that one of several.
    ///
    /// # Errors
    /// When the client or the tenant is not an identifier.
    pub fn managed(client: Option<&str>, tenant: Option<&str>) -> Result<Self, CredentialError> {
        let client = client.map(identifier).transpose()?;
        let tenant = tenant.map(identifier).transpose()?;
        let origin = own_or(METADATA)?;
        Ok(Self { who: Who::Managed { client }, tenant, origin })
    }

    /// Asks `origin` in place of Entra, or of the machine's metadata service.
    ///
    /// # Errors
    /// When it is neither TLS nor this machine.
    pub fn at(self, origin: &str) -> Result<Self, CredentialError> {
        Ok(Self { origin: own_endpoint(origin)?, ..self })
    }

    /// Whether `host` is a registry of Azure: one label before one of its suffixes.
    #[must_use]
    pub fn is_for(host: &str) -> bool {
        SUFFIXES.iter().any(|suffix| {
            host.strip_suffix(suffix).is_some_and(|name| {
                !name.is_empty()
                    && name.bytes().all(|b| {
                        b.is_ascii_lowercase()
                            || b.is_ascii_digit()
                            || matches!(b, b'-' | b'*' | b'?')
                    })
            })
        })
    }

    pub(super) fn identity(&self) -> String {
        let tenant = self.tenant.as_deref().unwrap_or_default();
        match &self.who {
            Who::Workload { client, .. } => format!("acr:{tenant}/{client}"),
            Who::Managed { client } => {
                format!("acr:managed:{tenant}/{}", client.as_deref().unwrap_or_default())
            }
        }
    }
}

/// A constant, which is a URL.
fn own_or(constant: &str) -> Result<Url, CredentialError> {
    Url::parse(constant).map_err(|_| CredentialError::Endpoint(constant.to_owned()))
}

/// A GUID or a domain: nothing that is more than one part of a path.
fn identifier(text: &str) -> Result<String, CredentialError> {
    let is = !text.is_empty()
        && text.len() <= 256
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && !text.starts_with('.');
    if is { Ok(text.to_owned()) } else { Err(CredentialError::Identifier(text.to_owned())) }
}

/// Gets refresh tokens for registries.
pub(super) struct Acr {
    config: AcrConfig,
    file: Option<Watched<Line>>,
    setting: Setting,
    access: Kept<Secret>,
    registries: Mutex<BTreeMap<String, Arc<Kept<Credential>>>>,
}

#[derive(Deserialize)]
struct AccessAnswer {
    access_token: String,
    expires_in: Option<Seconds>,
}

#[derive(Deserialize)]
struct ExchangeAnswer {
    refresh_token: String,
}

impl Acr {
    pub(super) fn new(config: AcrConfig, setting: &Setting) -> Self {
        let file = match &config.who {
            Who::Workload { token_file, .. } => Some(watched(token_file.clone(), setting)),
            Who::Managed { .. } => None,
        };
        let access = Kept::new("entra", Arc::clone(&setting.observer));
        Self { config, file, setting: setting.clone(), access, registries: Mutex::default() }
    }

    pub(super) async fn get(&self, host: &Host) -> Result<Arc<Credential>, CredentialError> {
        if !AcrConfig::is_for(&host.name) || !super::is_at_home(host) {
            return Err(CredentialError::Host { host: host.name.clone(), kind: "acr" });
        }
        self.kept(&host.name).get(|| self.exchange(host)).await
    }

    pub(super) fn forget(&self, registry: &str, refused: &Arc<Credential>) -> bool {
        self.kept(registry).forget(refused)
    }

    fn kept(&self, registry: &str) -> Arc<Kept<Credential>> {
        let mut registries = self.registries.lock();
        if registries.len() >= MAX_PLACES && !registries.contains_key(registry) {
            registries.clear();
        }
        let fresh = || Arc::new(Kept::new("acr", Arc::clone(&self.setting.observer)));
        Arc::clone(registries.entry(registry.to_owned()).or_insert_with(fresh))
    }

    async fn exchange(&self, host: &Host) -> Result<Given<Credential>, CredentialError> {
        let access = self.access.get(|| self.access_token()).await?;
        let url = host.base.join("oauth2/exchange");
        let url = url.map_err(|_| CredentialError::Endpoint(host.base.to_string()))?;
        let mut fields = vec![("grant_type", "access_token"), ("service", host.name.as_str())];
        fields.extend(self.config.tenant.as_deref().map(|tenant| ("tenant", tenant)));
        fields.push(("access_token", access.expose()));
        let call = Call::form("the registry's token exchange", url, &fields);
        let reply = self.setting.caller.ask_with(&host.client, &call).await?;
        if reply.status == 401 {
            self.access.forget(&access);
        }
        let ExchangeAnswer { refresh_token } = reply.json(registry_code)?;
        let token = reply.token(refresh_token)?;
        let end = jwt::expiry(token.expose());
        let life = end.map_or(UNSAID, |end| {
            Duration::try_from(end - self.setting.clock.now()).unwrap_or_default()
        });
        Ok(Given { value: Credential::Identity { token, client: None }, life })
    }

    async fn access_token(&self) -> Result<Given<Secret>, CredentialError> {
        let call = match (&self.config.who, &self.file) {
            (Who::Workload { client, .. }, Some(file)) => {
                let assertion = file.read().await?;
                let tenant = self.config.tenant.as_deref().unwrap_or_default();
                let url = self.url(&format!("{tenant}/oauth2/v2.0/token"))?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let fields = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client),
                    ("scope", SCOPE),
                    ("client_assertion_type", kind),
                    ("client_assertion", assertion.text.expose()),
                ];
                Call::form("Entra", url, &fields)
            }
            (who, _) => {
                let mut url = self.url("metadata/identity/oauth2/token")?;
                url.query_pairs_mut()
                    .append_pair("api-version", "2018-02-01")
                    .append_pair("resource", RESOURCE);
                if let Who::Managed { client: Some(client) } = who {
                    url.query_pairs_mut().append_pair("client_id", client);
                }
                let header = HeaderName::from_static("metadata");
                Call::get("the metadata service", url).header(header, "true")?
            }
        };
        let reply = self.setting.caller.ask(&call).await?;
        let AccessAnswer { access_token, expires_in } = reply.json(oauth_code)?;
        let life = expires_in.map_or(UNSAID, |seconds| seconds.duration());
        Ok(Given { value: reply.token(access_token)?, life })
    }

    fn url(&self, path: &str) -> Result<Url, CredentialError> {
        let origin = &self.config.origin;
        origin.join(path).map_err(|_| CredentialError::Endpoint(origin.to_string()))
    }
}

/// The code of a registry's error document (distribution-spec, "Error Codes").
fn registry_code(document: &serde_json::Value) -> Option<String> {
    Some(document.get("errors")?.get(0)?.get("code")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t041_only_a_registry_of_azure_is_one() {
        for host in ["x.azurecr.io", "team-1.azurecr.us", "a1.azurecr.cn", "*.azurecr.io"] {
            assert!(AcrConfig::is_for(host), "{host}");
        }
        for host in [
            "azurecr.io",
            ".azurecr.io",
            "a.b.azurecr.io",
            "x.azurecr.io.attacker.com",
            "azurecr.io.evil",
            "evil-azurecr.io",
            "x.azurecr.io:444",
            "x.azurecr.io:443",
            "x.azurecr.io.",
            "X.azurecr.io",
            "x.xn--azurecr-9ib.io",
            "x@evil.azurecr.io",
            "evil.example/x.azurecr.io",
            "",
        ] {
            assert!(!AcrConfig::is_for(host), "{host}");
        }
    }

    #[test]
    fn entra_is_asked_where_azure_has_it_and_nowhere_else() {
        let at =
            |authority: &str| AcrConfig::workload("t", "c", "file".into(), Some(authority)).is_ok();
        assert!(AUTHORITIES.iter().all(|authority| at(authority)));
        assert!(at("https://login.microsoftonline.com"));
        for authority in [
            "http://login.microsoftonline.com/",
            "https://login.microsoftonline.com.evil.example/",
            "https://login.microsoftonline.com:444/",
            "https://login.microsoftonline.com/x/",
            "https://login.microsoftonline.com@evil.example/",
            "https://evil.example/",
            "http://127.0.0.1:1/",
            "",
        ] {
            assert!(!at(authority), "{authority}");
        }
    }

    #[test]
    fn an_identifier_is_one_part_of_a_path() {
        for text in ["", "a/b", "..", ".", "a?b", "a#b", "ä", "a b", &"a".repeat(257)] {
            assert!(AcrConfig::workload(text, "c", "file".into(), None).is_err(), "{text}");
            assert!(AcrConfig::managed(Some(text), None).is_err(), "{text}");
        }
    }
}
