//! A verified artifact in, the report or VEX document that it is out.

use std::sync::Arc;

use portcullis_core::evidence::{Rejection, Report, Statements};
use portcullis_core::findings::{self, Content, FindingsError};
use portcullis_core::referrers::{CREATED, NotAdmitted, Profiles};
use portcullis_core::signature::Verified;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Fault;
use crate::chain::detail;
use crate::evidence::select::Selection;

/// What a document says whose signature is good.
pub(super) enum Found {
    /// With the instant from which on it has to be verified again.
    Report(Arc<Report>, Option<OffsetDateTime>),
    /// With the same.
    Vex(Arc<Statements>, Option<OffsetDateTime>),
    /// A VEX document that cannot be used, made at that time as its signer says.
    UnreadableVex(Option<OffsetDateTime>),
    /// Nothing that counts: it is no report.
    Nothing,
}

pub(super) fn read(verified: &Verified, profiles: &Profiles) -> Result<Found, Fault> {
    let (digest, signer) = (verified.report(), Arc::clone(verified.signer()));
    let not_admitted = |error: NotAdmitted| {
        let (reason, detail) = (error.reason(), detail(&error));
        Fault::Rejected(Rejection { reason, report: Some(digest), detail })
    };
    profiles.admit_signer(&signer).map_err(not_admitted)?;
    let reading = findings::read(verified);
    if let Ok(reading) = &reading {
        profiles.admit(verified, reading).map_err(not_admitted)?;
    }
    match reading.map(|reading| reading.content) {
        Ok(Content::Findings(findings)) => {
            let notices = verified.notices().to_vec();
            let report = Arc::new(Report { digest, signer, findings, notices });
            Ok(Found::Report(report, verified.valid_until()))
        }
        Ok(Content::Vex(vex)) => {
            let statements = Arc::new(Statements { digest, signer, vex });
            Ok(Found::Vex(statements, verified.valid_until()))
        }
        Err(error @ FindingsError::NotAReport(_)) => {
            tracing::info!(report = %digest, detail = %detail(&error), "signed document not used");
            Ok(Found::Nothing)
        }
        Err(error) => {
            let created = verified.annotations().get(CREATED);
            let created = created.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
            // What stands around an attestation is not signed; its log or its time stamp is.
            let created = created.or(verified.signer().signed_at);
            if let FindingsError::Vex(_) = error {
                tracing::info!(vex = %digest, detail = %detail(&error), "VEX document unreadable");
                return Ok(Found::UnreadableVex(created));
            }
            let (reason, detail) = (error.reason(), detail(&error));
            Err(Fault::Unreadable(created, Rejection { reason, report: Some(digest), detail }))
        }
    }
}

pub(super) fn take(found: Found, selection: &mut Selection) {
    match found {
        Found::Report(report, until) => {
            selection.valid_until(until);
            selection.verified(report);
        }
        Found::Vex(statements, until) => {
            selection.valid_until(until);
            selection.vex(statements);
        }
        Found::UnreadableVex(created) => selection.unreadable_vex(created),
        Found::Nothing => {}
    }
}
