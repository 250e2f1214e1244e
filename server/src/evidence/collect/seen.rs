//! What became of each step of a search in, what can be shown of it to whoever asks why out.

use std::sync::Arc;

use portcullis_core::evidence::{Cause, CauseKind, Evidence, Rejection, Report, Statements};
use portcullis_core::image::Digest;
use portcullis_core::referrers::Descriptor;
use portcullis_core::signature::{CertificateFacts, Check, EnvelopeFacts};

use super::Fault;
use super::read::Found;
use crate::registry::RegistryError;

/// One artifact that is attached to a manifest, and what a search saw of it.
#[derive(Debug, Clone)]
pub struct Attached {
    /// What the registry's list says of it: claims, of which the digest alone is checked.
    pub descriptor: Descriptor,
    /// What it was looked at as.
    pub role: Role,
    /// Its one layer, once its manifest was read.
    pub layer: Option<Descriptor>,
    /// The signatures on it that were looked at, in that order.
    pub signatures: Vec<SeenSignature>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What an attached artifact is looked at as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A findings report, by the profile.
    Report,
    /// A VEX document, by the profile.
    Vex,
    /// Neither: it is not fetched.
    Other,
}

impl Role {
    /// The word for it, as in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Vex => "vex",
            Self::Other => "other",
        }
    }
}

/// One signature on an artifact.
#[derive(Debug, Clone)]
pub struct SeenSignature {
    /// What the registry's list says of it.
    pub descriptor: Descriptor,
    /// Its envelope, once its manifest was read.
    pub layer: Option<Descriptor>,
    /// The steps of its verification, in order.
    pub checks: Vec<Check>,
    /// The certificates of its chain, leaf first, trusted or not.
    pub certificates: Vec<CertificateFacts>,
    /// What its envelope says of itself.
    pub envelope: Option<EnvelopeFacts>,
    /// Why it could not be used, if so.
    pub failure: Option<Failure>,
}

impl SeenSignature {
    pub(super) fn new(descriptor: &Descriptor) -> Self {
        Self {
            descriptor: descriptor.clone(),
            layer: None,
            checks: Vec::new(),
            certificates: Vec::new(),
            envelope: None,
            failure: None,
        }
    }
}

/// Why an artifact or a signature could not be used.
#[derive(Debug, Clone)]
pub enum Failure {
    /// It is not to be believed.
    Rejected(Rejection),
    /// It could not be found out.
    Unavailable(Cause),
    /// There was more than one search looks at.
    TooMuch,
}

/// What became of an attached artifact.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its report counts.
    Report(Arc<Report>),
    /// Its report is good, and another one of the same signer and scanner takes its place.
    Superseded(Arc<Report>),
    /// Its VEX document counts.
    Vex(Arc<Statements>),
    /// It is signed by someone trusted, and is no report; or an attestation of something else.
    NotAReport,
    /// It is signed by someone trusted, and says nothing that can be used.
    Unreadable(Option<Rejection>),
    /// It does not count.
    Failed(Failure),
    /// It was not looked at.
    NotLookedAt,
}

impl Outcome {
    /// The word for it, as in the contract.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Report(_) | Self::Vex(_) => "accepted",
            Self::Superseded(_) => "superseded",
            Self::NotAReport => "not_a_report",
            Self::Unreadable(_) => "unreadable",
            Self::Failed(Failure::Rejected(_)) => "rejected",
            Self::Failed(Failure::Unavailable(_)) => "unavailable",
            Self::Failed(Failure::TooMuch) | Self::NotLookedAt => "not_looked_at",
        }
    }

    pub(super) fn of(found: &Result<Found, Fault>) -> Self {
        match found {
            Ok(Found::Report(report, _)) => Self::Report(Arc::clone(report)),
            Ok(Found::Vex(statements, _)) => Self::Vex(Arc::clone(statements)),
            Ok(Found::UnreadableVex(_)) => Self::Unreadable(None),
            Ok(Found::Nothing) => Self::NotAReport,
            Err(Fault::Unreadable(_, why)) => Self::Unreadable(Some(why.clone())),
            Err(fault) => Self::Failed(Failure::of(fault)),
        }
    }
}

impl Failure {
    pub(super) fn of(fault: &Fault) -> Self {
        let unavailable = |error: &RegistryError| Self::Unavailable(error.cause());
        match fault {
            Fault::Rejected(why) | Fault::Unreadable(_, why) => Self::Rejected(why.clone()),
            Fault::Exhausted => Self::TooMuch,
            Fault::Unavailable(error) => unavailable(error),
            Fault::Undecided(cause) => Self::Unavailable(cause.clone()),
            Fault::Lost => Self::Unavailable(Cause {
                kind: CauseKind::Unreachable,
                detail: "the work was lost; ask again".to_owned(),
            }),
        }
    }
}

impl Attached {
    /// What nobody looked at.
    pub(super) fn passed_over(descriptor: &Descriptor, role: Role) -> Self {
        Self {
            descriptor: descriptor.clone(),
            role,
            layer: None,
            signatures: Vec::new(),
            outcome: Outcome::NotLookedAt,
        }
    }

    /// Tells the reports that count from those whose place another one has.
    pub(super) fn settle(&mut self, evidence: &Evidence) {
        let counts = |digest: Digest| match evidence {
            Evidence::Verified(reports) => reports.iter().any(|report| report.digest == digest),
            _ => true,
        };
        if let Outcome::Report(report) = &self.outcome
            && !counts(report.digest)
        {
            self.outcome = Outcome::Superseded(Arc::clone(report));
        }
    }
}
