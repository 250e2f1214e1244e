//! Foreign JSON in, typed values out: within bounds, and with one reading only.
//!
//! A document with a duplicate key means one thing to the scanner that signed it and another to us
//! (CASES T028), so it is refused, as is one that is deeper or has more values than its bound.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;
/// The most values (members, elements, scalars) that one document may hold. A report of
/// [`crate::findings::MAX_FINDINGS`] findings with forty values each stays below.
pub const MAX_VALUES: usize = 5_000_000;

/// Why bytes are not a JSON document that we read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, deeper or larger than the bounds, with a duplicate key, or not of the shape that
    /// was expected. The source says which, with line and column.
    #[error("the document is not readable JSON")]
    Malformed(#[from] serde_json::Error),
}

/// Reads `bytes` as a `T` after checking the bounds and that no object has a key twice.
///
/// # Errors
/// When the bytes are not one JSON document within [`MAX_DEPTH`] and [`MAX_VALUES`], have a
/// duplicate key, or do not fit `T`.
pub fn from_slice<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, JsonError> {
    walk(bytes, MAX_VALUES)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// Walks a document as [`from_slice`] does, with a bound of its own, and keeps nothing of it.
///
/// # Errors
/// When the bytes are not one JSON document within [`MAX_DEPTH`] and `limit` values, or have a
/// duplicate key.
pub fn walk(bytes: &[u8], limit: usize) -> Result<(), JsonError> {
    let mut values = 0;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0, values: &mut values, limit }.deserialize(&mut reader)?;
    Ok(reader.end()?)
}

/// Walks a document and keeps nothing.
struct Strict<'a> {
    depth: usize,
    values: &'a mut usize,
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        *self.values += 1;
        if *self.values > self.limit {
            return Err(de::Error::custom(format_args!("more than {} values", self.limit)));
        }
        if self.depth > MAX_DEPTH {
            return Err(de::Error::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { depth, values, limit } = self;
        while seq.next_element_seed(Strict { depth: depth + 1, values, limit })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { depth, values, limit } = self;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(de::Error::custom(format_args!("key `{key}` appears twice")));
            }
            keys.insert(key);
            map.next_value_seed(Strict { depth: depth + 1, values, limit })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, readable: bool) {
        let read = from_slice::<serde_json::Value>(input.as_bytes());
        assert_eq!(read.is_ok(), readable, "{read:?}");
    }

    #[test]
    fn t028_a_document_has_one_reading() {
        check(r#"{"severity":"low","other":{"severity":"critical"}}"#, true);
        check(r#"{"severity":"low","severity":"critical"}"#, false);
        check(r#"[{"a":1,"\u0061":2}]"#, false);
        check(r#"{"a":1} {"a":2}"#, false);
        check(r#"{"a":NaN}"#, false);
        check(r#"{"a":1e999}"#, false);
        check(r#"{"a":"\ud800"}"#, false);
        check("", false);
    }

    #[test]
    fn t028_depth_is_refused_one_past_its_bound() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        check(&nested(MAX_DEPTH), true);
        check(&nested(MAX_DEPTH + 1), false);
        check(&nested(10_000), false);
    }

    #[test]
    fn t028_values_are_refused_one_past_their_bound() {
        let list = |n: usize| format!("[{}1]", "1,".repeat(n - 1));
        // The list itself is a value too.
        check(&list(MAX_VALUES - 1), true);
        check(&list(MAX_VALUES), false);
        for (count, readable) in [(3, true), (4, false)] {
            assert_eq!(walk(list(count).as_bytes(), 4).is_ok(), readable);
        }
    }
}
