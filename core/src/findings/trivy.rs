//! A Trivy JSON report (schema version 2) in, its findings out.
//!
//! Fields as in `pkg/types/report.go` and `pkg/types/vulnerability.go` of aquasecurity/trivy.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::capped::Capped;
use super::content::Scan;
use super::draft::Draft;
use super::rating::Ratings;
use super::score::Score;
use super::{FindingsError, FixState, MAX_FINDINGS, MAX_LIST, MAX_RESULTS, Scanner, moment, part};

/// The name of the scanner in every format that carries its reports.
pub(super) const NAME: &str = "trivy";

/// Reads a report. It must have covered the image: see [`check_coverage`].
pub(super) fn read(document: &RawValue) -> Result<Scan, FindingsError> {
    let Version { schema_version } = part(document)?;
    match schema_version {
        Some(2) => {}
        Some(other) => {
            return Err(FindingsError::Format(format!("Trivy schema version {other}")));
        }
        None => {
            return Err(FindingsError::Format("document without SchemaVersion".to_owned()));
        }
    }
    let raw: Raw<'_> = part(document)?;
    let results = raw.results.unwrap_or_default().within("results")?;
    check_coverage(raw.metadata.and_then(|m| m.os).as_ref(), &results)?;
    let mut list = Vec::new();
    for vulnerabilities in results.into_iter().filter_map(|r| r.vulnerabilities) {
        let found: Option<Capped<Vulnerability, MAX_FINDINGS>> = part(vulnerabilities)?;
        let found = found.unwrap_or_default().within("findings")?;
        if list.len() + found.len() > MAX_FINDINGS {
            return Err(FindingsError::TooLarge { what: "findings", limit: MAX_FINDINGS });
        }
        for vulnerability in found {
            list.push(vulnerability.into_draft().finish()?);
        }
    }
    let version = raw.trivy.and_then(|t| t.version);
    Ok(Scan {
        scanner: Scanner::new(NAME, version.as_deref())?,
        finished: ("CreatedAt", raw.created_at),
        list,
    })
}

/// Refuses a report in which nothing found does not mean that nothing is there.
///
/// Trivy leaves the packages of an operating system out that it does not know or support, reports
/// next to nothing for one whose vendor has stopped to publish advisories, and lists no package
/// results at all where it was told to look for secrets only.
fn check_coverage(os: Option<&Os>, results: &[Target<'_>]) -> Result<(), FindingsError> {
    let has = |class| results.iter().any(|r| r.class.as_deref() == Some(class));
    let family = os.and_then(|os| os.family.as_deref()).unwrap_or_default();
    if os.and_then(|os| os.eosl).unwrap_or_default() {
        return Err(FindingsError::NotCovered("its operating system has reached its end of life"));
    }
    match family {
        "" | "none" if has("os-pkgs") || has("lang-pkgs") => Ok(()),
        "" | "none" => Err(FindingsError::NotCovered("its operating system is not known")),
        _ if has("os-pkgs") => Ok(()),
        _ => Err(FindingsError::NotCovered("the packages of its operating system are not listed")),
    }
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "SchemaVersion")]
    schema_version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw<'a> {
    trivy: Option<Tool>,
    created_at: Option<String>,
    metadata: Option<Metadata>,
    #[serde(borrow)]
    results: Option<Capped<Target<'a>, MAX_RESULTS>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tool {
    version: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "OS")]
    os: Option<Os>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Os {
    family: Option<String>,
    #[serde(rename = "EOSL")]
    eosl: Option<bool>,
}

/// One scanned target. Misconfigurations, secrets and licences have lists of their own, which are
/// not read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target<'a> {
    class: Option<String>,
    /// Read one target at a time, so that the bound is on all of them together.
    #[serde(borrow)]
    vulnerabilities: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vulnerability {
    #[serde(rename = "VulnerabilityID")]
    id: Option<String>,
    #[serde(rename = "VendorIDs")]
    vendor_ids: Option<Capped<String, MAX_LIST>>,
    severity: Option<String>,
    #[serde(rename = "CVSS", default)]
    cvss: Cvss,
    pkg_name: Option<String>,
    pkg_identifier: Option<Identifier>,
    installed_version: Option<String>,
    fixed_version: Option<String>,
    status: Option<String>,
    published_date: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(rename = "PURL")]
    purl: Option<String>,
}

impl Vulnerability {
    /// `Severity` is what Trivy chose among its sources, the distribution's own first; scores count
    /// only where it knows none.
    fn into_draft(self) -> Draft {
        let mut ratings = self.cvss.0;
        self.severity.iter().for_each(|word| ratings.word(word));
        Draft {
            id: self.id,
            aliases: self.vendor_ids.unwrap_or_default().kept(),
            ratings,
            package: self.pkg_name,
            purl: self.pkg_identifier.and_then(|i| i.purl),
            installed: self.installed_version,
            fixed: self.fixed_version.into_iter().collect(),
            fix_state: fix_state(self.status.as_deref().unwrap_or_default()),
            published: moment(self.published_date.as_deref()),
            ..Draft::default()
        }
    }
}

/// Trivy's words (`pkg/types/status.go` of aquasecurity/trivy-db).
fn fix_state(status: &str) -> FixState {
    match status {
        "fixed" => FixState::Fixed,
        "affected" | "fix_deferred" => FixState::NotFixed,
        "will_not_fix" | "end_of_life" => FixState::WontFix,
        _ => FixState::NotStated,
    }
}

/// The scores of all sources.
#[derive(Default)]
struct Cvss(Ratings);

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "V3Score")]
    v3: Option<Score>,
    #[serde(rename = "V3Vector")]
    vector: Option<String>,
    #[serde(rename = "V40Score")]
    v4: Option<Score>,
}

impl<'de> Deserialize<'de> for Cvss {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Fold)
    }
}

struct Fold;

impl<'de> Visitor<'de> for Fold {
    type Value = Cvss;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scores by source")
    }

    fn visit_unit<E>(self) -> Result<Cvss, E> {
        Ok(Cvss::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cvss, A::Error> {
        let mut all = Cvss::default();
        while let Some((_, source)) = map.next_entry::<IgnoredAny, Source>()? {
            let v3 = source.v3.or_else(|| Score::from_vector(source.vector.as_deref()?));
            [v3, source.v4].into_iter().flatten().for_each(|s| all.0.score(s));
        }
        Ok(all)
    }
}
