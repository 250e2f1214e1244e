//! Rule documents in, one compiled policy out: or every problem of every file, with its place.

pub(crate) mod node;
mod prefix;
mod labels;
mod lineage;
mod scope;
mod glob;
mod narrow;
mod exemption;
mod rule;
mod mismatch;
mod index;
pub(crate) mod fields;
mod schema;
pub(crate) mod reader;
mod document;
mod doubts;
mod shadow;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;

use crate::findings::Severity;
use crate::image::Digest;

pub use self::exemption::{BreakGlass, Exemption};
pub(crate) use self::glob::Glob;
pub(crate) use self::glob::{ImagePattern, ImagePatterns};
pub(crate) use self::mismatch::Fit;
pub use self::mismatch::{MAX_SHOWN, MAX_SHOWN_VALUES, Mismatch};
pub use self::narrow::Population;
pub(crate) use self::narrow::{Limit, Narrowing, NotStated};
pub use self::rule::Rule;
pub(crate) use self::rule::{Allowed, Forbidden, IdKey, Ids};
pub use self::schema::schema;
pub use self::scope::Field;
pub(crate) use self::scope::{Prefixes, Scope, Target};

/// The largest rule file that is read, in bytes.
pub const MAX_FILE: usize = 4 * 1024 * 1024;
/// The most rules of one policy (CASES T096).
pub const MAX_RULES: usize = 10_000;
/// The most exemptions of one policy (CASES T096), and the most break-glass entries.
pub const MAX_EXEMPTIONS: usize = 10_000;
/// The most values of one list in a rule.
pub const MAX_VALUES: usize = 10_000;
/// The longest name of a rule, an exemption or a break-glass entry, in bytes (RFC 1123 label).
pub const MAX_RULE_NAME: usize = 63;
/// The longest value of a matcher, in bytes: that of an image reference.
pub const MAX_VALUE: usize = crate::image::MAX_REFERENCE;
/// The longest vulnerability identifier, in bytes.
pub const MAX_ID: usize = 128;
/// The longest description, reason or label, in bytes.
pub const MAX_TEXT: usize = 1024;
/// The longest `maxFindingsAge`, and the longest grace period: ten years.
pub const MAX_FINDINGS_AGE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// The most problems that are reported before reading stops, and the most warnings.
pub const MAX_PROBLEMS: usize = 100;
/// The most YAML nodes of one file.
const MAX_NODES: usize = 500_000;
/// The most YAML documents of one file.
const MAX_DOCUMENTS: usize = 1_000;
/// The deepest nesting of a YAML document; a rule needs nine.
const MAX_DEPTH: usize = 16;
/// The most YAML events that aliases may repeat in one file.
const MAX_REPLAYED: usize = 100_000;

/// One rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name, as problems should show it.
    pub file: String,
    /// What it holds: YAML, one or more documents.
    pub text: String,
}

/// Something wrong, or doubtful, at one place of a rule file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Name of the file.
    pub file: String,
    /// Line, from 1; 0 if it is about the whole file.
    pub line: u32,
    /// Column in characters, from 1; 0 if it is about the whole file.
    pub column: u32,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            _ => write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message),
        }
    }
}

/// Every problem found in a set of rule files, at most [`MAX_PROBLEMS`]; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors {
    problems: Vec<Problem>,
}

impl PolicyErrors {
    /// The problems, in the order of the files.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

/// Reads all `sources` as one policy.
///
/// # Errors
/// Every problem that was found. A file without a document is one, and so is no file at all: only a
/// written `rules: []` means that nothing is gated.
pub fn parse(sources: &[Source]) -> Result<Policy, PolicyErrors> {
    let mut reading = document::Reading::default();
    for source in sources {
        reading.file(source);
    }
    reading.finish(revision(sources))
}

/// The first 16 hexadecimal digits of a SHA-256 over the texts, whatever their order and names.
fn revision(sources: &[Source]) -> String {
    let mut digests: Vec<_> = sources.iter().map(|s| Digest::of(s.text.as_bytes())).collect();
    digests.sort_unstable();
    let joined: Vec<u8> = digests.iter().flat_map(|d| *d.as_bytes()).collect();
    let mut hex = Digest::of(&joined).hex();
    hex.truncate(16);
    hex
}

/// All rules at one revision, ready to decide.
#[derive(Debug, Clone)]
pub struct Policy {
    revision: Arc<str>,
    evaluation: Evaluation,
    rules: Vec<Rule>,
    /// What several rules' limits look at, once each; the first looks at all findings.
    narrowings: Vec<Narrowing>,
    exemptions: Vec<Arc<Exemption>>,
    break_glass: Vec<BreakGlass>,
    /// Images that no rule is about.
    allowed_images: ImagePatterns,
    ids: Ids,
    warnings: Vec<Problem>,
    /// Warnings that depend on the time.
    timed: Vec<doubts::Timed>,
    vary: Vec<Field>,
    /// Whether the scope of an enabled rule looks at more of an image than its repository.
    scopes_read_image: bool,
    /// Which of the above can be about a target.
    indexes: index::Indexes,
    /// Names this compiled policy among all that this process made.
    serial: u64,
}

/// What rule files hold, before it is put together.
#[derive(Debug, Default)]
struct Parts {
    evaluation: Evaluation,
    rules: Vec<Rule>,
    narrowings: Vec<Narrowing>,
    exemptions: Vec<Arc<Exemption>>,
    break_glass: Vec<BreakGlass>,
    allowed_images: ImagePatterns,
    ids: Ids,
    warnings: Vec<Problem>,
    timed: Vec<doubts::Timed>,
}

impl Policy {
    /// What holds where nothing is configured: the one rule `default`, which audits every image
    /// with a high or critical vulnerability.
    #[must_use]
    pub fn default_policy() -> Self {
        let limit = |level| Limit { population: Population::All, level, max: 0 };
        let rule = Rule {
            description: Some("audits images with high or critical vulnerabilities".to_owned()),
            limits: vec![limit(Severity::Critical), limit(Severity::High)],
            ..Rule::new("default".into())
        };
        Self::new("default".into(), Parts { rules: vec![rule], ..Parts::default() })
    }

    fn new(revision: Arc<str>, parts: Parts) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let Parts {
            evaluation,
            mut rules,
            mut narrowings,
            exemptions,
            break_glass,
            allowed_images,
            ids,
            warnings,
            timed,
        } = parts;
        if narrowings.is_empty() {
            narrowings.push(Narrowing::default());
        }
        for rule in &mut rules {
            rule.forbidden.sort_by_key(|forbidden| forbidden.key);
            rule.allowed.sort_by_key(|allowed| allowed.key);
        }
        let active = rules.iter().filter(|rule| rule.enabled);
        let scopes = active.clone().map(|rule| &rule.scope);
        let scopes_read_image = scopes.clone().any(Scope::reads_image);
        let scopes = scopes.chain(exemptions.iter().map(|exemption| &exemption.scope));
        let scopes = scopes.chain(break_glass.iter().map(|entry| &entry.scope));
        let mut fields: BTreeSet<Field> = scopes.flat_map(Scope::fields).collect();
        if active.clone().any(|rule| !rule.unsupported.0.is_empty()) {
            fields.insert(Field::Repository);
        }
        let patterns =
            |rule: &Rule| !rule.allowed_images.is_empty() || rule.trusted_images.is_some();
        if !allowed_images.is_empty() || active.clone().any(patterns) {
            fields.insert(Field::Image);
        }
        if !break_glass.is_empty() {
            fields.insert(Field::BreakGlass);
        }
        let indexes = index::Indexes::new(&rules, &exemptions, &break_glass);
        Self {
            revision,
            evaluation,
            rules,
            narrowings,
            exemptions,
            break_glass,
            allowed_images,
            ids,
            warnings,
            timed,
            vary: fields.into_iter().collect(),
            scopes_read_image,
            indexes,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Names this state of the policy: 16 hexadecimal digits of a SHA-256 over the sources, or
    /// `default`.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    pub(crate) fn shared_revision(&self) -> Arc<str> {
        Arc::clone(&self.revision)
    }

    /// How the rules are weighed against each other.
    #[must_use]
    pub const fn evaluation(&self) -> Evaluation {
        self.evaluation
    }

    /// All rules, also those that are disabled, in the order of the files.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is allowed but probably not meant, whatever the time, at most [`MAX_PROBLEMS`].
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// What is allowed but probably not meant at `now`: [`Policy::warnings`], and then exemptions and
    /// allowed vulnerabilities that have ended, or end within 14 days; at most [`MAX_PROBLEMS`].
    #[must_use]
    pub fn warnings_at(&self, now: OffsetDateTime) -> Vec<Problem> {
        let timed = self.timed.iter().filter_map(|timed| timed.at(now));
        self.warnings.iter().cloned().chain(timed).take(MAX_PROBLEMS).collect()
    }

    /// The fields that any enabled rule looks at, in the order of [`Field`]: two containers of one
    /// image that agree in these get the same answer.
    #[must_use]
    pub fn vary(&self) -> &[Field] {
        &self.vary
    }

    /// All exemptions, also those that do not hold now, in the order of the files.
    #[must_use]
    pub fn exemptions(&self) -> &[Arc<Exemption>] {
        &self.exemptions
    }

    /// Where a denial may be lifted by someone who says why, in the order of the files.
    #[must_use]
    pub fn break_glass(&self) -> &[BreakGlass] {
        &self.break_glass
    }

    pub(crate) const fn allowed_images(&self) -> &ImagePatterns {
        &self.allowed_images
    }

    /// Whether two images of one repository can have different rules in scope in one context.
    pub(crate) const fn scopes_read_image(&self) -> bool {
        self.scopes_read_image
    }

    pub(crate) fn narrowings(&self) -> &[Narrowing] {
        &self.narrowings
    }

    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) const fn ids(&self) -> &Ids {
        &self.ids
    }
}

/// How rules in scope are weighed against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evaluation {
    /// The rule whose condition the most severe vulnerability fulfils decides.
    #[default]
    FirstMatch,
    /// Any rule that denies decides before any that audits.
    DenyOverrides,
}

/// Entry point of the fuzz target.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use super::glob::{Glob, ImagePattern};
    use super::labels::{Operator, Requirement, Selector};
    use crate::image::Reference;

    /// Reads lines of `bytes` as a pattern, an image, a key and values of labels, and compares them.
    pub fn selector(bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let mut lines = text.lines();
        let (pattern, image) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let fits = Glob::parse(pattern).map(|glob| glob.matches(image));
        // A text without wildcards fits itself.
        assert!(pattern.contains('*') || pattern != image || fits == Some(true));
        if let (Some(pattern), Ok(image)) =
            (ImagePattern::parse(pattern), image.parse::<Reference>())
        {
            let _ = pattern.matches(&image);
        }
        let key = lines.next().unwrap_or_default().to_owned();
        let values: Vec<_> = lines.map(str::to_owned).collect();
        let labels = values.iter().map(|value| (key.clone(), value.clone())).collect();
        for operator in [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist] {
            let requirement = Requirement { key: key.clone(), operator, values: values.clone() };
            let selected = Selector { requirements: vec![requirement] }.selects(&labels);
            let wanted = matches!(operator, Operator::In | Operator::Exists);
            assert_eq!(selected, wanted != values.is_empty());
        }
    }

    /// Reads `bytes` as a rule file.
    pub fn rules(bytes: &[u8]) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let source = super::Source { file: "fuzz.yaml".to_owned(), text: text.to_owned() };
            if let Ok(policy) = super::parse(&[source]) {
                let _ = policy.warnings_at(time::OffsetDateTime::UNIX_EPOCH);
            }
        }
    }
}

#[cfg(test)]
mod tests;
