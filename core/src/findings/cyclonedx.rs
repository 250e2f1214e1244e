//! CycloneDX JSON with vulnerabilities in, its findings out: one for each component affected.
//!
//! Fields as in the JSON schema of CycloneDX 1.4 to 1.7, and what Trivy, Grype and Dependency-Track
//! make of them. Most documents of the format are bills of materials, which say nothing of
//! vulnerabilities and must not pass for an image without any.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::capped::Capped;
use super::content::Scan;
use super::draft::{Draft, Repeated};
use super::rating::Ratings;
use super::score::Score;
use super::vulns::scanner_name;
use super::{
    Analysis, Epss, FindingsError, FixState, MAX_COMPONENTS, MAX_FINDINGS, MAX_LIST, Scanner,
    Severity, grype, moment, part, trivy,
};

/// Reads a document. It must be what a scanner found: see [`check_scan`].
pub(super) fn read(document: &RawValue) -> Result<Scan, FindingsError> {
    let raw: Raw = part(document)?;
    let format = raw.bom_format.unwrap_or_default();
    if format != "CycloneDX" {
        return Err(FindingsError::Format(format!("bill of materials of format {format}")));
    }
    let Some(vulnerabilities) = raw.vulnerabilities else {
        return Err(not_a_report("it is a bill of materials without vulnerabilities"));
    };
    let vulnerabilities = vulnerabilities.within("findings")?;
    let metadata = raw.metadata.unwrap_or_default();
    let tool = metadata.tools.unwrap_or_default().scanner();
    let scanner = tool.ok_or(FindingsError::Missing("metadata.tools"))?;
    let listed = raw.components.unwrap_or_default().within("components")?;
    check_scan(&scanner, &vulnerabilities, !listed.is_empty())?;
    let (mut components, mut count) = (HashMap::new(), 0);
    for component in metadata.component.into_iter().chain(listed) {
        component.list(&mut components, &mut count)?;
    }
    let (mut list, mut repeated) = (Vec::new(), Repeated::default());
    for vulnerability in vulnerabilities {
        let affects = vulnerability.affects.as_ref().map_or(0, |a| a.len().max(1)).max(1);
        if list.len() + affects > MAX_FINDINGS {
            return Err(FindingsError::TooLarge { what: "findings", limit: MAX_FINDINGS });
        }
        vulnerability.count(&components, &mut repeated)?;
        for draft in vulnerability.drafts(&components)? {
            list.push(draft.finish()?);
        }
    }
    Ok(Scan { scanner, finished: ("metadata.timestamp", metadata.timestamp), list })
}

/// Refuses a document that only looks like a report.
///
/// Trivy writes an empty list of vulnerabilities into bills of materials for which it looked for none,
/// and other tools may; Grype always looks. A VEX document is of this format too: it lists what
/// somebody judged, without components and not what a scanner found.
fn check_scan(
    scanner: &Scanner,
    vulnerabilities: &[Vulnerability],
    has_components: bool,
) -> Result<(), FindingsError> {
    if vulnerabilities.is_empty() && scanner.name != grype::NAME {
        return Err(not_a_report(
            "it lists no vulnerability, and does not say that any was looked for",
        ));
    }
    if !has_components && vulnerabilities.iter().any(|v| v.analysis.is_some()) {
        return Err(not_a_report("it is a VEX document"));
    }
    Ok(())
}

fn not_a_report(why: &str) -> FindingsError {
    FindingsError::NotAReport(why.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    bom_format: Option<String>,
    metadata: Option<Metadata>,
    components: Option<Capped<Component, MAX_COMPONENTS>>,
    vulnerabilities: Option<Capped<Vulnerability, MAX_FINDINGS>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    timestamp: Option<String>,
    tools: Option<Tools>,
    component: Option<Component>,
}

/// A list until 1.4, an object since 1.5.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tools {
    List(Capped<Tool, MAX_LIST>),
    Object { components: Option<Capped<Tool, MAX_LIST>> },
}

impl Default for Tools {
    fn default() -> Self {
        Self::List(Capped::default())
    }
}

#[derive(Deserialize)]
struct Tool {
    name: Option<String>,
    version: Option<String>,
}

impl Tools {
    /// The scanner among the tools, rather a known one than the first.
    fn scanner(self) -> Option<Scanner> {
        let tools = match self {
            Self::List(tools) => tools,
            Self::Object { components } => components.unwrap_or_default(),
        };
        let mut named: Vec<_> = tools
            .kept()
            .into_iter()
            .filter_map(|tool| Scanner::new(&tool.name?, tool.version.as_deref()).ok())
            .filter(|scanner| !scanner.name.is_empty())
            .collect();
        for scanner in &mut named {
            let known = [trivy::NAME, grype::NAME];
            let known = known.iter().find(|known| scanner.name.eq_ignore_ascii_case(known));
            let name = known.copied().unwrap_or_else(|| scanner_name(&scanner.name)).to_owned();
            scanner.name = name;
        }
        let is_unknown = |s: &Scanner| s.name != trivy::NAME && s.name != grype::NAME;
        named.into_iter().min_by_key(is_unknown)
    }
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "bom-ref")]
    bom_ref: Option<String>,
    group: Option<String>,
    name: Option<String>,
    version: Option<String>,
    purl: Option<String>,
    components: Option<Capped<Self, MAX_COMPONENTS>>,
}

/// What is known of an affected package.
#[derive(Clone, Default)]
struct Package {
    name: Option<String>,
    version: Option<String>,
    purl: Option<String>,
}

impl Package {
    fn len(&self) -> usize {
        [&self.name, &self.version, &self.purl].into_iter().flatten().map(String::len).sum()
    }
}

impl Component {
    /// Adds it and those within it, whose depth is that of the document.
    fn list(
        self,
        all: &mut HashMap<String, Package>,
        count: &mut usize,
    ) -> Result<(), FindingsError> {
        *count += 1;
        if *count > MAX_COMPONENTS {
            return Err(FindingsError::TooLarge { what: "components", limit: MAX_COMPONENTS });
        }
        let name = self.full_name();
        let Self { bom_ref, version, purl, components, .. } = self;
        if let Some(bom_ref) = bom_ref {
            all.entry(bom_ref).or_insert(Package { name, version, purl });
        }
        for component in components.unwrap_or_default().within("components")? {
            component.list(all, count)?;
        }
        Ok(())
    }

    /// The name with its group, joined as scanners join them.
    fn full_name(&self) -> Option<String> {
        let name = self.name.clone()?;
        let is_maven = self.purl.as_deref().is_some_and(|purl| purl.starts_with("pkg:maven/"));
        match self.group.as_deref().filter(|group| !group.is_empty()) {
            Some(group) => Some(format!("{group}{}{name}", if is_maven { ':' } else { '/' })),
            None => Some(name),
        }
    }
}

#[derive(Deserialize)]
struct Vulnerability {
    id: Option<String>,
    source: Option<Source>,
    references: Option<Capped<Reference, MAX_LIST>>,
    ratings: Option<Capped<Rating, MAX_LIST>>,
    recommendation: Option<String>,
    published: Option<String>,
    analysis: Option<State>,
    affects: Option<Capped<Affected, MAX_FINDINGS>>,
}

#[derive(Deserialize)]
struct Source {
    name: Option<String>,
}

/// The same vulnerability in another database.
#[derive(Deserialize)]
struct Reference {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Rating {
    source: Option<Source>,
    severity: Option<String>,
    score: Option<f64>,
    method: Option<String>,
    vector: Option<String>,
}

#[derive(Deserialize)]
struct State {
    state: Option<String>,
}

#[derive(Deserialize)]
struct Affected {
    #[serde(rename = "ref")]
    to: Option<String>,
    versions: Option<Capped<Version, MAX_LIST>>,
}

#[derive(Deserialize)]
struct Version {
    version: Option<String>,
    status: Option<String>,
}

impl Vulnerability {
    /// Counts what becomes of it in findings, one for each component affected.
    fn count(
        &self,
        components: &HashMap<String, Package>,
        repeated: &mut Repeated,
    ) -> Result<(), FindingsError> {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let alias = |of: &Reference| size_of::<String>() + text(&of.id);
        let aliases: usize = self.references.iter().flat_map(Capped::iter).map(alias).sum();
        let shared = text(&self.id) + text(&self.recommendation) + aliases;
        for affected in self.affects.iter().flat_map(Capped::iter) {
            let to = affected.to.as_deref().and_then(|to| components.get(to));
            repeated.add(shared + to.map_or(0, Package::len))?;
        }
        Ok(())
    }

    fn drafts(
        mut self,
        components: &HashMap<String, Package>,
    ) -> Result<Vec<Draft>, FindingsError> {
        let ratings = self.ratings.take().unwrap_or_default().within("ratings of one finding")?;
        let own = self.source.as_ref().and_then(Source::stated);
        let (ratings, epss, known_exploited) = rated(&ratings, own);
        let references = self.references.unwrap_or_default().kept();
        let aliases: Vec<String> = references.into_iter().filter_map(|r| r.id).collect();
        let state = self.analysis.and_then(|a| a.state).unwrap_or_default();
        let recommendation = self.recommendation.unwrap_or_default();
        let affects = self.affects.unwrap_or_default().kept();
        let mut packages: Vec<_> = affects.into_iter().map(|a| a.package(components)).collect();
        if packages.is_empty() {
            packages.push(Package::default());
        }
        let draft = |package: Package| Draft {
            id: self.id.clone(),
            aliases: aliases.clone(),
            ratings,
            fixed: fixed(&recommendation, package.name.as_deref()),
            package: package.name,
            purl: package.purl,
            installed: package.version,
            fix_state: FixState::NotStated,
            known_exploited,
            epss,
            published: moment(self.published.as_deref()),
            first_seen: None,
            analysis: analysis(&state),
        };
        Ok(packages.into_iter().map(draft).collect())
    }
}

/// What the ratings say: severity and score, how likely it is to be exploited, and whether it is.
///
/// The word of `own`, the database that the vulnerability was found in, is the one that a scanner
/// goes by; where that has none, the worst counts.
fn rated(list: &[Rating], own: Option<&str>) -> (Ratings, Option<Epss>, Option<bool>) {
    let (mut ratings, mut epss, mut known_exploited) = (Ratings::default(), None, None);
    let is_own = |rating: &Rating| own.is_some() && rating.source() == own;
    let has_own = list.iter().any(|rating| is_own(rating) && rating.is_known());
    for rating in list {
        match rating.source().unwrap_or_default() {
            // As Grype names them.
            "FIRST" => epss = epss.max(rating.score.and_then(Epss::from_f64)),
            "CISA KEV Catalog" => known_exploited = Some(true),
            _ => {
                if !has_own || is_own(rating) {
                    rating.severity.iter().for_each(|word| ratings.word(word));
                }
                rating.cvss().into_iter().for_each(|score| ratings.score(score));
            }
        }
    }
    (ratings, epss, known_exploited)
}

impl Source {
    fn stated(&self) -> Option<&str> {
        self.name.as_deref().map(str::trim).filter(|name| !name.is_empty())
    }
}

impl Rating {
    fn source(&self) -> Option<&str> {
        self.source.as_ref().and_then(Source::stated)
    }

    /// Whether it has a severity that is known.
    fn is_known(&self) -> bool {
        let word = self.severity.as_deref().unwrap_or_default();
        Severity::from_word(word) != Severity::Unknown
    }

    /// Its score, if it is one of CVSS v3 or v4.
    fn cvss(&self) -> Option<Score> {
        match self.method.as_deref().unwrap_or_default() {
            "CVSSv3" | "CVSSv31" | "CVSSv4" => {
                let vector = || Score::from_vector(self.vector.as_deref()?);
                self.score.and_then(Score::from_f64).or_else(vector)
            }
            _ => None,
        }
    }
}

impl Affected {
    /// The component that it refers to. One of another document is known by what the reference itself
    /// says: Trivy's are package URLs.
    fn package(self, components: &HashMap<String, Package>) -> Package {
        let to = self.to.unwrap_or_default();
        let known = components.get(&to).cloned();
        let mut package = known.unwrap_or_else(|| {
            let local = match to.split_once('#') {
                Some((document, local)) if document.starts_with("urn:cdx:") => local,
                _ => to.as_str(),
            };
            let purl = local.starts_with("pkg:").then(|| local.to_owned());
            Package { purl, ..Package::default() }
        });
        if package.version.is_none() {
            let versions = self.versions.unwrap_or_default().kept().into_iter();
            package.version = versions
                .filter(|v| v.status.as_deref().is_none_or(|status| status == "affected"))
                .find_map(|v| v.version);
        }
        package
    }
}

/// The versions that Trivy's recommendation names for this package:
/// `Upgrade openssl to version 1.1.1d, 3.0.1; Upgrade libssl to version 2.0`.
fn fixed(recommendation: &str, package: Option<&str>) -> Vec<String> {
    let advised = recommendation.split(';').filter_map(|advice| {
        let (name, versions) =
            advice.trim().strip_prefix("Upgrade ")?.split_once(" to version ")?;
        (Some(name.trim()) == package).then(|| versions.trim().to_owned())
    });
    advised.collect()
}

/// What a state means (CycloneDX, `impactAnalysisState`). Of a word that is not known it counts.
fn analysis(state: &str) -> Analysis {
    match state {
        "resolved" | "resolved_with_pedigree" => Analysis::Fixed,
        "not_affected" | "false_positive" => Analysis::NotAffected,
        _ => Analysis::Affected,
    }
}
