//! An answer in which break-glass lifts denials in, the same once that is on disk out; or the denials.

use std::time::Duration;

use futures_util::future::try_join_all;
use portcullis_core::decide::NoticeKind;
use portcullis_core::event::Event;
use tokio::time::{Instant, timeout_at};

use super::queue::Refused;
use super::spool::Spool;
use super::{Recorded, Sinks, made};
use crate::check::{Answer, Decided};

/// How much of the caller's time is kept for the answer, but at most a quarter of what is left.
const RESERVE: Duration = Duration::from_millis(50);

/// Why the use of break-glass cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unrecorded {
    #[error("neither `dataDir` nor an event file is configured")]
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
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let until = now + left.saturating_sub(RESERVE.min(left / 4));
        let lifted: Vec<_> = lifted().collect();
        match self.write_first(&answer, &lifted, until).await {
            Ok(events) => {
                self.metrics.break_glass("used", count);
                events.iter().for_each(tell);
            }
            Err(error) => {
                self.metrics.break_glass("not_recorded", count);
                tracing::error!(%error, "break-glass lifts nothing: it cannot be recorded");
                answer = unlifted(answer);
            }
        }
        answer
    }

    /// Gives the events once they are on disk: in the record under the data directory, or in the event
    /// file where there is no such record.
    async fn write_first(
        &self,
        answer: &Answer,
        lifted: &[&Decided],
        until: Instant,
    ) -> Result<Vec<Event>, Unrecorded> {
        let Sinks { spool, queue, unrecorded: _ } = &*self.sinks;
        let (mut events, mut written) = (Vec::new(), Vec::new());
        let mut unused = Unused { spool: spool.as_ref(), numbers: Vec::new() };
        for decided in lifted {
            let (number, awaited) = match (spool, queue) {
                (Some(spool), _) => {
                    let recorded = spool.record_awaited(&made(answer, decided));
                    let (number, awaited) = recorded.map_err(|_number| Unrecorded::Full)?;
                    unused.numbers.push(number);
                    (number, awaited)
                }
                (None, Some(queue)) => {
                    let number = self.ids.next();
                    let event = self.event(number, answer, decided);
                    let pushed = queue.push_awaited(event, &decided.subjects);
                    let awaited = pushed.map_err(|error| match error {
                        Refused::Full => Unrecorded::Full,
                        Refused::Closed => Unrecorded::Failed,
                    })?;
                    (number, awaited)
                }
                (None, None) => return Err(Unrecorded::NoFile),
            };
            events.push(self.event(number, answer, decided));
            written.push(awaited);
        }
        match timeout_at(until, try_join_all(written)).await {
            Err(_elapsed) => return Err(Unrecorded::Late),
            Ok(Err(_dropped)) => return Err(Unrecorded::Failed),
            Ok(Ok(_)) => unused.numbers.clear(),
        }
        if let (Some(_), Some(queue)) = (spool, queue) {
            for (event, decided) in events.iter().zip(lifted) {
                if !queue.push(event.clone(), &decided.subjects) {
                    self.metrics.event_dropped();
                }
            }
        }
        Ok(events)
    }
}

/// The same answer with the denials that are lifted in it.
pub(super) fn unlifted(mut answer: Answer) -> Answer {
    for decided in answer.decided.iter_mut().filter(|decided| is_lifted(decided)) {
        decided.decision = decided.decision.clone().without_break_glass();
    }
    answer
}

/// Decisions that are recorded and not given, unless they are. Some may be on disk by now: they are taken
/// back in the record, also where the caller goes away.
struct Unused<'a> {
    spool: Option<&'a Spool>,
    numbers: Vec<u64>,
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if let Some(spool) = self.spool {
            spool.take_back(&self.numbers);
        }
    }
}

fn is_lifted(decided: &Decided) -> bool {
    decided.decision.break_glass.is_some()
}

fn is_refused(decided: &Decided) -> bool {
    let is_refusal = |kind: &_| matches!(kind, NoticeKind::BreakGlassRefused(_));
    decided.decision.notices.iter().any(|notice| is_refusal(&notice.kind))
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
