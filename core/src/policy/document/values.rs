//! Nodes in, values that several fields hold out: identifiers, instants, ages, patterns.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::policy::node::Node;
use crate::policy::reader::{Reader, quoted, span};
use crate::policy::{ImagePattern, MAX_FINDINGS_AGE, MAX_ID, MAX_VALUE, MAX_VALUES};

/// The texts of a list that is not empty, each with its node.
pub(super) fn texts<'n>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    what: &str,
) -> Vec<(&'n Node, &'n str)> {
    let items = reader.list(node, what, MAX_VALUES);
    if node.is_empty_list() {
        let message = format!("{what} is empty: name a value, or leave it out to match everything");
        reader.note(node.place, message);
    }
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        if let Some(text) = reader.text(item, &format!("a value of {what}"), MAX_VALUE) {
            texts.push((item, text));
        }
    }
    texts
}

pub(super) fn id<'n>(reader: &mut Reader<'_>, node: &'n Node, what: &str) -> Option<&'n str> {
    let id = reader.text(node, &format!("an identifier in {what}"), MAX_ID)?;
    if id.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(id);
    }
    let message = format!("{} is not an identifier: expected one like `CVE-2024-1234`", quoted(id));
    reader.note(node.place, message);
    None
}

/// When something begins: an instant, or the first one of a day in UTC.
pub(super) fn from(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<OffsetDateTime> {
    instant(reader, node, what, "beginning", |date| Some(date.midnight().assume_utc()))
}

/// When something ends: an instant, or the end of a day in UTC, which is the first one of the next.
pub(super) fn until(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<OffsetDateTime> {
    instant(reader, node, what, "end", |date| Some(date.next_day()?.midnight().assume_utc()))
}

fn instant(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    meaning: &str,
    of_day: impl Fn(Date) -> Option<OffsetDateTime>,
) -> Option<OffsetDateTime> {
    let text = reader.text(node, what, MAX_VALUE)?;
    let day = || {
        // The year of the format would take a sign.
        let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        plain.then(|| of_day(date))?
    };
    let instant = day().or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok());
    if instant.is_none() {
        let message = format!(
            "{} is not a date: expected `2026-12-31`, which is its {meaning} in UTC, or \
             `2026-12-31T12:00:00Z`",
            quoted(text)
        );
        reader.note(node.place, message);
    }
    instant
}

/// A whole number and a unit: `30d`, `12h`, `90m`, `3600s`; from one second to
/// [`MAX_FINDINGS_AGE`].
pub(super) fn age(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Duration> {
    let text = reader.text(node, what, MAX_VALUE)?;
    let age = span(text).filter(|age| !age.is_zero() && *age <= MAX_FINDINGS_AGE);
    if age.is_none() {
        let days = MAX_FINDINGS_AGE.as_secs() / (24 * 60 * 60);
        let message = format!(
            "{what} is {}, expected a number and `s`, `m`, `h` or `d`, from `1s` to `{days}d`",
            quoted(text)
        );
        reader.note(node.place, message);
    }
    age
}

/// Patterns of image names.
pub(super) fn patterns(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<ImagePattern> {
    let mut patterns = Vec::new();
    for item in reader.list(node, what, MAX_VALUES) {
        let Some(text) = reader.text(item, &format!("a pattern of {what}"), MAX_VALUE) else {
            continue;
        };
        match ImagePattern::parse(text) {
            Some(pattern) => patterns.push(pattern),
            None => {
                let message = format!(
                    "{} is not a pattern of images: write the host in full, and `*` or `**` in \
                     the path, `reg.io/team/*`",
                    quoted(text)
                );
                reader.note(item.place, message);
            }
        }
    }
    patterns
}
