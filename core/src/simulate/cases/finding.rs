//! A finding or a VEX statement of a case in, the same as a reader of reports would have it out.

use time::OffsetDateTime;

use super::fields;
use super::reading::{instant, number, texts};
use crate::findings::vex::{self, Status};
use crate::findings::{Analysis, Epss, Finding, FixState, MAX_LIST, Score, Severity};
use crate::policy::MAX_TEXT;
use crate::policy::node::Node;
use crate::policy::reader::{Fields, Reader};

pub(super) const FIX_STATES: [(&str, FixState); 4] = [
    ("fixed", FixState::Fixed),
    ("notFixed", FixState::NotFixed),
    ("wontFix", FixState::WontFix),
    ("notStated", FixState::NotStated),
];
pub(super) const ANALYSES: [(&str, Analysis); 3] = [
    ("affected", Analysis::Affected),
    ("notAffected", Analysis::NotAffected),
    ("fixed", Analysis::Fixed),
];
pub(super) const VEX_STATUSES: [(&str, Status); 4] = [
    ("affected", Status::Affected),
    ("notAffected", Status::NotAffected),
    ("fixed", Status::Fixed),
    ("underInvestigation", Status::UnderInvestigation),
];
const SEVERITIES: [Severity; 6] = [
    Severity::Critical,
    Severity::High,
    Severity::Medium,
    Severity::Low,
    Severity::Negligible,
    Severity::Unknown,
];

/// The words for severities.
pub(super) fn severities() -> [&'static str; 6] {
    SEVERITIES.map(Severity::as_str)
}

/// A finding in the short form.
pub(super) fn finding(
    reader: &mut Reader<'_>,
    node: &Node,
    now: OffsetDateTime,
) -> Option<Finding> {
    let before = reader.problems.len();
    let fields = reader.fields(node, "a finding", &fields::FINDING)?;
    let mut text = |name: &str| -> Option<Box<str>> {
        let node = fields.get(name)?;
        reader.text(node, &format!("`{name}` of a finding"), MAX_TEXT).map(Into::into)
    };
    let id = text("id");
    let (package, purl, installed) = (text("package"), text("purl"), text("installed"));
    let mut list = |name: &str| -> Vec<Box<str>> {
        let Some(node) = fields.get(name) else { return Vec::new() };
        let found = texts(reader, node, &format!("`{name}` of a finding"), MAX_LIST);
        found.into_iter().map(Into::into).collect()
    };
    let (aliases, fixed) = (list("aliases"), list("fixed"));
    let score = fields.get("score").and_then(|node| {
        number(reader, node, "`score` of a finding", "from 0.0 to 10.0", Score::from_f64)
    });
    let epss = fields.get("epss").and_then(|node| {
        number(reader, node, "`epss` of a finding", "from 0 to 1", Epss::from_f64)
    });
    let known_exploited = fields
        .get("knownExploited")
        .and_then(|node| reader.boolean(node, "`knownExploited` of a finding"));
    let mut time = |name: &str| {
        let node = fields.get(name)?;
        instant(reader, node, &format!("`{name}` of a finding"), now)
    };
    let (published, first_seen) = (time("published"), time("firstSeen"));
    let finding = Finding {
        id: id?,
        aliases,
        severity: severity(reader, &fields),
        score,
        package,
        purl,
        installed,
        fixed,
        fix_state: fix_state(reader, &fields),
        known_exploited,
        epss,
        published,
        first_seen,
        analysis: analysis(reader, &fields),
    };
    if reader.problems.len() > before {
        return None;
    }
    finding.normal().map_err(|error| reader.note(node.place, error.to_string())).ok()
}

fn severity(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Severity {
    let words = SEVERITIES.map(|s| (s.as_str(), s));
    let node = fields.get("severity");
    let word = node.and_then(|n| reader.word(n, "`severity` of a finding", &words));
    word.unwrap_or(Severity::Unknown)
}

fn fix_state(reader: &mut Reader<'_>, fields: &Fields<'_>) -> FixState {
    let node = fields.get("fixState");
    let word = node.and_then(|n| reader.word(n, "`fixState` of a finding", &FIX_STATES));
    word.unwrap_or_default()
}

fn analysis(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Analysis {
    let node = fields.get("analysis");
    let word = node.and_then(|n| reader.word(n, "`analysis` of a finding", &ANALYSES));
    word.unwrap_or_default()
}

/// A statement of a VEX document.
pub(super) fn statement(
    reader: &mut Reader<'_>,
    node: &Node,
    now: OffsetDateTime,
) -> Option<vex::Statement> {
    let what = "a VEX statement";
    let fields = reader.fields(node, what, &fields::STATEMENT)?;
    let status = fields
        .get("status")
        .and_then(|node| reader.word(node, "`status` of a VEX statement", &VEX_STATUSES));
    let mut list = |node: &Node, name: &str| -> Vec<Box<str>> {
        let found = texts(reader, node, &format!("`{name}` of {what}"), MAX_LIST);
        found.into_iter().map(Into::into).collect()
    };
    let packages = fields.get("packages").map(|n| list(n, "packages")).unwrap_or_default();
    let ids = fields.get("vulnerability").map(|n| list(n, "vulnerability"));
    let issued_at = match fields.get("issuedAt") {
        Some(node) => instant(reader, node, "`issuedAt`", now)?,
        None => now,
    };
    Some(vex::Statement { ids: ids?, status: status?, packages, issued_at })
}
