//! The variables that clouds set for their workloads in, what the service knows of them out.

use std::path::PathBuf;

use portcullis_server::config::Environment;

/// Read for credentials of registries that do not say it themselves. They are not for people to set,
/// and so not in the help; `docs/configuration.md` names them. An empty one is none.
#[derive(clap::Args)]
pub(crate) struct Cloud {
    #[arg(long, env = "AZURE_TENANT_ID", hide = true)]
    azure_tenant_id: Option<String>,
    #[arg(long, env = "AZURE_CLIENT_ID", hide = true)]
    azure_client_id: Option<String>,
    #[arg(long, env = "AZURE_FEDERATED_TOKEN_FILE", hide = true)]
    azure_federated_token_file: Option<PathBuf>,
    #[arg(long, env = "AZURE_AUTHORITY_HOST", hide = true)]
    azure_authority_host: Option<String>,
    #[arg(long, env = "AWS_ROLE_ARN", hide = true)]
    aws_role_arn: Option<String>,
    #[arg(long, env = "AWS_ROLE_SESSION_NAME", hide = true)]
    aws_role_session_name: Option<String>,
    #[arg(long, env = "AWS_WEB_IDENTITY_TOKEN_FILE", hide = true)]
    aws_web_identity_token_file: Option<PathBuf>,
    #[arg(long, env = "AWS_CONTAINER_CREDENTIALS_FULL_URI", hide = true)]
    aws_container_credentials_full_uri: Option<String>,
    #[arg(long, env = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", hide = true)]
    aws_container_authorization_token_file: Option<PathBuf>,
    #[arg(long, env = "GOOGLE_APPLICATION_CREDENTIALS", hide = true)]
    google_application_credentials: Option<PathBuf>,
}

impl From<Cloud> for Environment {
    fn from(cloud: Cloud) -> Self {
        let Cloud {
            azure_tenant_id,
            azure_client_id,
            azure_federated_token_file,
            azure_authority_host,
            aws_role_arn,
            aws_role_session_name,
            aws_web_identity_token_file,
            aws_container_credentials_full_uri,
            aws_container_authorization_token_file,
            google_application_credentials,
        } = cloud;
        let text = |value: Option<String>| value.filter(|value| !value.is_empty());
        let path = |value: Option<PathBuf>| value.filter(|value| !value.as_os_str().is_empty());
        Self {
            azure_tenant_id: text(azure_tenant_id),
            azure_client_id: text(azure_client_id),
            azure_federated_token_file: path(azure_federated_token_file),
            azure_authority_host: text(azure_authority_host),
            aws_role_arn: text(aws_role_arn),
            aws_role_session_name: text(aws_role_session_name),
            aws_web_identity_token_file: path(aws_web_identity_token_file),
            aws_container_credentials_full_uri: text(aws_container_credentials_full_uri),
            aws_container_authorization_token_file: path(aws_container_authorization_token_file),
            google_application_credentials: path(google_application_credentials),
        }
    }
}
