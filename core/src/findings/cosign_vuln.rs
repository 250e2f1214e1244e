//! The predicate of cosign's vulnerability attestation in, the findings of the scanner's own report
//! within it out.
//!
//! Fields as in `specs/COSIGN_VULN_ATTESTATION_SPEC.md` of sigstore/cosign. The result is whatever
//! the scanner writes, in any of the formats that stand by themselves.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Findings, FindingsError, Scanner, content, part, time};

pub(super) fn read(predicate: &RawValue) -> Result<Findings, FindingsError> {
    let Predicate { scanner, metadata } = part(predicate)?;
    let result = scanner.result.ok_or(FindingsError::Missing("predicate.scanner.result"))?;
    let mut scan = content::scan(result)?;
    if scan.scanner.version.is_none() {
        scan.scanner = Scanner::new(&scan.scanner.name, scanner.version.as_deref())?;
    }
    // The time that was attested, whatever the scanner's own document states.
    let finished = metadata.and_then(|m| m.scan_finished_on);
    Ok(scan.finished_at(time("metadata.scanFinishedOn", finished.as_deref())?))
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
