//! A text in, a duration out.

use std::time::Duration;

use serde::Deserialize;

/// A duration such as `250ms`, `30s`, `5m`, `12h` or `30d`, of at most so many days.
#[derive(Clone, Copy)]
pub(super) struct Span<const DAYS: u64 = 30>(pub(super) Duration);

impl<'de, const DAYS: u64> Deserialize<'de> for Span<DAYS> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let max = Duration::from_hours(DAYS * 24);
        span(&text).filter(|span| *span <= max).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "`{text}` is not a duration: expected a whole number and one of ms, s, m, h, d, \
                 above zero and at most {DAYS}d"
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
    (!span.is_zero()).then_some(span)
}
