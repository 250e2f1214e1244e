//! The credentials of a registry in a configuration file in, who asks it out.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::environment::Environment;
use super::{ConfigError, read_of};
use crate::registry::{
    AcrConfig, AwsIdentity, CredentialError, Credentials, EcrConfig, GarConfig, SecretSource,
};

/// How a session is called in AWS's logs, unless something else is said.
const SESSION: &str = "portcullis";

/// Who asks. What is in the files is read again when it changes; here it is only seen to that they
/// are there.
#[derive(Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(super) enum CredentialsFile {
    Anonymous {},
    Basic { username: String, password_file: PathBuf },
    IdentityToken { token_file: PathBuf },
    RegistryToken { token_file: PathBuf },
    DockerConfig { path: PathBuf },
    Acr(AcrFile),
    Ecr(EcrFile),
    Gar(GarFile),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AcrFile {
    tenant_id: Option<String>,
    client_id: Option<String>,
    token_file: Option<PathBuf>,
    authority_host: Option<String>,
    #[serde(default)]
    managed_identity: bool,
    endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EcrFile {
    role_arn: Option<String>,
    session_name: Option<String>,
    token_file: Option<PathBuf>,
    container_credentials_uri: Option<String>,
    access_key_id: Option<String>,
    secret_access_key_file: Option<PathBuf>,
    sts_endpoint: Option<String>,
    ecr_endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GarFile {
    service_account: Option<String>,
    external_account_file: Option<PathBuf>,
    metadata_endpoint: Option<String>,
    sts_endpoint: Option<String>,
    iam_endpoint: Option<String>,
}

/// The folder of the configuration, and what the cloud says of where we run.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) environment: &'a Environment,
    /// The registry that is read of, for errors.
    pub(super) registry: &'a str,
}

impl Place<'_> {
    /// The file of a field, which must be there.
    fn file(&self, field: &str, path: &Path) -> Result<PathBuf, ConfigError> {
        let path = self.folder.join(path);
        self.read(field, &path).map(|_| path)
    }

    /// What is in the file of a field.
    pub(super) fn read(&self, field: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
        let field = format!("`{field}` of registry `{}`", self.registry);
        read_of(&field, &self.folder.join(path))
    }
}

impl CredentialsFile {
    pub(super) fn into_credentials(self, place: Place<'_>) -> Result<Credentials, ConfigError> {
        let there = |field, path: PathBuf| place.file(field, &path);
        Ok(match self {
            Self::Anonymous {} => Credentials::Anonymous,
            Self::Basic { username, password_file } => {
                Credentials::PasswordFile { username, path: there("passwordFile", password_file)? }
            }
            Self::IdentityToken { token_file } => {
                Credentials::IdentityToken(SecretSource::File(there("tokenFile", token_file)?))
            }
            Self::RegistryToken { token_file } => {
                Credentials::RegistryToken(SecretSource::File(there("tokenFile", token_file)?))
            }
            Self::DockerConfig { path } => Credentials::DockerConfig(there("path", path)?),
            Self::Acr(file) => Credentials::Acr(file.into_config(place)?),
            Self::Ecr(file) => Credentials::Ecr(file.into_config(place)?),
            Self::Gar(file) => Credentials::Gar(file.into_config(place)?),
        })
    }
}

fn cloud(kind: &'static str) -> impl Fn(CredentialError) -> ConfigError + Copy {
    move |source| ConfigError::Cloud { kind, source }
}

const fn missing(kind: &'static str, what: &'static str) -> ConfigError {
    ConfigError::Missing { kind, what }
}

impl AcrFile {
    fn into_config(self, place: Place<'_>) -> Result<AcrConfig, ConfigError> {
        let environment = place.environment;
        let tenant = self.tenant_id.or_else(|| environment.azure_tenant_id.clone());
        let config = if self.managed_identity {
            // The variables name the workload identity, which this is not.
            AcrConfig::managed(self.client_id.as_deref(), tenant.as_deref())
        } else {
            let client = self.client_id.or_else(|| environment.azure_client_id.clone());
            let file = self.token_file.or_else(|| environment.azure_federated_token_file.clone());
            let authority =
                self.authority_host.or_else(|| environment.azure_authority_host.clone());
            let (Some(tenant), Some(client), Some(file)) = (tenant, client, file) else {
                return Err(missing(
                    "acr",
                    "`tenantId`, `clientId` and `tokenFile`, or workload identity's variables \
                     AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE; or \
                     `managedIdentity: true`",
                ));
            };
            AcrConfig::workload(
                &tenant,
                &client,
                place.file("tokenFile", &file)?,
                authority.as_deref(),
            )
        };
        let config = config.map_err(cloud("acr"))?;
        match self.endpoint {
            Some(endpoint) => config.at(&endpoint).map_err(cloud("acr")),
            None => Ok(config),
        }
    }
}

impl EcrFile {
    fn into_config(self, place: Place<'_>) -> Result<EcrConfig, ConfigError> {
        let environment = place.environment;
        let key = self.access_key_id.zip(self.secret_access_key_file);
        let role = self.role_arn.or_else(|| environment.aws_role_arn.clone());
        let token =
            self.token_file.clone().or_else(|| environment.aws_web_identity_token_file.clone());
        let own_agent = self.container_credentials_uri.is_some();
        let agent = self
            .container_credentials_uri
            .or_else(|| environment.aws_container_credentials_full_uri.clone());
        let who = match (key, role.zip(token), agent) {
            (Some((id, secret)), ..) => {
                AwsIdentity::Key { id, secret_file: place.file("secretAccessKeyFile", &secret)? }
            }
            (None, Some((role, token)), _) if !own_agent => {
                let session =
                    self.session_name.or_else(|| environment.aws_role_session_name.clone());
                let session = session.unwrap_or_else(|| SESSION.to_owned());
                AwsIdentity::WebIdentity {
                    role,
                    session,
                    token_file: place.file("tokenFile", &token)?,
                }
            }
            (None, _, Some(uri)) => {
                let told = || environment.aws_container_authorization_token_file.clone();
                let file = self.token_file.or_else(told);
                let file = file.map(|file| place.file("tokenFile", &file)).transpose()?;
                AwsIdentity::container(&uri, file).map_err(cloud("ecr"))?
            }
            _ => {
                return Err(missing(
                    "ecr",
                    "`roleArn` and `tokenFile`, or IRSA's variables AWS_ROLE_ARN and \
                     AWS_WEB_IDENTITY_TOKEN_FILE; or `containerCredentialsUri`, or Pod Identity's \
                     AWS_CONTAINER_CREDENTIALS_FULL_URI; or `accessKeyId` and \
                     `secretAccessKeyFile`",
                ));
            }
        };
        let (sts, ecr) = (self.sts_endpoint.as_deref(), self.ecr_endpoint.as_deref());
        EcrConfig::new(who).at(sts, ecr).map_err(cloud("ecr"))
    }
}

impl GarFile {
    fn into_config(self, place: Place<'_>) -> Result<GarConfig, ConfigError> {
        let told = || place.environment.google_application_credentials.clone();
        let config = match (self.external_account_file.or_else(told), &self.service_account) {
            (Some(file), None) => {
                let path = place.folder.join(file);
                let (sts, iam) = (self.sts_endpoint.as_deref(), self.iam_endpoint.as_deref());
                GarConfig::external(&path, &place.read("externalAccountFile", &path)?, sts, iam)
            }
            (_, account) => {
                let account = account.as_deref().unwrap_or("default");
                GarConfig::metadata(account, self.metadata_endpoint.as_deref())
            }
        };
        config.map_err(cloud("gar"))
    }
}
