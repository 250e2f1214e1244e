//! The `count` of a rule in, which findings its limits look at out.

use crate::findings::{Epss, Score};
use crate::policy::fields::COUNT;
use crate::policy::glob::Glob;
use crate::policy::node::Node;
use crate::policy::reader::{Fields, Reader, quoted};
use crate::policy::{Narrowing, NotStated};

use super::values;

pub(in crate::policy) const NOT_STATED: [(&str, NotStated); 2] =
    [("count", NotStated::Count), ("ignore", NotStated::Ignore)];

pub(super) fn narrowing(reader: &mut Reader<'_>, node: &Node, what: &str) -> Narrowing {
    let mut narrowing = Narrowing::default();
    let Some(fields) = reader.fields(node, what, &COUNT) else {
        return narrowing;
    };
    let of = |name: &str| format!("`{name}` in {what}");
    if let Some(node) = fields.get("fixAvailable") {
        narrowing.fix_available = reader.boolean(node, &of("fixAvailable"));
    }
    if let Some(node) = fields.get("minCvss") {
        let score = reader.number(node, &of("minCvss"), 10.0);
        narrowing.min_cvss = score.and_then(Score::from_f64);
    }
    narrowing.packages = packages(reader, &fields, "packages", what);
    narrowing.not_packages = packages(reader, &fields, "notPackages", what);
    if let Some(node) = fields.get("knownExploited") {
        narrowing.known_exploited = reader.boolean(node, &of("knownExploited")).unwrap_or_default();
        if !narrowing.known_exploited {
            let message = format!("{} can only be `true`: leave it out", of("knownExploited"));
            reader.note(node.place, message);
        }
    }
    if let Some(node) = fields.get("minEpss") {
        let probability = reader.number(node, &of("minEpss"), 1.0);
        narrowing.min_epss = probability.and_then(Epss::from_f64);
    }
    if let Some(node) = fields.get("minPublishedAge") {
        narrowing.min_published_age = values::age(reader, node, &of("minPublishedAge"));
    }
    if let Some(node) = fields.get("minFirstSeenAge") {
        narrowing.min_first_seen_age = values::age(reader, node, &of("minFirstSeenAge"));
    }
    if let Some(node) = fields.get("notStated") {
        let not_stated = reader.word(node, &of("notStated"), &NOT_STATED);
        narrowing.not_stated = not_stated.unwrap_or_default();
    }
    narrowing
}

/// Warns where findings may count only because their scanner does not state what is asked. Who
/// writes `notStated` knows.
pub(super) fn warn(reader: &mut Reader<'_>, node: &Node, narrowing: &Narrowing, what: &str) {
    let asked =
        [(narrowing.known_exploited, "knownExploited"), (narrowing.min_epss.is_some(), "minEpss")];
    for (_, name) in asked.into_iter().filter(|(asked, _)| *asked) {
        if node.field("notStated").is_none() {
            let message = format!(
                "`{name}` in `count` of {what} narrows nothing for scanners that do not state it: \
                 each of their findings counts; write `notStated: ignore` if it must not, or \
                 `notStated: count` if it must"
            );
            reader.warn(node.place, message);
        }
    }
}

/// Patterns of package URLs, without what is not compared.
fn packages(reader: &mut Reader<'_>, fields: &Fields<'_>, name: &str, what: &str) -> Vec<Glob> {
    let Some(node) = fields.get(name) else {
        return Vec::new();
    };
    let mut globs = Vec::new();
    for (item, text) in values::texts(reader, node, &format!("`{name}` in {what}")) {
        let lower = text.to_ascii_lowercase();
        let is_purl = lower.starts_with("pkg:") || lower.starts_with("**");
        let message = match Glob::parse(&lower) {
            _ if text.contains(['@', '?', '#']) => format!(
                "{} names more of a package URL than is compared: leave out what follows the name, \
                 and write an `@` in it as `%40`",
                quoted(text)
            ),
            Some(glob) if is_purl => {
                globs.push(glob);
                continue;
            }
            _ => format!(
                "{} is not a pattern of package URLs: expected one like `pkg:deb/debian/*`",
                quoted(text)
            ),
        };
        reader.note(item.place, message);
    }
    globs
}
