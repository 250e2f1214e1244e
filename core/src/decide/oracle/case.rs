//! A question to both sides, and how it is shown.

use std::fmt;

use time::OffsetDateTime;

use super::answer::{Answer, line};
use super::spec::{Document, Exemption, When};
use super::yaml::{self, rfc3339};
use super::{hours, oracle};
use crate::decide::{Context, Decision, MAX_SKEW, decide};
use crate::evidence::{Evidence, Subject};
use crate::image::Reference;
use crate::policy::{self, Policy};

/// A question. Its [`fmt::Debug`] is the question and both answers, for people.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) document: Document,
    pub(super) image: Reference,
    pub(super) ctx: Context,
    pub(super) subjects: Vec<Subject>,
    pub(super) now: OffsetDateTime,
}

impl Case {
    pub(super) fn policy(&self) -> Policy {
        let text = yaml::document(&self.document);
        let source = policy::Source { file: "oracle".to_owned(), text };
        policy::parse(std::slice::from_ref(&source))
            .unwrap_or_else(|errors| panic!("{errors}\n{}", source.text))
    }

    pub(super) fn decision(&self) -> Decision {
        self.decision_at(&self.policy(), self.now)
    }

    pub(super) fn decision_at(&self, policy: &Policy, now: OffsetDateTime) -> Decision {
        decide(policy, &self.image, &self.subjects, &self.ctx, now)
    }

    /// Every instant from which on something holds that did not, or does no longer that did.
    pub(super) fn boundaries(&self) -> Vec<OffsetDateTime> {
        let mut all = Vec::new();
        let rules = &self.document.rules;
        let nanosecond = time::Duration::NANOSECOND;
        let exemptions = rules.iter().flat_map(|rule| &rule.exemptions);
        for exemption in self.document.exemptions.iter().chain(exemptions) {
            all.extend(exemption.from.map(When::begins));
            all.extend(exemption.until.map(When::is_over));
        }
        for rule in rules {
            all.extend(rule.allowed.iter().filter_map(|(_, until)| until.map(When::is_over)));
        }
        for subject in &self.subjects {
            let Evidence::Verified(reports) = &*subject.evidence else { continue };
            for document in reports.vex() {
                all.extend(document.vex.statements.iter().map(|s| s.issued_at - MAX_SKEW));
            }
            for report in reports.iter() {
                all.push(report.findings.scanned_at - MAX_SKEW);
                for rule in rules {
                    let old = rule.max_age_hours.map(hours);
                    all.extend(old.map(|age| report.findings.scanned_at + age + nanosecond));
                    let ages = [rule.count.min_published_hours, rule.count.min_first_seen_hours];
                    for finding in report.findings.iter() {
                        let since = [finding.published(), finding.first_seen()];
                        let since = since.into_iter().zip(ages);
                        all.extend(since.filter_map(|(at, age)| Some(at? + hours(age?))));
                    }
                }
            }
        }
        all
    }

    pub(super) fn exemptions_mut(&mut self) -> &mut Vec<Exemption> {
        &mut self.document.exemptions
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", yaml::document(&self.document))?;
        writeln!(f, "{} at {}", self.image, rfc3339(self.now))?;
        writeln!(f, "{:?}", self.ctx)?;
        for subject in &self.subjects {
            let platform = subject.platform.as_ref().map(ToString::to_string);
            let platform = platform.unwrap_or("the image itself".to_owned());
            let digest = subject.digest.map(|digest| digest.to_string()).unwrap_or_default();
            let Evidence::Verified(reports) = &*subject.evidence else {
                writeln!(f, "{platform} ({digest}): {:?}", subject.evidence)?;
                continue;
            };
            writeln!(f, "{platform} ({digest}): verified")?;
            for report in reports.iter() {
                let at = rfc3339(report.findings.scanned_at);
                writeln!(f, "  report {} of {at} {:?}", report.digest, report.notices)?;
                for finding in report.findings.iter() {
                    writeln!(f, "    {}", line(&finding.to_finding()))?;
                }
            }
            for document in reports.vex() {
                writeln!(f, "  VEX {}", document.digest)?;
                for s in &document.vex.statements {
                    let (status, at) = (s.status.as_str(), rfc3339(s.issued_at));
                    writeln!(f, "    {:?} in {:?}: {status} since {at}", s.ids, s.packages)?;
                }
            }
        }
        let decision = self.decision();
        writeln!(f, "the engine says, until {:?}:", decision.changes_at.map(rfc3339))?;
        write!(f, "{:?}", Answer::of(&decision))?;
        write!(f, "the oracle says:\n{:?}", oracle(self))
    }
}
