//! Reports that wait in, the file that has them out, by a task of its own: no review waits for a disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::file::{File, Restored};
use super::queue::Standing;
use super::{Reports, ReportsConfig};

/// How long reports are gathered, so that many are written at once.
const GATHER: Duration = Duration::from_millis(50);
/// When to try again after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps reports on disk.
pub(crate) struct Keeper {
    reports: Arc<Reports>,
    disk: Option<Disk>,
}

/// The file, and how it stands to the queue. Places are those of the queue.
struct Disk {
    file: File,
    /// When the file is longer than this, it is written anew.
    limit: u64,
    /// The place of the first report in the file.
    base: u64,
    /// The place behind the last.
    until: u64,
    /// The place of the first that is not done, as the file says.
    done: u64,
    /// Whether the file is to be written anew: nothing was written yet, or it failed.
    is_broken: bool,
}

impl Keeper {
    /// Takes what the file has of runs before. Without a file reports are in memory alone.
    pub(crate) fn new(reports: Arc<Reports>, config: &ReportsConfig, cluster: &str) -> Self {
        let Some(path) = config.file.clone() else {
            tracing::info!(
                "no `reports.file` is configured: reports of answers without the service are lost with a restart"
            );
            return Self { reports, disk: None };
        };
        let file = File::new(path, cluster);
        match file.restore() {
            Ok(restored) => reports.restore(&file, restored),
            Err(error) => {
                let path = file.path().display();
                tracing::error!(%error, %path, "reports of before the restart cannot be read");
                reports.disk_failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        let limit = 2 * config.max_bytes as u64;
        let disk = Disk { file, limit, base: 0, until: 0, done: 0, is_broken: true };
        Self { reports, disk: Some(disk) }
    }

    /// Writes until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Self {
        while self.disk.is_some() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.reports.to_keep.notified() => {}
            }
            let pause = if self.write().await { GATHER } else { RETRY };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        self
    }

    /// Writes what is not on disk yet; whether that worked.
    pub(crate) async fn write(&mut self) -> bool {
        let Some(mut disk) = self.disk.take() else { return true };
        let from = if disk.is_broken { 0 } else { disk.until };
        let standing = self.reports.queue.lock().standing(from);
        let write = move || {
            let written = disk.write(&standing);
            (disk, written)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok((disk, written)) => {
                if let Err(error) = &written {
                    let path = disk.file.path().display();
                    tracing::error!(%error, %path, "reports are not kept over a restart");
                    self.reports.disk_failures.fetch_add(1, Ordering::Relaxed);
                    // It is tried again.
                    self.reports.to_keep.notify_one();
                }
                self.disk = Some(disk);
                written.is_ok()
            }
            Err(error) => {
                tracing::error!(%error, "the writing of reports ended early");
                false
            }
        }
    }
}

impl Reports {
    fn restore(&self, file: &File, restored: Restored) {
        let path = file.path().display();
        let Restored { reports, torn, aside } = restored;
        if let Some(aside) = aside {
            let aside = aside.display();
            tracing::warn!(%path, %aside, "reports of another cluster or version are set aside");
        }
        if torn > 0 {
            tracing::warn!(%path, torn, "the end of the reports of before the restart is not whole");
        }
        let count = reports.len();
        let mut queue = self.queue.lock();
        reports.into_iter().for_each(|report| queue.restore(report));
        drop(queue);
        if count > 0 {
            tracing::info!(count, "reports of before the restart are to be sent");
            self.to_send.notify_one();
        }
        self.to_keep.notify_one();
    }
}

impl Disk {
    fn write(&mut self, standing: &Standing) -> io::Result<()> {
        let Standing { first, new } = standing;
        let written = if self.is_broken {
            self.anew(*first, new)
        } else if *first >= self.until && (self.until > self.base || *first > self.until) {
            // All in the file is done.
            self.anew(*first, new)
        } else {
            self.more(*first, new)
        };
        self.is_broken = written.is_err() || self.file.length() > self.limit;
        written
    }

    fn anew(&mut self, first: u64, reports: &[bytes::Bytes]) -> io::Result<()> {
        self.file.rewrite(reports)?;
        (self.base, self.done) = (first, first);
        self.until = first + reports.len() as u64;
        Ok(())
    }

    fn more(&mut self, first: u64, reports: &[bytes::Bytes]) -> io::Result<()> {
        let done = (first > self.done).then(|| first - self.base);
        if reports.is_empty() && done.is_none() {
            return Ok(());
        }
        self.file.append(reports, done)?;
        self.until += reports.len() as u64;
        self.done = self.done.max(first);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
