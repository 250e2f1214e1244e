//! Findings in, the same in the other formats of scanners out: Grype's JSON, and Trivy's SARIF.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{Found, TrivyReport, VERSION, trivy_severity};
use crate::TestkitError;

impl TrivyReport {
    /// The findings as `grype --output json` writes them.
    ///
    /// # Errors
    /// When the time of the scan has no RFC 3339 form.
    pub fn to_grype(&self) -> Result<Vec<u8>, TestkitError> {
        let report = json!({
            "matches": self.found.iter().map(|found| self.grype_match(found)).collect::<Vec<_>>(),
            "source": { "type": "image" },
            "distro": { "name": self.family, "version": self.release },
            "descriptor": {
                "name": "grype",
                "version": "0.90.0",
                "timestamp": self.scanned_at.format(&Rfc3339)?,
            },
        });
        Ok(serde_json::to_vec(&report)?)
    }

    /// The findings as `trivy image --format sarif` writes them for the image that is named
    /// `artifact`. It does not say when the scan was.
    ///
    /// # Errors
    /// Never, as far as is known.
    pub fn to_sarif(&self, artifact: &str) -> Result<Vec<u8>, TestkitError> {
        let report = json!({
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "Trivy",
                    "version": VERSION,
                    "rules": self.found.iter().map(rule).collect::<Vec<_>>(),
                } },
                "results": self.found.iter().map(result).collect::<Vec<_>>(),
                "properties": { "imageName": artifact },
            }],
        });
        Ok(serde_json::to_vec(&report)?)
    }

    fn grype_match(&self, found: &Found) -> Value {
        let (state, versions) = match found.fixed.as_str() {
            "" => ("not-fixed", Vec::new()),
            fixed => ("fixed", fixed.split(", ").collect()),
        };
        let score = |score| json!({ "version": "3.1", "metrics": { "baseScore": score } });
        json!({
            "vulnerability": {
                "id": found.id,
                "severity": found.severity.as_str(),
                "cvss": Vec::from_iter(found.score.map(score)),
                "fix": { "versions": versions, "state": state },
                "risk": 0.1,
            },
            "relatedVulnerabilities": [],
            "artifact": {
                "name": found.package,
                "version": found.installed,
                "purl": self.purl(found),
            },
        })
    }
}

fn rule(found: &Found) -> Value {
    let severity = trivy_severity(found.severity);
    let stand_in = match severity {
        "CRITICAL" => 9.5,
        "HIGH" => 8.0,
        "MEDIUM" => 5.5,
        "LOW" => 2.0,
        _ => 0.0,
    };
    json!({
        "id": found.id,
        "properties": {
            "tags": ["vulnerability", "security", severity],
            "security-severity": format!("{:.1}", found.score.unwrap_or(stand_in)),
        },
    })
}

fn result(found: &Found) -> Value {
    let Found { id, package, installed, fixed, .. } = found;
    let severity = trivy_severity(found.severity);
    let text = format!(
        "Package: {package}\nInstalled Version: {installed}\nVulnerability {id}\n\
         Severity: {severity}\nFixed Version: {fixed}\nLink: [{id}](https://vulnerability.example)"
    );
    json!({ "ruleId": id, "message": { "text": text } })
}

#[cfg(test)]
mod tests {
    use portcullis_core::findings::{Severity, statement};
    use portcullis_core::image::Digest;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn every_format_says_the_same() {
        let report = TrivyReport::new(datetime!(2026-08-01 11:00 UTC))
            .finding("CVE-2022-37434", Severity::Critical, "zlib", "1.2.11", "1.2.12, 1.2.13")
            .score(9.8)
            .finding("CVE-2019-8457", Severity::Low, "libdb", "5.3.28", "");
        let results = |document: &[u8]| {
            let made = statement::from_report(document, "image", Digest::of(b"")).unwrap();
            let statement: Value = serde_json::from_slice(&made.bytes).unwrap();
            let results = statement["predicate"]["scanner"]["result"].as_array().unwrap().clone();
            results
                .into_iter()
                .map(|mut result| {
                    let annotation = &mut result["annotations"][0];
                    // Only Grype knows whether it is exploited, and SARIF has no package URLs.
                    for key in ["known_exploited", "purl"] {
                        annotation.as_object_mut().unwrap().remove(key);
                    }
                    result["severity"][0]["method"].take();
                    result
                })
                .collect::<Vec<_>>()
        };
        let trivy = results(&report.to_json("reg.io/app").unwrap());
        assert_eq!(trivy.len(), 2);
        assert_eq!(results(&report.to_grype().unwrap()), trivy);
        let mut sarif: Value =
            serde_json::from_slice(&report.to_sarif("reg.io/app").unwrap()).unwrap();
        sarif["runs"][0]["invocations"] = json!([{ "endTimeUtc": "2026-08-01T11:00:00Z" }]);
        assert_eq!(results(sarif.to_string().as_bytes()), trivy);
    }
}
