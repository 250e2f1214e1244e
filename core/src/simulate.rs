//! What is assumed of an image in, what would be decided about it out. Nothing here is verified.
//!
//! The service decides from reports that [`crate::signature::verify`] let pass. Whoever tests rules
//! has no signed reports, but says what is assumed ([`cases`]), or what was decided from before
//! ([`recorded`]). So everything in this module is for simulation alone: no answer about an image that
//! is to run may come from it.

pub mod cases;
pub mod recorded;

use std::sync::Arc;

use time::OffsetDateTime;

use crate::evidence::{Report, Statements};
use crate::findings::{Findings, FindingsError, Vex, statement};
use crate::image::Digest;
use crate::signature::Signer;

/// What stands where a report has the subject of the certificate that signed it.
const NOBODY: &str = "nobody: simulated";

/// What a scanner's report file says, whoever wrote it. `made_at` is when the scan finished, where the
/// report does not say it.
///
/// Read is what [`crate::findings::statement::from_report`] reads. For simulation alone: nothing is
/// verified.
///
/// # Errors
/// When the report is of no such format, malformed, past a bound, or did not cover the image.
pub fn read_report(report: &[u8], made_at: OffsetDateTime) -> Result<Findings, FindingsError> {
    statement::read_unverified(report, made_at)
}

/// `findings` as if a trusted signer had signed them. For simulation alone.
#[must_use]
pub fn report(digest: Digest, findings: Findings) -> Report {
    Report { digest, signer: signer(findings.scanned_at), findings, notices: Vec::new() }
}

/// `vex` as if a trusted signer had signed it. For simulation alone.
#[must_use]
pub fn statements(digest: Digest, vex: Vex) -> Statements {
    let newest = vex.statements.iter().map(|statement| statement.issued_at).max();
    Statements { digest, signer: signer(newest.unwrap_or(OffsetDateTime::UNIX_EPOCH)), vex }
}

fn signer(signed_at: OffsetDateTime) -> Arc<Signer> {
    let nobody = || NOBODY.to_owned();
    Arc::new(Signer {
        subject: nobody(),
        fingerprint: nobody(),
        policy: nobody(),
        signed_at: Some(signed_at),
    })
}

/// Entry point of the fuzz target.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use super::*;
    use crate::policy::Source;

    /// Reads `bytes` as a line of a recorder's file, and as a file of cases.
    pub fn simulation(bytes: &[u8]) {
        let _ = recorded::kind(bytes);
        let _ = recorded::report(bytes);
        let _ = recorded::statements(bytes);
        let _ = recorded::Recorded::read(bytes);
        if let Ok(text) = std::str::from_utf8(bytes) {
            let source = Source { file: "fuzz.yaml".to_owned(), text: text.to_owned() };
            let now = OffsetDateTime::UNIX_EPOCH;
            let _ = cases::parse(&source, now, &mut |_| Err("there are no files".into()));
        }
    }
}
