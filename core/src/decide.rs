//! (policy, evidence, context, time) in, a decision out.
//!
//! All rules in scope are walked together, from the most severe vulnerability to the least severe;
//! what is wrong with the evidence itself comes before any. The walk stops at the first
//! vulnerability that fulfils a condition of any rule, and that rule's action is taken. All other
//! violations are reported too. Nothing here reads a clock: [`Decision::changes_at`] says until
//! when an answer holds.

mod subject;
mod merge;
mod memo;
mod profile;
mod scoped;
mod walk;
mod found;
mod weigh;
mod glass;
mod many;
mod recount;
mod condition;
mod notice;
mod message;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::evidence::Subject;
use crate::findings::FindingRef;
use crate::image::{Digest, Platform, Reference};
use crate::policy::{Exemption, Policy, Target};

use self::scoped::{Rules, Scoped};
use self::weigh::Weighed;

pub use self::condition::Condition;
pub use self::glass::MAX_JUSTIFICATION;
pub use self::many::{Many, Verdict};
pub(crate) use self::memo::Memo;
pub(crate) use self::message::instant;
pub use self::message::{
    MAX_DENIAL, MAX_WARNING, MAX_WARNINGS, fold_denials, fold_warnings, printable,
};
pub use self::notice::{Notice, NoticeKind, Refusal};
pub(crate) use self::profile::Profiles;
pub(crate) use self::recount::{Counted, recount};

/// The most findings that a violation names.
pub const TOP_FINDINGS: usize = 20;
/// The most failed checks of one report's signature that are told.
pub const MAX_SIGNATURE_NOTICES: usize = 8;
/// How far ahead of our clock a scanner's may be, so that a scan time is believed: five minutes.
pub const MAX_SKEW: Duration = Duration::from_secs(5 * 60);
/// The longest message of a violation, in bytes.
pub const MAX_MESSAGE: usize = 2048;

/// Decides whether `image`, whose manifests are `subjects`, may run in `ctx` at `now`.
///
/// Each subject is decided on its own, and the worst action wins. The subjects of an index are the
/// index itself and the manifests of the platforms that could run: one of these without evidence of
/// its own is covered by verified evidence on the index, and an index without evidence leaves the
/// word to its platforms.
#[must_use]
pub fn decide(
    policy: &Policy,
    image: &Reference,
    subjects: &[Subject],
    ctx: &Context,
    now: OffsetDateTime,
) -> Decision {
    decide_container(policy, image, subjects, ctx, &ctx.container, now)
}

/// As [`decide`], for the `container` of a context that several share: its own name of a container is not
/// looked at.
#[must_use]
pub fn decide_container(
    policy: &Policy,
    image: &Reference,
    subjects: &[Subject],
    ctx: &Context,
    container: &str,
    now: OffsetDateTime,
) -> Decision {
    let target = Target::of(image, ctx, container);
    decided(weighed(policy, &target, None, subjects, now), policy, &target, ctx)
}

/// Weighs an image, of which it may be known already what is in scope.
fn weighed<'p>(
    policy: &'p Policy,
    target: &Target<'_>,
    scoped: Option<&Scoped<'p>>,
    subjects: &[Subject],
    now: OffsetDateTime,
) -> Weighed {
    let mut clock = Clock { now, next: None };
    let mut notices = Vec::new();
    let looked = subject::look(subjects, &mut clock, &mut notices);
    let (mut own_scoped, mut room) = (None, Rules::new());
    let scoped = match scoped {
        Some(scoped) => scoped,
        None => own_scoped.insert(Scoped::new(policy, target)),
    };
    let rules = scoped.rules(target, &mut notices, &mut room);
    // Also where the index has no evidence and so leaves the word to its platforms.
    let own = subjects.iter().find(|s| s.platform.is_none()).and_then(|s| s.digest);
    weigh::weigh(policy, target, rules, own, &looked, clock, notices)
}

/// The decision about a `target` in `ctx` that was weighed, which may be lifted.
fn decided(weighed: Weighed, policy: &Policy, target: &Target<'_>, ctx: &Context) -> Decision {
    let mut decision = weighed.decision(policy);
    glass::lift(&mut decision, policy, target, ctx);
    decision
}

/// Where an image would run. Empty fields were not given.
///
/// The cluster comes from whom the caller proved to be, where it had to prove it (DESIGN §8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Cloud provider: `azure`, `aws`, `gcp`.
    pub provider: String,
    /// Subscription, account or project.
    pub account: String,
    /// Region.
    pub region: String,
    /// Cluster.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Labels of the namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Kind of the workload: `Deployment`.
    pub workload_kind: String,
    /// Name of the workload.
    pub workload: String,
    /// Pod.
    pub pod: String,
    /// Labels of the pod.
    pub pod_labels: BTreeMap<String, String>,
    /// Service account.
    pub service_account: String,
    /// Container within the pod.
    pub container: String,
    /// Why the image must run even if a rule denies it, as someone says; empty if nobody does.
    pub break_glass: String,
}

/// What is to be done with a container. The order is from the mildest to the strictest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Run it.
    Allow,
    /// Run it, and say what is wrong with it.
    Audit,
    /// Do not run it.
    Deny,
}

impl Action {
    /// The word for it, as in the contract, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Audit => "audit",
            Self::Deny => "deny",
        }
    }
}

/// The answer for one image in one context, and everything that led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is to be done.
    pub action: Action,
    /// The rule that decided; `None` where nothing was violated.
    pub rule: Option<Arc<str>>,
    /// All violations of all rules, by platform and then in the order of the walk. Exactly one is
    /// the deciding one, unless there is none.
    pub violations: Vec<Violation>,
    /// The exemptions without which there would be other violations, by platform, and then in the
    /// order of the policy.
    pub exemptions: Vec<Applied>,
    /// The denial that was lifted because someone said why, if one was.
    pub break_glass: Option<Lifted>,
    /// What did not violate a rule and should not pass in silence.
    pub notices: Vec<Notice>,
    /// The next instant at which the clock alone could change the answer: it holds before that.
    pub changes_at: Option<OffsetDateTime>,
    /// Revision of the policy that was applied.
    pub policy_revision: Arc<str>,
}

impl Decision {
    /// The violation that decided.
    #[must_use]
    pub fn deciding(&self) -> Option<&Violation> {
        self.violations.iter().find(|violation| violation.deciding)
    }
}

/// One condition of one rule that one manifest of the image fulfils.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// What the rule does about it: [`Action::Audit`] or [`Action::Deny`].
    pub action: Action,
    /// Which condition.
    pub condition: Condition,
    /// Whether this is the one that decided.
    pub deciding: bool,
    /// The manifest; `None` where it could not be found out.
    pub subject: Option<Digest>,
    /// Its platform, for a manifest of an index.
    pub platform: Option<Platform>,
    worst: walk::Worst,
}

impl Violation {
    /// A violation by something else than findings, which does not decide.
    #[must_use]
    pub fn new(rule: Arc<str>, action: Action, condition: Condition) -> Self {
        Self {
            rule,
            action,
            condition,
            deciding: false,
            subject: None,
            platform: None,
            worst: walk::Worst::default(),
        }
    }

    /// The findings that count for the condition, worst first, at most [`TOP_FINDINGS`].
    pub fn findings(&self) -> impl Iterator<Item = FindingRef<'_>> + Clone {
        self.worst.iter()
    }

    /// How many findings count for it.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.worst.total
    }
}

/// An exemption that kept a rule from a violation, or made it smaller.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Name of the exemption.
    pub name: Arc<str>,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// Where it is tracked.
    pub ticket: Option<String>,
    /// The first instant at which it holds no longer.
    pub until: Option<OffsetDateTime>,
    /// Name of the rule.
    pub rule: Arc<str>,
    /// The manifest; `None` where it could not be found out.
    pub subject: Option<Digest>,
    /// Its platform, for a manifest of an index.
    pub platform: Option<Platform>,
    /// The word for the condition about the evidence or the image that it keeps from counting.
    pub condition: Option<&'static str>,
    worst: walk::Worst,
}

impl Applied {
    /// An exemption of no finding, by its name, from the rule of that name, by nobody for no reason
    /// and without an end: all other fields are to be filled in.
    #[must_use]
    pub fn new(name: Arc<str>, rule: Arc<str>) -> Self {
        Self {
            name,
            owner: String::new(),
            reason: String::new(),
            ticket: None,
            until: None,
            rule,
            subject: None,
            platform: None,
            condition: None,
            worst: walk::Worst::default(),
        }
    }

    /// The findings that it keeps from counting, worst first, at most [`TOP_FINDINGS`].
    pub fn findings(&self) -> impl Iterator<Item = FindingRef<'_>> + Clone {
        self.worst.iter()
    }

    /// How many findings it keeps from counting.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.worst.total
    }
}

/// A denial that was lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// Name of the break-glass entry of the policy that permits it.
    pub name: Arc<str>,
    /// What was given as the reason.
    pub justification: String,
}

/// The time of the question, and the next one at which its answer could be another.
#[derive(Debug, Clone, Copy)]
struct Clock {
    now: OffsetDateTime,
    next: Option<OffsetDateTime>,
}

impl Clock {
    /// Notes that the answer could be another from `instant` on, if that is still to come, and says whether
    /// it is.
    fn changes_at(&mut self, instant: OffsetDateTime) -> bool {
        let is_to_come = instant > self.now;
        if is_to_come && self.next.is_none_or(|next| instant < next) {
            self.next = Some(instant);
        }
        is_to_come
    }

    /// Notes when `exemption` begins and ends to hold.
    fn term(&mut self, exemption: &Exemption) {
        for instant in [exemption.from(), exemption.until()].into_iter().flatten() {
            self.changes_at(instant);
        }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
