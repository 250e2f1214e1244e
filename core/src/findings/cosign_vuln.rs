//! The predicate of cosign's vulnerability attestation in, the findings of the scanner's own report
//! within it out.
//!
//! Fields as in `specs/COSIGN_VULN_ATTESTATION_SPEC.md` of sigstore/cosign. The result is whatever
//! the scanner writes; Trivy's is read.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Findings, FindingsError, Scanner, part, time, trivy};

pub(super) fn read(predicate: &RawValue) -> Result<Findings, FindingsError> {
    let Predicate { scanner, metadata } = part(predicate)?;
    let result = scanner.result.ok_or(FindingsError::Missing("predicate.scanner.result"))?;
    let report = trivy::read(result)?;
    let version = report.version.or(scanner.version);
    let finished = metadata.and_then(|m| m.scan_finished_on);
    let scanned_at = time("metadata.scanFinishedOn", finished.as_deref())?;
    Ok(Findings::new(Scanner::new(trivy::NAME, version.as_deref())?, scanned_at, report.list))
}

#[derive(Deserialize)]
struct Predicate<'a> {
    #[serde(borrow)]
    scanner: RawScanner<'a>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct RawScanner<'a> {
    version: Option<String>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "scanFinishedOn", alias = "scan_finished_on")]
    scan_finished_on: Option<String>,
}
