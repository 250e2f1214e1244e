//! A condition in, what is wrong and what to do about it out: each has its own words.

use super::{MAX_DETAIL, failure, instant, printable, span};
use crate::decide::Condition;
use crate::evidence::{CauseKind, Reason};
use crate::findings::Severity;
use crate::policy::Population;

impl Condition {
    /// What is wrong, in one line. Foreign words in it are cut and have no control characters.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::MaxAllowed { population, level, limit, count } => {
                let what = counted(*population, *level, *count);
                format!("Image contains {what}, which is more than the allowed count of: {limit}")
            }
            Self::Forbidden { id } => {
                format!(
                    "Image contains a vulnerability that is forbidden by policy: {}",
                    printable(id, MAX_DETAIL)
                )
            }
            Self::UntrustedImage => {
                "The image is none of those that may be used by policy".to_owned()
            }
            Self::Unscanned => "Unscanned images are not allowed by policy".to_owned(),
            Self::Unsupported => {
                "Unscanned images are not allowed by policy, and this registry is not configured \
                 for vulnerability reports"
                    .to_owned()
            }
            Self::Rejected(rejection) => format!(
                "The vulnerability report of the image cannot be trusted: {} ({})",
                of_reason(rejection.reason),
                printable(&rejection.detail, MAX_DETAIL)
            ),
            Self::Stale { scanned_at, max_age } => format!(
                "The last vulnerability scan of the image is too old: it finished at {}, more \
                 than {} ago",
                instant(*scanned_at),
                span(*max_age)
            ),
            Self::Unconfirmed { age } => format!(
                "The vulnerability report of the image could not be confirmed with the registry \
                 for {}",
                span(*age)
            ),
            Self::Withheld => {
                "The vulnerability report of the image was there before and is gone".to_owned()
            }
            Self::Unavailable(cause) => format!(
                "It could not be found out whether the image has vulnerabilities: {}",
                failure(cause)
            ),
        }
    }

    /// The same in a few words, for where there is little room.
    pub(super) fn summary(&self) -> String {
        match self {
            Self::MaxAllowed { population, level, limit, count } => {
                format!("{}, {limit} allowed", counted(*population, *level, *count))
            }
            Self::Forbidden { .. } => "forbidden vulnerability".to_owned(),
            Self::UntrustedImage => "the image is none of those that may be used".to_owned(),
            Self::Unscanned => "the image has no vulnerability report".to_owned(),
            Self::Unsupported => "the registry is not asked for vulnerability reports".to_owned(),
            Self::Rejected(rejection) => of_reason(rejection.reason).to_owned(),
            Self::Stale { max_age, .. } => {
                format!("the last vulnerability scan is more than {} old", span(*max_age))
            }
            Self::Unconfirmed { age } => {
                format!("the vulnerability report was not confirmed for {}", span(*age))
            }
            Self::Withheld => "the vulnerability report is gone".to_owned(),
            Self::Unavailable(cause) => of_kind(cause.kind).to_owned(),
        }
    }

    /// What to do about it, for people.
    #[must_use]
    pub const fn cure(&self) -> &'static str {
        match self {
            Self::MaxAllowed { .. } => {
                "upgrade the packages named to their fixed versions and rebuild the image; for what \
                 has no fix, ask for an exemption"
            }
            Self::Forbidden { .. } => {
                "upgrade or remove the package that has it and rebuild the image, or ask for an \
                 exemption"
            }
            Self::UntrustedImage => {
                "use one of the images that the rule trusts, or have this one added to its \
                 `trustedImages`"
            }
            Self::Unscanned => {
                "scan the image and attach the signed report (`portcullis attach`); where a scanner \
                 does this by itself and the image is new, try again later"
            }
            Self::Unsupported => {
                "use the image from a registry that the service is configured for, or have this one \
                 added to its `registries`"
            }
            Self::Rejected(rejection) => cure_of_reason(rejection.reason),
            Self::Stale { .. } => "scan the image again and attach the new report, signed",
            Self::Unconfirmed { .. } => {
                "wait until the registry answers again, or tell whoever runs it"
            }
            Self::Withheld => {
                "find out who deleted the report; scan the image and attach it again, signed"
            }
            Self::Unavailable(cause) => cure_of_kind(cause.kind),
        }
    }
}

/// `3 high or higher CVEs with a fix`.
fn counted(population: Population, level: Severity, count: usize) -> String {
    let fix = match population {
        Population::All => "",
        Population::Fixable => " with a fix",
        Population::Unfixable => " without a fix",
    };
    match level {
        Severity::Unknown => format!("{count} CVEs of unknown severity{fix}"),
        level => format!("{count} {level} or higher CVEs{fix}"),
    }
}

const fn of_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Unsigned => "the report is not signed",
        Reason::BadSignature => "the signature of the report does not verify",
        Reason::UntrustedSigner => "the signer of the report is not trusted for this image",
        Reason::WrongSubject => "the report is about something else",
        Reason::Malformed => "the report cannot be read",
        Reason::TooLarge => "the report is too large",
        Reason::TooMany => "too much is attached to the image",
        Reason::NoProfile => "no profile takes the report",
        Reason::Rollback => "the report is older than one that was there before",
    }
}

const fn cure_of_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Unsigned => {
            "sign the report with a key that is trusted for this image (`portcullis attach` does \
             both)"
        }
        Reason::BadSignature => {
            "find out whether somebody changed the report; attach it again as the scanner signed it"
        }
        Reason::UntrustedSigner => {
            "have the report signed by a signer that the trust policy names for this repository, or \
             have this one added to it"
        }
        Reason::WrongSubject => "attach a report that was made of this very image",
        Reason::Malformed => {
            "scan the image again and attach the report in one of the formats that are read"
        }
        Reason::TooLarge => "attach a report within the bounds: with fewer findings or less detail",
        Reason::TooMany => "delete what is attached to the image and no longer needed",
        Reason::NoProfile => {
            "attach a report of a kind that the service's `profiles` take, or have this kind added to \
             them"
        }
        Reason::Rollback => {
            "find out who removed the newer report; scan the image and attach it again, signed"
        }
    }
}

/// What a kind of failure means.
pub(super) const fn of_kind(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Unreachable => "the registry cannot be reached",
        CauseKind::Denied => "the registry denies access",
        CauseKind::Throttled => "the registry wants fewer requests",
        CauseKind::Protocol => "the registry's answer is not of its protocol",
        CauseKind::NotFound => "the image was not found",
        CauseKind::Deadline => "the search takes longer than the answer may",
        CauseKind::Revocation => "it is not known whether the signer's certificate was revoked",
    }
}

const fn cure_of_kind(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Unreachable => "try again when the registry answers, or tell whoever runs it",
        CauseKind::Denied => {
            "give the service credentials that may read this repository and what is attached in it"
        }
        CauseKind::Throttled => {
            "try again in some minutes; if it stays, raise the registry's limit or use a mirror"
        }
        CauseKind::Protocol => {
            "check the registry's address, and whether a proxy or a login page answers for it"
        }
        CauseKind::NotFound => "check the name, the tag and the digest of the image, or push it",
        CauseKind::Deadline => "try again in a moment: the search goes on in the background",
        CauseKind::Revocation => {
            "try again when the OCSP responder or the CRL of the certificate can be reached, or \
             override `revocation` with `log` in the trust policy"
        }
    }
}
