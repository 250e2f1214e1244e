//! Certificates that renew themselves: one Secret and the webhooks' configurations in, a certificate that every API
//! server trusts out.
//!
//! ```text
//! a look ── configurations ── Secret ── Held ── what is due ── Secret ── configurations ── trusted for a while? ── shown
//! ```
//!
//! Every replica does the same, every few seconds, and none leads. Who writes the Secret says which version he
//! has seen, so that of two one wins, and the other takes what that made.
//!
//! INVARIANT: what is shown is of an authority that all configurations have had for `Pace::settle`, and which
//! stays in them until it ends. So API servers trust it before it is shown, and for as long.
//!
//! INVARIANT: configurations are read before the Secret, and written only if they are as they were read. So nobody
//! who has an old Secret writes over what somebody with a new one wrote.
//!
//! INVARIANT: an authority of ours that a configuration has goes into the Secret before it could leave the
//! configuration. So a Secret of before, put back by hand, takes no authority away that a replica still shows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use portcullis_tls::{Now, PairFiles, name};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::api::{ApiConfig, MAX_TOKEN};
pub use self::error::RenewalError;
pub use self::issue::Terms;
pub use self::objects::{MAX_OBJECT, Object, Verb};

use self::api::{Api, Objects};
use self::held::{CERTIFICATE, Held, Renewal, authorities};
use self::issue::EARLY;
use self::objects::{Webhooks, texts, with_texts};
use crate::metrics::Metrics;
use crate::tls::Certificates;

mod api;
mod error;
mod held;
mod issue;
mod objects;

/// How often it is looked where certificates live for long, and for how long an authority is announced before what
/// it signed is shown: API servers hear of configurations by a watch, within a second or so.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(5);
/// How soon it is looked again after another replica was quicker, and after a failure: at the most so late, twice as
/// late after each more of them in a row, and never later than [`LOOK_EVERY`].
const AGAIN: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_millis(500);
/// After how many in a row it gets no later.
const MAX_DOUBLED: u32 = 10;

/// Where certificates are kept, for whom they are, and who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalConfig {
    /// How the API server is asked.
    pub api: ApiConfig,
    /// What holds the authority and the certificate.
    pub secret: Object,
    /// The configurations of our webhooks, at least one.
    pub webhooks: Vec<Object>,
    /// For whom and for how long certificates are made.
    pub terms: Terms,
}

/// How fast things go.
#[derive(Debug, Clone, Copy)]
struct Pace {
    look: Duration,
    settle: Duration,
}

impl Pace {
    /// Where certificates live for seconds all goes faster.
    fn of(terms: &Terms) -> Self {
        let life = terms.certificate_life;
        Self { look: LOOK_EVERY.min(life / 20), settle: SETTLE.min(life / 10) }
    }
}

/// Renews certificates.
pub(crate) struct Keeper<O> {
    objects: O,
    config: RenewalConfig,
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
    now: Now,
    pace: Pace,
    /// Since when every configuration has this authority, as far as we know.
    announced: Option<(String, Instant)>,
    /// The certificate that is shown.
    shown: Option<String>,
    /// The configurations that were not there at the last look.
    lacking: BTreeSet<Object>,
}

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
enum Looked {
    /// All is as it must be.
    Well,
    /// There is more to do, soon.
    Waits(Duration),
}

impl Keeper<Api> {
    /// Reads the files by which the API server is asked.
    pub(crate) fn load(
        config: RenewalConfig,
        certificates: &Arc<Certificates>,
        metrics: &Arc<Metrics>,
        now: Now,
    ) -> Result<Self, RenewalError> {
        let unnamed = || RenewalError::Host(config.api.host.clone());
        let named = name(&config.api.host).ok_or_else(unnamed)?;
        let api = Api::load(config.api.clone(), named, Arc::clone(&now))?;
        Ok(Self::new(api, config, Arc::clone(certificates), Arc::clone(metrics), now))
    }
}

impl<O: Objects> Keeper<O> {
    fn new(
        objects: O,
        config: RenewalConfig,
        certificates: Arc<Certificates>,
        metrics: Arc<Metrics>,
        now: Now,
    ) -> Self {
        let pace = Pace::of(&config.terms);
        let (announced, shown, lacking) = (None, None, BTreeSet::new());
        Self { objects, config, certificates, metrics, now, pace, announced, shown, lacking }
    }

    /// Renews what is due, and shows it when it is trusted, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (mut failures, mut conflicts) = (0, 0);
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            let pause = match looked {
                Ok(looked) => {
                    (failures, conflicts) = (0, 0);
                    match looked {
                        Looked::Well => self.pace.look,
                        Looked::Waits(pause) => pause,
                    }
                }
                // It is not a fault that others renew too, until there is no end of it.
                Err(error @ RenewalError::Conflict { .. }) => {
                    self.metrics.renewal_failed(error.as_str());
                    tracing::debug!(%error, conflicts, "another was quicker");
                    later(AGAIN, &mut conflicts, self.pace.look)
                }
                Err(error) => {
                    self.metrics.renewal_failed(error.as_str());
                    let error = crate::chain(&error);
                    tracing::error!(error, "the webhook's certificate was not looked after");
                    later(RETRY, &mut failures, self.pace.look)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Looks once.
    async fn look(&mut self) -> Result<Looked, RenewalError> {
        let webhooks = self.webhooks().await?;
        let held = self.held(&webhooks).await?;
        self.announce(&held, &webhooks).await?;
        self.show(&held)
    }

    /// The configurations that are there: by one that is not, no API server asks. That it lacks is counted at each
    /// look and said at the first.
    ///
    /// # Errors
    /// When none is there, or one cannot be read.
    async fn webhooks(&mut self) -> Result<Vec<(Object, Webhooks)>, RenewalError> {
        let (mut webhooks, mut absent) = (Vec::new(), Vec::new());
        for object in &self.config.webhooks {
            match self.objects.get(object).await {
                Ok(found) => webhooks.push((object.clone(), Webhooks::read(object, &found.value)?)),
                Err(error @ RenewalError::Absent { .. }) => absent.push((object.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        if webhooks.is_empty()
            && let Some((_, error)) = absent.pop()
        {
            return Err(error);
        }
        for (object, error) in &absent {
            self.metrics.renewal_failed(error.as_str());
            if !self.lacking.contains(object) {
                let error = crate::chain(error);
                tracing::error!(error, "API servers ask only by the other configurations");
            }
        }
        self.lacking = absent.into_iter().map(|(object, _)| object).collect();
        Ok(webhooks)
    }

    /// What the Secret holds, after what is due was renewed.
    async fn held(&self, webhooks: &[(Object, Webhooks)]) -> Result<Held, RenewalError> {
        let RenewalConfig { secret, terms, .. } = &self.config;
        let found = self.objects.get(secret).await?;
        let now = (self.now)();
        let known = webhooks.iter().flat_map(|(_, webhooks)| webhooks.bundles());
        let known: Vec<_> = known.flat_map(authorities).collect();
        // Whoever is shown something by a replica from before goes on to trust it.
        let (renewal, renewed) = match Held::read(&texts(&found.value)) {
            None => {
                check(now, found.date)?;
                (Renewal::Authority, Held::new(known, terms, now)?)
            }
            Some(mut held) => {
                let found_more = held.take(known, terms, now).then_some(Renewal::Found);
                match held.due(terms, now).or(found_more) {
                    None => return Ok(held),
                    Some(renewal) => {
                        check(now, found.date)?;
                        (renewal, held.renewed(renewal, terms, now)?)
                    }
                }
            }
        };
        let value = with_texts(found.value, &renewed.data());
        self.objects.put(secret, Verb::Update, &value).await?;
        self.metrics.renewed(renewal.as_str());
        tracing::info!(object = %secret, what = renewal.as_str(), "renewed");
        Ok(renewed)
    }

    /// Tells the API server of all authorities that it is to trust.
    async fn announce(
        &mut self,
        held: &Held,
        webhooks: &[(Object, Webhooks)],
    ) -> Result<(), RenewalError> {
        let authority = &held.authority.certificate;
        let was_there = webhooks.iter().all(|(_, webhooks)| webhooks.trusts(authority));
        let since = self.announced.take().filter(|(known, _)| was_there && known == authority);
        for (object, webhooks) in webhooks {
            if let Some(change) = webhooks.change(&held.bundle()) {
                self.objects.put(object, Verb::Patch, &change).await?;
                self.metrics.renewed("bundle");
                tracing::info!(%object, "the API server was told by whom to know the webhook");
            }
        }
        self.announced = Some(since.unwrap_or_else(|| (authority.clone(), Instant::now())));
        Ok(())
    }

    /// Shows the certificate, if its authority was announced for long enough.
    fn show(&mut self, held: &Held) -> Result<Looked, RenewalError> {
        let pair = &held.certificate;
        if self.shown.as_ref() == Some(&pair.certificate) {
            return Ok(Looked::Well);
        }
        let since = self.announced.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        if let Some(left) = self.pace.settle.checked_sub(since.elapsed())
            && !left.is_zero()
        {
            return Ok(Looked::Waits(left));
        }
        let called = PairFiles { certificate: CERTIFICATE.0.into(), key: CERTIFICATE.1.into() };
        let (certificate, key) = (pair.certificate.as_bytes(), pair.key.as_bytes());
        self.certificates.server.take(&called, certificate, key)?;
        self.shown = Some(pair.certificate.clone());
        self.metrics.certificate_taken();
        self.certificates.tell(&self.metrics);
        tracing::info!(expires = self.certificates.expires(), "a new certificate is shown");
        Ok(Looked::Well)
    }
}

/// When to try again after `count` in a row, which is one more from then on: so many replicas do not meet again.
fn later(first: Duration, count: &mut u32, longest: Duration) -> Duration {
    let most = first.saturating_mul(1 << *count).min(longest);
    *count = (*count + 1).min(MAX_DOUBLED);
    let mut random = [0; 4];
    // Without random bytes all replicas are as late as may be.
    let part = match rand::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_unspecified) => 1.0,
    };
    most.mul_f64(0.5 + part / 2.0)
}

/// Whether our clock will do: who has a wrong one would end what others show, and make what is not valid yet.
fn check(now: OffsetDateTime, there: Option<OffsetDateTime>) -> Result<(), RenewalError> {
    let apart = there.map_or(Duration::ZERO, |there| (now - there).unsigned_abs());
    if apart > EARLY { Err(RenewalError::Clock { apart: apart.as_secs() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
