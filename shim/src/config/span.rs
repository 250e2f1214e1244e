//! A text in, a duration out.

use std::time::Duration;

use serde::Deserialize;

/// The longest duration that may be configured.
const MAX: Duration = Duration::from_hours(30 * 24);

/// A duration such as `250ms`, `30s`, `5m`, `12h` or `30d`.
#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        span(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "`{text}` is not a duration: expected a whole number and one of ms, s, m, h, d, \
                 above zero and at most 30d"
            ))
        })
    }
}

fn span(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let span = Duration::from_millis(number.checked_mul(milliseconds)?);
    (!span.is_zero() && span <= MAX).then_some(span)
}
