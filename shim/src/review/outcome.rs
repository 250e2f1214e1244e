//! What was found out about the images of a review.
//!
//! Texts are borrowed from the answer that they are of: it may be the near cache's, and is not copied.

use std::borrow::Cow;

/// What was found out, and what holds where nothing could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// For each image of the question, in its order. One that is missing counts as [`Known::Unknown`].
    pub images: Vec<Known<'a>>,
    /// What holds for an image that nothing is known of.
    pub fail_policy: FailPolicy,
    /// The revision of the policy that was applied; empty if none was.
    pub policy_revision: Cow<'a, str>,
}

/// What is known of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<'a> {
    /// What the service decided, now or before.
    Decided(Decision<'a>),
    /// There is no decision.
    Unknown(Cause),
}

/// What the service decided about one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What to do.
    pub action: Action,
    /// The image, normalised.
    pub image: Cow<'a, str>,
    /// The digest that was decided about; empty where it could not be resolved.
    pub digest: Cow<'a, str>,
    /// The rule that decided; empty for an allow.
    pub rule: Cow<'a, str>,
    /// For people: why, and what to do, the most important line first.
    pub message: Cow<'a, str>,
    /// For people: what else deserves a look, one line each.
    pub notices: Cow<'a, [String]>,
    /// Where the decision is from.
    pub source: Source,
}

/// What to do with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It may run.
    Allow,
    /// It may run, and a rule says so.
    Audit,
    /// It must not run.
    Deny,
}

/// Where a decision is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The service was asked for this review.
    Service,
    /// It was kept for as long as the service allows.
    NearCache,
    /// The service cannot be asked, and this was its last answer.
    LastKnown,
}

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No replica of the service can be reached.
    Unreachable,
    /// No answer came in time.
    Deadline,
    /// The service is at its limit.
    Overloaded,
    /// The service says that the question is malformed, and what is wrong with it. Whoever writes a pod
    /// can make it so, and so it is a denial whatever the fail policy.
    Refused(String),
    /// The service does not let this shim ask: its certificate or its cluster's name is wrong.
    Forbidden,
    /// The service fails, or its answer makes no sense.
    Failed,
}

impl Source {
    /// In one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::NearCache => "near_cache",
            Self::LastKnown => "last_known",
        }
    }
}

impl Cause {
    /// In one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Overloaded => "overloaded",
            Self::Refused(_) => "refused",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
        }
    }

    /// For people.
    pub(super) const fn sentence(&self) -> &'static str {
        match self {
            Self::Unreachable => "the decision service cannot be reached",
            Self::Deadline => "the decision service did not answer in time",
            Self::Overloaded => "the decision service is at its limit",
            Self::Refused(_) => "the decision service refuses the question",
            Self::Forbidden => "the decision service does not let this cluster ask",
            Self::Failed => "the decision service failed",
        }
    }
}

/// What holds where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailPolicy {
    /// The image may run, and everybody is told that nobody looked.
    Allow,
    /// The image must not run.
    Deny,
}
