//! `Retry-After` in, how long to wait out (RFC 9110, 10.2.3).

use std::time::Duration;

use http::{HeaderMap, header};
use time::PrimitiveDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

/// The shortest time that a throttling host is left alone.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
/// The longest, whatever the host asks for.
pub(super) const LONGEST: Duration = Duration::from_mins(5);
/// How long, if the host does not say or it cannot be read.
const UNSAID: Duration = Duration::from_secs(10);
/// `IMF-fixdate` (RFC 9110, 5.6.7). The two obsolete forms count as not readable.
const HTTP_DATE: &[FormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// How long an answer with `headers` asks to be left alone, from [`SHORTEST`] to [`LONGEST`].
pub(super) fn wait(headers: &HeaderMap) -> Duration {
    retry_after(headers).unwrap_or(UNSAID).clamp(SHORTEST, LONGEST)
}

/// `Retry-After` in seconds, or as a date, which is reckoned from the answer's own `Date` so that
/// our clock does not matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a very long time.
        return Some(text.parse().map_or(LONGEST, Duration::from_secs));
    }
    let now = date(headers.get(header::DATE)?.to_str().ok()?)?;
    // A date that has passed asks for no wait.
    Some(Duration::try_from(date(text)? - now).unwrap_or(Duration::ZERO))
}

fn date(text: &str) -> Option<PrimitiveDateTime> {
    PrimitiveDateTime::parse(text, HTTP_DATE).ok()
}
