//! A Grype JSON report in, its findings out.
//!
//! Fields as in `grype/presenter/models` of anchore/grype. Matches that Grype was told to ignore are
//! in a list of their own, which is not read: whoever signs the report stands for them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::capped::Capped;
use super::content::Scan;
use super::draft::Draft;
use super::rating::Ratings;
use super::score::Score;
use super::{Epss, FindingsError, FixState, MAX_FINDINGS, MAX_LIST, Scanner, part};

/// The name of the scanner in every format that carries its reports.
pub(super) const NAME: &str = "grype";

/// Reads a report. It must have covered the image: see [`check_coverage`].
pub(super) fn read(document: &RawValue) -> Result<Scan, FindingsError> {
    let raw: Raw = part(document)?;
    let name = raw.descriptor.name.unwrap_or_default();
    if name != NAME {
        return Err(FindingsError::Format(format!("JSON report of {name}")));
    }
    let matches = raw.matches.within("findings")?;
    let alerts = raw.alerts_by_package.unwrap_or_default().within("packages with alerts")?;
    check_coverage(&raw.distro.unwrap_or_default(), &alerts, matches.is_empty())?;
    let list = matches
        .into_iter()
        .map(|found| found.into_draft()?.finish())
        .collect::<Result<_, FindingsError>>()?;
    Ok(Scan {
        scanner: Scanner::new(NAME, raw.descriptor.version.as_deref())?,
        finished: ("descriptor.timestamp", raw.descriptor.timestamp),
        list,
    })
}

/// Refuses a report in which nothing found does not mean that nothing is there.
///
/// Grype matches nothing for a distribution that it does not know, next to nothing for one past its
/// end of life, and does not list the packages that it looked at. Newer versions raise alerts.
fn check_coverage(distro: &Distro, alerts: &[Alerts], is_empty: bool) -> Result<(), FindingsError> {
    for alert in alerts.iter().flat_map(|package| package.alerts.iter().flatten()) {
        match alert.kind.as_deref().unwrap_or_default() {
            "distro-eol" => {
                return Err(FindingsError::NotCovered(
                    "its operating system has reached its end of life",
                ));
            }
            "distro-unknown" | "distro-disabled" => {
                return Err(FindingsError::NotCovered("its operating system is not known"));
            }
            _ => {}
        }
    }
    if is_empty && distro.name.as_deref().unwrap_or_default().is_empty() {
        return Err(FindingsError::NotCovered(
            "its operating system is not known, and no package of it was looked at",
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    matches: Capped<Match, MAX_FINDINGS>,
    alerts_by_package: Option<Capped<Alerts, MAX_FINDINGS>>,
    distro: Option<Distro>,
    descriptor: Descriptor,
}

#[derive(Deserialize)]
struct Descriptor {
    name: Option<String>,
    version: Option<String>,
    timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
struct Distro {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Option<Vec<Alert>>,
}

#[derive(Deserialize)]
struct Alert {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    vulnerability: Vulnerability,
    related_vulnerabilities: Option<Capped<Related, MAX_LIST>>,
    artifact: Option<Package>,
}

#[derive(Deserialize)]
struct Vulnerability {
    #[serde(flatten)]
    facts: Related,
    fix: Option<Fix>,
    /// Only versions of Grype that know what is exploited compute it.
    risk: Option<f64>,
}

/// What Grype says of a vulnerability, and of the same one in another database.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Related {
    id: Option<String>,
    severity: Option<String>,
    cvss: Option<Capped<Cvss, MAX_LIST>>,
    epss: Option<Capped<Chance, MAX_LIST>>,
    known_exploited: Option<Capped<serde::de::IgnoredAny, 1>>,
}

#[derive(Deserialize)]
struct Cvss {
    version: Option<String>,
    vector: Option<String>,
    metrics: Option<Metrics>,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(rename = "baseScore")]
    base_score: Option<f64>,
}

#[derive(Deserialize)]
struct Chance {
    epss: Option<Epss>,
}

#[derive(Deserialize)]
struct Fix {
    versions: Option<Capped<String, MAX_LIST>>,
    state: Option<String>,
}

#[derive(Deserialize)]
struct Package {
    name: Option<String>,
    version: Option<String>,
    purl: Option<String>,
}

impl Match {
    /// The severity is the one that Grype chose; scores, also those of the other databases, count
    /// only where it knows none.
    fn into_draft(self) -> Result<Draft, FindingsError> {
        let Self { vulnerability: Vulnerability { facts: own, fix, risk }, artifact, .. } = self;
        let related =
            self.related_vulnerabilities.unwrap_or_default().within("aliases of one finding")?;
        let mut ratings = Ratings::default();
        own.severity.iter().for_each(|word| ratings.word(word));
        // Without metadata Grype states no severity, and a risk that means nothing.
        let is_rated = risk.is_some() && own.severity.is_some();
        let mut known_exploited = is_rated.then_some(false);
        let mut epss = None;
        let mut aliases = Vec::new();
        let id = own.id.clone();
        for facts in std::iter::once(own).chain(related) {
            aliases.extend(facts.id);
            let scores = facts.cvss.unwrap_or_default().within("ratings of one finding")?;
            scores.iter().filter_map(Cvss::score).for_each(|score| ratings.score(score));
            let chances = facts.epss.unwrap_or_default().within("EPSS of one finding")?;
            epss = chances.iter().map(|chance| chance.epss).fold(epss, Ord::max);
            if !facts.known_exploited.unwrap_or_default().kept().is_empty() {
                known_exploited = Some(true);
            }
        }
        let Fix { versions, state } = fix.unwrap_or(Fix { versions: None, state: None });
        let package = artifact.unwrap_or(Package { name: None, version: None, purl: None });
        Ok(Draft {
            id,
            aliases,
            ratings,
            package: package.name,
            purl: package.purl,
            installed: package.version,
            fixed: versions.unwrap_or_default().within("fixed versions of one finding")?,
            fix_state: fix_state(state.as_deref().unwrap_or_default()),
            known_exploited,
            epss,
            ..Draft::default()
        })
    }
}

impl Cvss {
    /// Its base score, unless it is one of CVSS v2.
    fn score(&self) -> Option<Score> {
        let vector = self.vector.as_deref().unwrap_or_default();
        let version = self.version.as_deref().unwrap_or_default();
        if !version.starts_with(['3', '4']) && !vector.starts_with("CVSS:") {
            return None;
        }
        let stated = self.metrics.as_ref().and_then(|m| m.base_score);
        stated.and_then(Score::from_f64).or_else(|| Score::from_vector(vector))
    }
}

/// Grype's words (`grype/vulnerability/fix.go`).
fn fix_state(state: &str) -> FixState {
    match state {
        "fixed" => FixState::Fixed,
        "not-fixed" => FixState::NotFixed,
        "wont-fix" => FixState::WontFix,
        _ => FixState::NotStated,
    }
}
