//! A list from outside in, at most one entry past its bound out.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::FindingsError;

/// A list of which no more than `MAX + 1` entries are kept: enough to know that it is too long, and
/// too few to fill the memory before that is known.
#[derive(Debug)]
pub(crate) struct Capped<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Capped<T, MAX> {
    /// The entries, or an error that says there are too many of `what`.
    pub(super) fn within(self, what: &'static str) -> Result<Vec<T>, FindingsError> {
        if self.0.len() > MAX {
            return Err(FindingsError::TooLarge { what, limit: MAX });
        }
        Ok(self.0)
    }

    /// The entry at `place`.
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.0.get(place)
    }

    /// The entries that were kept.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// How many were kept.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The entries that were kept, for whom the bound is checked later.
    pub(super) fn kept(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for Capped<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Capped<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Fill(PhantomData))
    }
}

struct Fill<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Fill<T, MAX> {
    type Value = Capped<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() <= MAX {
            match seq.next_element()? {
                Some(entry) => kept.push(entry),
                None => return Ok(Capped(kept)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Capped(kept))
    }
}
