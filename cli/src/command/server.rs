//! Which decision service is asked, and how.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_client::{Client, ClientError, Config, PairFiles, TlsConfig};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The decision service.
    #[arg(
        long,
        env = "PORTCULLIS_SERVER",
        default_value = "http://127.0.0.1:7443",
        value_name = "URL"
    )]
    server: String,
    /// The authorities of the service, where it is asked at `https://`: a PEM file.
    #[arg(long, env = "PORTCULLIS_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The certificate of who asks, and those between it and its authority: a PEM file.
    #[arg(long, env = "PORTCULLIS_TLS_CERT", value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate: a PEM file.
    #[arg(long, env = "PORTCULLIS_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name that the certificate of the service has, where it is not that in its address.
    #[arg(long, env = "PORTCULLIS_TLS_SERVER_NAME", value_name = "NAME", requires = "tls_ca")]
    tls_server_name: Option<String>,
}

impl Args {
    /// A client that waits so long for each answer.
    pub(crate) async fn connect(self, timeout: Duration) -> anyhow::Result<Client> {
        let Self { server, tls_ca, tls_cert, tls_key, tls_server_name } = self;
        let pair = tls_cert.zip(tls_key).map(|(certificate, key)| PairFiles { certificate, key });
        let tls =
            tls_ca.map(|authorities| TlsConfig { authorities, pair, server_name: tls_server_name });
        let config = Config { timeout, tls, ..Config::new([&server]) };
        Client::reach(&config).await.map_err(|error| match error {
            ClientError::Unreachable { .. } => anyhow::Error::from(error).context(format!(
                "no decision service answers at `{server}`: is `portcullis serve` running? `--server` says where, \
                 which is its `listen`, in `https://` where it has TLS"
            )),
            error => error.into(),
        })
    }
}
