//! Results in, text for people or JSON for programs out.

mod exceptions;
mod table;
pub(crate) mod rules;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod explain;
pub(crate) mod refresh;
pub(crate) mod tree;

use std::io::{self, Write as _};
use std::time::Duration;

use comfy_table::Color;
use portcullis_core::policy::Problem;
use portcullis_proto::v1;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::table::{Face, table};
use crate::args::Output;
use crate::command::rules::check::Verdict;

/// One image, what was decided about it, and how long the answer took.
pub(crate) struct Checked {
    /// The image as it was asked.
    pub(crate) asked: String,
    /// The decision.
    pub(crate) decision: v1::Decision,
    /// From question to answer, seen by the caller.
    pub(crate) took: Duration,
}

impl Checked {
    pub(crate) fn action(&self) -> v1::Action {
        self.decision.action()
    }

    fn own_evidence(&self) -> Option<&v1::Evidence> {
        self.decision.evidence.iter().find(|e| e.platform.is_empty())
    }

    /// The reports that were used, of the image and of its platforms.
    fn reports(&self) -> impl Iterator<Item = &v1::Report> {
        self.decision.evidence.iter().flat_map(|e| &e.reports)
    }

    fn source(&self) -> &'static str {
        let asked_registry = |e: &v1::Evidence| e.source() == v1::EvidenceSource::Registry;
        if self.decision.evidence.iter().any(asked_registry) { "registry" } else { "memory" }
    }
}

/// Writes what went wrong to standard error: the error and all that is behind it.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = String::new();
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let prefix = if depth == 0 { "error" } else { "  because" };
        // A status prints its code, message and metadata; the message is for people.
        let boxed = cause.downcast_ref::<Box<tonic::Status>>().map(AsRef::as_ref);
        let line = match cause.downcast_ref::<tonic::Status>().or(boxed) {
            Some(status) => format!("{}: {}", status.code(), status.message()),
            None => cause.to_string(),
        };
        // Libraries wrap an error in one that says the same.
        if line != said {
            text.push_str(&format!("{prefix}: {}\n", line.trim_end().replace('\n', "\n    ")));
        }
        said = line;
    }
    // Where standard error is gone there is nobody left to tell.
    if io::stderr().write_all(text.as_bytes()).is_err() {}
}

/// Writes decisions.
pub(crate) fn checks(checks: &[Checked], output: Output) -> io::Result<()> {
    match output {
        Output::Json => json_document(&json!({ "checks": json_checks(checks) })),
        Output::Table => {
            let rows: Vec<_> = checks.iter().map(|checked| (checked, None)).collect();
            write(&table(&rows, &Face::of_output()))
        }
    }
}

/// Writes decisions, each asked twice: first of the registry, then from memory.
pub(crate) fn twice(first: &[Checked], second: &[Checked]) -> io::Result<()> {
    let rows: Vec<_> = first.iter().zip(second.iter().map(Some)).collect();
    write(&table(&rows, &Face::of_output()))
}

/// Decisions as the JSON documents have them.
pub(crate) fn json_checks(checks: &[Checked]) -> Vec<Value> {
    checks.iter().map(json_check).collect()
}

/// Writes one JSON document.
pub(crate) fn json_document(document: &Value) -> io::Result<()> {
    write(&format!("{document:#}\n"))
}

/// Writes text to standard output.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes what was found in rule files.
pub(crate) fn verdict(verdict: &Verdict, output: Output) -> io::Result<()> {
    if output == Output::Json {
        return json_document(&json!(verdict));
    }
    let mut text = String::new();
    let mut add = |kind: &str, problem: &Problem| {
        text.push_str(&problem_line(kind, problem));
    };
    verdict.errors.iter().for_each(|problem| add("error", problem));
    verdict.warnings.iter().for_each(|problem| add("warning", problem));
    if verdict.usable {
        let revision = verdict.revision.as_deref().unwrap_or_default();
        let rules = match verdict.rules {
            1 => "1 rule is usable".to_owned(),
            rules => format!("{rules} rules are usable"),
        };
        text.push_str(&format!("{rules}, revision {revision}\n"));
    }
    write(&text)
}

/// A fault or a doubt as compilers show theirs. What concerns a whole file has no line to show.
fn problem_line(kind: &str, problem: &Problem) -> String {
    let Problem { file, line, column, message } = problem;
    match line {
        0 => format!("{file}: {kind}: {message}\n"),
        _ => format!("{file}:{line}:{column}: {kind}: {message}\n"),
    }
}

/// The common name of a certificate's subject, or all of it if it has none.
fn common_name(subject: &str) -> String {
    let name = subject.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    name.unwrap_or(subject).to_owned()
}

/// A text for a narrow column: of digests, as much as tells one from another.
fn shortened(text: &str) -> String {
    const KEPT: usize = 12;
    let mut parts = text.split("sha256:");
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        let (hex, rest) = part.split_at_checked(hex).unwrap_or((part, ""));
        let kept = hex.get(..KEPT).map_or_else(|| hex.to_owned(), |kept| format!("{kept}…"));
        short += &format!("sha256:{kept}{rest}");
    }
    short
}

fn unique(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<_> = texts.collect();
    all.sort();
    all.dedup();
    all
}

fn action(action: v1::Action) -> (&'static str, Color) {
    match action {
        v1::Action::Allow => ("allow", Color::Green),
        v1::Action::Audit => ("audit", Color::Yellow),
        v1::Action::Deny => ("deny", Color::Red),
        v1::Action::Unspecified => ("unspecified", Color::Red),
    }
}

fn age(scanned_at: &prost_types::Timestamp) -> String {
    let Ok(scanned_at) = OffsetDateTime::from_unix_timestamp(scanned_at.seconds) else {
        return "at an impossible time".to_owned();
    };
    let seconds = (OffsetDateTime::now_utc() - scanned_at).whole_seconds();
    match seconds {
        ..0 => "in the future".to_owned(),
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn time_text(at: Option<&prost_types::Timestamp>) -> Option<String> {
    let at = at?;
    let at = OffsetDateTime::from_unix_timestamp(at.seconds).ok()?;
    at.format(&Rfc3339).ok()
}

fn json_check(checked: &Checked) -> Value {
    let decision = &checked.decision;
    let status = checked.own_evidence().map(|e| e.status()).unwrap_or_default();
    json!({
        "image": checked.asked,
        "reference": decision.image,
        "digest": decision.digest,
        "action": action(checked.action()).0,
        "rule": decision.rule,
        "message": decision.message,
        "violations": decision.violations.iter().map(json_violation).collect::<Vec<_>>(),
        "notices": decision.notices,
        "notice_details": decision.notice_details.iter().map(exceptions::json_notice).collect::<Vec<_>>(),
        "exemptions": decision.exemptions.iter().map(exceptions::json_exemption).collect::<Vec<_>>(),
        "exemptions_total": decision.exemptions_total,
        "break_glass": decision.break_glass.as_ref().map(exceptions::json_break_glass),
        "evidence": {
            "status": status_word(status),
            "source": checked.source(),
            "subjects": decision.evidence.iter().map(json_evidence).collect::<Vec<_>>(),
        },
        "took_us": u64::try_from(checked.took.as_micros()).unwrap_or(u64::MAX),
    })
}

fn json_violation(violation: &v1::Violation) -> Value {
    json!({
        "rule": violation.rule,
        "action": action(violation.action()).0,
        "deciding": violation.deciding,
        "condition": violation.condition,
        "reason": violation.reason,
        "message": violation.message,
        "digest": violation.digest,
        "platform": violation.platform,
        "findings_total": violation.findings_total,
        "findings": violation.findings.iter().map(json_finding).collect::<Vec<_>>(),
    })
}

fn json_finding(finding: &v1::Finding) -> Value {
    json!({
        "id": finding.id,
        "aliases": finding.aliases,
        "severity": word(finding.severity().as_str_name(), "SEVERITY_"),
        "score": finding.score,
        "package": finding.package,
        "purl": finding.purl,
        "installed": finding.installed,
        "fixed": finding.fixed,
        "fix_state": word(finding.fix_state().as_str_name(), "FIX_STATE_"),
        "known_exploited": finding.known_exploited,
        "epss": finding.epss,
        "published": time_text(finding.published.as_ref()),
        "first_seen": time_text(finding.first_seen.as_ref()),
    })
}

fn json_evidence(evidence: &v1::Evidence) -> Value {
    json!({
        "digest": evidence.digest,
        "platform": evidence.platform,
        "status": status_word(evidence.status()),
        "detail": evidence.detail,
        "source": word(evidence.source().as_str_name(), "EVIDENCE_SOURCE_"),
        "fetched_at": time_text(evidence.fetched_at.as_ref()),
        "reports": evidence.reports.iter().map(json_report).collect::<Vec<_>>(),
    })
}

fn json_report(report: &v1::Report) -> Value {
    json!({
        "digest": report.digest,
        "scanner": report.scanner,
        "scanned_at": time_text(report.scanned_at.as_ref()),
        "signer": report.signer,
        "counts": report.counts.as_ref().map(|c| json!({
            "critical": c.critical, "high": c.high, "medium": c.medium, "low": c.low,
            "negligible": c.negligible, "unknown": c.unknown,
        })),
    })
}

fn status_word(status: v1::EvidenceStatus) -> String {
    word(status.as_str_name(), "EVIDENCE_STATUS_")
}

/// `SEVERITY_HIGH` is `high`; what is not stated is `unknown`.
fn word(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix) {
        None | Some("UNSPECIFIED") => "unknown".to_owned(),
        Some(word) => word.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_is_shown_by_its_common_name() {
        assert_eq!(common_name("CN=demo scanner,O=x,C=US"), "demo scanner");
        assert_eq!(common_name("O=x,C=US"), "O=x,C=US");
    }

    #[test]
    fn digests_are_cut_in_a_narrow_column() {
        let digest = "0123456789abcdef".repeat(4);
        let text = format!("over `sha256:{digest}`, not over sha256:{digest}");
        assert_eq!(shortened(&text), "over `sha256:0123456789ab…`, not over sha256:0123456789ab…");
        assert_eq!(shortened("sha256:12, é"), "sha256:12, é");
    }
}
