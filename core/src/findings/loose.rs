//! A value under a free key in, what it says out where it has a shape that is known.
//!
//! Anybody may use such a key for anything. What is of another shape is not stated, and does not
//! take the finding beside it along.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;

use super::{Analysis, Epss, moment};

/// A value, or anything else.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Loose<T> {
    Stated(T),
    Other(IgnoredAny),
}

impl<T> Default for Loose<T> {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl<T> Loose<T> {
    pub(super) const fn get(&self) -> Option<&T> {
        match self {
            Self::Stated(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

/// A value, or a text that says the same.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Textual<T> {
    Value(T),
    Text(String),
}

impl<T: Copy + std::str::FromStr> Loose<Textual<T>> {
    pub(super) fn value(&self) -> Option<T> {
        match self.get()? {
            Textual::Value(value) => Some(*value),
            Textual::Text(text) => text.trim().parse().ok(),
        }
    }
}

pub(super) fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<OffsetDateTime>, D::Error> {
    Ok(moment(Loose::<String>::deserialize(d)?.get().map(String::as_str)))
}

pub(super) fn epss<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Epss>, D::Error> {
    Ok(Loose::<Textual<f64>>::deserialize(d)?.value().and_then(Epss::from_f64))
}

pub(super) fn flag<'de, D: Deserializer<'de>>(d: D) -> Result<Option<bool>, D::Error> {
    Ok(Loose::<Textual<bool>>::deserialize(d)?.value())
}

pub(super) fn analysis<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Analysis>, D::Error> {
    Ok(Loose::<Analysis>::deserialize(d)?.get().copied())
}
