//! Scan times: of RFC 3339, in UTC, never made up.

use super::*;

#[track_caller]
fn check_time(text: &str, expected: Option<i64>) {
    let report = with(trivy(json!([])), "/CreatedAt", json!(text));
    let read = read_trivy(&report).map(|f| f.scanned_at.unix_timestamp());
    assert_eq!(read.as_ref().ok(), expected.as_ref(), "{text}: {read:?}");
}

#[test]
fn t156b_a_scan_time_is_rfc_3339_and_is_never_made_up() {
    check_time("2024-02-29T00:00:00Z", Some(1_709_164_800));
    check_time(" 2024-02-29T00:00:00.000000005Z", Some(1_709_164_800));
    check_time("2024-02-29T02:30:00+02:30", Some(1_709_164_800));
    check_time("2024-02-28T19:00:00-05:00", Some(1_709_164_800));
    check_time("2024-03-31T02:30:00+01:00", Some(1_711_848_600));
    check_time("2038-01-19T03:14:08Z", Some(2_147_483_648));
    check_time("9999-12-31T23:59:59Z", Some(253_402_300_799));
    check_time("1970-01-01T00:00:00Z", Some(0));
    for text in [
        "",
        "now",
        "2023-02-29T00:00:00Z",
        "2024-02-29",
        "2024-02-29T00:00:00",
        "2024-02-29T25:00:00Z",
        "2024-02-29T00:00:00+99:00",
        "1709164800",
        "9999-12-31T23:59:59-12:00",
        "10000-01-01T00:00:00Z",
        // The zero time of Go: nobody set it.
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00+00:01",
        "-0001-01-01T00:00:00Z",
    ] {
        check_time(text, None);
    }
    // A leap second is the end of the second before, and exists only where one can be.
    check_time("2016-12-31T23:59:60Z", Some(1_483_228_799));
    check_time("2016-12-31T12:00:60Z", None);
}

#[test]
fn a_report_without_its_time_is_refused() {
    refused(read_trivy(&without(trivy(json!([])), "/CreatedAt")), "does not state `CreatedAt`");
    for pointer in ["/predicate/metadata", "/predicate/metadata/scanFinishedOn"] {
        let timeless = without(vulns(json!([])), pointer);
        refused(read_statement(&timeless), "does not state `metadata.scanFinishedOn`");
    }
    let broken = with(vulns(json!([])), "/predicate/metadata/scanFinishedOn", json!("today"));
    refused(read_statement(&broken), "`metadata.scanFinishedOn` is `today`");
    let long = with(trivy(json!([])), "/CreatedAt", json!("1".repeat(MAX_TEXT + 1)));
    assert_eq!(refused(read_trivy(&long), "CreatedAt"), Reason::TooLarge);
    // The time that the manifest announces does not stand in for it, nor against it.
    let annotations =
        BTreeMap::from([(crate::referrers::CREATED.to_owned(), "2026-12-31T00:00:00Z".to_owned())]);
    let bytes = vulns(json!([])).to_string().into_bytes();
    let subject = format!("sha256:{HEX}").parse().unwrap();
    let input = Input { bytes: &bytes, media_type: IN_TOTO, subject, annotations: &annotations };
    let stated = OffsetDateTime::parse(TIME, &Rfc3339).unwrap();
    assert_eq!(findings(&input).unwrap().scanned_at, stated);
}
