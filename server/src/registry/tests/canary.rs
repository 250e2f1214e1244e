//! Every kind of credential with a secret of its own, and all that is logged, counted and said.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use portcullis_core::image::{Digest, Reference};
use portcullis_testkit::cloud::{Fault, Service};
use serde_json::json;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::clouds::later;
use super::desk::{AWS, AZURE, Desk, GOOGLE, session_key};
use super::harness::soon;
use crate::registry::*;

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Asks for an image and for what is attached to it: where its token service fails, where all is well, and
/// where all goes wrong in many ways. Gives all that was said.
async fn story(
    registry: &Registry,
    host: &str,
    service: &Service,
    tokens: Option<&Service>,
) -> String {
    let mut said = String::new();
    let ask = async |rest: &str| {
        let image: Reference = format!("{host}/{rest}:v1").parse().unwrap();
        let found = registry.resolve(&image, soon()).await;
        let listed = registry.referrers(&image, Digest::of(b"x"), soon()).await;
        let mut said = format!("{} {found:?} {listed:?}", registry.identity(&image));
        if let Err(error) = found {
            said.push_str(&format!(" {error} {} {}", error.cause(), crate::chain::chain(&error)));
        }
        said
    };
    if let Some(tokens) = tokens {
        tokens.fault(Fault::Json(json!("canary")));
        said.push_str(&ask("p/first").await);
        later(Duration::from_secs(2)).await;
    }
    let good = ask("p/app").await;
    assert!(tokens.is_none() || good.contains("media_type"), "{good}");
    said.push_str(&good);
    for fault in [Fault::Status(401), Fault::Html, Fault::Json(json!("canary")), Fault::Status(500)]
    {
        service.fault(fault.clone());
        said.push_str(&ask("p/other").await);
    }
    said
}

#[tokio::test]
async fn t052_no_secret_of_any_kind_is_in_what_is_logged_or_said() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(log.clone()).finish();
    // While there is only one subscriber, whether it wants a line is asked of whichever thread comes first,
    // which may be another test's that has none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(subscriber);

    let desk = Desk::new();
    let (entra, acr) = (desk.entra().await, desk.acr().await);
    let (sts, ecr, google) = (desk.sts().await, desk.ecr(session_key()).await, desk.google().await);
    let (azure, aws, gcp) = (&acr.service, &ecr.service, &google.service);
    let docker = desk.folder.path().join("config.json");
    let entry = json!({"auth": "Y2FuYXJ5OmNhbmFyeQ==", "identitytoken": "canary-identity"});
    fs::write(&docker, json!({"auths": {"*.azurecr.io": entry}}).to_string()).unwrap();
    let file = || SecretSource::File(desk.file());
    let password = Secret::new("canary-password".to_owned());
    let mut said = String::new();
    for (host, service, tokens, who) in [
        (AZURE, azure, Some(&entra.service), desk.azure(&entra)),
        (AWS, aws, Some(&sts.service), desk.aws(&sts, &ecr)),
        (GOOGLE, gcp, None, desk.federated(&google, false)),
        (GOOGLE, gcp, None, desk.federated(&google, true)),
        (AZURE, azure, None, Credentials::DockerConfig(docker)),
        (AZURE, azure, None, Credentials::IdentityToken(file())),
        (AZURE, azure, None, Credentials::RegistryToken(file())),
        ("a.io", gcp, None, Credentials::Basic { username: "robot".to_owned(), password }),
        (
            "a.io",
            aws,
            None,
            Credentials::PasswordFile { username: "robot".to_owned(), path: desk.file() },
        ),
    ] {
        let registry = desk.client(host, service, who);
        said.push_str(&story(&registry, host, service, tokens).await);
    }
    drop(guard);

    let logged = String::from_utf8(log.0.lock().clone()).unwrap();
    // The story was told, and to the end: requests were made, and refused ones were logged.
    assert!(logged.contains("asked for a credential"));
    assert!(logged.contains("a credential cannot be renewed"));
    let told = [azure, aws, gcp]
        .iter()
        .flat_map(|service| service.asked())
        .any(|asked| asked.header("authorization").is_some() || !asked.body.is_empty());
    assert!(told);
    for (what, text) in [("the log", &logged), ("an answer", &said)] {
        let found = text.lines().find(|line| line.contains("canary"));
        assert!(found.is_none(), "{what}: {found:?}");
        // As base64 has `canary`, at each of its three offsets.
        for encoded in ["Y2FuYXJ5", "NhbmFye", "jYW5hcn"] {
            let found = text.lines().find(|line| line.contains(encoded));
            assert!(found.is_none(), "{what}: {found:?}");
        }
    }
}
