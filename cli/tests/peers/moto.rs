//! moto, which others wrote, as STS and ECR: what we ask is what it reads, and the reverse.

use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis_server::registry::{
    AwsIdentity, Credentials, EcrConfig, HostConfig, Registry, RegistryConfig, Scheme,
};
use portcullis_testkit::cloud::{Answer, Asked, Service};

use super::host::{Process, are_there, free_port, wait_for};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A role's web identity becomes a key, the key signs a request, and the password that comes of it is
/// what the registry is told.
pub(crate) fn story() {
    if !are_there(&["moto_server"], "moto", true) {
        return;
    }
    let port = free_port();
    let mut command = Command::new("moto_server");
    command.args(["-H", "127.0.0.1", "-p"]).arg(port.to_string());
    let _moto = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    wait_for(port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(pull(&format!("http://127.0.0.1:{port}/")));
}

async fn pull(moto: &str) {
    let registry = Service::start(registry).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "a.web.identity").unwrap();
    let who = AwsIdentity::WebIdentity {
        role: "arn:aws:iam::123456789012:role/reader".to_owned(),
        session: "portcullis".to_owned(),
        token_file,
    };
    let config = EcrConfig::new(who).at(Some(moto), Some(moto)).unwrap();
    let settings = HostConfig {
        scheme: Scheme::Http,
        endpoint: Some(registry.authority()),
        credentials: Credentials::Ecr(config),
        ..HostConfig::default()
    };
    let hosts = [(HOST.to_owned(), settings)].into();
    let client = Registry::new(RegistryConfig { hosts, ..RegistryConfig::default() }).unwrap();
    let image = format!("{HOST}/team/app:v1").parse().unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    client.resolve(&image, deadline).await.unwrap();
    // moto's password names the account that its key is of: `AWS:123456789012-auth-token`.
    let asked = registry.asked();
    let told: Vec<_> = asked.iter().filter_map(|asked| asked.header("authorization")).collect();
    assert_eq!(told, ["Basic QVdTOjEyMzQ1Njc4OTAxMi1hdXRoLXRva2Vu"]);
}

fn registry(asked: &Asked) -> Answer {
    if asked.header("authorization").is_some() {
        Answer::new(200, MANIFEST, r#"{"schemaVersion":2,"layers":[]}"#)
    } else {
        Answer::new(401, "application/json", "{}").challenge("Basic realm=\"ecr\"".to_owned())
    }
}
