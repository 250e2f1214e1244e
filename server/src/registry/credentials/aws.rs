//! An identity in AWS in, a key that signs requests for a while out.

use std::path::PathBuf;
use std::time::Duration;

use http::header::AUTHORIZATION;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::{Host, Url};

use super::call::{Call, Reply, is_loopback};
use super::ecr::Region;
use super::error::CredentialError;
use super::file::{Line, Watched};
use super::kept::{Given, LONGEST};
use super::{Setting, watched};
use crate::registry::config::Secret;

/// The addresses from which agents give credentials to containers: ECS's, and EKS's two.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Who asks AWS.
#[derive(Clone)]
pub enum AwsIdentity {
    /// A role for a service account (IRSA): a web identity token in a file, for a role.
    WebIdentity {
        /// The role, `arn:aws:iam::<account>:role/<name>`.
        role: String,
        /// How the session is called in AWS's logs.
        session: String,
        /// The file of the token.
        token_file: PathBuf,
    },
    /// An agent beside the container: EKS Pod Identity, or a task role of ECS.
    Container {
        /// Where it is: see [`AwsIdentity::container`].
        uri: Url,
        /// The file of what it wants in `Authorization`.
        token_file: Option<PathBuf>,
    },
    /// A key that stays.
    Key {
        /// Its name.
        id: String,
        /// The file of its secret.
        secret_file: PathBuf,
    },
}

impl AwsIdentity {
    /// An agent at `uri`.
    ///
    /// # Errors
    /// When the host is neither one of the agents' link-local addresses nor this machine.
    pub fn container(uri: &str, token_file: Option<PathBuf>) -> Result<Self, CredentialError> {
        let refused = || CredentialError::Endpoint(uri.to_owned());
        let url = Url::parse(uri).map_err(|_| refused())?;
        let host = match url.host() {
            Some(Host::Domain(_)) | None => None,
            Some(address) => Some(address.to_string()),
        };
        let agent = url.port().is_none() && host.is_some_and(|h| AGENTS.contains(&h.as_str()));
        let bare = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
        if !bare || !(agent || is_loopback(&url)) {
            return Err(refused());
        }
        Ok(Self::Container { uri: url, token_file })
    }

    pub(super) fn identity(&self) -> String {
        match self {
            Self::WebIdentity { role, .. } => format!("ecr:role:{role}"),
            Self::Container { uri, .. } => format!("ecr:container:{uri}"),
            Self::Key { id, .. } => format!("ecr:key:{id}"),
        }
    }

    fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::WebIdentity { token_file, .. } => Some(token_file),
            Self::Container { token_file, .. } => token_file.as_ref(),
            Self::Key { secret_file, .. } => Some(secret_file),
        }
    }
}

/// A key with its secret.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: Secret,
    pub(super) session: Option<Secret>,
}

/// Gets keys.
pub(super) struct Keys {
    who: AwsIdentity,
    file: Option<Watched<Line>>,
    sts: Option<Url>,
    setting: Setting,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerAnswer {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

impl Keys {
    pub(super) fn new(who: AwsIdentity, sts: Option<Url>, setting: &Setting) -> Self {
        let file = who.file().map(|path| watched(path.clone(), setting));
        Self { who, file, sts, setting: setting.clone() }
    }

    /// A new key, by way of `region`.
    pub(super) async fn ask(&self, region: &Region) -> Result<Given<Key>, CredentialError> {
        let line = match &self.file {
            Some(file) => Some(file.read().await?),
            None => None,
        };
        let line = line.as_ref().map(|line| &line.text);
        match (&self.who, line) {
            (AwsIdentity::WebIdentity { role, session, .. }, Some(token)) => {
                self.assume_role(role, session, token, region).await
            }
            (AwsIdentity::Key { id, .. }, Some(secret)) => {
                let (id, secret) = (id.clone(), secret.clone());
                // Looked at again before long, since the file may change.
                let life = Duration::from_mins(5);
                Ok(Given { value: Key { id, secret, session: None }, life })
            }
            (AwsIdentity::Container { uri, .. }, token) => self.container(uri, token).await,
            (AwsIdentity::WebIdentity { .. } | AwsIdentity::Key { .. }, None) => {
                Err(CredentialError::Answer { service: "AWS", why: "there is no file" })
            }
        }
    }

    async fn container(
        &self,
        uri: &Url,
        token: Option<&Secret>,
    ) -> Result<Given<Key>, CredentialError> {
        let mut call = Call::get("the container's credential agent", uri.clone());
        if let Some(token) = token {
            call = call.header(AUTHORIZATION, token.expose())?;
        }
        let reply = self.setting.caller.ask(&call).await?;
        let answer: ContainerAnswer = reply.json(|document| {
            let code = document.get("code").or(document.get("Code"))?;
            Some(code.as_str()?.to_owned())
        })?;
        let ContainerAnswer { access_key_id, secret_access_key, token, expiration } = answer;
        self.given(&reply, access_key_id, secret_access_key, token, &expiration)
    }

    async fn assume_role(
        &self,
        role: &str,
        session: &str,
        token: &Secret,
        region: &Region,
    ) -> Result<Given<Key>, CredentialError> {
        let url = match &self.sts {
            Some(url) => url.clone(),
            None => region.endpoint("sts")?,
        };
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", session),
            ("WebIdentityToken", token.expose()),
        ];
        let reply = self.setting.caller.ask(&Call::form("STS", url, &fields)).await?;
        let text = str::from_utf8(&reply.bytes).unwrap_or_default();
        if reply.status != 200 {
            return Err(reply.refused(element(text, "Code").map(str::to_owned)));
        }
        let field = |name| {
            let found = element(text, name).map(str::to_owned);
            found.ok_or_else(|| reply.wrong("it is not the document expected"))
        };
        let (id, secret) = (field("AccessKeyId")?, field("SecretAccessKey")?);
        self.given(&reply, id, secret, field("SessionToken")?, &field("Expiration")?)
    }

    fn given(
        &self,
        reply: &Reply,
        id: String,
        secret: String,
        session: String,
        end: &str,
    ) -> Result<Given<Key>, CredentialError> {
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) || id.is_empty() {
            return Err(reply.wrong("its key has no name"));
        }
        let end = OffsetDateTime::parse(end, &Rfc3339)
            .map_err(|_| reply.wrong("it does not say when its key ends"))?;
        let life = Duration::try_from(end - self.setting.clock.now()).unwrap_or_default();
        let (secret, session) = (reply.token(secret)?, Some(reply.token(session)?));
        Ok(Given { value: Key { id, secret, session }, life: life.min(LONGEST) })
    }
}

/// The text of the one element of this name. Of XML this reads what STS writes and nothing else: no
/// entities, no attributes, nothing twice.
fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = document.split_once(&open)?;
    let (text, after) = rest.split_once(&close)?;
    let plain = !text.contains(['<', '&', '>']) && !document.contains("<!");
    (plain && !after.contains(&open)).then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_read_if_there_is_one_and_it_is_plain() {
        assert_eq!(element("<a><Code> x </Code></a>", "Code"), Some("x"));
        for document in [
            "",
            "<html></html>",
            "<Code>x",
            "<Code>x</Code><Code>y</Code>",
            "<Code>&x;</Code>",
            "<Code><b>x</b></Code>",
            "<!DOCTYPE x><Code>x</Code>",
            "<Code><![CDATA[x]]></Code>",
            "<Code a=\"b\">x</Code>",
        ] {
            assert_eq!(element(document, "Code"), None, "{document}");
        }
    }

    #[test]
    fn an_agent_is_on_the_link_or_this_machine() {
        for uri in [
            "http://169.254.170.23/v1/credentials",
            "http://169.254.170.2/v2/credentials/x",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:1234/creds",
            "http://localhost:1234/creds",
        ] {
            assert!(AwsIdentity::container(uri, None).is_ok(), "{uri}");
        }
        for uri in [
            "http://169.254.169.254/latest/meta-data",
            "http://169.254.170.23:8080/v1/credentials",
            "http://169.254.170.23.evil.example/v1",
            "http://evil.example/v1/credentials",
            "http://10.0.0.1/v1/credentials",
            "http://u@169.254.170.23/v1/credentials",
            "ftp://169.254.170.23/v1/credentials",
            "",
        ] {
            assert!(AwsIdentity::container(uri, None).is_err(), "{uri}");
        }
    }
}
