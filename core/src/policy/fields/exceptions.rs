//! The fields of exemptions and of break-glass entries.

use super::{Field, Mapping, SCOPE, SOME_VALUES, Shape, TEXT, may, must, words};
use crate::policy::MAX_VALUES;
use crate::policy::document::{EXEMPT, EXEMPT_OPERATORS};

const SOME_RULES: Shape = Shape::List(&Shape::Name, 1, MAX_VALUES);

/// Those of an exemption; the last is only for one that is not a rule's own.
const EXEMPTION_FIELDS: &[Field] = &[
    must(
        "name",
        Shape::Name,
        "give it a unique one",
        "Appears in answers; unique among all exemptions of all files.",
    ),
    must(
        "match",
        Shape::List(&Shape::Map(&EXEMPT_MATCHER), 1, MAX_VALUES),
        "name at least one matcher",
        "What is exempt: all matchers must match. Without one of `vulnerability`, and without \
         `untilFixed`, that covers what is wrong with the evidence and the image too.",
    ),
    may("from", Shape::Instant, "When it begins; a date is its first instant, UTC."),
    may("until", Shape::Instant, "When it ends; a date is the end of that day, UTC."),
    may("untilFixed", Shape::Flag, "Whether it ends for a finding when there is a fix."),
    must("owner", TEXT, "say who answers for it", "Who answers for it."),
    must("reason", TEXT, "say why it is there", "Why it is there."),
    may("ticket", TEXT, "Where it is tracked."),
    may("rules", SOME_RULES, "Names of the rules that it is for; all by default."),
];

pub(crate) const EXEMPTION: Mapping =
    Mapping { title: "Exemption", fields: EXEMPTION_FIELDS, demand: None };

/// An exemption of the rule that it is written in.
pub(crate) const OWN_EXEMPTION: Mapping = Mapping {
    title: "RuleExemption",
    fields: match EXEMPTION_FIELDS.split_last() {
        Some((_, own)) => own,
        None => &[],
    },
    demand: None,
};

pub(crate) const EXEMPT_MATCHER: Mapping = Mapping {
    title: "ExemptionMatcher",
    fields: &[
        must(
            "field",
            Shape::Words(|| words(&EXEMPT)),
            "add it",
            "What is looked at: `vulnerability` by any of its names, `image` by its digest, \
             `workload` as `Kind/name`.",
        ),
        must(
            "operator",
            Shape::Words(|| words(&EXEMPT_OPERATORS)),
            "add it",
            "How it is compared.",
        ),
        must("values", SOME_VALUES, "name at least one", "With what: one of these must fit."),
    ],
    demand: None,
};

pub(crate) const BREAK_GLASS: Mapping = Mapping {
    title: "BreakGlass",
    fields: &[
        must(
            "name",
            Shape::Name,
            "give it a unique one",
            "Appears in answers; unique among all break-glass entries of all files.",
        ),
        may("scope", Shape::Map(&SCOPE), "Where it may be used; everywhere by default."),
        may("rules", SOME_RULES, "Names of the rules whose denials it lifts; all by default."),
    ],
    demand: None,
};
