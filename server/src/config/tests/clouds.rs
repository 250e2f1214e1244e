//! Credentials of clouds: from the file, and from what the cloud says of where we run.

use super::*;
use crate::config::Environment;
use crate::registry::HostPattern;

/// The scope of an image at `host` whose registry has these credentials.
fn scope(host: &str, credentials: &str, environment: &Environment) -> Result<String, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.yaml");
    fs::write(folder.path().join("token"), "canary").unwrap();
    let external = r#"{"type":"external_account","audience":"//iam","subject_token_type":"jwt",
        "token_url":"https://sts.googleapis.com/v1/token","credential_source":{"file":"token"}}"#;
    fs::write(folder.path().join("external.json"), external).unwrap();
    let text = format!("registries:\n- host: '{host}'\n  credentials: {credentials}\n");
    fs::write(&path, text).unwrap();
    let config = Config::read(&path, environment)?;
    let registry = crate::registry::Registry::new(config.registry).unwrap();
    let image = format!("{}/a/b:v1", host.replace('*', "123456789012")).parse().unwrap();
    Ok(registry.identity(&image).to_string())
}

#[track_caller]
fn refused(credentials: &str, environment: &Environment, words: &[&str]) {
    let error = scope("x.azurecr.io", credentials, environment).unwrap_err();
    let chain = crate::chain::chain(&error);
    for word in words {
        assert!(chain.contains(word), "{chain}");
    }
}

#[test]
fn a_workload_of_azure_is_named_by_its_cloud_or_by_the_file() {
    let azure = Environment {
        azure_tenant_id: Some("t".to_owned()),
        azure_client_id: Some("c".to_owned()),
        azure_federated_token_file: Some("token".into()),
        azure_authority_host: Some("https://login.microsoftonline.us/".to_owned()),
        ..Environment::default()
    };
    let nowhere = Environment::default();
    let of = |credentials, environment| scope("x.azurecr.io", credentials, environment).unwrap();
    assert_eq!(of("{kind: acr}", &azure), "acr:t/c");
    assert_eq!(of("{kind: acr, clientId: d}", &azure), "acr:t/d");
    let own = "{kind: acr, tenantId: u, clientId: d, tokenFile: token}";
    assert_eq!(of(own, &nowhere), "acr:u/d");
    assert_eq!(of("{kind: acr, managedIdentity: true}", &nowhere), "acr:managed:/");
    assert_eq!(of("{kind: acr, managedIdentity: true, clientId: d}", &azure), "acr:managed:t/d");
    refused("{kind: acr}", &nowhere, &["acr", "AZURE_CLIENT_ID", "managedIdentity"]);
    refused("{kind: acr, authorityHost: 'https://evil.example/'}", &azure, &["evil.example"]);
    refused("{kind: acr, endpoint: 'http://evil.example/'}", &azure, &["evil.example"]);
    refused("{kind: acr, tenantId: a/b}", &azure, &["a/b"]);
    refused("{kind: acr, tokenFile: none}", &azure, &["none", "failed to read"]);
    refused("{kind: acr, roleArn: x}", &azure, &["roleArn"]);
}

#[test]
fn a_workload_of_aws_is_named_by_its_cloud_or_by_the_file() {
    let irsa = Environment {
        aws_role_arn: Some("arn:aws:iam::1:role/r".to_owned()),
        aws_web_identity_token_file: Some("token".into()),
        ..Environment::default()
    };
    let pod = Environment {
        aws_container_credentials_full_uri: Some("http://169.254.170.23/v1/credentials".to_owned()),
        aws_container_authorization_token_file: Some("token".into()),
        ..Environment::default()
    };
    let host = "*.dkr.ecr.eu-west-1.amazonaws.com";
    let of = |credentials, environment| scope(host, credentials, environment).unwrap();
    assert_eq!(of("{kind: ecr}", &irsa), "ecr:role:arn:aws:iam::1:role/r");
    assert_eq!(of("{kind: ecr}", &pod), "ecr:container:http://169.254.170.23/v1/credentials");
    let key = "{kind: ecr, accessKeyId: AKIA1, secretAccessKeyFile: token}";
    assert_eq!(of(key, &irsa), "ecr:key:AKIA1");
    let agent = "{kind: ecr, containerCredentialsUri: 'http://127.0.0.1:1/c', tokenFile: token}";
    assert_eq!(of(agent, &irsa), "ecr:container:http://127.0.0.1:1/c");
    let nowhere = Environment::default();
    refused("{kind: ecr}", &nowhere, &["ecr", "AWS_ROLE_ARN", "secretAccessKeyFile"]);
    refused("{kind: ecr, stsEndpoint: 'http://a.io/'}", &irsa, &["http://a.io/"]);
    let elsewhere = "{kind: ecr, containerCredentialsUri: 'http://169.254.169.254/latest'}";
    refused(elsewhere, &irsa, &["169.254.169.254"]);
}

#[test]
fn a_workload_of_google_is_named_by_its_cloud_or_by_the_file() {
    let file = Environment {
        google_application_credentials: Some("external.json".into()),
        ..Environment::default()
    };
    let nowhere = Environment::default();
    let of = |credentials, environment| scope("gcr.io", credentials, environment).unwrap();
    assert_eq!(of("{kind: gar}", &nowhere), "gar:http://metadata.google.internal/default");
    assert_eq!(of("{kind: gar}", &file), "gar://iam");
    assert_eq!(of("{kind: gar, externalAccountFile: external.json}", &nowhere), "gar://iam");
    let account = "{kind: gar, serviceAccount: a@b}";
    assert_eq!(of(account, &file), "gar:http://metadata.google.internal/a@b");
    refused("{kind: gar, serviceAccount: a/b}", &nowhere, &["a/b"]);
    refused("{kind: gar, externalAccountFile: token}", &nowhere, &["external account"]);
}

#[test]
fn t041_credentials_of_a_cloud_are_for_its_registries_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.yaml");
    let managed = "credentials: {kind: acr, managedIdentity: true}";
    for host in ["evil.example", "evil-azurecr.io", "*.io", "*.azurecr.*", "x.azurecr.io:444"] {
        fs::write(&path, format!("registries: [{{host: '{host}', {managed}}}]")).unwrap();
        let config = Config::from_file(&path).unwrap();
        let error = crate::registry::Registry::new(config.registry).err().unwrap();
        assert!(crate::chain::chain(&error).contains(host), "{error}");
    }
    fs::write(&path, format!("registries: [{{host: '*.azurecr.io', {managed}}}]")).unwrap();
    let config = Config::from_file(&path).unwrap();
    let pattern = HostPattern::parse("*.azurecr.io").unwrap();
    assert!(config.registry.patterns.contains_key(&pattern));
    assert!(crate::registry::Registry::new(config.registry).is_ok());
}
