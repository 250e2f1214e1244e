//! Findings in, reports as scanners write them out: Trivy's own JSON, an in-toto statement, and the
//! formats beside these.

use portcullis_core::findings::{Severity, VULNS_V0_2};
use portcullis_core::image::Digest;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::TestkitError;

mod formats;

/// The scanner that the reports name.
pub(crate) const SCANNER: &str = "trivy";
const VERSION: &str = "0.65.0";

/// What a scan of one image found, to be written in more than one format.
#[derive(Debug, Clone)]
pub struct TrivyReport {
    scanned_at: OffsetDateTime,
    family: String,
    release: String,
    found: Vec<Found>,
}

#[derive(Debug, Clone)]
struct Found {
    id: String,
    severity: Severity,
    package: String,
    installed: String,
    fixed: String,
    score: Option<f64>,
}

impl TrivyReport {
    /// A report without findings of an Alpine 3.20 image that was scanned at `scanned_at`.
    #[must_use]
    pub fn new(scanned_at: OffsetDateTime) -> Self {
        Self {
            scanned_at,
            family: "alpine".to_owned(),
            release: "3.20.3".to_owned(),
            found: Vec::new(),
        }
    }

    /// Says which system was found in the image: `alpine` or `debian`, and its version.
    #[must_use]
    pub fn system(mut self, family: &str, release: &str) -> Self {
        family.clone_into(&mut self.family);
        release.clone_into(&mut self.release);
        self
    }

    /// Adds a finding. As in Trivy an empty `fixed` is no fixed version, and several are separated
    /// by `, `.
    #[must_use]
    pub fn finding(
        mut self,
        id: &str,
        severity: Severity,
        package: &str,
        installed: &str,
        fixed: &str,
    ) -> Self {
        self.found.push(Found {
            id: id.to_owned(),
            severity,
            package: package.to_owned(),
            installed: installed.to_owned(),
            fixed: fixed.to_owned(),
            score: None,
        });
        self
    }

    /// Gives the last finding added a CVSS v3 base score, 0.0 to 10.0, of the NVD.
    #[must_use]
    pub fn score(mut self, score: f64) -> Self {
        if let Some(found) = self.found.last_mut() {
            found.score = Some(score);
        }
        self
    }

    /// When the scan was.
    #[must_use]
    pub const fn scanned_at(&self) -> OffsetDateTime {
        self.scanned_at
    }

    /// The report as `trivy image --format json` writes it (schema version 2). `artifact` is the
    /// image's name.
    ///
    /// # Errors
    /// When the time of the scan has no RFC 3339 form.
    pub fn to_json(&self, artifact: &str) -> Result<Vec<u8>, TestkitError> {
        let mut result = Map::new();
        let system = format!("{artifact} ({} {})", self.family, self.release);
        result.insert("Target".to_owned(), json!(system));
        result.insert("Class".to_owned(), json!("os-pkgs"));
        result.insert("Type".to_owned(), json!(self.family));
        // Trivy leaves the member out where nothing was found.
        if !self.found.is_empty() {
            let list: Vec<_> = self.found.iter().map(|found| self.vulnerability(found)).collect();
            result.insert("Vulnerabilities".to_owned(), json!(list));
        }
        let report = json!({
            "SchemaVersion": 2,
            "Trivy": { "Version": VERSION },
            "CreatedAt": self.scanned_at.format(&Rfc3339)?,
            "ArtifactName": artifact,
            "ArtifactType": "container_image",
            "Metadata": {
                "OS": { "Family": self.family, "Name": self.release },
                "RepoTags": [artifact],
            },
            "Results": [result],
        });
        Ok(serde_json::to_vec(&report)?)
    }

    /// The findings as an in-toto statement with the predicate vulns v0.2 about the image `subject`
    /// that is named `name`.
    ///
    /// # Errors
    /// When the time of the scan has no RFC 3339 form.
    pub fn to_statement(&self, name: &str, subject: Digest) -> Result<Vec<u8>, TestkitError> {
        let scanned_at = self.scanned_at.format(&Rfc3339)?;
        let result: Vec<_> = self.found.iter().map(|found| self.result(found)).collect();
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": name, "digest": { "sha256": subject.hex() } }],
            "predicateType": VULNS_V0_2,
            "predicate": {
                "scanner": {
                    "uri": format!("pkg:github/aquasecurity/trivy@{VERSION}"),
                    "version": VERSION,
                    "db": { "uri": "ghcr.io/aquasecurity/trivy-db:2", "lastUpdate": scanned_at },
                    "result": result,
                },
                "metadata": { "scanStartedOn": scanned_at, "scanFinishedOn": scanned_at },
            },
        });
        Ok(serde_json::to_vec(&statement)?)
    }

    fn vulnerability(&self, found: &Found) -> Value {
        let status = if found.fixed.is_empty() { "affected" } else { "fixed" };
        let mut vulnerability = json!({
            "VulnerabilityID": found.id,
            "PkgID": format!("{}@{}", found.package, found.installed),
            "PkgName": found.package,
            "PkgIdentifier": { "PURL": self.purl(found) },
            "InstalledVersion": found.installed,
            "Status": status,
            "SeveritySource": "nvd",
            "PrimaryURL": format!("https://avd.aquasec.com/nvd/{}", found.id.to_lowercase()),
            "Severity": trivy_severity(found.severity),
        });
        if let Some(members) = vulnerability.as_object_mut() {
            if !found.fixed.is_empty() {
                members.insert("FixedVersion".to_owned(), json!(found.fixed));
            }
            if let Some(score) = found.score {
                members.insert("CVSS".to_owned(), json!({ "nvd": { "V3Score": score } }));
            }
        }
        vulnerability
    }

    /// One result of the predicate. It has no field for packages; they are annotations, named as
    /// the OSV tools name them.
    fn result(&self, found: &Found) -> Value {
        let mut severity = vec![json!({ "method": "nvd", "score": found.severity.as_str() })];
        if let Some(score) = found.score {
            severity.push(json!({ "method": "cvss_score", "score": score.to_string() }));
        }
        let mut annotation = json!({
            "package": found.package,
            "installed_version": found.installed,
            "purl": self.purl(found),
        });
        if let Some(members) = annotation.as_object_mut()
            && !found.fixed.is_empty()
        {
            members.insert("fixed_version".to_owned(), json!(found.fixed));
        }
        json!({ "id": found.id, "severity": severity, "annotations": [annotation] })
    }

    fn purl(&self, found: &Found) -> String {
        let kind = if self.family == "alpine" { "apk" } else { "deb" };
        let Found { package, installed, .. } = found;
        // A package URL has `:` and `+` in versions percent-encoded or plain; Trivy encodes them.
        let version = installed.replace('+', "%2B").replace(':', "%3A");
        format!("pkg:{kind}/{}/{package}@{version}?distro={}", self.family, self.release)
    }
}

/// Trivy's word. It has none for negligible, and files that under low.
const fn trivy_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Unknown => "UNKNOWN",
        Severity::Negligible | Severity::Low => "LOW",
        Severity::Medium => "MEDIUM",
        Severity::High => "HIGH",
        Severity::Critical => "CRITICAL",
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn report() -> TrivyReport {
        TrivyReport::new(datetime!(2026-08-01 11:00 UTC))
            .system("debian", "11.3")
            .finding("CVE-2022-37434", Severity::Critical, "zlib1g", "1:1.2.11+x", "1:1.2.12")
            .score(9.8)
            .finding("CVE-2019-8457", Severity::Negligible, "libdb5.3", "5.3.28", "")
    }

    fn read(bytes: &[u8]) -> Value {
        portcullis_core::json::from_slice(bytes).unwrap()
    }

    #[test]
    fn a_report_has_the_shape_of_trivys() {
        let report = read(&report().to_json("reg.io/demo/app:v1").unwrap());
        assert_eq!(report["SchemaVersion"], 2);
        assert_eq!(report["CreatedAt"], "2026-08-01T11:00:00Z");
        assert_eq!(report["ArtifactName"], "reg.io/demo/app:v1");
        assert_eq!(report["Metadata"]["OS"], json!({ "Family": "debian", "Name": "11.3" }));
        let result = &report["Results"][0];
        assert_eq!(result["Class"], "os-pkgs");
        let found = &result["Vulnerabilities"];
        assert_eq!(found[0]["VulnerabilityID"], "CVE-2022-37434");
        assert_eq!(found[0]["Severity"], "CRITICAL");
        assert_eq!(found[0]["FixedVersion"], "1:1.2.12");
        assert_eq!(found[0]["Status"], "fixed");
        assert_eq!(found[0]["CVSS"]["nvd"]["V3Score"], 9.8);
        let purl = "pkg:deb/debian/zlib1g@1%3A1.2.11%2Bx?distro=11.3";
        assert_eq!(found[0]["PkgIdentifier"]["PURL"], purl);
        assert_eq!(found[1]["Severity"], "LOW");
        assert_eq!(found[1]["Status"], "affected");
        assert_eq!(found[1].get("FixedVersion"), None);
        assert_eq!(found[1].get("CVSS"), None);
    }

    #[test]
    fn a_clean_report_still_says_what_was_looked_at() {
        let report = TrivyReport::new(datetime!(2026-08-01 11:00 UTC));
        let report = read(&report.to_json("reg.io/demo/app:v1").unwrap());
        let target = &report["Results"][0];
        assert_eq!(target["Target"], "reg.io/demo/app:v1 (alpine 3.20.3)");
        assert_eq!(target.get("Vulnerabilities"), None);
    }

    #[test]
    fn a_statement_has_the_shape_of_vulns_v0_2() {
        let subject = Digest::of(b"image");
        let statement = read(&report().to_statement("reg.io/demo/app", subject).unwrap());
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], VULNS_V0_2);
        assert_eq!(statement["subject"][0]["digest"]["sha256"], subject.hex());
        let predicate = &statement["predicate"];
        assert_eq!(predicate["metadata"]["scanFinishedOn"], "2026-08-01T11:00:00Z");
        let found = &predicate["scanner"]["result"];
        assert_eq!(found[0]["id"], "CVE-2022-37434");
        let severity =
            json!([{"method":"nvd","score":"critical"},{"method":"cvss_score","score":"9.8"}]);
        assert_eq!(found[0]["severity"], severity);
        assert_eq!(found[0]["annotations"][0]["fixed_version"], "1:1.2.12");
        assert_eq!(found[1]["annotations"][0]["package"], "libdb5.3");
        assert_eq!(found[1]["annotations"][0].get("fixed_version"), None);
    }

    #[test]
    fn a_time_that_cannot_be_written_is_an_error() {
        let report = TrivyReport::new(datetime!(-0001-01-01 0:00 UTC));
        assert!(matches!(report.to_json("x"), Err(TestkitError::Time(_))));
    }
}
