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
//! stays in them until it ends. So API servers trust it before it is shown, and for as long. Where a configuration
//! cannot be read or written, what it trusts is renewed and shown for as long as its authority is good, also by a
//! replica that begins, and then what the others trust. If its authority was lost, who shows what it signed does so
//! for as long, and who begins shows nothing.
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
use self::issue::{EARLY, Read};
use self::missed::Missed;
use self::objects::{Webhooks, texts, with_texts};
use crate::metrics::Metrics;
use crate::tls::Certificates;

mod api;
mod error;
mod held;
mod issue;
mod missed;
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
    announced: Option<Announced>,
    /// The certificate that is shown.
    shown: Option<String>,
    missed: Missed,
}

/// An authority that configurations have.
struct Announced {
    authority: String,
    /// Those that have it.
    by: BTreeSet<Object>,
    /// Since when each of them has, as far as we know.
    since: Instant,
    /// Whether there is another, which has it not or of which it is not known.
    is_doubted: bool,
    /// One that has it not, and until when it trusts what an authority of before signed.
    otherwise: Option<(Object, OffsetDateTime)>,
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
        let (announced, shown, missed) = (None, None, Missed::default());
        Self { objects, config, certificates, metrics, now, pace, announced, shown, missed }
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

    /// Looks once. A configuration that cannot be looked after costs no other anything.
    async fn look(&mut self) -> Result<Looked, RenewalError> {
        let (webhooks, mut missed) = self.webhooks().await?;
        let held = self.held(&webhooks, &missed).await?;
        let conflict = self.announce(&held, &webhooks, &mut missed).await?;
        self.missed.tell(&missed, &self.metrics);
        let looked = self.show(&held)?;
        conflict.map_or(Ok(looked), Err)
    }

    /// The configurations that can be read, and why the others cannot. By one that is not there, no API server asks.
    ///
    /// # Errors
    /// When none can be read, or the API server cannot be asked.
    async fn webhooks(&self) -> Result<(Vec<(Object, Webhooks)>, Vec<RenewalError>), RenewalError> {
        let (mut webhooks, mut missed) = (Vec::new(), Vec::new());
        for object in &self.config.webhooks {
            let found = self.objects.get(object).await;
            match found.and_then(|found| Webhooks::read(object, &found.value)) {
                Ok(read) => webhooks.push((object.clone(), read)),
                Err(error) if error.missed().is_some() => missed.push(error),
                Err(error) => return Err(error),
            }
        }
        // What is there and cannot be read says more than what is not there.
        missed.sort_by_key(|error| !error.is_absent());
        match missed.pop_if(|_| webhooks.is_empty()) {
            None => Ok((webhooks, missed)),
            Some(error) => Err(error),
        }
    }

    /// What the Secret holds, after what is due was renewed.
    async fn held(
        &self,
        webhooks: &[(Object, Webhooks)],
        missed: &[RenewalError],
    ) -> Result<Held, RenewalError> {
        let RenewalConfig { secret, terms, .. } = &self.config;
        let found = self.objects.get(secret).await?;
        let now = (self.now)();
        let known = webhooks.iter().flat_map(|(_, webhooks)| webhooks.bundles());
        let known: Vec<_> = known.flat_map(authorities).collect();
        let are_all_known = missed.iter().all(RenewalError::is_absent);
        let is_announced = |authority: &str| {
            are_all_known && webhooks.iter().all(|(_, webhooks)| webhooks.trusts(authority))
        };
        // Whoever is shown something by a replica from before goes on to trust it.
        let (renewal, renewed) = match Held::read(&texts(&found.value)) {
            None => {
                check(now, found.date)?;
                (Renewal::Authority, Held::new(known, terms, now)?)
            }
            Some(mut held) => {
                let found_more = held.take(known, terms, now).then_some(Renewal::Found);
                match held.due(terms, now, is_announced).or(found_more) {
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

    /// Tells the API server of all authorities that it is to trust. A configuration that cannot be written goes to
    /// `missed`; that another was quicker with one is given back when the others are written.
    ///
    /// # Errors
    /// When no configuration has the authority, or the API server cannot be asked.
    async fn announce(
        &mut self,
        held: &Held,
        webhooks: &[(Object, Webhooks)],
        missed: &mut Vec<RenewalError>,
    ) -> Result<Option<RenewalError>, RenewalError> {
        let authority = &held.authority.certificate;
        let before = self.announced.take().filter(|before| before.authority == *authority);
        let is_new = |object| before.as_ref().is_none_or(|before| !before.by.contains(object));
        let (mut by, mut conflict, mut is_settling) = (BTreeSet::new(), None, false);
        let mut otherwise: Option<(Object, OffsetDateTime)> = None;
        for (object, webhooks) in webhooks {
            let had = webhooks.trusts(authority);
            let written = match webhooks.change(&held.bundle()) {
                None => Ok(()),
                Some(change) => self.objects.put(object, Verb::Patch, &change).await.map(|_| {
                    self.metrics.renewed("bundle");
                    tracing::info!(%object, "the API server was told by whom to know the webhook");
                }),
            };
            let has = had || written.is_ok();
            match written {
                Ok(()) => {}
                Err(error @ RenewalError::Conflict { .. }) => conflict = Some(error),
                Err(error) if error.missed().is_some() => missed.push(error),
                Err(error) => return Err(error),
            }
            if has {
                is_settling |= !had || is_new(object);
                by.insert(object.clone());
            } else if let Some(until) = held.until_otherwise(webhooks)
                && otherwise.as_ref().is_none_or(|(_, known)| *known < until)
            {
                otherwise = Some((object.clone(), until));
            }
        }
        if by.is_empty() {
            return Err(missed.pop().or(conflict).unwrap_or(RenewalError::Unannounced));
        }
        let gone = missed.iter().filter(|error| error.is_absent()).count();
        let is_doubted = by.len() + gone < self.config.webhooks.len();
        let since = before.filter(|_| !is_settling).map_or_else(Instant::now, |known| known.since);
        let authority = authority.clone();
        self.announced = Some(Announced { authority, by, since, is_doubted, otherwise });
        Ok(conflict)
    }

    /// Shows the certificate, if its authority was announced for long enough. While a configuration may not have that
    /// authority, what is shown already has the time that it has; who shows nothing yet leaves reviews to those that
    /// show what it trusts.
    ///
    /// # Errors
    /// When that is waited for, or the certificate cannot be used.
    fn show(&mut self, held: &Held) -> Result<Looked, RenewalError> {
        let pair = &held.certificate;
        if self.shown.as_ref() == Some(&pair.certificate) {
            return Ok(Looked::Well);
        }
        let announced = self.announced.as_ref();
        match &self.shown {
            Some(shown) if announced.is_some_and(|announced| announced.is_doubted) => {
                if Read::of(shown).is_some_and(|read| self.has_time(read.until)) {
                    return Ok(Looked::Well);
                }
            }
            Some(_) => {}
            None => {
                let otherwise = announced.and_then(|announced| announced.otherwise.as_ref());
                if let Some((object, until)) = otherwise
                    && self.has_time(*until)
                {
                    return Err(RenewalError::Untrusted(object.clone()));
                }
            }
        }
        let since = announced.map_or_else(Instant::now, |announced| announced.since);
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

    /// Whether more is left until then than is waited for anything.
    fn has_time(&self, until: OffsetDateTime) -> bool {
        until - (self.now)() > self.config.terms.least_left()
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
