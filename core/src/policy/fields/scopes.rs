//! The fields of scopes.

use super::{Mapping, SOME_VALUES, Shape, TEXT, may, must, words};
use crate::policy::document::{SCOPED, SCOPED_OPERATORS, SELECTING};
use crate::policy::{MAX_VALUE, MAX_VALUES};

pub(crate) const SCOPE: Mapping = Mapping {
    title: "Scope",
    fields: &[
        may("name", TEXT, "A label, without effect."),
        may("cloud", Shape::Map(&CLOUD), "Which clouds."),
        may(
            "match",
            Shape::List(&Shape::Map(&MATCHER), 0, MAX_VALUES),
            "Which containers: all matchers must match.",
        ),
        may("podLabels", Shape::Map(&SELECTOR), "Which pods, by their labels."),
        may("namespaceLabels", Shape::Map(&SELECTOR), "Which namespaces, by their labels."),
    ],
    demand: None,
};

pub(crate) const CLOUD: Mapping = Mapping {
    title: "Cloud",
    fields: &[
        may("provider", SOME_VALUES, "`azure`, `aws` or `gcp`."),
        may("account", SOME_VALUES, "Subscriptions, accounts or projects."),
        may("region", SOME_VALUES, "Regions."),
    ],
    demand: None,
};

pub(crate) const MATCHER: Mapping = Mapping {
    title: "Matcher",
    fields: &[
        must(
            "field",
            Shape::Words(|| words(&SCOPED)),
            "add it",
            "What is looked at; `workload` is `Kind/name`.",
        ),
        must(
            "operator",
            Shape::Words(|| words(&SCOPED_OPERATORS)),
            "add it",
            "How it is compared.",
        ),
        must("values", SOME_VALUES, "name at least one", "With what: one of these must fit."),
    ],
    demand: None,
};

/// As the Kubernetes API has it (`LabelSelector`).
pub(crate) const SELECTOR: Mapping = Mapping {
    title: "LabelSelector",
    fields: &[
        may("matchLabels", Shape::Labels, "Labels that must be there."),
        may(
            "matchExpressions",
            Shape::List(&Shape::Map(&EXPRESSION), 0, MAX_VALUES),
            "Requirements that must hold.",
        ),
    ],
    demand: None,
};

pub(crate) const EXPRESSION: Mapping = Mapping {
    title: "LabelExpression",
    fields: &[
        must("key", Shape::Text(MAX_VALUE), "add it", "The key of a label."),
        must(
            "operator",
            Shape::Words(|| words(&SELECTING)),
            "add it",
            "`NotIn` holds also where there is no such label.",
        ),
        may(
            "values",
            Shape::List(&Shape::LabelValue, 0, MAX_VALUES),
            "With what it is compared, for `In` and `NotIn`.",
        ),
    ],
    demand: None,
};
