//! What a cloud tells its workloads in variables, for credentials that do not say it themselves.

use std::path::PathBuf;

/// The variables that are looked at. They come from whoever read them: nothing here does. No secret
/// is among them, since whoever may look at a process sees its environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `AZURE_TENANT_ID`
    pub azure_tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`
    pub azure_client_id: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`
    pub azure_federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`
    pub azure_authority_host: Option<String>,
    /// `AWS_ROLE_ARN`
    pub aws_role_arn: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`
    pub aws_role_session_name: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`
    pub aws_web_identity_token_file: Option<PathBuf>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`
    pub aws_container_credentials_full_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`
    pub aws_container_authorization_token_file: Option<PathBuf>,
    /// `GOOGLE_APPLICATION_CREDENTIALS`
    pub google_application_credentials: Option<PathBuf>,
}
