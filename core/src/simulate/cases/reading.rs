//! A YAML tree in, values that rule files do not have out: numbers, times and ages.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};

use crate::policy::node::{Kind, Node};
use crate::policy::reader::{Reader, quoted, span};
use crate::policy::{MAX_TEXT, MAX_VALUE};

/// A number that `make` takes.
pub(super) fn number<T>(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    range: &str,
    make: impl FnOnce(f64) -> Option<T>,
) -> Option<T> {
    let value = match node.kind {
        Kind::Float(value) => Some(value),
        // What is lost beyond 32 bits is out of every range here.
        Kind::Int(value) => i32::try_from(value).ok().map(f64::from),
        _ => {
            let found = node.kind.describe();
            reader.note(node.place, format!("{what} is {found}, expected a number {range}"));
            return None;
        }
    };
    let made = value.and_then(make);
    if made.is_none() {
        reader.note(node.place, format!("{what} is not a number {range}"));
    }
    made
}

/// An instant: RFC 3339, a date, which is its first instant in UTC, or an age before `now`.
pub(super) fn instant(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let text = reader.text(node, what, MAX_VALUE)?;
    let aged = || now.checked_sub(time::Duration::try_from(span(text)?).ok()?);
    let instant = stated(text).or_else(aged);
    if instant.is_none() {
        let message = format!(
            "{what} is {}, expected a time like `2026-08-01T12:00:00Z`, a date, or an age like `3h`",
            quoted(text)
        );
        reader.note(node.place, message);
    }
    instant
}

/// As [`instant`], but not an age.
pub(super) fn time(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<OffsetDateTime> {
    let text = reader.text(node, what, MAX_VALUE)?;
    let time = stated(text);
    if time.is_none() {
        let message = format!(
            "{what} is {}, expected a time like `2026-08-01T12:00:00Z` or a date",
            quoted(text)
        );
        reader.note(node.place, message);
    }
    time
}

fn stated(text: &str) -> Option<OffsetDateTime> {
    let date = || {
        // The year of the format would take a sign.
        let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        plain.then(|| date.midnight().assume_utc())
    };
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    time.and_then(|time| time.checked_to_offset(UtcOffset::UTC)).or_else(date)
}

/// How long: `90s`, `3h`, `14d`.
pub(super) fn duration(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Duration> {
    let text = reader.text(node, what, MAX_VALUE)?;
    let age = span(text);
    if age.is_none() {
        let message =
            format!("{what} is {}, expected a whole number and `s`, `m`, `h` or `d`", quoted(text));
        reader.note(node.place, message);
    }
    age
}

/// One text, or a list of at most `limit`.
pub(super) fn texts<'n>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    what: &str,
    limit: usize,
) -> Vec<&'n str> {
    let items = match &node.kind {
        Kind::Text(_) => std::slice::from_ref(node),
        _ => reader.list(node, what, limit),
    };
    items.iter().filter_map(|item| reader.text(item, what, MAX_TEXT)).collect()
}
