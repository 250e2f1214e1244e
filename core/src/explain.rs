//! (policy, evidence, context, time) in, why the decision is what it is out, and what would change it.
//!
//! It counts again, slowly, what [`decide`] only looks at where something may be violated. A
//! property test holds that both agree.

mod nearly;
mod remedy;
mod text;

use std::sync::Arc;

use time::OffsetDateTime;

use crate::decide::{
    Action, Applied, Condition, Context, Counted, Decision, Violation, decide, printable, recount,
};
use crate::evidence::{Evidence, Subject};
use crate::findings::Finding;
use crate::image::{Digest, Platform, Reference};
use crate::policy::{Evaluation, MAX_SHOWN, Mismatch, Policy, Rule, Target};

pub use self::nearly::{MAX_NEARLY, Nearly, Obstacle};
pub use self::remedy::{MAX_STEP_IDS, MAX_STEPS, Remedy, Step};

/// The most rules that an explanation tells of: those in scope first.
pub const MAX_RULES: usize = 200;
/// The most conditions that an explanation tells of in all rules, those that are met first.
pub const MAX_CONDITIONS: usize = 500;
/// The most exemptions that an explanation names as applied.
pub const MAX_APPLIED: usize = 100;
/// The most manifests that an explanation tells of, and the most reports of each.
pub const MAX_MANIFESTS: usize = 100;

/// Why a decision is what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What is to be done, as [`decide`] says.
    pub action: Action,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// How the rules were weighed against each other.
    pub evaluation: Evaluation,
    /// The rules, those in scope first, at most [`MAX_RULES`].
    pub rules: Vec<ExplainedRule>,
    /// How many rules there are.
    pub rules_total: usize,
    /// The conditions of the rules in scope, those that are met first and then by rule, at most
    /// [`MAX_CONDITIONS`].
    pub conditions: Vec<ExplainedCondition>,
    /// How many conditions there are.
    pub conditions_total: usize,
    /// The exemptions that were applied, at most [`MAX_APPLIED`].
    pub applied: Vec<Applied>,
    /// The exemptions that would have been applied but for one thing, at most [`MAX_NEARLY`].
    pub nearly: Vec<Nearly>,
    /// What was known of each manifest, at most [`MAX_MANIFESTS`].
    pub manifests: Vec<ExplainedManifest>,
    /// Whether the denial was lifted or could be.
    pub break_glass: Glass,
    /// What would make the action milder; `None` for an allow.
    pub remedy: Option<Remedy>,
}

/// Whether a rule is about the image, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedRule {
    /// Its name.
    pub name: Arc<str>,
    /// What it does about a violation.
    pub action: Action,
    /// Whether it is about the image.
    pub standing: Standing,
}

/// Whether a rule is about an image in a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    InScope,
    /// It is switched off.
    Disabled,
    /// A matcher of its scope does not hold: the first.
    OutOfScope(Box<Mismatch>),
    /// The image is in one of the registries that it leaves alone.
    UnsupportedRegistry,
    /// The image fits a pattern that the rule, or the whole policy, leaves alone.
    AllowedImage {
        /// The pattern as it was written.
        pattern: String,
    },
}

/// One condition of one rule in scope, against one manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedCondition {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// The manifest; `None` where it could not be found out.
    pub subject: Option<Digest>,
    /// Its platform, for a manifest of an index.
    pub platform: Option<Platform>,
    /// Which condition, with its limit and count.
    pub condition: Condition,
    /// What is done where it is met; [`Action::Allow`] lets it pass.
    pub action: Action,
    /// Whether it is a violation.
    pub met: bool,
    /// Whether it is the violation that decided.
    pub deciding: bool,
    /// How many findings count.
    pub count: usize,
    /// How many the rule allows by name.
    pub allowed: usize,
    /// How many exemptions keep from counting; for a condition that is not about findings, 1 where
    /// one keeps it from counting.
    pub exempt: usize,
    /// How many the report or a VEX document clears.
    pub cleared: usize,
    /// How many the rule's `count` does not look at.
    pub outside: usize,
    /// How many, counted or not, do not state something that is asked about.
    pub not_stated: usize,
    /// The finding that fulfils it, with its texts cut.
    pub finding: Option<Finding>,
}

/// What was known of one manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedManifest {
    /// The manifest; `None` where it could not be found out.
    pub subject: Option<Digest>,
    /// Its platform, for a manifest of an index.
    pub platform: Option<Platform>,
    /// The word for what is known.
    pub status: &'static str,
    /// Whether it was decided on its own; otherwise the index speaks for it, or its platforms.
    pub decided: bool,
    /// The verified reports, at most [`MAX_MANIFESTS`].
    pub reports: Vec<ExplainedReport>,
}

/// A verified report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedReport {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Who looked.
    pub scanner: String,
    /// Who signed it.
    pub signer: String,
    /// When the scan finished.
    pub scanned_at: OffsetDateTime,
    /// How many findings it has.
    pub findings: usize,
}

/// Whether a denial was lifted, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glass {
    /// Nothing is denied.
    NotNeeded,
    /// The entry of this name lifted the denial.
    Lifted(Arc<str>),
    /// Nobody said why the image must run; the entry of this name would lift the denial.
    Possible(Arc<str>),
    /// No entry permits it here for every rule that denies.
    NotPermitted,
}

/// Explains the decision about `image`, whose manifests are `subjects`, in `ctx` at `now`: what
/// [`decide`] says for these, and why. It costs many decisions.
#[must_use]
pub fn explain(
    policy: &Policy,
    image: &Reference,
    subjects: &[Subject],
    ctx: &Context,
    now: OffsetDateTime,
) -> Explanation {
    let asked = Asked { policy, image, target: Target::new(image, ctx), ctx, now };
    let decision = decide(policy, image, subjects, ctx, now);
    let (rules, in_scope) = asked.rules();
    let counted = recount(policy, &asked.target, subjects, now, &in_scope);
    let (conditions, conditions_total) = conditions(&counted, &decision);
    Explanation {
        action: decision.action,
        rule: decision.rule.clone(),
        evaluation: policy.evaluation(),
        rules,
        rules_total: policy.rules().len(),
        conditions,
        conditions_total,
        applied: decision.exemptions.iter().take(MAX_APPLIED).cloned().collect(),
        nearly: nearly::nearly(&asked, &counted, decision.action),
        manifests: manifests(subjects, &counted),
        break_glass: asked.glass(&decision),
        remedy: remedy::remedy(&asked, subjects, &in_scope, &decision),
    }
}

/// A question, as all parts of the explanation read it.
struct Asked<'a> {
    policy: &'a Policy,
    image: &'a Reference,
    target: Target<'a>,
    ctx: &'a Context,
    now: OffsetDateTime,
}

impl<'a> Asked<'a> {
    /// What is to be said of the rules, and all that are about the image.
    fn rules(&self) -> (Vec<ExplainedRule>, Vec<&'a Rule>) {
        let of = |rule: &'a Rule| (rule, self.standing(rule));
        let mut all: Vec<_> = self.policy.rules().iter().map(of).collect();
        all.sort_by_key(|(_, standing)| *standing != Standing::InScope);
        let in_scope = all.iter().filter(|(_, standing)| *standing == Standing::InScope);
        let in_scope = in_scope.map(|(rule, _)| *rule).collect();
        let explained = all.into_iter().take(MAX_RULES).map(|(rule, standing)| ExplainedRule {
            name: Arc::clone(rule.name()),
            action: rule.action(),
            standing,
        });
        (explained.collect(), in_scope)
    }

    fn standing(&self, rule: &Rule) -> Standing {
        if !rule.is_enabled() {
            return Standing::Disabled;
        }
        if let Some(mismatch) = rule.scope.fit(&self.target, self.ctx).failed.into_iter().next() {
            return Standing::OutOfScope(Box::new(mismatch));
        }
        let everywhere = self.policy.allowed_images().find(self.image);
        if everywhere.is_none() && self.target.is_in(&rule.unsupported) {
            return Standing::UnsupportedRegistry;
        }
        match everywhere.or_else(|| rule.allowed_images.find(self.image)) {
            Some(pattern) => {
                Standing::AllowedImage { pattern: printable(pattern.as_str(), MAX_SHOWN) }
            }
            None => Standing::InScope,
        }
    }

    fn glass(&self, decision: &Decision) -> Glass {
        if let Some(lifted) = &decision.break_glass {
            return Glass::Lifted(Arc::clone(&lifted.name));
        }
        if decision.action != Action::Deny {
            return Glass::NotNeeded;
        }
        let mut denying = decision.violations.iter().filter(|v| v.action == Action::Deny);
        let mut entries = self.policy.break_glass().iter();
        let lifts_all = |entry: &&crate::policy::BreakGlass| {
            denying.clone().all(|violation| entry.lifts(&violation.rule, &self.target))
        };
        match entries.find(lifts_all) {
            Some(entry) if denying.next().is_some() && self.ctx.break_glass.is_empty() => {
                Glass::Possible(Arc::clone(entry.name()))
            }
            _ => Glass::NotPermitted,
        }
    }
}

fn conditions(counted: &[Counted<'_>], decision: &Decision) -> (Vec<ExplainedCondition>, usize) {
    let decides = |counted: &Counted<'_>| decision.deciding().is_some_and(|v| is(v, counted));
    let mut order: Vec<_> = counted.iter().collect();
    order.sort_by_key(|counted| (!decides(counted), !counted.met));
    let explained = order.into_iter().take(MAX_CONDITIONS).map(|counted| ExplainedCondition {
        rule: Arc::clone(counted.rule.name()),
        subject: counted.subject,
        platform: counted.platform.clone(),
        condition: counted.condition.clone(),
        action: counted.action,
        met: counted.met,
        deciding: decides(counted),
        count: counted.count(),
        allowed: counted.allowed,
        exempt: counted.exempt,
        cleared: counted.cleared,
        outside: counted.outside,
        not_stated: counted.not_stated,
        finding: counted.fulfilled_by().map(|finding| shown(finding.to_finding())),
    });
    (explained.collect(), counted.len())
}

/// Whether `violation` is what was counted.
fn is(violation: &Violation, counted: &Counted<'_>) -> bool {
    counted.met
        && violation.rule == *counted.rule.name()
        && violation.subject == counted.subject
        && violation.platform == counted.platform
        && violation.condition == counted.condition
}

/// A finding with its texts as they may be shown, and few of each list.
fn shown(mut finding: Finding) -> Finding {
    const LISTED: usize = 8;
    let short = |text: &str| Box::from(printable(text, MAX_SHOWN));
    let list = |list: &[Box<str>]| list.iter().take(LISTED).map(|text| short(text)).collect();
    finding.id = short(&finding.id);
    finding.aliases = list(&finding.aliases);
    finding.package = finding.package.as_deref().map(short);
    finding.purl = finding.purl.as_deref().map(short);
    finding.installed = finding.installed.as_deref().map(short);
    finding.fixed = list(&finding.fixed);
    finding
}

fn manifests(subjects: &[Subject], counted: &[Counted<'_>]) -> Vec<ExplainedManifest> {
    let explained = subjects.iter().take(MAX_MANIFESTS).map(|subject| {
        let is_own =
            |c: &&Counted<'_>| c.subject == subject.digest && c.platform == subject.platform;
        let reports = match &*subject.evidence {
            Evidence::Verified(reports) => reports.iter().take(MAX_MANIFESTS).collect(),
            _ => Vec::new(),
        };
        ExplainedManifest {
            subject: subject.digest,
            platform: subject.platform.clone(),
            status: subject.evidence.status(),
            decided: counted.iter().any(|c| is_own(&c)),
            reports: reports
                .into_iter()
                .map(|report| ExplainedReport {
                    digest: report.digest,
                    scanner: printable(&report.findings.scanner.name, MAX_SHOWN),
                    signer: printable(&report.signer.subject, MAX_SHOWN),
                    scanned_at: report.findings.scanned_at,
                    findings: report.findings.len(),
                })
                .collect(),
        }
    });
    explained.collect()
}

#[cfg(test)]
mod tests;
