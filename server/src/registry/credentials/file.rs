//! A file that somebody else keeps up to date in, what it says now out.
//!
//! Whoever needs the file looks whether it is another one than before, so that a new password needs
//! no restart. What cannot be used is logged and counted once, and what was there before stays in
//! use: a file that is being written is not a reason to stop.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use portcullis_core::ports::Clock;
use time::OffsetDateTime;
use tracing::warn;

use super::error::CredentialError;
use crate::chain::detail;
use crate::registry::config::Secret;
use crate::registry::observe::Observe;

/// The largest file of credentials that is read, in bytes.
pub(in crate::registry) const MAX_FILE: usize = 1024 * 1024;

/// What can be read from a file of credentials.
pub(super) trait Content: Sized + Send + Sync + 'static {
    /// Reads the whole of it, or says what is wrong in words that repeat none of it.
    fn parse(bytes: &[u8]) -> Result<Self, &'static str>;

    /// When it ends, if it says so.
    fn ends(&self) -> Option<OffsetDateTime> {
        None
    }
}

/// One line of text: a password or a token.
pub(super) struct Line {
    pub(super) text: Secret,
    ends: Option<OffsetDateTime>,
}

impl Content for Line {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(bytes).map_err(|_| "it is not text")?.trim_end();
        if text.is_empty() {
            return Err("it is empty");
        }
        // With a line break in it, it would be another header.
        if text.chars().any(char::is_control) {
            return Err("it has more than one line");
        }
        Ok(Self { text: Secret::new(text.to_owned()), ends: super::jwt::expiry(text) })
    }

    fn ends(&self) -> Option<OffsetDateTime> {
        self.ends
    }
}

/// A file and what was last read from it.
pub(super) struct Watched<T> {
    path: PathBuf,
    seen: Arc<Mutex<Seen<T>>>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observe>,
}

struct Seen<T> {
    good: Option<Arc<T>>,
    good_stamp: Option<Stamp>,
    bad_stamp: Option<Option<Stamp>>,
}

/// What tells one version of a file from another. A file that is moved in place of another has
/// another number, and one that is written to has another change time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    number: u64,
    length: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl<T: Content> Watched<T> {
    pub(super) fn new(path: PathBuf, clock: Arc<dyn Clock>, observer: Arc<dyn Observe>) -> Self {
        let seen = Seen { good: None, good_stamp: None, bad_stamp: None };
        Self { path, seen: Arc::new(Mutex::new(seen)), clock, observer }
    }

    /// What the file says, read again if it is another than before; or else what it said last.
    pub(super) async fn read(&self) -> Result<Arc<T>, CredentialError> {
        let (path, seen) = (self.path.clone(), Arc::clone(&self.seen));
        let looked = tokio::task::spawn_blocking(move || look(&path, &seen)).await;
        // The task does not panic, and is not aborted.
        self.settle(looked.unwrap_or_else(|_| Err(interrupted(&self.path))))
    }

    /// As [`Self::read`], for where there is no runtime yet.
    pub(super) fn read_now(&self) -> Result<Arc<T>, CredentialError> {
        self.settle(look(&self.path, &self.seen))
    }

    /// What it said last, without a look at it.
    pub(super) fn last(&self) -> Option<Arc<T>> {
        self.seen.lock().good.clone()
    }

    fn settle(&self, looked: Result<Arc<T>, CredentialError>) -> Result<Arc<T>, CredentialError> {
        let error = match looked {
            Ok(good) => return Ok(good),
            Err(error) => error,
        };
        let stamp = fs::metadata(&self.path).ok().as_ref().map(Stamp::of);
        let (good, is_news) = {
            let mut seen = self.seen.lock();
            let is_news = seen.bad_stamp.replace(stamp) != Some(stamp);
            (seen.good.clone(), is_news)
        };
        if is_news {
            self.observer.on_credential("file", "failed");
            let kept = good.is_some();
            warn!(error = detail(&error), kept, "a file of credentials cannot be used");
        }
        let good = good.ok_or(error)?;
        match good.ends() {
            Some(ends) if ends <= self.clock.now() => {
                Err(CredentialError::Expired { path: self.path.clone() })
            }
            _ => Ok(good),
        }
    }
}

fn interrupted(path: &Path) -> CredentialError {
    let source = Arc::new(std::io::Error::from(std::io::ErrorKind::Interrupted));
    CredentialError::Read { path: path.to_owned(), source }
}

fn look<T: Content>(path: &Path, seen: &Mutex<Seen<T>>) -> Result<Arc<T>, CredentialError> {
    let failed = |e| CredentialError::Read { path: path.to_owned(), source: Arc::new(e) };
    let file = File::open(path).map_err(failed)?;
    let stamp = Stamp::of(&file.metadata().map_err(failed)?);
    {
        let seen = seen.lock();
        if let (Some(good), Some(before)) = (&seen.good, seen.good_stamp)
            && before == stamp
        {
            return Ok(Arc::clone(good));
        }
    }
    let mut bytes = Vec::new();
    // No more is read than is needed to see that it is too much.
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE {
        return Err(CredentialError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    let content =
        T::parse(&bytes).map_err(|why| CredentialError::Content { path: path.to_owned(), why })?;
    let good = Arc::new(content);
    let mut seen = seen.lock();
    *seen = Seen { good: Some(Arc::clone(&good)), good_stamp: Some(stamp), bad_stamp: None };
    Ok(good)
}

#[cfg(test)]
mod tests;
