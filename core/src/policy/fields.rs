//! Every field of a rule document: its name, what it may hold and what it is for. What reads
//! documents and what writes their JSON Schema both follow these tables.

mod exceptions;
mod scopes;

use super::document::{ACTIONS, API_VERSION, EVALUATIONS, KIND, NOT_STATED, ON_UNAVAILABLE};
use super::{MAX_EXEMPTIONS, MAX_RULES, MAX_TEXT, MAX_VALUE, MAX_VALUES};

pub(crate) use self::exceptions::{BREAK_GLASS, EXEMPT_MATCHER, EXEMPTION, OWN_EXEMPTION};
pub(crate) use self::scopes::{CLOUD, EXPRESSION, MATCHER, SCOPE, SELECTOR};

/// The fields of one kind of mapping.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Its name in the JSON Schema.
    pub(crate) title: &'static str,
    pub(crate) fields: &'static [Field],
    /// Of which fields there must be one at least.
    pub(crate) demand: Option<Demand>,
}

/// At least one of `fields` must be there, and not be `false` or an empty list.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) fields: &'static [&'static str],
    /// What is said of a mapping with none of them.
    pub(crate) lack: &'static str,
}

/// One field of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// What it is for, in one sentence or two.
    pub(crate) doc: &'static str,
    /// What to do where it is missing; `None` if it may be.
    pub(crate) required: Option<&'static str>,
    /// Fields of which it needs one beside it.
    pub(crate) beside: &'static [&'static str],
}

/// What a field may hold.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text of so many bytes at most.
    Text(usize),
    /// A label of RFC 1123.
    Name,
    /// An identifier of a vulnerability.
    Id,
    /// `true`, or `false` as if it were not there.
    Flag,
    /// `true` or `false`, and both ask for something.
    Choice,
    /// Nothing but `true`.
    True,
    /// From 0 to `u32::MAX`.
    Whole,
    /// From 0 to this.
    Number(f64),
    /// A date, or a date and a time.
    Instant,
    /// A number and a unit.
    Age,
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// As a text, and it may be empty.
    LabelValue,
    /// Free names with the values of labels.
    Labels,
    /// From so many to so many items.
    List(&'static Self, usize, usize),
    Map(&'static Mapping),
    /// The one or the other.
    Either(&'static Self, &'static Self),
}

impl Mapping {
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.name).collect()
    }
}

/// The words of a table.
pub(crate) fn words<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(word, _)| *word).collect()
}

pub(crate) const fn may(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, doc, required: None, beside: &[] }
}

pub(crate) const fn must(
    name: &'static str,
    shape: Shape,
    cure: &'static str,
    doc: &'static str,
) -> Field {
    Field { name, shape, doc, required: Some(cure), beside: &[] }
}

const TEXT: Shape = Shape::Text(MAX_TEXT);
const LIMITS: Shape = Shape::Map(&LEVELS);
const PATTERNS: Shape = Shape::List(&Shape::Text(MAX_VALUE), 0, MAX_VALUES);
const SOME_VALUES: Shape = Shape::List(&Shape::Text(MAX_VALUE), 1, MAX_VALUES);

pub(crate) const DOCUMENT: Mapping = Mapping {
    title: "Document",
    fields: &[
        must(
            "apiVersion",
            Shape::Words(|| vec![API_VERSION]),
            "write `apiVersion: portcullis.dev/v1`",
            "The version of this format.",
        ),
        must("kind", Shape::Words(|| vec![KIND]), "write `kind: Policy`", "What the document is."),
        may("metadata", Shape::Map(&METADATA), "What the document is called."),
        must("spec", Shape::Map(&SPEC), "add one", "What holds."),
    ],
    demand: None,
};

pub(crate) const METADATA: Mapping = Mapping {
    title: "Metadata",
    fields: &[may("name", TEXT, "A label, without effect.")],
    demand: None,
};

pub(crate) const SPEC: Mapping = Mapping {
    title: "Spec",
    fields: &[
        may(
            "evaluation",
            Shape::Words(|| words(&EVALUATIONS)),
            "Which violation decides: that of the most severe vulnerability (`firstMatch`, the \
             default), or any denial before any audit (`denyOverrides`). Stated once for all files.",
        ),
        may(
            "allowedImages",
            PATTERNS,
            "Patterns of images that no rule is about: `*` within one part of a path, `**` across.",
        ),
        may(
            "breakGlass",
            Shape::List(&Shape::Map(&BREAK_GLASS), 0, MAX_EXEMPTIONS),
            "Where an image may run although a rule denies it, if someone says why.",
        ),
        may(
            "exemptions",
            Shape::List(&Shape::Map(&EXEMPTION), 0, MAX_EXEMPTIONS),
            "Exceptions to rules, each with an owner and a reason.",
        ),
        may(
            "rules",
            Shape::List(&Shape::Map(&RULE), 0, MAX_RULES),
            "The rules. `[]` gates nothing; one document of all must have it.",
        ),
    ],
    demand: None,
};

pub(crate) const RULE: Mapping = Mapping {
    title: "Rule",
    fields: &[
        must(
            "name",
            Shape::Name,
            "give it a unique one",
            "Appears in denials; unique over all files.",
        ),
        may("description", TEXT, "What the rule is for."),
        may("enabled", Shape::Flag, "Whether it takes part in decisions; `true` by default."),
        may(
            "action",
            Shape::Words(|| words(&ACTIONS)),
            "What to do with an image that violates it: run it and say so (`audit`, the default), \
             or not run it (`deny`).",
        ),
        may("scope", Shape::Map(&SCOPE), "What it is about; everything by default."),
        may(
            "maxAllowed",
            LIMITS,
            "How many findings are allowed at a level or higher: violated by the next one.",
        ),
        may(
            "maxAllowedFixable",
            LIMITS,
            "As `maxAllowed`, of findings with a fix and those of which it is not stated.",
        ),
        may(
            "maxAllowedUnfixable",
            LIMITS,
            "As `maxAllowed`, of findings without a fix and those of which it is not stated.",
        ),
        Field {
            beside: &["maxAllowed", "maxAllowedFixable", "maxAllowedUnfixable"],
            ..may("count", Shape::Map(&COUNT), "Which findings the three limits look at.")
        },
        may(
            "forbiddenVulnerabilities",
            Shape::List(&Shape::Id, 0, MAX_VALUES),
            "Vulnerabilities that must not be there, by any of their names.",
        ),
        may(
            "allowedVulnerabilities",
            Shape::List(&Shape::Either(&Shape::Id, &Shape::Map(&ALLOWED)), 0, MAX_VALUES),
            "Vulnerabilities that this rule does not count, by any of their names.",
        ),
        may(
            "allowedImages",
            PATTERNS,
            "Patterns of images that this rule is not about: `*` within one part of a path, `**` \
             across.",
        ),
        may(
            "trustedImages",
            SOME_VALUES,
            "Patterns of the only images that may run: violated by any other.",
        ),
        may(
            "exemptions",
            Shape::List(&Shape::Map(&OWN_EXEMPTION), 0, MAX_EXEMPTIONS),
            "Exceptions to this rule alone.",
        ),
        may(
            "blockUnscannedImages",
            Shape::Flag,
            "Whether an image without a usable report violates the rule; `false` by default.",
        ),
        may(
            "maxFindingsAge",
            Shape::Age,
            "How old a scan may be, from `1s` to `3650d`: older reports cannot say that an image \
             is clean.",
        ),
        may(
            "onUnavailable",
            Shape::Words(|| words(&ON_UNAVAILABLE)),
            "What to do when it cannot be found out whether there is a report; `audit` by default.",
        ),
        may(
            "unsupportedRegistries",
            PATTERNS,
            "Registries, or paths within them, that the rule leaves alone.",
        ),
    ],
    demand: Some(Demand {
        fields: &[
            "maxAllowed",
            "maxAllowedFixable",
            "maxAllowedUnfixable",
            "forbiddenVulnerabilities",
            "trustedImages",
            "blockUnscannedImages",
            "onUnavailable",
        ],
        lack: "has no condition",
    }),
};

const LEVEL_NAMES: [&str; 5] = ["critical", "high", "medium", "low", "unknown"];

pub(crate) const LEVELS: Mapping = Mapping {
    title: "Limits",
    fields: &[
        may("critical", Shape::Whole, "Critical findings."),
        may("high", Shape::Whole, "High findings and above."),
        may("medium", Shape::Whole, "Medium findings and above."),
        may("low", Shape::Whole, "Low findings and above."),
        may(
            "unknown",
            Shape::Whole,
            "Findings of unknown severity; without it, they count at each level.",
        ),
    ],
    demand: Some(Demand { fields: &LEVEL_NAMES, lack: "names no level" }),
};

pub(crate) const COUNT: Mapping = Mapping {
    title: "Count",
    fields: &[
        may("fixAvailable", Shape::Choice, "Only findings with a fix, or only those without."),
        may("minCvss", Shape::Number(10.0), "Only findings with this CVSS score or a higher one."),
        may(
            "packages",
            SOME_VALUES,
            "Only findings in these packages: patterns of package URLs without version, such as \
             `pkg:deb/debian/*`.",
        ),
        may("notPackages", SOME_VALUES, "Not findings in these packages."),
        may("knownExploited", Shape::True, "Only findings that are known to be exploited."),
        may(
            "minEpss",
            Shape::Number(1.0),
            "Only findings with this probability of exploitation (EPSS) or a higher one.",
        ),
        may(
            "minPublishedAge",
            Shape::Age,
            "A grace period: only findings that were published so long ago.",
        ),
        may(
            "minFirstSeenAge",
            Shape::Age,
            "A grace period: only findings that were first seen in the image so long ago.",
        ),
        may(
            "notStated",
            Shape::Words(|| words(&NOT_STATED)),
            "What becomes of a finding that does not state what is asked: it counts (`count`, the \
             default) or not (`ignore`).",
        ),
    ],
    demand: Some(Demand {
        fields: &[
            "fixAvailable",
            "minCvss",
            "packages",
            "notPackages",
            "knownExploited",
            "minEpss",
            "minPublishedAge",
            "minFirstSeenAge",
        ],
        lack: "narrows nothing",
    }),
};

pub(crate) const ALLOWED: Mapping = Mapping {
    title: "AllowedVulnerability",
    fields: &[
        must("id", Shape::Id, "add it", "One of its names."),
        may("until", Shape::Instant, "When it counts again; a date is the end of that day, UTC."),
        may("reason", TEXT, "Why it is allowed."),
    ],
    demand: None,
};
