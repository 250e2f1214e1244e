//! A text in, a span of time out.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// The longest span in a scenario.
const MAX_SPAN: Duration = Duration::from_secs(24 * 3600);

/// A duration such as `250ms`, `30s` or `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = text.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
        let milliseconds = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            _ => None,
        };
        let product = number.zip(milliseconds).and_then(|(n, unit)| n.checked_mul(unit));
        let span = product.map(Duration::from_millis).filter(|span| *span <= MAX_SPAN);
        span.map(Self).ok_or_else(|| {
            format!("`{text}` is not a duration: expected a whole number and one of ms, s, m")
        })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
