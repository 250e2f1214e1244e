//! Files of certificates in, who may connect out; they are read again when they change.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ports::Clock;
use portcullis_tls::{Due, H2, HTTP_1_1, Looked, Now, Protocols, Server, ServerFiles, TlsError};
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

/// What is served in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// gRPC, to shims and operators.
    Grpc,
    /// What registries tell.
    Events,
}

impl Served {
    /// Its listener, in metrics and logs.
    pub(crate) const fn listener(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Events => "hooks",
        }
    }

    /// The same of those who shake hands there.
    pub(crate) const fn handshakes(self) -> &'static str {
        match self {
            Self::Grpc => "handshake",
            Self::Events => "hooks_handshake",
        }
    }

    fn protocols(self) -> Protocols {
        match self {
            Self::Grpc => Protocols::Demanded(vec![H2.to_vec()]),
            Self::Events => Protocols::Offered(vec![HTTP_1_1.to_vec()]),
        }
    }
}

/// How something is served in TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// What.
    pub served: Served,
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
    /// gRPC in TLS 1.3 with this certificate, for everybody.
    #[must_use]
    pub fn new(pair: PairFiles) -> Self {
        let (identities, served) = (Identities::default(), Served::Grpc);
        let (clients, oldest) = (None, Oldest::default());
        Self { served, pair, clients, oldest, identities, interval: INTERVAL }
    }

    /// What registries tell, with this certificate.
    #[must_use]
    pub fn of_events(pair: PairFiles, oldest: Oldest) -> Self {
        Self { served: Served::Events, oldest, ..Self::new(pair) }
    }
}

/// What connections are made secure by.
pub(crate) struct Tls {
    pub(crate) served: Served,
    pub(crate) server: Server,
    pub(crate) identities: Identities,
    pub(crate) clock: Arc<dyn Clock>,
    interval: Duration,
}

impl Tls {
    /// # Errors
    /// When a file cannot be read or used.
    pub(crate) fn load(config: TlsConfig, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let TlsConfig { served, pair, clients, oldest, identities, interval } = config;
        let protocols = served.protocols();
        let files = ServerFiles { pair: Some(pair), clients, oldest, protocols };
        let told = Arc::clone(&clock);
        let now: Now = Arc::new(move || told.now());
        let server = Server::load(files, now)?;
        Ok(Self { served, server, identities, clock, interval })
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
        let listener = self.served.listener();
        for Looked { what, outcome } in self.server.look() {
            match outcome {
                Ok(()) => {
                    metrics.reload(what, "ok");
                    let until = self.until();
                    tracing::info!(listener, what, until, "certificates were read again");
                }
                Err(error) => {
                    metrics.reload(what, "failed");
                    tracing::error!(listener, what, error = %chain(&error),
                        "certificates cannot be used; those from before are");
                }
            }
        }
        if let Some(until) = self.server.until() {
            metrics.certificate(listener, until - self.clock.now());
        }
        let until = self.until();
        match self.server.due() {
            None => {}
            Some(Due::Within(days)) => tracing::warn!(
                listener,
                until,
                "the certificate of this service is valid for less than {days} days: put a new one in its place"
            ),
            Some(Due::Over) => tracing::error!(
                listener,
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
