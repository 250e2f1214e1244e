//! Reports of real scanners, where they are present: each says what the scanner says.
#![cfg(test)]

mod real {
    use std::collections::BTreeMap;
    use std::path::Path;

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

    /// A report as it is read without a statement around it, or with the time that it lacks.
    #[track_caller]
    fn check_dated(name: &str, pointer: &str, time: Value, expected: &[(&str, usize)]) {
        let Some(bytes) = report(name) else { return };
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        let error = count(&bytes).map(|_| ()).unwrap_err();
        assert!(matches!(error, FindingsError::Missing(_)), "{name}: {error}");
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[key] = time;
        let expected = expected.iter().map(|(w, n)| ((*w).to_owned(), *n)).collect();
        assert_eq!(count(document.to_string().as_bytes()).unwrap(), expected, "{name}");
    }

    #[test]
    fn sarif_has_the_findings_of_its_scanner() {
        let end = json!([{ "endTimeUtc": "2026-01-01T00:00:00Z" }]);
        let large = [("critical", 4), ("high", 29), ("low", 2), ("medium", 10)];
        check_dated("trivy-large.sarif", "/runs/0/invocations", end.clone(), &large);
        let alpine = [("medium", 4)];
        check_dated("trivy-alpine-310.sarif", "/runs/0/invocations", end.clone(), &alpine);
        // Grype's `low` of a score of 8.2 says no more than the score.
        let grype = [("critical", 1), ("high", 1)];
        check_dated("grype-image.sarif", "/runs/0/invocations", end, &grype);
    }

    #[test]
    fn grype_s_other_formats_have_its_findings() {
        let found = [("critical", 1), ("low", 1)];
        let time = json!("2026-01-01T00:00:00Z");
        check_dated("grype-image.json", "/descriptor/timestamp", time, &found);
        check("grype-image.cdx.json", &found);
    }
}
