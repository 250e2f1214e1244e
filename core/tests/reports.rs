//! Reports of real scanners, where they are present: each says what the scanner says.
#![cfg(test)]

mod real {
    use std::collections::BTreeMap;
    use std::path::Path;

    use portcullis_core::evidence::Reason;
    use portcullis_core::findings::{FindingsError, statement};
    use portcullis_core::image::Digest;
    use serde_json::{Value, json};

    /// A report of `shared/data/reports` beside the repository, or `None`, said loudly.
    #[expect(clippy::disallowed_methods, reason = "tests of core read files, core does not")]
    fn report(name: &str) -> Option<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/reports");
        if !folder.is_dir() {
            // Not by `println!`, which the test harness keeps to itself.
            let skipped =
                format!("SKIPPED: there is no {}, so {name} was not read\n", folder.display());
            std::io::Write::write_all(&mut std::io::stderr(), skipped.as_bytes()).unwrap();
            return None;
        }
        Some(std::fs::read(folder.join(name)).unwrap())
    }

    /// The findings of a report by severity, as its statement has them.
    fn count(report: &[u8]) -> Result<BTreeMap<String, usize>, FindingsError> {
        let made = statement::from_report(report, "image", Digest::of(b""))?;
        let statement: Value = serde_json::from_slice(&made.bytes).unwrap();
        let results = statement["predicate"]["scanner"]["result"].as_array().unwrap();
        assert_eq!(results.len(), made.findings);
        let mut counts = BTreeMap::new();
        for result in results {
            let word = result["severity"][0]["score"].as_str().unwrap().to_owned();
            *counts.entry(word).or_default() += 1;
        }
        Ok(counts)
    }

    #[track_caller]
    fn check(name: &str, expected: &[(&str, usize)]) {
        let Some(report) = report(name) else { return };
        let expected = expected.iter().map(|(w, n)| ((*w).to_owned(), *n)).collect();
        assert_eq!(count(&report).unwrap(), expected, "{name}");
    }

    // Each number was counted with jq.
    #[test]
    fn trivy_reports_have_the_findings_that_trivy_counts() {
        check("trivy-debian-buster.json", &[("critical", 1), ("low", 1)]);
        check("trivy-npm.json", &[("medium", 1)]);
    }

    #[test]
    fn an_image_past_its_end_of_life_is_not_covered() {
        let Some(bytes) = report("trivy-alpine-310.json") else {
            return;
        };
        let error = count(&bytes).unwrap_err();
        assert!(matches!(error, FindingsError::NotCovered(_)), "{error}");
        let mut supported: Value = serde_json::from_slice(&bytes).unwrap();
        supported["Metadata"]["OS"]["EOSL"] = json!(false);
        let counts = count(supported.to_string().as_bytes()).unwrap();
        assert_eq!(counts, BTreeMap::from([("medium".to_owned(), 4)]));
    }

    #[test]
    fn reports_of_other_formats_are_refused() {
        for name in [
            "grype-image.json",
            "grype-image.sarif",
            "grype-image.cdx.json",
            "trivy-alpine-310.sarif",
            "trivy-large.sarif",
        ] {
            let Some(bytes) = report(name) else { return };
            let error = count(&bytes).unwrap_err();
            assert!(matches!(error, FindingsError::Format(_)), "{name}: {error}");
            assert_eq!(error.reason(), Reason::Malformed);
        }
    }
}
