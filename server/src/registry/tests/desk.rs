//! A workload in three clouds, with doubles of their token services, in; a client as one of them out.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ports::Clock;
use portcullis_testkit::clock::TestClock;
use portcullis_testkit::cloud::Service;
use portcullis_testkit::cloud::acr::Acr;
use portcullis_testkit::cloud::ecr::{AwsKey, Ecr};
use portcullis_testkit::cloud::entra::{Application, Entra};
use portcullis_testkit::cloud::gcp::{Google, Principal};
use portcullis_testkit::cloud::sts::{Role, Sts};
use serde_json::json;
use time::macros::datetime;

use crate::registry::*;

pub(super) const AZURE: &str = "team.azurecr.io";
pub(super) const AWS: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
pub(super) const GOOGLE: &str = "europe-docker.pkg.dev";

/// A folder with a file for a token, and a clock.
pub(super) struct Desk {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<TestClock>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let clock = Arc::new(TestClock::new(datetime!(2026-08-01 12:00 UTC)));
        let desk = Self { folder: tempfile::tempdir().unwrap(), clock };
        desk.write("canary-subject-1");
        desk
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    pub(super) fn write(&self, token: &str) {
        fs::write(self.file(), token).unwrap();
    }

    /// A client that finds the registry `host` at the address of `service`.
    pub(super) fn client(&self, host: &str, service: &Service, who: Credentials) -> Registry {
        let settings = HostConfig {
            scheme: Scheme::Http,
            endpoint: Some(service.authority()),
            credentials: who,
            ..HostConfig::default()
        };
        let hosts = [(host.to_owned(), settings)].into();
        let patience = Patience { backoff: Duration::from_millis(1), ..Patience::default() };
        let clock = self.clock();
        Registry::new(RegistryConfig { hosts, patience, clock, ..RegistryConfig::default() })
            .unwrap()
    }

    pub(super) async fn entra(&self) -> Entra {
        let application = Application {
            tenant: "11111111-2222".to_owned(),
            client: "33333333-4444".to_owned(),
            assertion: "canary-subject-1".to_owned(),
            access_token: "canary-entra-access-1".to_owned(),
            expires_in: json!(3599),
        };
        Entra::start(application).await.unwrap()
    }

    pub(super) async fn acr(&self) -> Acr {
        let tenant = Some("11111111-2222");
        Acr::start(AZURE, tenant, "canary-entra-access-1", self.clock()).await.unwrap()
    }

    pub(super) fn azure(&self, entra: &Entra) -> Credentials {
        let config = AcrConfig::workload("11111111-2222", "33333333-4444", self.file(), None);
        Credentials::Acr(config.unwrap().at(&entra.service.origin()).unwrap())
    }

    pub(super) async fn sts(&self) -> Sts {
        let role = Role {
            arn: "arn:aws:iam::123456789012:role/reader".to_owned(),
            token: "canary-subject-1".to_owned(),
            key_id: "ASIAEXAMPLE".to_owned(),
            secret: "canary/aws+secret".to_owned(),
            session: "canary-aws-session==".to_owned(),
            expiration: "2026-08-01T13:00:00Z".to_owned(),
        };
        Sts::start(role).await.unwrap()
    }

    pub(super) async fn ecr(&self, key: AwsKey) -> Ecr {
        Ecr::start("eu-west-1", key, self.clock()).await.unwrap()
    }

    pub(super) fn aws(&self, sts: &Sts, ecr: &Ecr) -> Credentials {
        let who = AwsIdentity::WebIdentity {
            role: "arn:aws:iam::123456789012:role/reader".to_owned(),
            session: "portcullis".to_owned(),
            token_file: self.file(),
        };
        self.aws_as(who, sts, ecr)
    }

    pub(super) fn aws_as(&self, who: AwsIdentity, sts: &Sts, ecr: &Ecr) -> Credentials {
        let (sts, ecr) = (sts.service.origin(), ecr.service.origin());
        Credentials::Ecr(EcrConfig::new(who).at(Some(&sts), Some(&ecr)).unwrap())
    }

    pub(super) async fn google(&self) -> Google {
        let principal = Principal {
            account: "reader@p.iam.gserviceaccount.com".to_owned(),
            audience: "//iam.googleapis.com/projects/1/x".to_owned(),
            subject: "canary-subject-1".to_owned(),
            access_token: "canary-gcp-access-1".to_owned(),
            expires_in: json!(3599),
            lent: ("canary-gcp-lent-1".to_owned(), "2026-08-01T13:00:00Z".to_owned()),
        };
        Google::start(principal).await.unwrap()
    }

    pub(super) fn federated(&self, google: &Google, lend: bool) -> Credentials {
        let origin = google.service.origin();
        let mut file = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/x",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{origin}v1/token"),
            "credential_source": {"file": "token", "format": {"type": "text"}},
        });
        if lend {
            let path = "v1/projects/-/serviceAccounts/reader@p.iam.gserviceaccount.com:generateAccessToken";
            file["service_account_impersonation_url"] = json!(format!("{origin}{path}"));
        }
        let path = self.folder.path().join("external.json");
        let own = Some(origin.as_str());
        Credentials::Gar(GarConfig::external(&path, file.to_string().as_bytes(), own, own).unwrap())
    }
}

pub(super) fn session_key() -> AwsKey {
    AwsKey {
        id: "ASIAEXAMPLE".to_owned(),
        secret: "canary/aws+secret".to_owned(),
        session: Some("canary-aws-session==".to_owned()),
    }
}
