//! The query of a review in, how long its answer may take out.

use std::time::Duration;

/// The least that is left, however short the API server's patience.
const LEAST: Duration = Duration::from_millis(50);

/// How long an answer may take: `limit`, or less where the API server says in `?timeout=` that it gives up
/// earlier than `margin` after that.
pub(crate) fn budget(query: Option<&str>, limit: Duration, margin: Duration) -> Duration {
    let told = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(go_duration);
    // A margin that leaves nothing would be no help to anybody.
    let left = told.map(|told| told.saturating_sub(margin.min(told / 2)));
    left.map_or(limit, |left| left.min(limit)).max(LEAST)
}

/// A duration as Go writes it: `10s`, `1m30s`, `1.5s`, `250ms`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let number = rest.split(|c| !is_number(c)).next()?;
        rest = rest.strip_prefix(number)?;
        let unit = rest.split(is_number).next()?;
        rest = rest.strip_prefix(unit)?;
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "%C2%B5s" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    (!total.is_zero()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: u64) {
        let (limit, margin) = (Duration::from_millis(2_500), Duration::from_millis(250));
        let left = budget(Some(query).filter(|q| !q.is_empty()), limit, margin);
        assert_eq!(left, Duration::from_millis(expected), "{query}");
    }

    #[test]
    fn an_answer_comes_before_the_api_server_gives_up() {
        check("timeout=1s", 750);
        check("a=b&timeout=2s", 1_750);
        check("timeout=1.5s", 1_250);
        check("timeout=1m10s", 2_500);
        check("timeout=10s", 2_500);
        check("timeout=300ms", 150);
        check("timeout=1ms", 50);
    }

    #[test]
    fn what_is_no_duration_says_nothing() {
        for query in
            ["", "timeout=", "timeout=3", "timeout=s", "timeout=-1s", "timeout=1x", "timeout=0s"]
        {
            check(query, 2_500);
        }
        check("timeout=9999999999999999999999h", 2_500);
        check("timeout=..s", 2_500);
    }
}
