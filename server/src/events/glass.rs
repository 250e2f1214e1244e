//! An answer in which break-glass lifts denials in, the same once that is on disk out; or the denials.

use std::time::Duration;

use futures_util::future::try_join_all;
use portcullis_core::decide::NoticeKind;
use portcullis_core::event::Event;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

use super::Recorded;
use crate::check::{Answer, Decided};

/// How much of the caller's time is kept for the answer, but at most a quarter of what is left.
const RESERVE: Duration = Duration::from_millis(50);

/// Why the use of break-glass cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unrecorded {
    #[error("no event file is configured")]
    NoFile,
    #[error("too many events wait to be written")]
    Full,
    #[error("the event could not be written to disk")]
    Failed,
    #[error("the event was not on disk in time")]
    Late,
}

impl<C> Recorded<C> {
    /// Lets denials be lifted in `answer` if all their events are on disk before `deadline`, and
    /// lifts none otherwise.
    pub(super) async fn record_first(&self, mut answer: Answer, deadline: Instant) -> Answer {
        let lifted = || answer.decided.iter().filter(|decided| is_lifted(decided));
        let refused = answer.decided.iter().filter(|decided| is_refused(decided)).count();
        self.metrics.break_glass("not_permitted", refused);
        let count = lifted().count();
        if count == 0 {
            return answer;
        }
        let event = |decided| (self.event(&answer, decided), decided);
        let events: Vec<_> = lifted().map(event).collect();
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let until = now + left.saturating_sub(RESERVE.min(left / 4));
        match self.write_first(&events, until).await {
            Ok(()) => {
                self.metrics.break_glass("used", count);
                events.iter().for_each(|(event, _)| tell(event));
            }
            Err(error) => {
                self.metrics.break_glass("not_recorded", count);
                tracing::error!(%error, "break-glass lifts nothing: it cannot be recorded");
                for decided in answer.decided.iter_mut().filter(|decided| is_lifted(decided)) {
                    decided.decision = decided.decision.clone().without_break_glass();
                }
            }
        }
        answer
    }

    async fn write_first(
        &self,
        events: &[(Event, &Decided)],
        until: Instant,
    ) -> Result<(), Unrecorded> {
        let queue = self.queue.as_ref().ok_or(Unrecorded::NoFile)?;
        let mut written = Vec::with_capacity(events.len());
        for (event, decided) in events {
            let pushed = queue.push_awaited(event.clone(), &decided.subjects);
            written.push(pushed.map_err(|error| match error {
                TrySendError::Full(_) => Unrecorded::Full,
                TrySendError::Closed(_) => Unrecorded::Failed,
            })?);
        }
        match timeout_at(until, try_join_all(written)).await {
            Err(_elapsed) => Err(Unrecorded::Late),
            Ok(Err(_dropped)) => Err(Unrecorded::Failed),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

fn is_lifted(decided: &Decided) -> bool {
    decided.decision.break_glass.is_some()
}

fn is_refused(decided: &Decided) -> bool {
    decided.decision.notices.iter().any(|notice| notice.kind == NoticeKind::BreakGlassRefused)
}

fn tell(event: &Event) {
    tracing::warn!(
        id = event.id,
        break_glass = event.break_glass,
        justification = event.justification,
        image = event.image,
        rule = event.rule,
        cluster = event.cluster,
        namespace = event.namespace,
        reason = event.reason,
        "break-glass lifted a denial"
    );
}

#[cfg(test)]
mod tests;
