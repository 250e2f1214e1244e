//! Every field of a file of cases: its name, what it may hold and what it is for.

use super::{MAX_CASE_FINDINGS, MAX_CASE_NAME, MAX_CASES};
use crate::findings::MAX_LIST;
use crate::policy::fields::{METADATA, Mapping, Shape, may, must};
use crate::policy::{MAX_RULE_NAME, MAX_TEXT, MAX_VALUE, MAX_VALUES};

const TEXT: Shape = Shape::Text(MAX_TEXT);
const VALUE: Shape = Shape::Text(MAX_VALUE);
const NAME: Shape = Shape::Text(MAX_RULE_NAME);
const TEXTS: Shape = Shape::Either(&TEXT, &Shape::List(&TEXT, 0, MAX_LIST));
const NAMES: Shape = Shape::Either(&TEXT, &Shape::List(&TEXT, 0, MAX_VALUES));
const KNOWN: Shape = Shape::Either(&STATUS, &Shape::Map(&EVIDENCE));
const STATUS: Shape = Shape::Words(|| super::evidence::STATUS.to_vec());
const ADD: &str = "add it";

pub(super) const DOCUMENT: Mapping = Mapping {
    title: "Cases",
    fields: &[
        must(
            "apiVersion",
            Shape::Words(|| vec![super::document::API_VERSION]),
            "write `apiVersion: portcullis.dev/v1`",
            "The version of this format.",
        ),
        must(
            "kind",
            Shape::Words(|| vec![super::document::KIND]),
            "write `kind: Cases`",
            "What the document is.",
        ),
        may("metadata", Shape::Map(&METADATA), "What the document is called."),
        must("spec", Shape::Map(&SPEC), ADD, "What is tested."),
    ],
    demand: None,
};

pub(super) const SPEC: Mapping = Mapping {
    title: "CasesSpec",
    fields: &[
        may("time", Shape::Instant, "When cases are decided that do not say it."),
        must("cases", Shape::List(&Shape::Map(&CASE), 0, MAX_CASES), ADD, "The cases."),
    ],
    demand: None,
};

pub(super) const CASE: Mapping = Mapping {
    title: "Case",
    fields: &[
        must("name", Shape::Text(MAX_CASE_NAME), ADD, "What it shows; unique in its file."),
        must("image", VALUE, ADD, "The image as a pod names it."),
        may("context", Shape::Map(&CONTEXT), "Where it would run."),
        may("time", Shape::Instant, "When it is decided."),
        must("evidence", KNOWN, ADD, "What is known of the image."),
        must("expect", Shape::Map(&EXPECT), ADD, "What should be decided."),
    ],
    demand: None,
};

pub(super) const CONTEXT: Mapping = Mapping {
    title: "CaseContext",
    fields: &[
        may("cloud", Shape::Map(&CLOUD), "The cloud."),
        may("cluster", VALUE, "The cluster."),
        may("namespace", VALUE, "The namespace."),
        may("namespaceLabels", Shape::Labels, "The labels of the namespace."),
        may("workload", VALUE, "The workload: `Deployment/web`."),
        may("pod", VALUE, "The pod."),
        may("podLabels", Shape::Labels, "The labels of the pod."),
        may("serviceAccount", VALUE, "The service account."),
        may("container", VALUE, "The container."),
        may("breakGlass", VALUE, "Why the image must run, as someone says."),
    ],
    demand: None,
};

pub(super) const CLOUD: Mapping = Mapping {
    title: "CaseCloud",
    fields: &[
        may("provider", VALUE, "The provider."),
        may("account", VALUE, "The subscription, account or project."),
        may("region", VALUE, "The region."),
    ],
    demand: None,
};

pub(super) const EVIDENCE: Mapping = Mapping {
    title: "CaseEvidence",
    fields: &[
        may("digest", VALUE, "The digest of the manifest."),
        may("status", STATUS, "What is known where there is no report to be believed."),
        may("reason", VALUE, "Why it is rejected or unavailable."),
        may("age", Shape::Age, "How long stale evidence could not be confirmed."),
        may("reports", Shape::List(&Shape::Map(&REPORT), 1, MAX_VALUES), "The reports."),
        may("vex", Shape::List(&Shape::Map(&VEX), 0, MAX_VALUES), "VEX documents beside them."),
        may("platforms", Shape::Labels, "What is known of each platform, by `os/architecture`."),
    ],
    demand: None,
};

pub(super) const REPORT: Mapping = Mapping {
    title: "CaseReport",
    fields: &[
        may("report", VALUE, "A scanner's file, relative to the file of cases."),
        may("scanner", TEXT, "The name of the scanner."),
        may("scannedAt", Shape::Instant, "When the scan finished: a time, or an age like `3h`."),
        may(
            "findings",
            Shape::List(&Shape::Map(&FINDING), 0, MAX_CASE_FINDINGS),
            "What was found.",
        ),
    ],
    demand: None,
};

pub(super) const FINDING: Mapping = Mapping {
    title: "CaseFinding",
    fields: &[
        must("id", TEXT, ADD, "The identifier, as the scanner writes it."),
        may("aliases", TEXTS, "Other identifiers of the same vulnerability."),
        may("severity", Shape::Words(|| super::finding::severities().to_vec()), "How bad it is."),
        may("score", Shape::Number(10.0), "The CVSS base score."),
        may("package", TEXT, "The name of the package."),
        may("purl", TEXT, "The package URL."),
        may("installed", TEXT, "The installed version."),
        may("fixed", TEXTS, "Versions that fix it."),
        may(
            "fixState",
            Shape::Words(|| crate::policy::fields::words(&super::finding::FIX_STATES)),
            "Whether there is a fix.",
        ),
        may("knownExploited", Shape::Choice, "Whether it is known to be exploited."),
        may("epss", Shape::Number(1.0), "How likely it is to be exploited."),
        may("published", Shape::Instant, "When it was published: a time, or an age."),
        may("firstSeen", Shape::Instant, "When a scanner first saw it: a time, or an age."),
        may(
            "analysis",
            Shape::Words(|| crate::policy::fields::words(&super::finding::ANALYSES)),
            "What the report itself says about it.",
        ),
    ],
    demand: None,
};

pub(super) const VEX: Mapping = Mapping {
    title: "CaseVex",
    fields: &[
        may("author", TEXT, "Who says so."),
        must(
            "statements",
            Shape::List(&Shape::Map(&STATEMENT), 0, MAX_VALUES),
            ADD,
            "What is said.",
        ),
    ],
    demand: None,
};

pub(super) const STATEMENT: Mapping = Mapping {
    title: "CaseStatement",
    fields: &[
        must("vulnerability", TEXTS, ADD, "The names of the vulnerability."),
        must(
            "status",
            Shape::Words(|| crate::policy::fields::words(&super::finding::VEX_STATUSES)),
            ADD,
            "What is said of it.",
        ),
        may("packages", TEXTS, "The package URLs that it is about; none: the whole image."),
        may("issuedAt", Shape::Instant, "When it was said: a time, or an age."),
    ],
    demand: None,
};

pub(super) const EXPECT: Mapping = Mapping {
    title: "CaseExpect",
    fields: &[
        must(
            "action",
            Shape::Words(|| crate::policy::fields::words(&super::document::ACTIONS)),
            ADD,
            "What should be done.",
        ),
        may("rule", NAME, "The rule that should decide."),
        may(
            "violations",
            Shape::List(&Shape::Map(&VIOLATION), 0, MAX_VALUES),
            "All violations that there should be.",
        ),
        may("exemptions", NAMES, "All exemptions that should be applied."),
        may("notices", NAMES, "The words for all notices that there should be."),
        may("breakGlass", NAME, "The break-glass entry that should lift the denial."),
        may("messageContains", NAMES, "What the message should contain."),
    ],
    demand: None,
};

pub(super) const VIOLATION: Mapping = Mapping {
    title: "CaseViolation",
    fields: &[
        must("rule", NAME, ADD, "The rule."),
        must(
            "condition",
            Shape::Words(|| super::document::CONDITIONS.to_vec()),
            ADD,
            "The word for the condition.",
        ),
        may("count", Shape::Whole, "How many findings count for it."),
    ],
    demand: None,
};
