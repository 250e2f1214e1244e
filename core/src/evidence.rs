//! What is known of a digest: absence is a value, and so is every way of not knowing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use time::OffsetDateTime;

use crate::decide::{Memo, Profiles};
use crate::findings::{Dictionary, Findings, Vex};
use crate::image::{Digest, Platform};
use crate::signature::Signer;

mod told;
mod weight;

use self::told::Told;
use self::weight::Weighed;

/// One verified report on one digest.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Who signed it.
    pub signer: Arc<Signer>,
    /// What it says.
    pub findings: Findings,
    /// Checks of its signature that failed and that the trust policy only wants to be told of.
    pub notices: Vec<String>,
}

impl Report {
    /// How much memory it takes, in bytes, with all it points to.
    #[must_use]
    pub fn weight(&self) -> usize {
        let signer = self.signer.subject.len() + self.signer.fingerprint.len();
        let notices: usize = self.notices.iter().map(|n| size_of::<String>() + n.len()).sum();
        size_of::<Self>() + size_of::<Signer>() + signer + self.findings.weight() + notices
    }
}

/// One verified VEX document about one digest.
#[derive(Debug, Clone, PartialEq)]
pub struct Statements {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Who signed it.
    pub signer: Arc<Signer>,
    /// What it says.
    pub vex: Vex,
}

impl Statements {
    /// How much memory it takes, in bytes, with all it points to.
    #[must_use]
    pub fn weight(&self) -> usize {
        let signer = self.signer.subject.len() + self.signer.fingerprint.len();
        size_of::<Self>() + size_of::<Signer>() + signer + self.vex.weight()
    }
}

/// The verified reports on one digest: the newest of each scanner, and what VEX documents say of
/// what they found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reports {
    list: SmallVec<[Arc<Report>; 1]>,
    vex: Vec<Arc<Statements>>,
    valid_until: Option<OffsetDateTime>,
    memo: Memo<Profiles>,
    told: Told,
    weighed: Weighed,
}

impl Reports {
    /// Reports, and the VEX documents beside them.
    #[must_use]
    pub fn new(list: Vec<Arc<Report>>, vex: Vec<Arc<Statements>>) -> Self {
        // Most often it is one, which then lies here.
        let list = list.into_iter().collect();
        let (memo, told, weighed) = (Memo::default(), Told::default(), Weighed::default());
        Self { list, vex, valid_until: None, memo, told, weighed }
    }

    /// The same, to be verified again from `instant` on.
    #[must_use]
    pub fn until(self, instant: Option<OffsetDateTime>) -> Self {
        Self { valid_until: instant, ..self }
    }

    /// The first instant at which one of their signatures may be good no longer. Whoever keeps them must
    /// not use them from then on without verifying them again.
    #[must_use]
    pub const fn valid_until(&self) -> Option<OffsetDateTime> {
        self.valid_until
    }

    /// The same, which shares with others the words that are in `dictionary`.
    #[must_use]
    pub fn sharing(&self, dictionary: &Dictionary) -> Self {
        let share = |report: &Arc<Report>| {
            let findings = report.findings.sharing(dictionary);
            let (signer, notices) = (Arc::clone(&report.signer), report.notices.clone());
            Arc::new(Report { digest: report.digest, signer, findings, notices })
        };
        let list = self.list.iter().map(share).collect();
        Self::new(list, self.vex.clone()).until(self.valid_until)
    }

    /// The VEX documents.
    #[must_use]
    pub fn vex(&self) -> &[Arc<Statements>] {
        &self.vex
    }

    /// What decisions keep beside the reports.
    pub(crate) const fn memo(&self) -> &Memo<Profiles> {
        &self.memo
    }
}

impl From<Vec<Arc<Report>>> for Reports {
    fn from(list: Vec<Arc<Report>>) -> Self {
        Self::new(list, Vec::new())
    }
}

impl std::ops::Deref for Reports {
    type Target = [Arc<Report>];

    fn deref(&self) -> &[Arc<Report>] {
        &self.list
    }
}

/// What is known of one digest. No report, a rejected report and a report without findings are
/// three values.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// At least one report passed verification: the newest of each scanner.
    Verified(Reports),
    /// The registry says with authority that nothing is attached.
    Missing,
    /// Something is attached, and none of it can be believed.
    Rejected(Rejection),
    /// There is a verified report, but it could not be confirmed for longer than is allowed.
    Stale {
        /// How long ago it was last confirmed with the registry.
        age: Duration,
    },
    /// Reports were seen before and are gone now.
    Withheld,
    /// It could not be found out.
    Unavailable(Cause),
    /// The registry is not one that this service is configured to ask.
    Unsupported,
}

impl Evidence {
    /// At least one report passed verification.
    #[must_use]
    pub fn verified(reports: impl Into<Reports>) -> Self {
        Self::Verified(reports.into())
    }

    /// The word for its status, as in the contract, metrics and logs.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Self::Verified(_) => "verified",
            Self::Missing => "missing",
            Self::Rejected(_) => "rejected",
            Self::Stale { .. } => "stale",
            Self::Withheld => "withheld",
            Self::Unavailable(_) => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }

    /// How much memory it takes, in bytes, with all it points to.
    #[must_use]
    pub fn weight(&self) -> usize {
        let behind = match self {
            Self::Verified(reports) => reports.weight(),
            Self::Rejected(rejection) => rejection.detail.len(),
            Self::Unavailable(cause) => cause.detail.len(),
            Self::Missing | Self::Stale { .. } | Self::Withheld | Self::Unsupported => 0,
        };
        size_of::<Self>() + behind
    }

    /// What can be said about it in a sentence beyond the status, for people.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Verified(_) | Self::Missing | Self::Withheld | Self::Unsupported => None,
            Self::Rejected(rejection) => Some(rejection.to_string()),
            Self::Stale { age } => {
                Some(format!("last confirmed with the registry {} s ago", age.as_secs()))
            }
            Self::Unavailable(cause) => Some(cause.to_string()),
        }
    }
}

/// Why an attached report is not believed, and in what words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of fault.
    pub reason: Reason,
    /// Which artifact, if one is to blame.
    pub report: Option<Digest>,
    /// What exactly is wrong, for people: the whole chain of the error.
    pub detail: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

/// The kinds of fault for which a report is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No signature is attached to the report.
    Unsigned,
    /// A signature is attached and does not verify.
    BadSignature,
    /// The signature is good, and its signer is not trusted for this image.
    UntrustedSigner,
    /// The report or its signature is about something else.
    WrongSubject,
    /// The report or a manifest cannot be read.
    Malformed,
    /// Something is larger than its bound.
    TooLarge,
    /// There are more artifacts than the bound.
    TooMany,
    /// It is signed by somebody trusted, and no profile takes what it is.
    NoProfile,
    /// A newer one of the same scanner and signer was accepted before, and is gone.
    Rollback,
}

impl Reason {
    /// Each of them.
    pub const ALL: [Self; 9] = [
        Self::Unsigned,
        Self::BadSignature,
        Self::UntrustedSigner,
        Self::WrongSubject,
        Self::Malformed,
        Self::TooLarge,
        Self::TooMany,
        Self::NoProfile,
        Self::Rollback,
    ];

    /// The word for it, as in the contract, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::BadSignature => "bad_signature",
            Self::UntrustedSigner => "untrusted_signer",
            Self::WrongSubject => "wrong_subject",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::NoProfile => "no_profile",
            Self::Rollback => "rollback",
        }
    }
}

/// Why evidence could not be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The kind of failure.
    pub kind: CauseKind,
    /// What exactly happened, for people.
    pub detail: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

/// The kinds of failure to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CauseKind {
    /// No connection, TLS failure, time-out of the registry, 5xx.
    Unreachable,
    /// 401 or 403, also after a new token.
    Denied,
    /// 429, or the host's request budget is used up.
    Throttled,
    /// The registry answered something that is not its protocol.
    Protocol,
    /// The image is not there.
    NotFound,
    /// The caller's time was up first; the fetch goes on.
    Deadline,
    /// It is not known whether a signer's certificate was revoked, and the trust policy demands to
    /// know.
    Revocation,
}

impl CauseKind {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Denied,
        Self::Throttled,
        Self::Protocol,
        Self::NotFound,
        Self::Deadline,
        Self::Revocation,
    ];

    /// The word for it, as in the contract, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Protocol => "protocol",
            Self::NotFound => "not_found",
            Self::Deadline => "deadline",
            Self::Revocation => "revocation",
        }
    }
}

/// What is known of one manifest of an image: the image itself, or one platform of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Its digest; `None` where the reference could not be resolved.
    pub digest: Option<Digest>,
    /// Its platform, for a manifest of an index; `None` for what the reference itself names.
    pub platform: Option<Platform>,
    /// What is known.
    pub evidence: Arc<Evidence>,
    /// When that was last confirmed with the registry.
    pub fetched_at: OffsetDateTime,
    /// Where it was answered from.
    pub source: Source,
}

/// Where evidence was answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Asked of the registry for this question.
    Registry,
    /// Kept in this process.
    Memory,
    /// Kept on disk from before, and verified again.
    Store,
    /// Kept longer than the registry should have confirmed it, because it cannot be asked.
    Stale,
}

impl Source {
    /// The word for it, as in the contract, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Stale => "stale",
        }
    }
}
