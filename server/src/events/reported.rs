//! Reports of answers that were given without the service in, events of them in the record out.
//!
//! A report that was recorded is remembered by its run and number, so that one that is sent again, because its
//! sender did not hear that it arrived, makes no second event here. What is remembered is bounded, and gone after a
//! restart: then there may be two events with the same run and number.

mod runs;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use portcullis_core::decide::Action;
use portcullis_core::event::{AnsweredBy, Event, Told};
use portcullis_core::ports::Clock;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::runs::{Place, Runs};
use super::{Ids, Sinks};
use crate::answered::{Batch, Container, Hear, HearError, Hearing, Report};
use crate::metrics::Metrics;

/// How long a caller waits for the disk: one that hears nothing for longer takes the replica for dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// Records what is reported, beside the decisions of the service.
pub struct Reported {
    sinks: Arc<Sinks>,
    ids: Arc<Ids>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    runs: Runs,
    background: Handle,
}

impl Reported {
    pub(super) fn new(
        (sinks, ids): (Arc<Sinks>, Arc<Ids>),
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        background: Handle,
    ) -> Self {
        Self { sinks, ids, clock, metrics, runs: Runs::default(), background }
    }

    /// Records the reports that are new, in their order, and waits until they are on disk.
    async fn record(&self, batch: Batch, mut place: Place) -> Result<(), HearError> {
        let lost = place.dropped(batch.run, batch.dropped);
        if lost > 0 {
            self.metrics.reports_dropped(lost);
            tracing::warn!(lost, "answers were given without the service and will not be reported");
        }
        let mut failed = Ok(());
        for report in &batch.reports {
            if place.has(report.run, report.answered.number) {
                self.metrics.reported_again();
                continue;
            }
            let awaited = report.containers.iter().map(|container| self.push(report, container));
            match awaited.collect::<Result<Vec<_>, _>>() {
                Ok(awaited) => place.wait(report.run, report.answered.number, awaited),
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
        drop(batch);
        // Those that come together are written together; what is in the record is remembered, whatever failed.
        place.written().await?;
        failed
    }

    /// Gives what tells when the event of a container is on disk, where there is a record.
    fn push(
        &self,
        report: &Report,
        container: &Container,
    ) -> Result<Option<oneshot::Receiver<()>>, HearError> {
        let told = told(report, container, self.clock.now());
        let (number, awaited) = match &self.sinks.spool {
            Some(spool) => {
                // Its sender comes again.
                let taken = spool.record_told(&told);
                let (number, awaited) = taken.map_err(|_number| HearError::Unrecorded)?;
                (number, Some(awaited))
            }
            None => (self.ids.next(), None),
        };
        let event = Event::told(&self.ids.name(number), &told);
        tell(&event);
        if let Some(queue) = &self.sinks.queue
            && !queue.push(event, &[])
        {
            // Where there is a record too, it has the event.
            self.metrics.event_dropped();
            if self.sinks.spool.is_none() {
                return Err(HearError::Unrecorded);
            }
        }
        self.metrics.reported(told.answered.by, told.action);
        Ok(awaited)
    }
}

fn told<'a>(report: &'a Report, container: &'a Container, time: OffsetDateTime) -> Told<'a> {
    let Report { run: _, answered, context, containers: _, policy_revision, cut } = report;
    let Container { name, image, digest, action, rule, reason } = container;
    Told {
        time,
        action: *action,
        image,
        digest: *digest,
        ctx: context,
        container: name,
        policy_revision,
        rule,
        reason,
        cut: *cut,
        answered,
    }
}

/// As for decisions, and for whatever nobody looked at.
fn tell(event: &Event) {
    let Some(answered) = &event.answered else { return };
    if event.action == Action::Allow && answered.by != AnsweredBy::FailPolicy {
        return;
    }
    tracing::info!(
        id = event.id,
        action = event.action.as_str(),
        image = event.image,
        rule = event.rule,
        cluster = event.cluster,
        namespace = event.namespace,
        by = answered.by.as_str(),
        cause = answered.cause,
        at = %answered.at,
        "answered without the service"
    );
}

impl Hear for Reported {
    fn hear(self: Arc<Self>, batch: Batch) -> Hearing {
        if self.sinks.unrecorded {
            return Box::pin(async { Err(HearError::Unrecorded) });
        }
        let Some(place) = self.runs.take(batch.caller, batch.run) else {
            return Box::pin(async { Err(HearError::Busy) });
        };
        let hearing = Arc::clone(&self);
        // It goes on where nobody waits for it: what is in the record must be remembered.
        let recorded = self.background.spawn(async move { hearing.record(batch, place).await });
        Box::pin(async move {
            match timeout(PATIENCE, recorded).await {
                Ok(Ok(recorded)) => recorded,
                Ok(Err(error)) => {
                    tracing::error!(%error, "reports were lost on their way to the record");
                    Err(HearError::Unrecorded)
                }
                Err(_elapsed) => Err(HearError::Busy),
            }
        })
    }
}

/// All of them on disk, or an error.
async fn on_disk(awaited: Vec<oneshot::Receiver<()>>) -> Result<(), HearError> {
    try_join_all(awaited).await.map(drop).map_err(|_dropped| HearError::Unrecorded)
}

#[cfg(test)]
mod tests;
