//! Files that go together in, what they mean out; taken over anew when they changed and rest.
//!
//! Files are written one after the other, and a file may be looked at while it is written. So a change is taken
//! when two looks in a row have seen the same, and only if all of it is good: until then what was there before
//! is used. What is no good is told once.

use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};

use crate::TlsError;

/// Where something is read, and what it means.
pub(crate) trait Source {
    /// What it means.
    type Value;
    /// What it is called.
    const NAME: &'static str;

    /// The bytes of all files.
    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError>;

    /// What they mean, in the order of [`Self::read`].
    fn parse(&self, files: &[Vec<u8>]) -> Result<Self::Value, TlsError>;
}

/// The last good meaning of a source.
pub(crate) struct Part<S: Source> {
    source: S,
    value: S::Value,
    hash: RandomState,
    /// What the last look saw.
    seen: u64,
    /// What was taken, or told of.
    done: u64,
}

impl<S: Source> Part<S> {
    /// What is there at the start.
    pub(crate) fn load(source: S) -> Result<Self, TlsError> {
        let files = source.read()?;
        let value = source.parse(&files)?;
        let hash = RandomState::new();
        let seen = hash.hash_one(&files);
        Ok(Self { source, value, hash, seen, done: seen })
    }

    pub(crate) const fn value(&self) -> &S::Value {
        &self.value
    }

    /// Looks whether it changed: whether it was taken over, or why it was not; None if there is no news.
    pub(crate) fn look(&mut self) -> Option<Result<(), TlsError>> {
        let read = self.source.read();
        let now = match &read {
            Ok(files) => self.hash.hash_one(files),
            Err(error) => self.hash.hash_one(cause(error)),
        };
        let before = std::mem::replace(&mut self.seen, now);
        if now == self.done || now != before {
            return None;
        }
        self.done = now;
        Some(read.and_then(|files| {
            self.value = self.source.parse(&files)?;
            Ok(())
        }))
    }
}

/// What tells one fault from another.
fn cause(error: &TlsError) -> String {
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[cfg(test)]
mod tests;
