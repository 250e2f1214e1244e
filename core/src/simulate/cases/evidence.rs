//! The `evidence` of a case in, subjects as the engine takes them out.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::finding::{finding, statement};
use super::reading::{duration, instant};
use super::{MAX_CASE_FINDINGS, MAX_PLATFORMS, Open, fields};
use crate::evidence::{
    Cause, CauseKind, Evidence, Reason, Rejection, Report, Reports, Source, Statements, Subject,
};
use crate::findings::{Findings, Scanner, Vex};
use crate::image::{Digest, Platform, Reference};
use crate::policy::node::{Kind, Node};
use crate::policy::reader::{Fields, Reader, quoted};
use crate::policy::{MAX_TEXT, MAX_VALUE, MAX_VALUES};
use crate::simulate;

/// The words for what is known where there is no report to be believed.
pub(super) const STATUS: [&str; 6] =
    ["missing", "rejected", "withheld", "stale", "unavailable", "unsupported"];
/// Said where the case does not say it.
const SIMULATED: &str = "simulated";
/// How long ago evidence that is stale was confirmed, if the case does not say it.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the evidence of a case is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) image: &'a Reference,
    pub(super) now: OffsetDateTime,
    pub(super) what: &'a str,
}

/// What is known of the image, and then of each platform.
pub(super) fn subjects(
    reader: &mut Reader<'_>,
    node: &Node,
    around: Surroundings<'_>,
    open: &mut Open<'_>,
) -> Vec<Subject> {
    let mut own = Reading { reader, around, open };
    let mut subjects = vec![own.subject(node, None)];
    let Kind::Map(entries) = &node.kind else {
        return subjects;
    };
    let Some((_, platforms)) = entries.iter().find(|(key, _)| key.name == "platforms") else {
        return subjects;
    };
    let what = format!("`platforms` of {}", around.what);
    let entries = own.reader.entries(platforms, &what);
    if entries.len() > MAX_PLATFORMS {
        let message = format!("{what} are {}, more than {MAX_PLATFORMS}", entries.len());
        own.reader.note(platforms.place, message);
        return subjects;
    }
    for (key, node) in entries {
        match key.name.parse::<Platform>() {
            Ok(platform) => {
                if let Kind::Map(entries) = &node.kind
                    && let Some((key, _)) = entries.iter().find(|(k, _)| k.name == "platforms")
                {
                    let message = "a platform has no `platforms` of its own: remove them";
                    own.reader.note(key.place, message.to_owned());
                }
                subjects.push(own.subject(node, Some(platform)));
            }
            Err(error) => own.reader.note(key.place, error.to_string()),
        }
    }
    subjects
}

struct Reading<'a, 'r, 'o> {
    reader: &'a mut Reader<'r>,
    around: Surroundings<'a>,
    open: &'a mut Open<'o>,
}

impl Reading<'_, '_, '_> {
    fn subject(&mut self, node: &Node, platform: Option<Platform>) -> Subject {
        let image = self.around.image;
        let own = image.digest().filter(|_| platform.is_none());
        let mut digest = own.unwrap_or_else(|| {
            let platform = platform.as_ref().map(Platform::to_string).unwrap_or_default();
            Digest::of(format!("{image} {platform}").as_bytes())
        });
        let mut evidence = Evidence::Missing;
        if let Kind::Text(word) = &node.kind {
            evidence = self.status(node, word, None);
        } else {
            let what = format!("`evidence` of {}", self.around.what);
            if let Some(fields) = self.reader.fields(node, &what, &fields::EVIDENCE) {
                digest = self.digest(&fields).unwrap_or(digest);
                evidence = self.evidence(&fields, digest);
            }
        }
        Subject {
            digest: Some(digest),
            platform,
            evidence: Arc::new(evidence),
            fetched_at: self.around.now,
            source: Source::Memory,
        }
    }

    fn digest(&mut self, fields: &Fields<'_>) -> Option<Digest> {
        let node = fields.get("digest")?;
        let text = self.reader.text(node, "`digest`", MAX_VALUE)?;
        text.parse::<Digest>().map_err(|e| self.reader.note(node.place, e.to_string())).ok()
    }

    fn evidence(&mut self, fields: &Fields<'_>, subject: Digest) -> Evidence {
        let lists = fields.get("reports").is_some() || fields.get("vex").is_some();
        if let Some(node) = fields.get("status") {
            if lists {
                let message = "`status` stands for what is not known: remove it or the reports";
                self.reader.note(node.place, message.to_owned());
            }
            return match &node.kind {
                Kind::Text(word) => self.status(node, word, Some(fields)),
                _ => {
                    self.reader.text(node, "`status`", MAX_VALUE);
                    Evidence::Missing
                }
            };
        }
        if !lists {
            // An index of which only the platforms were scanned.
            return Evidence::Missing;
        }
        let Some(node) = fields.get("reports") else {
            let message = "`vex` says nothing without `reports`: add them".to_owned();
            self.reader.note(fields.place, message);
            return Evidence::Missing;
        };
        let items = self.reader.list(node, "`reports`", MAX_VALUES);
        let reports: Vec<_> = (0_u64..)
            .zip(items)
            .filter_map(|(number, item)| self.report(item, &within(subject, "report", number)))
            .map(Arc::new)
            .collect();
        if items.is_empty() && matches!(node.kind, Kind::List(_)) {
            let message = "`reports` has no report: write `missing` if there is none".to_owned();
            self.reader.note(node.place, message);
        }
        let items = fields.get("vex").map(|node| self.reader.list(node, "`vex`", MAX_VALUES));
        let vex = (0_u64..)
            .zip(items.unwrap_or_default())
            .filter_map(|(number, item)| self.vex(item, &within(subject, "vex", number)))
            .map(Arc::new)
            .collect();
        Evidence::Verified(Reports::new(reports, vex))
    }

    /// A word for what is known, with what the other fields add to it.
    fn status(&mut self, node: &Node, word: &str, more: Option<&Fields<'_>>) -> Evidence {
        let known = STATUS.map(|word| (word, word));
        if self.reader.word(node, "the status of the evidence", &known).is_none() {
            return Evidence::Missing;
        }
        let reason = more.and_then(|fields| fields.get("reason"));
        let detail = SIMULATED.to_owned();
        match word {
            "rejected" => {
                let words = Reason::ALL.map(|reason| (reason.as_str(), reason));
                let reason = reason.and_then(|n| self.reader.word(n, "`reason`", &words));
                let reason = reason.unwrap_or(Reason::Unsigned);
                Evidence::Rejected(Rejection { reason, report: None, detail })
            }
            "unavailable" => {
                let words = CauseKind::ALL.map(|kind| (kind.as_str(), kind));
                let kind = reason.and_then(|n| self.reader.word(n, "`reason`", &words));
                let kind = kind.unwrap_or(CauseKind::Unreachable);
                Evidence::Unavailable(Cause { kind, detail })
            }
            "stale" => {
                let age = more.and_then(|fields| fields.get("age"));
                let age = age.and_then(|node| duration(self.reader, node, "`age`"));
                Evidence::Stale { age: age.unwrap_or(STALE) }
            }
            "withheld" => Evidence::Withheld,
            "unsupported" => Evidence::Unsupported,
            _ => Evidence::Missing,
        }
    }

    fn report(&mut self, node: &Node, seed: &str) -> Option<Report> {
        let what = format!("a report of {}", self.around.what);
        let fields = self.reader.fields(node, &what, &fields::REPORT)?;
        let digest = Digest::of(seed.as_bytes());
        let scanned_at = fields.get("scannedAt").map(|node| {
            instant(self.reader, node, &format!("`scannedAt` of {what}"), self.around.now)
        });
        let scanned_at = match scanned_at {
            Some(stated) => Some(stated?),
            None => None,
        };
        if let Some(node) = fields.get("report") {
            if fields.get("findings").is_some() || fields.get("scanner").is_some() {
                let message = "`report` names a file that has findings and scanner: remove these";
                self.reader.note(node.place, message.to_owned());
            }
            let mut findings = self.file(node, scanned_at.unwrap_or(self.around.now))?;
            findings.scanned_at = scanned_at.unwrap_or(findings.scanned_at);
            return Some(simulate::report(digest, findings));
        }
        let scanner = match fields.get("scanner") {
            Some(node) => self.reader.text(node, "`scanner`", MAX_TEXT)?,
            None => SIMULATED,
        };
        let scanner = Scanner { name: scanner.to_owned(), version: None };
        let mut list = Vec::new();
        let node = fields.get("findings");
        if node.is_none() {
            let message = format!("{what} has no `findings`: write `[]` if nothing was found");
            self.reader.note(fields.place, message);
        }
        if let Some(node) = node {
            for item in self.reader.list(node, "`findings`", MAX_CASE_FINDINGS) {
                list.extend(finding(self.reader, item, self.around.now));
            }
        }
        let scanned_at = scanned_at.unwrap_or(self.around.now);
        Some(simulate::report(digest, Findings::new(scanner, scanned_at, list)))
    }

    /// The findings in a scanner's file.
    fn file(&mut self, node: &Node, made_at: OffsetDateTime) -> Option<Findings> {
        let path = self.reader.text(node, "`report`", MAX_VALUE)?;
        let failed = |error: &dyn std::error::Error| {
            let mut text = format!("the report {} cannot be used: {error}", quoted(path));
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            crate::decide::printable(&text, MAX_TEXT)
        };
        let bytes = match (self.open)(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.reader.note(node.place, failed(error.as_ref()));
                return None;
            }
        };
        simulate::read_report(&bytes, made_at)
            .map_err(|error| self.reader.note(node.place, failed(&error)))
            .ok()
    }

    fn vex(&mut self, node: &Node, seed: &str) -> Option<Statements> {
        let fields = self.reader.fields(node, "a VEX document", &fields::VEX)?;
        let author = match fields.get("author") {
            Some(node) => self.reader.text(node, "`author` of a VEX document", MAX_TEXT)?,
            None => SIMULATED,
        };
        let items = fields.get("statements")?;
        let items = self.reader.list(items, "`statements`", MAX_VALUES);
        let statements =
            items.iter().filter_map(|item| statement(self.reader, item, self.around.now)).collect();
        let vex = Vex { author: author.to_owned(), statements };
        Some(simulate::statements(Digest::of(seed.as_bytes()), vex))
    }
}

/// What the digest of something that is attached to `subject` is made of.
fn within(subject: Digest, what: &str, number: u64) -> String {
    format!("{subject} {what} {number}")
}
