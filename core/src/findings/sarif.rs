//! SARIF 2.1.0 of Trivy or of Grype in, its findings out.
//!
//! SARIF is written by tools of every kind, so the tool's name decides how it is read, and that of
//! another tool is no findings report. Neither scanner has fields for packages: they are lines of
//! the texts that Trivy's `pkg/report/sarif.go` and Grype's `grype/presenter/sarif` write for people,
//! and a line that is not there is not stated.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::capped::Capped;
use super::content::Scan;
use super::draft::{Draft, Repeated};
use super::loose::{Loose, Textual};
use super::rating::Ratings;
use super::score::Score;
use super::{
    Finding, FindingsError, FixState, MAX_FINDINGS, MAX_LIST, MAX_RUNS, MAX_TEXT, Scanner,
    Severity, bounded, grype, part, time, trivy,
};

/// Reads a document of which every run is by the same known scanner.
pub(super) fn read(document: &RawValue) -> Result<Scan, FindingsError> {
    let Raw { version, runs } = part(document)?;
    let version = version.unwrap_or_default();
    if version != "2.1.0" {
        return Err(FindingsError::Format(format!("SARIF version {version}")));
    }
    let runs = runs.within("runs")?;
    let mut scanner: Option<Scanner> = None;
    let mut finished: Option<(OffsetDateTime, String)> = None;
    let (mut list, mut repeated) = (Vec::new(), Repeated::default());
    for run in runs {
        let driver = &run.tool.driver;
        let tool = Tool::named(driver.name.as_deref().unwrap_or_default())?;
        if scanner.as_ref().is_some_and(|s| s.name != tool.name()) {
            return Err(FindingsError::Format("SARIF of two scanners".to_owned()));
        }
        scanner = Some(Scanner::new(tool.name(), driver.version.as_deref())?);
        for invocation in run.invocations.iter().flatten() {
            if invocation.execution_successful == Some(false) {
                return Err(FindingsError::NotCovered("the scan was not successful"));
            }
            // Of several times the first, so that nothing looks fresher than it is.
            if let Some(end) = &invocation.end_time_utc {
                let end = (time(END, Some(end))?, end.clone());
                finished = Some(match finished {
                    Some(first) => first.min(end),
                    None => end,
                });
            }
        }
        run.into_findings(tool, &mut list, &mut repeated)?;
    }
    let scanner =
        scanner.ok_or_else(|| FindingsError::NotAReport("its SARIF has no run".to_owned()))?;
    Ok(Scan { scanner, finished: (END, finished.map(|(_, text)| text)), list })
}

/// The field that states when a scan finished, if any does.
const END: &str = "invocations.endTimeUtc";

/// The scanners whose texts are known.
#[derive(Debug, Clone, Copy)]
enum Tool {
    Trivy,
    Grype,
}

impl Tool {
    fn named(name: &str) -> Result<Self, FindingsError> {
        let name = bounded("bytes of tool name", name, MAX_TEXT)?;
        match name.to_ascii_lowercase().as_str() {
            trivy::NAME => Ok(Self::Trivy),
            grype::NAME => Ok(Self::Grype),
            _ => Err(FindingsError::NotAReport(format!(
                "its SARIF is by `{}`, neither Trivy nor Grype",
                name.escape_debug()
            ))),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Trivy => trivy::NAME,
            Self::Grype => grype::NAME,
        }
    }

    /// The score that it writes for a severity where it knows none.
    const fn stand_in(self, severity: Severity) -> f64 {
        match (self, severity) {
            (Self::Trivy, Severity::Critical) => 9.5,
            (Self::Trivy, Severity::High) => 8.0,
            (Self::Trivy, Severity::Medium) => 5.5,
            (Self::Trivy, Severity::Low) => 2.0,
            (Self::Grype, Severity::Critical) => 9.0,
            (Self::Grype, Severity::High) => 7.0,
            (Self::Grype, Severity::Medium) => 4.0,
            (Self::Grype, Severity::Low) => 1.0,
            (_, Severity::Negligible | Severity::Unknown) => 0.0,
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    version: Option<String>,
    runs: Capped<Run, MAX_RUNS>,
}

#[derive(Deserialize)]
struct Run {
    tool: Driven,
    /// Absent where the scan did not come to its end (SARIF 2.1.0, 3.14.23).
    results: Option<Capped<Found, MAX_FINDINGS>>,
    invocations: Option<Vec<Invocation>>,
    properties: Option<OfRun>,
}

#[derive(Deserialize)]
struct Driven {
    driver: Driver,
}

#[derive(Deserialize)]
struct Driver {
    name: Option<String>,
    version: Option<String>,
    rules: Option<Capped<Rule, MAX_FINDINGS>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    end_time_utc: Option<String>,
    execution_successful: Option<bool>,
}

#[derive(Deserialize)]
struct OfRun {
    /// Trivy writes it for images only.
    #[serde(rename = "imageName")]
    image_name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Rule {
    id: Option<String>,
    help: Option<Text>,
    #[serde(default)]
    properties: Properties,
}

/// A bag of free keys, of which each may hold anything.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Properties {
    tags: Loose<Capped<String, MAX_LIST>>,
    #[serde(rename = "security-severity")]
    security_severity: Loose<Textual<f64>>,
    #[serde(rename = "cvssv3_baseScore")]
    v3: Loose<Textual<f64>>,
    #[serde(rename = "cvssv40_baseScore")]
    v4: Loose<Textual<f64>>,
    purls: Loose<Capped<String, MAX_LIST>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    rule_id: Option<String>,
    rule_index: Option<i64>,
    message: Option<Text>,
}

#[derive(Default, Deserialize)]
struct Text {
    text: Option<String>,
}

impl Rule {
    /// How much of it is read for each result, in bytes.
    fn len(&self) -> usize {
        let Properties { tags, security_severity, v3, v4, purls } = &self.properties;
        let listed = |list: &Loose<Capped<String, MAX_LIST>>, place| {
            list.get().and_then(|list| list.get(place)).map_or(0, String::len)
        };
        let number = |number: &Loose<Textual<f64>>| match number.get() {
            Some(Textual::Text(text)) => text.len(),
            _ => 0,
        };
        let text = |text: Option<&String>| text.map_or(0, String::len);
        text(self.id.as_ref())
            + text(self.help.as_ref().and_then(|help| help.text.as_ref()))
            + listed(tags, 0)
            + listed(tags, 2)
            + listed(purls, 0)
            + number(security_severity)
            + number(v3)
            + number(v4)
    }
}

impl Run {
    fn into_findings(
        self,
        tool: Tool,
        list: &mut Vec<Finding>,
        repeated: &mut Repeated,
    ) -> Result<(), FindingsError> {
        let results = self.results.ok_or(FindingsError::NotCovered("the run has no results"))?;
        let results = results.within("findings")?;
        if list.len() + results.len() > MAX_FINDINGS {
            return Err(FindingsError::TooLarge { what: "findings", limit: MAX_FINDINGS });
        }
        let rules = self.tool.driver.rules.unwrap_or_default().within("rules")?;
        let by_id: HashMap<&str, &Rule> =
            rules.iter().filter_map(|rule| Some((rule.id.as_deref()?, rule))).collect();
        let rule_of = |found: &Found| match &found.rule_id {
            Some(id) => by_id.get(id.as_str()).copied(),
            None => rules.get(usize::try_from(found.rule_index?).ok()?),
        };
        for rule in results.iter().filter_map(rule_of) {
            repeated.add(rule.len())?;
        }
        let before = list.len();
        let is_empty = results.is_empty();
        for found in &results {
            let rule = rule_of(found);
            let id = found.rule_id.as_deref().or_else(|| rule?.id.as_deref());
            let id = id.ok_or(FindingsError::Missing("ruleId"))?;
            let message = found.message.as_ref().and_then(|m| m.text.as_deref());
            let draft = match tool {
                Tool::Trivy => trivy_draft(id, message.unwrap_or_default(), rule),
                Tool::Grype => Some(grype_draft(id, message.unwrap_or_default(), rule)),
            };
            list.extend(draft.map(Draft::finish).transpose()?);
        }
        // A scan of a Dockerfile or for secrets alone finds no vulnerability either.
        let is_image = self.properties.is_some_and(|p| p.image_name.is_some());
        if matches!(tool, Tool::Trivy) && list.len() == before && !(is_empty && is_image) {
            return Err(FindingsError::NotAReport(
                "its SARIF does not say that vulnerabilities of an image were looked for"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// A result of Trivy; `None` if it is of another kind than a vulnerability. Its message is about
/// this package, while its rule describes the first one that has the vulnerability.
fn trivy_draft(id: &str, message: &str, rule: Option<&Rule>) -> Option<Draft> {
    let properties = rule.map(|r| &r.properties);
    let tag = |place: usize| properties?.tags.get()?.get(place).map(String::as_str);
    if matches!(tag(0), Some("misconfiguration" | "secret" | "license")) {
        return None;
    }
    // What an image's maker can write, names and versions, stands before the severity.
    let word = last_line(message, "Severity:").or_else(|| tag(2));
    let mut ratings = Ratings::default();
    word.into_iter().for_each(|word| ratings.word(word));
    if let Some(properties) = properties {
        let stated = [properties.v3.value(), properties.v4.value()];
        let score = properties.security_severity.value();
        let score = score.filter(|s| !is(*s, Tool::Trivy.stand_in(ratings.severity())));
        let scores = stated.into_iter().flatten().chain(score);
        scores.filter_map(Score::from_f64).for_each(|score| ratings.score(score));
    }
    let fixed = last_line(message, "Fixed Version:");
    Some(Draft {
        id: Some(id.to_owned()),
        ratings,
        package: line(message, "Package:").map(ToOwned::to_owned),
        installed: line(message, "Installed Version:").map(ToOwned::to_owned),
        fix_state: fixed.map_or(FixState::NotStated, |_| FixState::NotFixed),
        fixed: fixed.map(ToOwned::to_owned).into_iter().collect(),
        ..Draft::default()
    })
}

/// A result of Grype. Its rule is about all versions of one package, its message about this one.
fn grype_draft(id: &str, message: &str, rule: Option<&Rule>) -> Draft {
    let help = rule.and_then(|r| r.help.as_ref()?.text.as_deref()).unwrap_or_default();
    let properties = rule.map(|r| &r.properties);
    let package = line(help, "Package:");
    let version = package.and_then(|package| {
        let (_, rest) = message.split_once(&format!(" package: {package}, version "))?;
        rest.split_once(" was found").map(|(version, _)| version)
    });
    let described = line(help, "Version:");
    let purls = properties.and_then(|p| p.purls.get());
    let purl = purls.and_then(|purls| purls.get(0)).filter(|_| version == described);
    let id = package.and_then(|p| id.strip_suffix(p)?.strip_suffix('-')).unwrap_or(id);
    let word = message
        .strip_prefix("A ")
        .and_then(|rest| rest.split_once(" vulnerability in "))
        .map(|(word, _)| word)
        .or_else(|| line(help, "Severity:"));
    Draft {
        id: Some(id.to_owned()),
        ratings: grype_ratings(
            Severity::from_word(word.unwrap_or_default()),
            properties.and_then(|p| p.security_severity.value()),
        ),
        package: package.map(ToOwned::to_owned),
        purl: purl.cloned(),
        installed: version.or(described).map(ToOwned::to_owned),
        fixed: line(help, "Fix Version:").map(ToOwned::to_owned).into_iter().collect(),
        ..Draft::default()
    }
}

/// Grype writes `low` also for what it knows to be negligible, and for what it knows nothing of: the
/// word says no more than its score does. 0.0 is that of no score at all.
fn grype_ratings(word: Severity, score: Option<f64>) -> Ratings {
    let mut ratings = Ratings::default();
    let stated = score.filter(|s| !is(*s, Tool::Grype.stand_in(word)));
    let is_vague = word == Severity::Low && score.is_none_or(|s| is(s, 0.0));
    let word = if is_vague { Severity::Unknown } else { word };
    ratings.word(word.as_str());
    if let Some(score) = stated.filter(|s| *s > 0.0).and_then(Score::from_f64) {
        if word == Severity::Low {
            ratings.word(score.severity().as_str());
        }
        ratings.score(score);
    }
    ratings
}

/// Whether two scores are the same to a tenth.
fn is(score: f64, other: f64) -> bool {
    (score - other).abs() < 0.05
}

/// What the first line that begins with `name` says after it.
fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// What the last line that begins with `name` says after it.
fn last_line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
