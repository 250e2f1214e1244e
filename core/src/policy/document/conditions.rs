//! The conditions and demands of a rule in, their compiled form out.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::decide::Action;
use crate::findings::Severity;
use crate::policy::node::{Kind, Node};
use crate::policy::prefix::Prefix;
use crate::policy::reader::{Fields, Reader, quoted};
use crate::policy::{
    Allowed, Forbidden, Ids, Limit, MAX_FINDINGS_AGE, MAX_ID, MAX_TEXT, MAX_VALUE, MAX_VALUES,
    Population, Prefixes, Rule,
};

/// Reads everything of a rule that is not its name, action and scope.
pub(super) fn read(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    what: &str,
    ids: &mut Ids,
    rule: &mut Rule,
) {
    let of = |name: &str| format!("`{name}` of {what}");
    if let Some(node) = fields.get("maxAllowed") {
        rule.limits = max_allowed(reader, node, &of("maxAllowed"));
    }
    if let Some(node) = fields.get("forbiddenVulnerabilities") {
        let what = of("forbiddenVulnerabilities");
        for item in reader.list(node, &what, MAX_VALUES) {
            if let Some(id) = id(reader, item, &what) {
                rule.forbidden.push(Forbidden { id: id.into(), key: ids.intern(id) });
            }
        }
    }
    if let Some(node) = fields.get("allowedVulnerabilities") {
        let what = of("allowedVulnerabilities");
        for item in reader.list(node, &what, MAX_VALUES) {
            rule.allowed.extend(allowed(reader, item, &what, ids));
        }
    }
    if let Some(node) = fields.get("blockUnscannedImages") {
        let value = reader.boolean(node, &of("blockUnscannedImages"));
        rule.block_unscanned = value.unwrap_or_default();
    }
    if let Some(node) = fields.get("maxFindingsAge") {
        rule.max_age = age(reader, node, &of("maxFindingsAge"));
    }
    let on_unavailable = fields.get("onUnavailable");
    if let Some(node) = on_unavailable {
        let words = [("allow", Action::Allow), ("audit", Action::Audit), ("deny", Action::Deny)];
        let value = reader.word(node, &of("onUnavailable"), &words);
        rule.on_unavailable = value.unwrap_or(Action::Audit);
    }
    if let Some(node) = fields.get("unsupportedRegistries") {
        rule.unsupported = registries(reader, node, &of("unsupportedRegistries"));
    }
    let has_condition = fields.get("maxAllowed").is_some()
        || !rule.forbidden.is_empty()
        || rule.block_unscanned
        || on_unavailable.is_some();
    if !has_condition {
        let message = format!(
            "{what} has no condition: give it `maxAllowed`, `forbiddenVulnerabilities`, \
             `blockUnscannedImages: true` or `onUnavailable`"
        );
        reader.note(fields.place, message);
    }
}

fn max_allowed(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<Limit> {
    let levels =
        [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Unknown];
    let Some(fields) = reader.fields(node, what, &levels.map(Severity::as_str)) else {
        return Vec::new();
    };
    let mut limits = Vec::new();
    let mut named = false;
    for level in levels {
        if let Some(node) = fields.get(level.as_str()) {
            named = true;
            let limit = reader.count(node, &format!("`{level}` in {what}"));
            let population = Population::All;
            limits.extend(limit.map(|max| Limit { population, level, max }));
        }
    }
    if !named {
        reader.note(node.place, format!("{what} names no level: give at least one a number"));
    }
    limits
}

fn id<'n>(reader: &mut Reader<'_>, node: &'n Node, what: &str) -> Option<&'n str> {
    let id = reader.text(node, &format!("an identifier in {what}"), MAX_ID)?;
    if id.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(id);
    }
    let message = format!("{} is not an identifier: expected one like `CVE-2024-1234`", quoted(id));
    reader.note(node.place, message);
    None
}

fn allowed(reader: &mut Reader<'_>, node: &Node, what: &str, ids: &mut Ids) -> Option<Allowed> {
    if !matches!(node.kind, Kind::Map(_)) {
        return id(reader, node, what).map(|id| Allowed { key: ids.intern(id), until: None });
    }
    let fields = reader.fields(node, &format!("an item of {what}"), &["id", "until", "reason"])?;
    if let Some(node) = fields.get("reason") {
        reader.text(node, &format!("`reason` in {what}"), MAX_TEXT);
    }
    let until = match fields.get("until") {
        Some(node) => Some(until(reader, node, what)?),
        None => None,
    };
    let Some(node) = fields.get("id") else {
        reader.note(fields.place, format!("an item of {what} has no `id`: add it"));
        return None;
    };
    id(reader, node, what).map(|id| Allowed { key: ids.intern(id), until })
}

/// An instant, or the end of a day in UTC: the first instant of the next one.
fn until(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<OffsetDateTime> {
    let text = reader.text(node, &format!("`until` in {what}"), MAX_VALUE)?;
    let end_of_day = || {
        // The year of the format would take a sign.
        let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        plain.then(|| date.next_day())?.map(|next| next.midnight().assume_utc())
    };
    let instant = end_of_day().or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok());
    if instant.is_none() {
        let message = format!(
            "{} is not a date: expected `2026-12-31`, which is its end in UTC, or \
             `2026-12-31T12:00:00Z`",
            quoted(text)
        );
        reader.note(node.place, message);
    }
    instant
}

/// A whole number and a unit: `30d`, `12h`, `90m`, `3600s`; from one second to
/// [`MAX_FINDINGS_AGE`].
fn age(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Duration> {
    let text = reader.text(node, what, MAX_VALUE)?;
    let seconds = || {
        let unit = match text.bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            b'd' => 24 * 60 * 60,
            _ => return None,
        };
        let number = text.get(..text.len() - 1)?;
        // A number's parser would take a sign.
        let plain = number.bytes().all(|b| b.is_ascii_digit());
        number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
    };
    let age = seconds().map(Duration::from_secs);
    let age = age.filter(|age| !age.is_zero() && *age <= MAX_FINDINGS_AGE);
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

fn registries(reader: &mut Reader<'_>, node: &Node, what: &str) -> Prefixes {
    let mut prefixes = Vec::new();
    for item in reader.list(node, what, MAX_VALUES) {
        let Some(text) = reader.text(item, &format!("an item of {what}"), MAX_VALUE) else {
            continue;
        };
        match Prefix::of_registry(text) {
            Some(prefix) => prefixes.push(prefix),
            None => {
                let message = format!(
                    "{} is not a registry: write its host, or its host and a path, `reg.io/team`",
                    quoted(text)
                );
                reader.note(item.place, message);
            }
        }
    }
    Prefixes(prefixes)
}
