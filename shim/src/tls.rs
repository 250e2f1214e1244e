//! Files in, what the API server's connections are protected with out, anew whenever the files change.

use std::sync::Arc;
use std::time::Duration;

use portcullis_tls::{
    Demand, Due, H2, HTTP_1_1, Looked, Now, Oldest, Protocols, Server, ServerFiles, Strangers,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::TlsConfig;
use crate::metrics::Metrics;

pub use portcullis_tls::TlsError;

/// How often the files are looked at. A change is taken at the second look that sees it.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What protects connections now.
pub(crate) struct Certificates {
    pub(crate) server: Server,
    demands: bool,
    now: Now,
}

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(config: &TlsConfig, now: Now) -> Result<Self, TlsError> {
        let clients = config.client_authorities.clone().map(|authorities| Demand {
            authorities,
            revoked: Vec::new(),
            // Who shows none gets an answer that says so.
            strangers: Strangers::Nobody,
        });
        let demands = clients.is_some();
        let files = ServerFiles {
            pair: config.pair.clone(),
            clients,
            // API servers may be older than TLS 1.3.
            oldest: Oldest::Tls12,
            protocols: Protocols::Offered(vec![H2.to_vec(), HTTP_1_1.to_vec()]),
        };
        Ok(Self { server: Server::load(files, Arc::clone(&now))?, demands, now })
    }

    /// Whether a client must show a certificate.
    pub(crate) const fn demands(&self) -> bool {
        self.demands
    }

    /// Until when our certificate is valid, in seconds since 1970; none while there is none.
    pub(crate) fn expires(&self) -> Option<i64> {
        Some(self.server.until()?.unix_timestamp())
    }

    /// Whether our certificate has expired, so that no API server believes us.
    pub(crate) fn is_over(&self) -> bool {
        self.server.until().is_some_and(|until| until <= (self.now)())
    }

    /// Tells metrics from when on and until when our certificate is valid.
    pub(crate) fn tell(&self, metrics: &Metrics) {
        if let (Some(begins), Some(expires)) = (self.server.since(), self.expires()) {
            metrics.certificate(begins.unix_timestamp(), expires);
        }
    }

    /// Takes what changed in the files, until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, metrics: Arc<Metrics>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let (this, metrics) = (Arc::clone(&self), Arc::clone(&metrics));
            let looked = tokio::task::spawn_blocking(move || this.look(&metrics)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "the look at the certificate ended early");
            }
        }
    }

    /// Looks at the files once.
    fn look(&self, metrics: &Metrics) {
        for Looked { what, outcome } in self.server.look() {
            match outcome {
                Ok(()) => {
                    metrics.certificate_taken();
                    tracing::info!(what, "new files are used");
                }
                Err(error) => {
                    metrics.certificate_kept();
                    let error = crate::chain(&error);
                    tracing::error!(what, error, "what was there before is used on");
                }
            }
        }
        self.tell(metrics);
        match self.server.due() {
            None => {}
            Some(Due::Within(days)) => tracing::warn!(
                "the certificate of the webhook is valid for less than {days} days: put a new one in its place"
            ),
            Some(Due::Over) => tracing::error!(
                "the certificate of the webhook has expired: no API server believes it, and this shim is not ready \
                 until there is a new one in its place"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
