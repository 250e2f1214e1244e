//! An identity in Google Cloud in, the access token out that its registries take as a password.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use portcullis_core::json;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::call::{Call, Seconds, oauth_code, own_endpoint};
use super::error::CredentialError;
use super::file::{Content, Watched};
use super::kept::{Given, Kept, LONGEST, SHORTEST};
use super::{Credential, Setting, watched};
use crate::registry::config::Secret;
use crate::registry::host::Host;

const METADATA: &str = "http://metadata.google.internal/";
const STS: &str = "https://sts.googleapis.com/";
const IAM: &str = "https://iamcredentials.googleapis.com/";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const USER: &str = "oauth2accesstoken";

/// Who asks registries of Google Cloud.
#[derive(Clone)]
pub struct GarConfig {
    who: Who,
}

#[derive(Clone)]
enum Who {
    Metadata { account: String, origin: Url },
    External(Box<External>),
}

/// What an external account's file says (workload identity federation).
#[derive(Clone)]
struct External {
    audience: String,
    token_type: String,
    token_url: Url,
    impersonation: Option<Url>,
    file: PathBuf,
    /// The member of a JSON document that holds the token; nothing: the file is the token.
    member: Option<String>,
}

#[derive(Deserialize)]
struct ExternalFile {
    r#type: String,
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: Source,
}

#[derive(Deserialize)]
struct Source {
    file: Option<PathBuf>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    r#type: String,
    subject_token_field_name: Option<String>,
}

impl GarConfig {
    /// The service account of the machine or of the pod; `account` is `default` or one's address.
    /// The metadata service is Google's, or that of `origin`.
    ///
    /// # Errors
    /// When the account is not an identifier, or the origin is neither TLS nor this machine.
    pub fn metadata(account: &str, origin: Option<&str>) -> Result<Self, CredentialError> {
        let is = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'@');
        if account.is_empty() || account.starts_with('.') || !account.bytes().all(is) {
            return Err(CredentialError::Identifier(account.to_owned()));
        }
        let origin = match origin {
            Some(origin) => own_endpoint(origin)?,
            None => constant(METADATA)?,
        };
        Ok(Self { who: Who::Metadata { account: account.to_owned(), origin } })
    }

    /// An external account by what its file says, which is no secret; `path` is that file. Its token
    /// service must be Google's, or at the origin `sts`; the service that lends accounts likewise, or
    /// at `iam`.
    ///
    /// # Errors
    /// When the file is not one of an external account whose token is in a file.
    pub fn external(
        path: &Path,
        bytes: &[u8],
        sts: Option<&str>,
        iam: Option<&str>,
    ) -> Result<Self, CredentialError> {
        let wrong = |why| CredentialError::Content { path: path.to_owned(), why };
        let file: ExternalFile = json::from_slice(bytes)
            .map_err(|_| wrong("it is not the file of an external account"))?;
        if file.r#type != "external_account" {
            return Err(wrong("its `type` is not `external_account`"));
        }
        let token_url = allowed(&file.token_url, STS, sts)?;
        let lent = file.service_account_impersonation_url.as_deref();
        let impersonation = lent.map(|url| allowed(url, IAM, iam)).transpose()?;
        let Source { file: Some(token_file), format } = file.credential_source else {
            return Err(wrong("its `credential_source` is not a file, which alone is read"));
        };
        let member = match format {
            None => None,
            Some(Format { r#type, .. }) if r#type == "text" => None,
            Some(Format { r#type, subject_token_field_name: Some(member) }) if r#type == "json" => {
                Some(member)
            }
            Some(_) => return Err(wrong("its `format` is neither `text` nor `json` with a field")),
        };
        let external = External {
            audience: file.audience,
            token_type: file.subject_token_type,
            token_url,
            impersonation,
            file: path.parent().unwrap_or(Path::new("")).join(token_file),
            member,
        };
        Ok(Self { who: Who::External(Box::new(external)) })
    }

    /// Whether `host`, which may be a pattern, is a registry of Google Cloud.
    #[must_use]
    pub fn is_for(host: &str) -> bool {
        let label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*' | b'?')
                })
        };
        let prefix = |suffix: &str| host.strip_suffix(suffix).is_some_and(label);
        host == "gcr.io"
            || prefix(".gcr.io")
            || prefix("-docker.pkg.dev")
            || matches!(host, "*.pkg.dev")
    }

    pub(super) fn identity(&self) -> String {
        match &self.who {
            Who::Metadata { account, origin } => format!("gar:{origin}{account}"),
            Who::External(external) => {
                let lent = external.impersonation.as_ref().map_or("", Url::path);
                format!("gar:{}{lent}", external.audience)
            }
        }
    }
}

fn constant(text: &str) -> Result<Url, CredentialError> {
    Url::parse(text).map_err(|_| CredentialError::Endpoint(text.to_owned()))
}

/// `text`, if it is at Google's origin, or at the one that is configured in its place.
fn allowed(text: &str, google: &str, own: Option<&str>) -> Result<Url, CredentialError> {
    let refused = || CredentialError::Endpoint(text.to_owned());
    let origin = match own {
        Some(own) => own_endpoint(own)?,
        None => constant(google)?,
    };
    let url = Url::parse(text).map_err(|_| refused())?;
    let bare = url.username().is_empty() && url.password().is_none();
    if bare && url.origin() == origin.origin() { Ok(url) } else { Err(refused()) }
}

/// The content of a file with a token, whole.
struct Text(Secret);

impl Content for Text {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(bytes).map_err(|_| "it is not text")?.trim();
        if text.is_empty() { Err("it is empty") } else { Ok(Self(Secret::new(text.to_owned()))) }
    }

    fn ends(&self) -> Option<OffsetDateTime> {
        super::jwt::expiry(self.0.expose())
    }
}

/// Gets access tokens.
pub(super) struct Gar {
    config: GarConfig,
    file: Option<Watched<Text>>,
    setting: Setting,
    kept: Kept<Credential>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LentAnswer {
    access_token: String,
    expire_time: String,
}

impl Gar {
    pub(super) fn new(config: GarConfig, setting: &Setting) -> Self {
        let file = match &config.who {
            Who::External(external) => Some(watched(external.file.clone(), setting)),
            Who::Metadata { .. } => None,
        };
        let kept = Kept::new("gar", Arc::clone(&setting.observer));
        Self { config, file, setting: setting.clone(), kept }
    }

    pub(super) async fn get(&self, host: &Host) -> Result<Arc<Credential>, CredentialError> {
        if !GarConfig::is_for(&host.name) || !super::is_at_home(host) {
            return Err(CredentialError::Host { host: host.name.clone(), kind: "gar" });
        }
        self.kept.get(|| self.password()).await
    }

    pub(super) fn forget(&self, refused: &Arc<Credential>) -> bool {
        self.kept.forget(refused)
    }

    async fn password(&self) -> Result<Given<Credential>, CredentialError> {
        let Given { value: password, life } = match (&self.config.who, &self.file) {
            (Who::Metadata { account, origin }, _) => self.metadata(account, origin).await?,
            (Who::External(external), Some(file)) => {
                let text = file.read().await?;
                let token = subject(external, &text.0)?;
                self.federated(external, &token).await?
            }
            (Who::External(external), None) => {
                return Err(CredentialError::Content {
                    path: external.file.clone(),
                    why: "it is not read",
                });
            }
        };
        Ok(Given { value: Credential::Basic { username: USER.to_owned(), password }, life })
    }

    async fn metadata(
        &self,
        account: &str,
        origin: &Url,
    ) -> Result<Given<Secret>, CredentialError> {
        let path = format!("computeMetadata/v1/instance/service-accounts/{account}/token");
        let url = origin.join(&path).map_err(|_| CredentialError::Endpoint(origin.to_string()))?;
        let flavor = HeaderName::from_static("metadata-flavor");
        let call = Call::get("the metadata service", url).header(flavor, "Google")?;
        let reply = self.setting.caller.ask(&call).await?;
        let TokenAnswer { access_token, expires_in } = reply.json(oauth_code)?;
        let life = expires_in.map_or(SHORTEST, |seconds| seconds.duration());
        Ok(Given { value: reply.token(access_token)?, life })
    }

    async fn federated(
        &self,
        external: &External,
        subject: &Secret,
    ) -> Result<Given<Secret>, CredentialError> {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", external.audience.as_str()),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", external.token_type.as_str()),
            ("subject_token", subject.expose()),
        ];
        let call = Call::form("Google's token service", external.token_url.clone(), &fields);
        let reply = self.setting.caller.ask(&call).await?;
        let TokenAnswer { access_token, expires_in } = reply.json(oauth_code)?;
        let token = reply.token(access_token)?;
        let Some(url) = &external.impersonation else {
            let life = expires_in.map_or(SHORTEST, |seconds| seconds.duration());
            return Ok(Given { value: token, life });
        };
        let body = Bytes::from(json!({ "scope": [SCOPE] }).to_string());
        let call = Call::post("Google's IAM", url.clone(), "application/json", body)
            .header(AUTHORIZATION, &format!("Bearer {}", token.expose()))?;
        let reply = self.setting.caller.ask(&call).await?;
        let LentAnswer { access_token, expire_time } = reply.json(oauth_code)?;
        let end = OffsetDateTime::parse(&expire_time, &Rfc3339)
            .map_err(|_| reply.wrong("it does not say when its token ends"))?;
        let life = Duration::try_from(end - self.setting.clock.now()).unwrap_or_default();
        Ok(Given { value: reply.token(access_token)?, life: life.min(LONGEST) })
    }
}

/// The token in the content of its file.
fn subject(external: &External, content: &Secret) -> Result<Secret, CredentialError> {
    let wrong = |why| CredentialError::Content { path: external.file.clone(), why };
    let text = match &external.member {
        None => content.expose().to_owned(),
        Some(member) => {
            let document: serde_json::Map<String, serde_json::Value> =
                json::from_slice(content.expose().as_bytes())
                    .map_err(|_| wrong("it is not a JSON object"))?;
            let token = document.get(member).and_then(serde_json::Value::as_str);
            token.ok_or_else(|| wrong("it has no such member"))?.to_owned()
        }
    };
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err(wrong("its token has characters that no token has"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t041_only_a_registry_of_google_is_one() {
        for host in ["gcr.io", "eu.gcr.io", "europe-west1-docker.pkg.dev", "*.pkg.dev", "*.gcr.io"]
        {
            assert!(GarConfig::is_for(host), "{host}");
        }
        for host in [
            "evil-gcr.io",
            "a.b.gcr.io",
            "gcr.io.evil.example",
            "-docker.pkg.dev",
            "docker.pkg.dev",
            "evil.pkg.dev",
            "x.europe-docker.pkg.dev",
            "europe-docker.pkg.dev:444",
            "europe-docker.pkg.dev.",
            "*.dev",
            "*",
            "",
        ] {
            assert!(!GarConfig::is_for(host), "{host}");
        }
    }

    fn external(change: impl FnOnce(&mut serde_json::Value)) -> Result<GarConfig, CredentialError> {
        let mut file = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": "token"},
        });
        change(&mut file);
        GarConfig::external(Path::new("f/a.json"), file.to_string().as_bytes(), None, None)
    }

    #[test]
    fn an_external_account_asks_google_with_a_token_from_a_file() {
        assert!(external(|_| {}).is_ok());
        let lend = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken";
        assert!(external(|f| f["service_account_impersonation_url"] = json!(lend)).is_ok());
        for (key, value) in [
            ("type", json!("service_account")),
            ("token_url", json!("https://sts.googleapis.com.evil.example/v1/token")),
            ("token_url", json!("http://sts.googleapis.com/v1/token")),
            ("token_url", json!("https://u@sts.googleapis.com/v1/token")),
            ("token_url", json!("https://sts.googleapis.com:444/v1/token")),
            ("service_account_impersonation_url", json!("https://evil.example/")),
            ("credential_source", json!({"executable": {"command": "evil"}})),
            ("credential_source", json!({"url": "http://169.254.169.254/"})),
            ("credential_source", json!({"environment_id": "aws1"})),
            ("credential_source", json!({"file": "t", "format": {"type": "json"}})),
            ("credential_source", json!({"file": "t", "format": {"type": "xml"}})),
        ] {
            assert!(external(|f| f[key] = value.clone()).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn a_subject_token_is_the_file_or_a_member_of_it() {
        let found = |member: Option<&str>, content: &str| {
            let Who::External(mut external) = external(|_| {}).unwrap().who else { panic!() };
            external.member = member.map(str::to_owned);
            subject(&external, &Secret::new(content.to_owned())).ok().map(|s| s.expose().to_owned())
        };
        assert_eq!(found(None, "a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(found(Some("id"), r#"{"id":"a.b.c"}"#).as_deref(), Some("a.b.c"));
        for content in ["{}", "x", r#"{"id":5}"#, r#"{"id":"a\nb"}"#, r#"{"id":"a","id":"b"}"#] {
            assert_eq!(found(Some("id"), content), None, "{content}");
        }
        assert_eq!(found(None, "a\nb"), None);
    }
}
