//! Reports that wait in, calls of the service out, by a task of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_client::{Client, ClientError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Reports};

/// How long reports are gathered, so that many are sent at once.
const GATHER: Duration = Duration::from_millis(200);
/// The first and the longest pause after a failure; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How far a run has come in sending.
struct Sending {
    reports: Arc<Reports>,
    client: Client,
    /// The most reports in a call: one, where the service does not take one of several.
    most: usize,
}

/// What became of a call.
enum Sent {
    /// There is no more.
    All,
    /// More waits, at once.
    More,
    /// It is to be tried again.
    Not(ClientError),
}

impl Reports {
    /// Sends what waits, until `stop`; and then what is left, for `last` at the most.
    pub(crate) async fn send(
        self: Arc<Self>,
        client: Client,
        stop: CancellationToken,
        last: Duration,
    ) {
        let (reports, most) = (self, usize::MAX);
        let mut sending = Sending { reports, client, most };
        let mut pause = PAUSES.0;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sending.reports.to_send.notified() => {}
            }
            // Not before a little has come together, and not later than it must end.
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(GATHER) => {}
            }
            let sent = tokio::select! {
                () = stop.cancelled() => break,
                sent = sending.all() => sent,
            };
            let Err(error) = sent else {
                pause = PAUSES.0;
                continue;
            };
            let error = crate::chain(&error);
            tracing::warn!(error, ?pause, "reports are not taken: they are kept, and sent again");
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
            pause = PAUSES.1.min(2 * pause);
            sending.reports.to_send.notify_one();
        }
        // A call that was under way may be heard of yet: the service takes no other of this run meanwhile.
        let all = async {
            while sending.all().await.is_err() {
                sleep(GATHER).await;
            }
        };
        if tokio::time::timeout(last, all).await.is_err() {
            let waiting = sending.reports.counts().waiting;
            tracing::warn!(waiting, "reports could not be sent before the end");
        }
    }
}

impl Sending {
    /// Sends until nothing waits that was there.
    async fn all(&mut self) -> Result<(), ClientError> {
        self.most = usize::MAX;
        loop {
            match self.one().await {
                Sent::All => return Ok(()),
                Sent::More => {}
                Sent::Not(error) => {
                    self.reports.send_failures.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    async fn one(&mut self) -> Sent {
        let batch = self.reports.queue.lock().batch(self.most);
        let Some(batch) = batch else { return Sent::All };
        let count = batch.request.answered.len();
        match self.client.report(&batch.request, Instant::now() + PATIENCE).await {
            Ok(()) => {
                let sent = self.reports.queue.lock().sent(&batch);
                self.reports.sent.fetch_add(sent, Ordering::Relaxed);
                self.reports.to_keep.notify_one();
                if batch.is_full { Sent::More } else { Sent::All }
            }
            Err(error) if error.is_malformed() && count > 0 => {
                let error = crate::chain(&error);
                if count > 1 {
                    tracing::warn!(
                        error,
                        "one of several reports is not taken: they are sent one by one"
                    );
                    self.most = 1;
                } else {
                    tracing::error!(error, "a report is not taken: it is dropped");
                    self.reports.queue.lock().give_up(&batch);
                    self.reports.to_keep.notify_one();
                }
                Sent::More
            }
            Err(error) => Sent::Not(error),
        }
    }
}
