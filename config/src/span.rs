//! A text in, a duration out.

use std::time::Duration;

use serde::Deserialize;
use serde::de::Error as _;

/// A duration such as `250ms`, `30s`, `5m`, `12h` or `30d`, above zero and of at most so many days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<const DAYS: u64 = 366>(pub Duration);

impl<'de, const DAYS: u64> Deserialize<'de> for Span<DAYS> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let max = Duration::from_secs(DAYS * 24 * 3600);
        span(&text).filter(|span| *span <= max).map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a duration: expected a whole number and one of ms, s, m, h, d, above zero and at most \
                 {DAYS}d"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Duration>) {
        let read = crate::parse::<Span<30>>(text.as_bytes());
        assert_eq!(read.ok().map(|span| span.0), expected, "{text}");
    }

    #[test]
    fn a_duration_has_a_unit_and_two_bounds() {
        check("1ms", Some(Duration::from_millis(1)));
        check("30d", Some(Duration::from_hours(30 * 24)));
        check("720h", Some(Duration::from_hours(30 * 24)));
        for wrong in
            ["0s", "31d", "2592000001ms", "1", "s", "1.5s", "-1s", "1 s", "99999999999999d"]
        {
            check(wrong, None);
        }
    }
}
