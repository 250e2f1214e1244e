//! Decision cases in, what each of them gives and how that differs from what is expected out.
//!
//! A case says which image, where it would run, what is known of it, when, and what should be decided.

mod document;
mod evidence;
mod fields;
mod finding;
mod reading;

use std::error::Error;
use std::fmt;

use time::OffsetDateTime;

use crate::decide::{Action, Context, Decision, decide};
use crate::evidence::Subject;
use crate::image::Reference;
use crate::policy::{Policy, Problem, Source};

/// The most cases of one file.
pub const MAX_CASES: usize = 10_000;
/// The longest name of a case, in bytes.
pub const MAX_CASE_NAME: usize = 256;
/// The most platforms that the image of one case has.
pub const MAX_PLATFORMS: usize = 64;
/// The most findings that one report of a case lists.
pub const MAX_CASE_FINDINGS: usize = 10_000;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, unique in its file.
    pub name: String,
    /// The line of its file that it begins at, from 1.
    pub line: u32,
    /// The image.
    pub image: Reference,
    /// Where it would run.
    pub context: Context,
    /// When it is decided.
    pub time: OffsetDateTime,
    /// What is known of the image, and then of each platform. Nothing of it was verified.
    pub subjects: Vec<Subject>,
    /// What should be decided.
    pub expected: Expected,
}

/// Reads the file that a case names, by the path that it gives.
pub type Open<'a> = dyn FnMut(&str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> + 'a;

/// Reads all cases of a file. A case that names no time is decided at `now`. Reports that cases name
/// are read with `open`, and nothing is verified of them.
///
/// # Errors
/// Every problem that was found, in the order of the file; never an empty list. A file without a case
/// is a problem.
pub fn parse(
    source: &Source,
    now: OffsetDateTime,
    open: &mut Open<'_>,
) -> Result<Vec<Case>, Vec<Problem>> {
    document::parse(source, now, open)
}

impl Case {
    /// Decides it.
    #[must_use]
    pub fn decide(&self, policy: &Policy) -> Found {
        let decision = decide(policy, &self.image, &self.subjects, &self.context, self.time);
        Found {
            message: decision.denial(&self.context.container, &self.image, self.time),
            ..Found::new(&decision)
        }
    }
}

/// What should be decided. What is `None` may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The action.
    pub action: Action,
    /// The rule that decides.
    pub rule: Option<String>,
    /// All violations, in any order.
    pub violations: Option<Vec<ExpectedViolation>>,
    /// The names of all exemptions that are applied, in any order.
    pub exemptions: Option<Vec<String>>,
    /// The words for all notices, in any order.
    pub notices: Option<Vec<String>>,
    /// The break-glass entry that lifts the denial.
    pub break_glass: Option<String>,
    /// What the message contains: each of these.
    pub message_contains: Vec<String>,
}

/// A violation that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedViolation {
    /// The rule.
    pub rule: String,
    /// The word for the condition.
    pub condition: &'static str,
    /// How many findings count for it.
    pub count: Option<usize>,
}

/// What was decided, in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// The action.
    pub action: Action,
    /// The rule that decided.
    pub rule: Option<String>,
    /// All violations.
    pub violations: Vec<FoundViolation>,
    /// The names of the exemptions that were applied, each once, sorted.
    pub exemptions: Vec<String>,
    /// The words for the notices, each once, sorted.
    pub notices: Vec<String>,
    /// The break-glass entry that lifted the denial.
    pub break_glass: Option<String>,
    /// What a developer is told; empty for an allow without a remark.
    pub message: String,
}

/// A violation that was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FoundViolation {
    /// The rule.
    pub rule: String,
    /// The word for the condition.
    pub condition: String,
    /// How many findings count for it.
    pub count: usize,
}

impl Found {
    fn new(decision: &Decision) -> Self {
        let violations = decision.violations.iter().map(|violation| FoundViolation {
            rule: violation.rule.to_string(),
            condition: violation.condition.as_str().to_owned(),
            count: violation.total(),
        });
        Self {
            action: decision.action,
            rule: decision.rule.as_deref().map(str::to_owned),
            violations: violations.collect(),
            exemptions: unique(decision.exemptions.iter().map(|applied| applied.name.to_string())),
            notices: unique(decision.notices.iter().map(|n| n.kind.as_str().to_owned())),
            break_glass: decision.break_glass.as_ref().map(|lifted| lifted.name.to_string()),
            message: String::new(),
        }
    }
}

/// Something that was decided otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The field of `expect`.
    pub field: &'static str,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
}

impl Expected {
    /// How `found` differs; nothing where it is as expected.
    #[must_use]
    pub fn differences(&self, found: &Found) -> Vec<Difference> {
        let mut list = Vec::new();
        let mut note = |field, expected: String, found: String| {
            list.push(Difference { field, expected, found });
        };
        let text = |text: Option<&str>| text.unwrap_or("none").to_owned();
        if self.action != found.action {
            note("action", self.action.as_str().to_owned(), found.action.as_str().to_owned());
        }
        if self.rule.is_some() && self.rule != found.rule {
            note("rule", text(self.rule.as_deref()), text(found.rule.as_deref()));
        }
        if let Some(violations) = &self.violations
            && !are_all(violations, &found.violations)
        {
            note("violations", joined(violations), joined(&found.violations));
        }
        if let Some(exemptions) = self.exemptions.clone().map(unique)
            && exemptions != found.exemptions
        {
            note("exemptions", joined(&exemptions), joined(&found.exemptions));
        }
        if let Some(notices) = self.notices.clone().map(unique)
            && notices != found.notices
        {
            note("notices", joined(&notices), joined(&found.notices));
        }
        if self.break_glass.is_some() && self.break_glass != found.break_glass {
            let lifted = text(found.break_glass.as_deref());
            note("breakGlass", text(self.break_glass.as_deref()), lifted);
        }
        for part in self.message_contains.iter().filter(|part| !found.message.contains(*part)) {
            note("messageContains", part.clone(), found.message.clone());
        }
        list
    }
}

/// Whether each expected violation is there, and no other.
fn are_all(expected: &[ExpectedViolation], found: &[FoundViolation]) -> bool {
    let mut left: Vec<_> = found.iter().collect();
    // One with a number takes the violation of that number before one that would take any.
    let (counted, any): (Vec<_>, Vec<_>) = expected.iter().partition(|e| e.count.is_some());
    let all = counted.into_iter().chain(any).all(|e| {
        let fits = |f: &&FoundViolation| {
            f.rule == e.rule
                && f.condition == e.condition
                && e.count.is_none_or(|count| count == f.count)
        };
        left.iter().position(fits).map(|place| left.swap_remove(place)).is_some()
    });
    all && left.is_empty()
}

fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    names.dedup();
    names
}

fn joined<T: fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for ExpectedViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rule, self.condition)?;
        self.count.map_or(Ok(()), |count| write!(f, " ({count})"))
    }
}

impl fmt::Display for FoundViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.rule, self.condition, self.count)
    }
}

#[cfg(test)]
mod tests;
