//! A statement made of a report says what the report says.

use super::*;

#[track_caller]
fn round_trip(report: &Value) {
    let direct = read_trivy(report).unwrap();
    let subject = format!("sha256:{HEX}").parse().unwrap();
    let made = super::statement_of(report, subject);
    let text = std::str::from_utf8(&made.bytes).unwrap();
    let read = read_as(IN_TOTO, Some(made.predicate_type), text).unwrap();
    assert_eq!(read, direct);
    assert_eq!((&made.scanner, made.scanned_at), (&*direct.scanner, direct.scanned_at));
    assert_eq!(made.findings, direct.len());
}

#[test]
fn another_format_is_refused_by_name() {
    let spdx = br#"{"spdxVersion":"SPDX-2.3","packages":[]}"#;
    let error = crate::findings::statement::from_report(spdx, "x", Digest::of(b"")).unwrap_err();
    let message = error.to_string();
    for format in
        ["Trivy JSON report of schema version 2", "Grype", "SARIF", "CycloneDX", "OpenVEX"]
    {
        assert!(message.contains(format), "{message}");
    }
}

#[test]
fn the_name_of_the_subject_is_refused_one_past_its_bound() {
    let report = trivy(json!([])).to_string();
    let make = |n: usize| {
        crate::findings::statement::from_report(report.as_bytes(), &"x".repeat(n), Digest::of(b""))
    };
    make(MAX_TEXT).unwrap();
    assert_eq!(make(MAX_TEXT + 1).unwrap_err().reason(), Reason::TooLarge);
}

#[test]
fn a_low_finding_with_a_high_score_stays_low() {
    let cvss = json!({ "nvd": { "V3Score": 7.8 } });
    round_trip(&trivy(json!([{ "VulnerabilityID": "X", "Severity": "LOW", "CVSS": cvss }])));
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        "[ -~]{1,12}".prop_map(Value::from),
        "\\PC{1,6}".prop_map(Value::from),
    ]
}

prop_compose! {
    fn vulnerability()(
        id in "(CVE-20[0-9]{2}-[0-9]{4,6}(-[a-z]{1,5})?|GHSA(-[a-z0-9]{4}){3}(-x)?|[!-~]{1,9})",
        aliases in proptest::collection::vec("[ -~]{0,8}", 0..4),
        severity in proptest::sample::select(vec![
            "CRITICAL", "high", "MEDIUM", "LOW", "NEGLIGIBLE", "UNKNOWN", "crit", "",
        ]),
        status in proptest::sample::select(vec![
            "fixed", "affected", "will_not_fix", "unknown", "",
        ]),
        fixed in prop_oneof![
            Just(Value::Null),
            "[ -~]{0,12}".prop_map(Value::from),
            "[0-9]\\.[0-9], [0-9]".prop_map(Value::from),
        ],
        package in text(),
        installed in text(),
        purl in text(),
        scores in proptest::collection::vec((0_u8..=100, 0_u8..=100), 0..3),
    ) -> Value {
        let cvss: serde_json::Map<_, _> = scores
            .into_iter()
            .enumerate()
            .map(|(i, (v3, v4))| {
                let score = |tenths| f64::from(tenths) / 10.0;
                (format!("s{i}"), json!({ "V3Score": score(v3), "V40Score": score(v4) }))
            })
            .collect();
        json!({
            "VulnerabilityID": id, "VendorIDs": aliases, "Severity": severity, "Status": status,
            "FixedVersion": fixed, "PkgName": package, "InstalledVersion": installed,
            "PkgIdentifier": { "PURL": purl }, "CVSS": cvss,
        })
    }
}

proptest! {
    #[test]
    fn a_statement_says_what_its_report_says(
        found in proptest::collection::vec(vulnerability(), 0..12),
        version in prop_oneof![Just(Value::Null), "[ -~]{0,9}".prop_map(Value::from)],
    ) {
        round_trip(&with(trivy(json!(found)), "/Trivy/Version", version));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        for media_type in [IN_TOTO, TRIVY] {
            let annotations = &BTreeMap::new();
            let input = Input { bytes: &bytes, media_type, subject: Digest::of(b""), annotations };
            prop_assert!(findings(&input).is_err());
        }
    }

    /// Each place of a good report holds something else.
    #[test]
    fn no_change_of_a_report_panics(
        found in vulnerability(),
        place in any::<proptest::sample::Index>(),
        value in prop_oneof![
            Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!(-1)),
            Just(json!(1e300)), Just(json!([[null]])), Just(json!({ "": {} })),
                "\\PC{0,9}".prop_map(Value::from),
        ],
    ) {
        let report = trivy(json!([found]));
        let made = super::statement_of(&report, format!("sha256:{HEX}").parse().unwrap());
        let made = serde_json::from_slice(&made.bytes).unwrap();
        for (document, media_type) in [(report, TRIVY), (made, IN_TOTO)] {
            let mut pointers = Vec::new();
            list_places(&document, "", &mut pointers);
            let changed = with(document, place.get::<String>(&pointers), value.clone()).to_string();
            let _ = read_as(media_type, None, &changed);
        }
    }
}

pub(super) fn list_places(value: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, v)| list_places(v, &format!("{at}/{i}"), places));
        }
        Value::Object(map) => {
            map.iter().for_each(|(k, v)| list_places(v, &format!("{at}/{k}"), places));
        }
        _ => {}
    }
}
