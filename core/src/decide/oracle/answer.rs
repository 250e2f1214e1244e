//! A decision as both sides state it, to be compared and to be read.

use std::fmt;

use super::Manifest;
use super::spec::{self, Rule};
use crate::decide::{Action, Condition, Decision, Lifted, Notice};
use crate::findings::{Finding, FindingRef};
use crate::image::{Digest, Platform};

/// What is decided, and all that led to it.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) action: Action,
    pub(super) rule: Option<String>,
    /// In the order of the walk.
    pub(super) violations: Vec<Fault>,
    /// In no order.
    pub(super) exemptions: Vec<Exempted>,
    pub(super) break_glass: Option<Lifted>,
    /// In no order.
    pub(super) notices: Vec<Notice>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            action: Action::Allow,
            rule: None,
            violations: Vec::new(),
            exemptions: Vec::new(),
            break_glass: None,
            notices: Vec::new(),
        }
    }
}

/// A violation.
#[derive(Clone)]
pub(super) struct Fault {
    pub(super) rule: String,
    pub(super) action: Action,
    pub(super) condition: Condition,
    pub(super) deciding: bool,
    pub(super) subject: Option<Digest>,
    pub(super) platform: Option<Platform>,
    pub(super) findings: Vec<Finding>,
    pub(super) total: usize,
    /// The finding that fulfils the condition and its place in the walk. Decisions do not tell it.
    pub(super) at: Option<(Finding, usize)>,
}

/// An exemption that is applied.
#[derive(Clone, PartialEq)]
pub(super) struct Exempted {
    pub(super) name: String,
    pub(super) ticket: Option<String>,
    pub(super) rule: String,
    pub(super) subject: Option<Digest>,
    pub(super) platform: Option<Platform>,
    pub(super) condition: Option<&'static str>,
    pub(super) findings: Vec<Finding>,
    pub(super) total: usize,
}

impl Fault {
    pub(super) fn new(
        rule: &Rule,
        action: Action,
        condition: Condition,
        manifest: &Manifest,
    ) -> Self {
        Self {
            rule: rule.name.clone(),
            action,
            condition,
            deciding: false,
            subject: manifest.digest,
            platform: manifest.platform.clone(),
            findings: Vec::new(),
            total: 0,
            at: None,
        }
    }
}

impl Exempted {
    pub(super) fn new(exemption: &spec::Exemption, rule: &Rule, manifest: &Manifest) -> Self {
        Self {
            name: exemption.name.clone(),
            ticket: exemption.ticket.map(str::to_owned),
            rule: rule.name.clone(),
            subject: manifest.digest,
            platform: manifest.platform.clone(),
            condition: None,
            findings: Vec::new(),
            total: 0,
        }
    }
}

impl Answer {
    pub(super) fn of(decision: &Decision) -> Self {
        let violations = decision.violations.iter().map(|v| Fault {
            rule: v.rule.to_string(),
            action: v.action,
            condition: v.condition.clone(),
            deciding: v.deciding,
            subject: v.subject,
            platform: v.platform.clone(),
            findings: v.findings().map(FindingRef::to_finding).collect(),
            total: v.total(),
            at: None,
        });
        let exemptions = decision.exemptions.iter().map(|e| Exempted {
            name: e.name.to_string(),
            ticket: e.ticket.clone(),
            rule: e.rule.to_string(),
            subject: e.subject,
            platform: e.platform.clone(),
            condition: e.condition,
            findings: e.findings().map(FindingRef::to_finding).collect(),
            total: e.total(),
        });
        Self {
            action: decision.action,
            rule: decision.rule.as_deref().map(str::to_owned),
            violations: violations.collect(),
            exemptions: exemptions.collect(),
            break_glass: decision.break_glass.clone(),
            notices: decision.notices.clone(),
        }
    }
}

impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        let Self { rule, action, condition, deciding, subject, platform, findings, total, at: _ } =
            self;
        (rule, action, deciding, subject, platform, total)
            == (
                &other.rule,
                &other.action,
                &other.deciding,
                &other.subject,
                &other.platform,
                &other.total,
            )
            && *condition == other.condition
            && *findings == other.findings
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        (self.action, &self.rule, &self.break_glass)
            == (other.action, &other.rule, &other.break_glass)
            && self.violations == other.violations
            && are_alike(&self.exemptions, &other.exemptions)
            && are_alike(&self.notices, &other.notices)
    }
}

/// Whether two lists hold the same in any order.
pub(super) fn are_alike<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    let count = |list: &[T], item: &T| list.iter().filter(|other| *other == item).count();
    a.len() == b.len() && (a == b || a.iter().all(|item| count(a, item) == count(b, item)))
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} by {:?}", self.action.as_str(), self.rule)?;
        if let Some(Lifted { name, .. }) = &self.break_glass {
            write!(f, ", lifted by {name}")?;
        }
        writeln!(f)?;
        for fault in &self.violations {
            writeln!(f, "  {fault:?}")?;
        }
        let mut rest: Vec<String> = self.exemptions.iter().map(|e| format!("{e:?}")).collect();
        for Notice { rule, subject, platform, kind } in &self.notices {
            let place = place(*subject, platform.as_ref());
            rest.push(format!("notice {:?}{place}: {kind:?}", rule.as_deref()));
        }
        rest.sort();
        rest.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, action, condition, deciding, subject, platform, findings, total, at: _ } =
            self;
        let mark = if *deciding { "* " } else { "" };
        let (action, place) = (action.as_str(), place(*subject, platform.as_ref()));
        write!(f, "{mark}violation of {rule} ({action}){place}: {condition:?}")?;
        write_findings(f, findings, *total)
    }
}

impl fmt::Debug for Exempted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ticket: _, rule, subject, platform, condition, findings, total } = self;
        let place = place(*subject, platform.as_ref());
        write!(f, "exemption {name} from {rule}{place}: {condition:?}")?;
        write_findings(f, findings, *total)
    }
}

fn write_findings(f: &mut fmt::Formatter<'_>, findings: &[Finding], total: usize) -> fmt::Result {
    if total > 0 {
        write!(f, " by {total}:")?;
    }
    findings.iter().try_for_each(|finding| write!(f, "\n      {}", line(finding)))
}

fn place(subject: Option<Digest>, platform: Option<&Platform>) -> String {
    let platform = platform.map(|platform| format!(" on {platform}")).unwrap_or_default();
    subject.map_or(" of nothing".to_owned(), |_| platform)
}

/// What a finding states, in one line.
pub(super) fn line(finding: &Finding) -> String {
    let Finding { id, aliases, severity, package, .. } = finding;
    let mut line = format!("{id} {aliases:?} {severity} in {}", package.as_deref().unwrap_or("?"));
    let mut stated = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line += &format!(", {name} {value}");
        }
    };
    stated("cvss", finding.score.map(|score| score.to_string()));
    stated("purl", finding.purl.as_deref().map(str::to_owned));
    stated("installed", finding.installed.as_deref().map(str::to_owned));
    stated("fixes", (!finding.fixed.is_empty()).then(|| format!("{:?}", finding.fixed)));
    stated("fix", Some(finding.fix_state.as_str().to_owned()));
    stated("exploited", finding.known_exploited.map(|known| known.to_string()));
    stated("epss", finding.epss.map(|epss| epss.as_f32().to_string()));
    stated("published", finding.published.map(|at| at.to_string()));
    stated("first seen", finding.first_seen.map(|at| at.to_string()));
    stated("analysis", Some(format!("{:?}", finding.analysis)));
    line
}
