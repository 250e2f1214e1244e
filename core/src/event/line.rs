//! An event, or a report or VEX document that events name, in, one line of an event file out.
//!
//! An event names the reports that were used by digest; what they say is in a line of its own, once, so
//! that a decision can be decided again from the file alone ([`crate::simulate::recorded`]).

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use super::Event;
use crate::evidence::{Report, Statements};
use crate::findings::{FindingRef, Findings, Scanner, vex};
use crate::image::Digest;

/// One line of an event file. It is written as JSON, with `kind` saying which it is.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line<'a> {
    /// A decision.
    Decision(&'a Event),
    /// A report that the decisions after it name.
    Report(ReportLine<'a>),
    /// A VEX document that the decisions after it name.
    Vex(VexLine<'a>),
}

/// A report in an event file.
#[derive(Debug, Clone, Serialize)]
pub struct ReportLine<'a> {
    /// Digest of its manifest.
    digest: Digest,
    /// Who looked.
    scanner: &'a Scanner,
    /// When the scan finished.
    #[serde(with = "time::serde::rfc3339")]
    scanned_at: OffsetDateTime,
    /// What was found.
    #[serde(serialize_with = "findings")]
    findings: &'a Findings,
}

/// A VEX document in an event file.
#[derive(Debug, Clone, Serialize)]
pub struct VexLine<'a> {
    /// Digest of its manifest.
    digest: Digest,
    /// Who says so.
    author: &'a str,
    /// What is said.
    statements: Vec<StatementLine<'a>>,
}

/// A statement of a VEX document in an event file.
#[derive(Debug, Clone, Serialize)]
struct StatementLine<'a> {
    ids: &'a [Box<str>],
    status: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    packages: &'a [Box<str>],
    #[serde(with = "time::serde::rfc3339")]
    issued_at: OffsetDateTime,
}

impl<'a> From<&'a Report> for Line<'a> {
    fn from(report: &'a Report) -> Self {
        let Findings { scanner, scanned_at, .. } = &report.findings;
        let (digest, findings) = (report.digest, &report.findings);
        Self::Report(ReportLine { digest, scanner, scanned_at: *scanned_at, findings })
    }
}

impl<'a> From<&'a Statements> for Line<'a> {
    fn from(document: &'a Statements) -> Self {
        let statements = document.vex.statements.iter().map(StatementLine::from).collect();
        Self::Vex(VexLine { digest: document.digest, author: &document.vex.author, statements })
    }
}

impl<'a> From<&'a vex::Statement> for StatementLine<'a> {
    fn from(statement: &'a vex::Statement) -> Self {
        Self {
            ids: &statement.ids,
            status: statement.status.as_str(),
            packages: &statement.packages,
            issued_at: statement.issued_at,
        }
    }
}

/// One at a time, so that a large report is not copied as a whole.
fn findings<S: Serializer>(findings: &&Findings, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(FindingRef::to_finding))
}
