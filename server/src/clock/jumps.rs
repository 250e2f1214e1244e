//! The clock of the machine and the steady one in, whether somebody set the former out.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::ports::Clock;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::caught::lasting;
use crate::metrics::Metrics;

/// How often the two are compared.
const LOOK: Duration = Duration::from_secs(5);
/// By how much they may part in that time. What disciplines a clock does not come near it.
const JUMP: time::Duration = time::Duration::seconds(2);

/// Tells of each jump until `stop`: what ends at a time of day ends then, early or late.
pub(crate) async fn follow(clock: Arc<dyn Clock>, metrics: Arc<Metrics>, stop: CancellationToken) {
    lasting("clock", Arc::clone(&metrics), stop.clone(), || tell(&clock, &metrics, &stop)).await;
}

async fn tell(clock: &Arc<dyn Clock>, metrics: &Metrics, stop: &CancellationToken) {
    let both = || (clock.now(), Instant::now());
    let mut before = both();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
        let now = both();
        let jump = jump(before, now);
        if jump.abs() > JUMP {
            let direction = if jump.is_positive() { "forward" } else { "back" };
            metrics.clock_jumped(direction);
            tracing::warn!(
                direction,
                seconds = jump.whole_seconds(),
                "the clock of this machine was set: exemptions, certificates and ages follow it"
            );
        }
        before = now;
    }
}

/// By how much the clock went on more than the steady one did.
fn jump(before: (OffsetDateTime, Instant), now: (OffsetDateTime, Instant)) -> time::Duration {
    let steady = now.1.saturating_duration_since(before.1);
    let steady = time::Duration::try_from(steady).unwrap_or(time::Duration::MAX);
    (now.0 - before.0).saturating_sub(steady)
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::clock::TestClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn t154_a_clock_that_is_set_is_told_of_and_one_that_goes_on_is_not() {
        let start = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let manual = Arc::new(TestClock::new(start));
        let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
        let clock: Arc<dyn Clock> = manual.clone();
        let told = tokio::spawn(follow(clock, Arc::clone(&metrics), stop.clone()));
        let count = |direction: &str| -> u64 {
            let text = metrics.encode().unwrap();
            let line = format!("portcullis_clock_jumps_total{{direction=\"{direction}\"}} ");
            text.lines().find_map(|l| l.strip_prefix(&line)).unwrap().parse().unwrap()
        };
        for _ in 0..100 {
            manual.advance(Duration::from_secs(1));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!((count("forward"), count("back")), (0, 0));
        manual.set(start + time::Duration::days(730));
        sleep(LOOK).await;
        assert_eq!((count("forward"), count("back")), (1, 0));
        manual.set(start + time::Duration::days(729));
        sleep(LOOK).await;
        assert_eq!((count("forward"), count("back")), (1, 1));
        stop.cancel();
        told.await.unwrap();
    }
}
