//! Reports that wait in, the file that has them out, by a task of its own: no review waits for a disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::file::{File, Restored};
use super::queue::{Lost, Standing};
use super::{Reports, ReportsConfig};
use crate::config::Place;

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
    /// What is to be told of those that are dropped, as the file says.
    lost: Vec<Lost>,
    /// Whether the file is to be written anew: nothing was written yet, or it failed.
    is_broken: bool,
}

impl Keeper {
    /// Takes what the file has of runs before. Without a file reports are in memory alone, and so where there is one
    /// that can neither be read nor be kept under another name: it is not written over.
    pub(crate) fn new(reports: Arc<Reports>, config: &ReportsConfig, place: &Place) -> Self {
        let Some(path) = config.file.clone() else {
            tracing::info!(
                "no `reports.file` is configured: reports of answers without the service are lost with a restart"
            );
            return Self { reports, disk: None };
        };
        let file = File::new(path, place);
        match file.restore() {
            Ok(restored) => reports.restore(&file, restored),
            Err(error) => {
                let path = file.path().display();
                tracing::error!(
                    %error,
                    %path,
                    "reports of before the restart cannot be read: they stay there, and others are in memory alone"
                );
                reports.disk_failures.fetch_add(1, Ordering::Relaxed);
                return Self { reports, disk: None };
            }
        }
        let limit = 2 * config.max_bytes as u64;
        let lost = Vec::new();
        let disk = Disk { file, limit, base: 0, until: 0, done: 0, lost, is_broken: true };
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
        let Restored { reports, lost, torn, aside } = restored;
        if let Some(aside) = aside {
            self.set_aside.fetch_add(1, Ordering::Relaxed);
            let aside = aside.display();
            tracing::error!(
                %path,
                %aside,
                "reports of another cluster, account or version are set aside: nobody sends them"
            );
        }
        if torn > 0 {
            tracing::warn!(%path, torn, "the end of the reports of before the restart is not whole");
        }
        let count = reports.len();
        let mut queue = self.queue.lock();
        let has_lost = !lost.is_empty();
        queue.restore_lost(lost);
        reports.into_iter().for_each(|report| queue.restore(report));
        drop(queue);
        if has_lost {
            self.to_send.notify_one();
        }
        if count > 0 {
            tracing::info!(count, "reports of before the restart are to be sent");
            self.to_send.notify_one();
        }
        self.to_keep.notify_one();
    }
}

impl Disk {
    fn write(&mut self, standing: &Standing) -> io::Result<()> {
        let first = standing.first;
        // All in the file is done.
        let is_done = first >= self.until && (self.until > self.base || first > self.until);
        let written =
            if self.is_broken || is_done { self.anew(standing) } else { self.more(standing) };
        self.is_broken = written.is_err() || self.file.length() > self.limit;
        written
    }

    fn anew(&mut self, standing: &Standing) -> io::Result<()> {
        let Standing { first, new, lost } = standing;
        self.file.rewrite(new, lost)?;
        (self.base, self.done) = (*first, *first);
        self.until = first + new.len() as u64;
        self.lost.clone_from(lost);
        Ok(())
    }

    fn more(&mut self, standing: &Standing) -> io::Result<()> {
        let Standing { first, new, lost } = standing;
        let done = (*first > self.done).then(|| first - self.base);
        let news = (*lost != self.lost).then_some(lost.as_slice());
        if new.is_empty() && done.is_none() && news.is_none() {
            return Ok(());
        }
        self.file.append(new, done, news)?;
        self.until += new.len() as u64;
        self.done = self.done.max(*first);
        self.lost.clone_from(lost);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
