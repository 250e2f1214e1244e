//! Files of certificates in, who may connect out; they are read again when they change.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ports::Clock;
use portcullis_tls::{Due, H2, Looked, Now, Protocols, Server, ServerFiles, TlsError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

use crate::caught::{joined, lasting};
use crate::chain::chain;
use crate::identity::Identities;
use crate::metrics::Metrics;

pub use portcullis_tls::{Demand, Oldest, PairFiles, Strangers};

/// How often files are looked at, where nothing else is configured. A change is taken at the second look that
/// sees it.
const INTERVAL: Duration = Duration::from_secs(2);

/// How gRPC is served in TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// The certificate and the key.
    pub pair: PairFiles,
    /// Whose certificates are demanded; without, nobody is asked who they are.
    pub clients: Option<Demand>,
    /// The oldest version that is spoken.
    pub oldest: Oldest,
    /// Who may speak for whom, where certificates are demanded.
    pub identities: Identities,
    /// How often the files are looked at.
    pub interval: Duration,
}

impl TlsConfig {
    /// TLS 1.3 with this certificate, for everybody.
    #[must_use]
    pub fn new(pair: PairFiles) -> Self {
        let identities = Identities::default();
        Self { pair, clients: None, oldest: Oldest::default(), identities, interval: INTERVAL }
    }
}

/// What connections are made secure by.
pub(crate) struct Tls {
    pub(crate) server: Server,
    pub(crate) identities: Identities,
    pub(crate) clock: Arc<dyn Clock>,
    interval: Duration,
}

impl Tls {
    /// # Errors
    /// When a file cannot be read or used.
    pub(crate) fn load(config: TlsConfig, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let TlsConfig { pair, clients, oldest, identities, interval } = config;
        let protocols = Protocols::Demanded(vec![H2.to_vec()]);
        let files = ServerFiles { pair: Some(pair), clients, oldest, protocols };
        let told = Arc::clone(&clock);
        let now: Now = Arc::new(move || told.now());
        let server = Server::load(files, now)?;
        Ok(Self { server, identities, clock, interval })
    }

    /// For how long a certificate that is valid until then is valid.
    pub(crate) fn left(&self, until: OffsetDateTime) -> Duration {
        Duration::try_from(until - self.clock.now()).unwrap_or(Duration::ZERO)
    }

    /// Looks at the files until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let look = || self.look_on(&metrics, &stop);
        lasting("certificates", Arc::clone(&metrics), stop.clone(), look).await;
    }

    async fn look_on(self: &Arc<Self>, metrics: &Arc<Metrics>, stop: &CancellationToken) {
        loop {
            // Files are read where blocking is allowed.
            let (tls, count) = (Arc::clone(self), Arc::clone(metrics));
            joined(tokio::task::spawn_blocking(move || tls.look(&count)).await);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    fn look(&self, metrics: &Metrics) {
        for Looked { what, outcome } in self.server.look() {
            match outcome {
                Ok(()) => {
                    metrics.reload(what, "ok");
                    tracing::info!(what, until = self.until(), "certificates were read again");
                }
                Err(error) => {
                    metrics.reload(what, "failed");
                    tracing::error!(what, error = %chain(&error),
                        "certificates cannot be used; those from before are");
                }
            }
        }
        if let Some(until) = self.server.until() {
            metrics.certificate(until - self.clock.now());
        }
        let until = self.until();
        match self.server.due() {
            None => {}
            Some(Due::Within(days)) => tracing::warn!(
                until,
                "the certificate of this service is valid for less than {days} days: put a new one in its place"
            ),
            Some(Due::Over) => tracing::error!(
                until,
                "the certificate of this service has expired, and no client connects: put a new one in its place"
            ),
        }
    }

    fn until(&self) -> String {
        let until = self.server.until().and_then(|until| until.format(&Rfc3339).ok());
        until.unwrap_or_default()
    }
}
