//! One rule and one manifest in, what is wrong with it out.
#![expect(clippy::string_slice, reason = "all that is drawn is ASCII")]

use time::OffsetDateTime;

use super::answer::{Exempted, Fault};
use super::case::Case;
use super::merged::{is, merged, names};
use super::spec::{Count, Exemption, Rule};
use super::yaml::rfc3339;
use super::{LEVELS, Manifest, about, hours};
use crate::decide::{Action, Condition, MAX_SKEW, Notice, NoticeKind, TOP_FINDINGS};
use crate::evidence::{Evidence, Reason, Rejection};
use crate::findings::vex::{Statement, Status};
use crate::findings::{Analysis, Epss, Finding, FixState, Score, Severity};
use crate::image::Digest;
use crate::policy::Population;

/// What all rules say of one manifest.
#[derive(Default)]
pub(super) struct Weighed {
    pub(super) faults: Vec<Fault>,
    pub(super) exempted: Vec<Exempted>,
    pub(super) notices: Vec<Notice>,
    /// What was cleared in the longest list of findings that a rule looked at, and how many reports
    /// that is of.
    cleared: (usize, Vec<(Finding, Option<Digest>)>),
}

/// A finding with its place in the walk.
type Placed<'f> = (usize, &'f Finding);

impl Weighed {
    pub(super) fn weigh(&mut self, case: &Case, manifest: &Manifest, rule: &Rule) {
        if let Some(trusted) = &rule.trusted_images
            && !trusted.iter().any(|pattern| about::fits(pattern, &case.image))
        {
            self.evidence(case, manifest, rule, rule.action, Condition::UntrustedImage);
        }
        let unusable = if rule.block_unscanned { rule.action } else { Action::Audit };
        let mut absent = |condition, otherwise| {
            if rule.block_unscanned {
                self.evidence(case, manifest, rule, rule.action, condition);
            } else {
                self.notices.push(manifest.notice(Some(&rule.name), otherwise));
            }
        };
        match &*manifest.evidence {
            Evidence::Missing => absent(Condition::Unscanned, NoticeKind::Unscanned),
            Evidence::Unsupported => absent(Condition::Unsupported, NoticeKind::Unsupported),
            Evidence::Withheld => {
                self.evidence(case, manifest, rule, unusable, Condition::Withheld);
            }
            Evidence::Stale { age } => {
                let condition = Condition::Unconfirmed { age: *age };
                self.evidence(case, manifest, rule, unusable, condition);
            }
            Evidence::Rejected(rejection) => {
                let condition = Condition::Rejected(rejection.clone());
                self.evidence(case, manifest, rule, unusable, condition);
            }
            Evidence::Unavailable(cause) => match rule.on_unavailable {
                Action::Allow => {
                    let kind = NoticeKind::Unavailable(cause.clone());
                    self.notices.push(manifest.notice(Some(&rule.name), kind));
                }
                action => {
                    let condition = Condition::Unavailable(cause.clone());
                    self.evidence(case, manifest, rule, action, condition);
                }
            },
            Evidence::Verified(_) if manifest.believed.is_empty() => {
                let condition = Condition::Rejected(rejected(manifest));
                self.evidence(case, manifest, rule, unusable, condition);
            }
            Evidence::Verified(_) => self.reports(case, manifest, rule, unusable),
        }
    }

    /// A condition that the evidence or the image itself fulfils, unless it is exempt.
    fn evidence(
        &mut self,
        case: &Case,
        manifest: &Manifest,
        rule: &Rule,
        action: Action,
        condition: Condition,
    ) {
        let for_evidence: Vec<_> = exemptions(case, manifest, rule)
            .into_iter()
            .filter(|e| !e.until_fixed && e.matchers.iter().all(|m| m.field != "vulnerability"))
            .collect();
        for exemption in &for_evidence {
            let exempted = Exempted::new(exemption, rule, manifest);
            self.exempted.push(Exempted { condition: Some(condition.as_str()), ..exempted });
        }
        if for_evidence.is_empty() {
            self.faults.push(Fault::new(rule, action, condition, manifest));
        }
    }

    /// Reports that are too old for the rule may no longer say clean: they are not looked at where
    /// there are others, and what they say is bad still is where there are none.
    fn reports(&mut self, case: &Case, manifest: &Manifest, rule: &Rule, unusable: Action) {
        let max_age = rule.max_age_hours.map(hours);
        let (fresh, old): (Vec<_>, Vec<_>) = manifest
            .believed
            .iter()
            .cloned()
            .partition(|r| max_age.is_none_or(|age| r.findings.scanned_at >= case.now - age));
        let walked = if fresh.is_empty() {
            let scanned_at = old[0].findings.scanned_at;
            let max_age = max_age.unwrap().unsigned_abs();
            let condition = Condition::Stale { scanned_at, max_age };
            self.evidence(case, manifest, rule, unusable, condition);
            old
        } else {
            for report in old {
                let (report, scanned_at) = (report.digest, report.findings.scanned_at);
                let kind = NoticeKind::OldReport { report, scanned_at };
                self.notices.push(manifest.notice(Some(&rule.name), kind));
            }
            fresh
        };
        let findings = merged(&walked);
        let (cleared, present): (Vec<_>, Vec<_>) = findings
            .iter()
            .enumerate()
            .partition(|(_, finding)| cleared_by(finding, manifest, case.now).is_some());
        if walked.len() > self.cleared.0 {
            let by = |f: &Finding| (f.clone(), cleared_by(f, manifest, case.now).unwrap());
            self.cleared = (walked.len(), cleared.into_iter().map(|(_, f)| by(f)).collect());
        }
        self.conditions(case, manifest, rule, &present);
    }

    fn conditions<'f>(
        &mut self,
        case: &Case,
        manifest: &Manifest,
        rule: &Rule,
        present: &[Placed<'f>],
    ) {
        let mut exempted: Vec<(&Exemption, Vec<Placed<'f>>)> = Vec::new();
        let mut fulfils =
            |counted: Vec<Placed<'f>>,
             limit: u32,
             condition: &mut dyn FnMut(usize) -> Condition| {
                let limit = limit as usize;
                let counted: Vec<_> =
                    counted.into_iter().filter(|(_, f)| !allows(rule, f, case.now)).collect();
                if counted.len() <= limit {
                    return;
                }
                let mut left = counted.clone();
                for exemption in exemptions(case, manifest, rule) {
                    let exempt = |placed: &&Placed<'_>| exempts(exemption, placed.1);
                    for placed in counted.iter().filter(exempt) {
                        left.retain(|other| other.0 != placed.0);
                        match exempted.iter_mut().find(|(e, _)| e.name == exemption.name) {
                            Some((_, places)) => places.push(*placed),
                            None => exempted.push((exemption, vec![*placed])),
                        }
                    }
                }
                // The finding that fulfils `high: 2` is the third one at high or above.
                if let Some((place, finding)) = left.get(limit) {
                    let fault = Fault::new(rule, rule.action, condition(left.len()), manifest);
                    self.faults.push(Fault {
                        at: Some(((*finding).clone(), *place)),
                        total: left.len(),
                        findings: top(&left),
                        ..fault
                    });
                }
            };
        for id in forbidden(rule) {
            let named = present.iter().filter(|(_, f)| is(f, id)).copied().collect();
            fulfils(named, 0, &mut |_| Condition::Forbidden { id: id.to_owned() });
        }
        for (number, level) in LEVELS.into_iter().enumerate() {
            for (limits, population) in rule.limits.iter().zip(Population::ALL) {
                let Some(limit) = limits[number] else { continue };
                let names_unknown = limits[4].is_some();
                let counted = present.iter().filter(|(_, f)| {
                    is_at(f.severity, level, names_unknown)
                        && is_of(f.fix_state, population)
                        && counts(&rule.count, f, case.now)
                });
                fulfils(counted.copied().collect(), limit, &mut |count| Condition::MaxAllowed {
                    population,
                    level,
                    limit,
                    count,
                });
            }
        }
        for (exemption, mut places) in exempted {
            places.sort_by_key(|(place, _)| *place);
            places.dedup_by_key(|(place, _)| *place);
            let exempted = Exempted::new(exemption, rule, manifest);
            let (total, findings) = (places.len(), top(&places));
            self.exempted.push(Exempted { total, findings, ..exempted });
        }
    }

    /// What no rule counts does not pass in silence.
    pub(super) fn tell_of_cleared(&mut self, manifest: &Manifest) {
        let mut told: Vec<Option<Digest>> = Vec::new();
        for (_, by) in &self.cleared.1 {
            if told.contains(by) {
                continue;
            }
            told.push(*by);
            let of = self.cleared.1.iter().filter(|(_, other)| other == by);
            let ids: Vec<_> = of.map(|(finding, _)| finding.id.to_string()).collect();
            let (total, ids) = (ids.len(), ids.into_iter().take(TOP_FINDINGS).collect());
            self.notices.push(manifest.notice(None, NoticeKind::Cleared { by: *by, ids, total }));
        }
    }
}

fn top(placed: &[Placed<'_>]) -> Vec<Finding> {
    placed.iter().take(TOP_FINDINGS).map(|(_, finding)| (*finding).clone()).collect()
}

/// Why reports are not believed: all are from the future, of which the first is named, or there are
/// none.
fn rejected(manifest: &Manifest) -> Rejection {
    let Evidence::Verified(reports) = &*manifest.evidence else { panic!("verified") };
    let first = reports.iter().min_by_key(|r| (r.findings.scanned_at, r.digest));
    let detail = match first {
        Some(report) => {
            let at = rfc3339(report.findings.scanned_at);
            format!("its scan finishes in the future, at {at}")
        }
        None => "there is no report in it".to_owned(),
    };
    Rejection { reason: Reason::Malformed, report: first.map(|report| report.digest), detail }
}

/// The exemptions for a rule that hold now, in this context, of this manifest.
fn exemptions<'c>(case: &'c Case, manifest: &Manifest, rule: &'c Rule) -> Vec<&'c Exemption> {
    let all = case.document.exemptions.iter();
    let for_it = all.filter(|e| about::is_for(e.rules.as_deref(), &rule.name));
    for_it
        .chain(&rule.exemptions)
        .filter(|e| e.from.is_none_or(|from| from.begins() <= case.now))
        .filter(|e| e.until.is_none_or(|until| case.now < until.is_over()))
        .filter(|e| covers(e, case, &manifest.digests))
        .collect()
}

/// Whether an exemption is about a container, and a manifest that has these digests.
pub(super) fn covers(exemption: &Exemption, case: &Case, digests: &[Digest]) -> bool {
    exemption.matchers.iter().all(|matcher| match matcher.field {
        "vulnerability" => true,
        "image" => {
            let texts = digests.iter().map(ToString::to_string);
            let texts: Vec<_> = texts.collect();
            texts.iter().any(|text| holds(matcher.operator, &matcher.values, text))
        }
        _ => about::matches(matcher, case),
    })
}

/// Whether an exemption is about a finding. One until it is fixed ends when a fix is published.
pub(super) fn exempts(exemption: &Exemption, finding: &Finding) -> bool {
    let named = exemption.matchers.iter().filter(|m| m.field == "vulnerability").all(|matcher| {
        let values: Vec<_> = matcher.values.iter().map(|v| v.to_ascii_lowercase()).collect();
        let mut names = names(finding).into_iter();
        names.any(|name| holds(matcher.operator, &values, &name.to_ascii_lowercase()))
    });
    named && !(exemption.until_fixed && finding.fix_state == FixState::Fixed)
}

fn holds(operator: &str, values: &[String], text: &str) -> bool {
    values.iter().any(|value| match operator {
        "equals" => text == value,
        "startsWith" => text.starts_with(value),
        "endsWith" => text.ends_with(value),
        _ => text.contains(value),
    })
}

/// Each forbidden vulnerability once, as it was written first, in their order.
fn forbidden(rule: &Rule) -> Vec<&'static str> {
    let mut ids: Vec<&str> = Vec::new();
    for id in &rule.forbidden {
        if !ids.iter().any(|other| other.eq_ignore_ascii_case(id)) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids
}

fn allows(rule: &Rule, finding: &Finding, now: OffsetDateTime) -> bool {
    let mut allowed = rule.allowed.iter();
    allowed.any(|(id, until)| is(finding, id) && until.is_none_or(|until| now < until.is_over()))
}

/// Whether `id` of a statement is the finding. Where both have a CVE, only these are compared: an
/// advisory is about several.
fn is_named(statement: &Statement, id: &str, finding: &Finding) -> bool {
    let is_cve = |id: &str| id.to_ascii_uppercase().starts_with("CVE-");
    let stated = statement.ids.iter().any(|id| is_cve(id));
    let found = is_cve(&finding.id) || finding.aliases.iter().any(|id| is_cve(id));
    is(finding, id) && (is_cve(id) || !(stated && found))
}

/// What says that a finding never counts: `None` in it is the report itself, before the newest VEX
/// statement about it that is not from the future; of two at one time, the one that does not say so.
fn cleared_by(
    finding: &Finding,
    manifest: &Manifest,
    now: OffsetDateTime,
) -> Option<Option<Digest>> {
    if finding.analysis != Analysis::Affected {
        return Some(None);
    }
    let Evidence::Verified(reports) = &*manifest.evidence else { return None };
    let mut said = Vec::new();
    for document in reports.vex() {
        for statement in &document.vex.statements {
            let about = statement.ids.iter().any(|id| is_named(statement, id, finding))
                && (statement.packages.is_empty()
                    || statement.packages.iter().any(|package| is_version(finding, package)));
            if about && statement.issued_at <= now + MAX_SKEW {
                said.push((statement.issued_at, statement.status, document.digest));
            }
        }
    }
    let newest = said.iter().map(|(at, ..)| *at).max()?;
    said.retain(|(at, ..)| *at == newest);
    let clears = |status: Status| matches!(status, Status::NotAffected | Status::Fixed);
    let all_clear = said.iter().all(|(_, status, _)| clears(*status));
    all_clear.then(|| said.iter().map(|(.., by)| *by).max())
}

/// Whether the finding is in this package, or in a version of it where none is named.
fn is_version(finding: &Finding, package: &str) -> bool {
    let bare = |purl: &str| {
        let end = purl.find(['?', '#']).unwrap_or(purl.len());
        purl[..end].to_lowercase()
    };
    let (Some(own), package) = (finding.purl.as_deref().map(bare), bare(package)) else {
        return false;
    };
    own == package || own.split_once('@').is_some_and(|(name, _)| name == package)
}

/// Whether a severity is at a level or higher. One that is not stated is at each, unless the limits
/// say what it counts for.
fn is_at(severity: Severity, level: Severity, names_unknown: bool) -> bool {
    match (level, severity) {
        (Severity::Unknown, severity) => severity == Severity::Unknown,
        (_, Severity::Unknown) => !names_unknown,
        (level, severity) => severity >= level,
    }
}

fn is_of(state: FixState, population: Population) -> bool {
    match population {
        Population::All => true,
        Population::Fixable => matches!(state, FixState::Fixed | FixState::NotStated),
        Population::Unfixable => state != FixState::Fixed,
    }
}

/// Whether the limits look at a finding: all that is asked holds, or is not stated.
fn counts(count: &Count, finding: &Finding, now: OffsetDateTime) -> bool {
    let old = |age: Option<i64>, since: Option<OffsetDateTime>| {
        age.map(|age| since.map(|since| since + hours(age) <= now))
    };
    let fits = |globs: &[&str]| {
        let end = |purl: &str| purl.find(['@', '?', '#']).unwrap_or(purl.len());
        let name = finding.purl.as_ref().map(|purl| purl[..end(purl)].to_lowercase())?;
        Some(globs.iter().any(|glob| about::glob(glob, &name)))
    };
    let fixed = match finding.fix_state {
        FixState::NotStated => None,
        state => Some(state == FixState::Fixed),
    };
    // Each as asked, if it is; and as stated, if it is.
    let asked = [
        count.fix_available.map(|fix| fixed.map(|fixed| fixed == fix)),
        count.min_cvss.map(|min| finding.score.map(|score| score >= Score::from_f64(min).unwrap())),
        (!count.packages.is_empty()).then(|| fits(&count.packages)),
        (!count.not_packages.is_empty()).then(|| fits(&count.not_packages).map(|fits| !fits)),
        count.known_exploited.then_some(finding.known_exploited),
        count.min_epss.map(|min| finding.epss.map(|epss| epss >= Epss::from_f64(min).unwrap())),
        old(count.min_published_hours, finding.published),
        old(count.min_first_seen_hours, finding.first_seen),
    ];
    asked.into_iter().flatten().all(|holds| holds.unwrap_or(!count.ignores_not_stated))
}
