//! A file of cases in, cases or every problem out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use time::OffsetDateTime;

use super::evidence::{self, Surroundings};
use super::reading::{texts, time};
use super::{Case, Expected, ExpectedViolation, MAX_CASE_NAME, MAX_CASES, Open, fields};
use crate::decide::{Action, Context};
use crate::image::Reference;
use crate::policy::fields::METADATA;
use crate::policy::node::{self, Kind, Node, Place};
use crate::policy::reader::{Fields, Reader, quoted};
use crate::policy::{MAX_FILE, MAX_RULE_NAME, MAX_TEXT, MAX_VALUE, MAX_VALUES, Problem, Source};

pub(super) const API_VERSION: &str = "portcullis.dev/v1";
pub(super) const KIND: &str = "Cases";
pub(super) const ACTIONS: [(&str, Action); 3] =
    [("allow", Action::Allow), ("audit", Action::Audit), ("deny", Action::Deny)];
/// The words for conditions, as in [`crate::decide::Condition::as_str`].
pub(super) const CONDITIONS: [&str; 12] = [
    "max_allowed",
    "max_allowed_fixable",
    "max_allowed_unfixable",
    "forbidden",
    "untrusted_image",
    "unscanned",
    "rejected",
    "stale",
    "unconfirmed",
    "withheld",
    "unavailable",
    "unsupported",
];

pub(super) fn parse(
    source: &Source,
    now: OffsetDateTime,
    open: &mut Open<'_>,
) -> Result<Vec<Case>, Vec<Problem>> {
    let mut problems = Vec::new();
    let name: Arc<str> = source.file.as_str().into();
    // Nothing is doubtful in a case.
    let mut warnings = Vec::new();
    let mut reader = Reader { file: &name, problems: &mut problems, warnings: &mut warnings };
    let mut file = File { now, open, names: HashMap::new(), cases: Vec::new() };
    if source.text.len() > MAX_FILE {
        let length = source.text.len();
        let message = format!("the file has {length} bytes, more than the {MAX_FILE} allowed");
        reader.note(Place::default(), message);
    } else {
        match node::documents(&source.text) {
            Ok(documents) => {
                documents.iter().for_each(|document| file.document(&mut reader, document));
                if file.cases.is_empty() && reader.problems.is_empty() {
                    reader.note(Place::default(), "the file holds no case: add one".to_owned());
                }
            }
            Err((place, message)) => {
                reader.note(place, format!("the file is not readable YAML: {message}"));
            }
        }
    }
    if problems.is_empty() {
        return Ok(file.cases);
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(problems)
}

/// What was read of one file.
struct File<'a, 'o> {
    now: OffsetDateTime,
    open: &'a mut Open<'o>,
    /// Where each name was used first.
    names: HashMap<String, Place>,
    cases: Vec<Case>,
}

impl File<'_, '_> {
    fn document(&mut self, reader: &mut Reader<'_>, node: &Node) {
        let Some(fields) = reader.fields(node, "the document", &fields::DOCUMENT) else {
            return;
        };
        let mut header = |name: &str, value: &'static str| {
            let node = fields.get(name)?;
            reader.word(node, &format!("`{name}`"), &[(value, ())])
        };
        let (version, kind) = (header("apiVersion", API_VERSION), header("kind", KIND));
        if version.is_none() || kind.is_none() {
            return;
        }
        if let Some(metadata) = fields.get("metadata")
            && let Some(metadata) = reader.fields(metadata, "`metadata`", &METADATA)
            && let Some(name) = metadata.get("name")
        {
            reader.text(name, "`metadata.name`", MAX_TEXT);
        }
        let Some(spec) = fields.get("spec") else {
            return;
        };
        let Some(spec) = reader.fields(spec, "`spec`", &fields::SPEC) else {
            return;
        };
        let own = spec.get("time").and_then(|node| time(reader, node, "`time` of `spec`"));
        let now = own.unwrap_or(self.now);
        let Some(cases) = spec.get("cases") else {
            return;
        };
        for node in reader.list(cases, "`cases`", MAX_CASES) {
            if self.cases.len() >= MAX_CASES {
                let message = format!("there are more than the {MAX_CASES} cases allowed");
                return reader.note(node.place, message);
            }
            let before = reader.problems.len();
            if let Some(case) = self.case(reader, node, now)
                && reader.problems.len() == before
            {
                self.cases.push(case);
            }
        }
    }

    fn case(&mut self, reader: &mut Reader<'_>, node: &Node, now: OffsetDateTime) -> Option<Case> {
        let fields = reader.fields(node, "the case", &fields::CASE)?;
        let name = self.name(reader, &fields);
        // A case without a good name is read on for its other problems, and not kept.
        let what = name.as_ref().map_or("the case".to_owned(), |name| format!("case `{name}`"));
        let image =
            fields.get("image").and_then(|node| image(reader, node, &format!("`image` of {what}")));
        let context = fields.get("context").map(|node| context(reader, node, &what));
        let time = fields.get("time").map(|node| time(reader, node, &format!("`time` of {what}")));
        let time = time.unwrap_or(Some(now));
        let expected = fields.get("expect").and_then(|node| expected(reader, node, &what));
        let node_of_evidence = fields.get("evidence");
        let (name, image, time) = (name?, image?, time?);
        let surroundings = Surroundings { image: &image, now: time, what: &what };
        let subjects = evidence::subjects(reader, node_of_evidence?, surroundings, self.open);
        let context = context.unwrap_or_default();
        let expected = expected?;
        Some(Case { name, line: node.place.line, image, context, time, subjects, expected })
    }

    fn name(&mut self, reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<String> {
        let node = fields.get("name")?;
        let name = reader.text(node, "`name` of the case", MAX_CASE_NAME)?;
        if let Some(Place { line, column }) = self.names.get(name) {
            let message = format!(
                "there is a case {} already, at {line}:{column}: give each its own name",
                quoted(name)
            );
            reader.note(node.place, message);
            return None;
        }
        self.names.insert(name.to_owned(), node.place);
        Some(name.to_owned())
    }
}

fn image(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Reference> {
    let text = reader.text(node, what, MAX_VALUE)?;
    match text.parse() {
        Ok(image) => Some(image),
        Err(error) => {
            let error: crate::image::ImageError = error;
            reader.note(node.place, format!("{what} is not an image reference: {error}"));
            None
        }
    }
}

fn context(reader: &mut Reader<'_>, node: &Node, what: &str) -> Context {
    let mut ctx = Context::default();
    let Some(fields) = reader.fields(node, &format!("`context` of {what}"), &fields::CONTEXT)
    else {
        return ctx;
    };
    let mut text = |fields: &Fields<'_>, name: &str| {
        let node = fields.get(name)?;
        reader.text(node, &format!("`{name}` of {what}"), MAX_VALUE).map(str::to_owned)
    };
    ctx.cluster = text(&fields, "cluster").unwrap_or_default();
    ctx.namespace = text(&fields, "namespace").unwrap_or_default();
    ctx.pod = text(&fields, "pod").unwrap_or_default();
    ctx.service_account = text(&fields, "serviceAccount").unwrap_or_default();
    ctx.container = text(&fields, "container").unwrap_or_default();
    ctx.break_glass = text(&fields, "breakGlass").unwrap_or_default();
    if let Some(workload) = text(&fields, "workload") {
        match workload.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
                (ctx.workload_kind, ctx.workload) = (kind.to_owned(), name.to_owned());
            }
            _ => {
                let place = fields.get("workload").map_or(node.place, |node| node.place);
                let found = quoted(&workload);
                let message =
                    format!("`workload` of {what} is {found}, expected one like `Deployment/web`");
                reader.note(place, message);
            }
        }
    }
    if let Some(node) = fields.get("cloud")
        && let Some(cloud) = reader.fields(node, "`cloud`", &fields::CLOUD)
    {
        let mut text = |name: &str| {
            let node = cloud.get(name)?;
            reader.text(node, &format!("`{name}` of `cloud`"), MAX_VALUE).map(str::to_owned)
        };
        ctx.provider = text("provider").unwrap_or_default();
        ctx.account = text("account").unwrap_or_default();
        ctx.region = text("region").unwrap_or_default();
    }
    ctx.namespace_labels = labels(reader, &fields, "namespaceLabels");
    ctx.pod_labels = labels(reader, &fields, "podLabels");
    ctx
}

fn labels(reader: &mut Reader<'_>, fields: &Fields<'_>, name: &str) -> BTreeMap<String, String> {
    let what = format!("`{name}`");
    let entries = fields.get(name).map(|node| reader.entries(node, &what)).unwrap_or_default();
    let mut labels = BTreeMap::new();
    for (key, node) in entries {
        // Unlike other texts, the value of a label may be empty.
        let value = match &node.kind {
            Kind::Text(text) if text.is_empty() => Some(""),
            _ => reader.text(node, &format!("a label of {what}"), MAX_VALUE),
        };
        labels.extend(value.map(|value| (key.name.clone(), value.to_owned())));
    }
    labels
}

fn expected(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Expected> {
    let whole = format!("`expect` of {what}");
    let fields = reader.fields(node, &whole, &fields::EXPECT)?;
    let action = fields
        .get("action")
        .and_then(|node| reader.word(node, &format!("`action` in {whole}"), &ACTIONS));
    let rule = name_of_rule(reader, &fields, &whole);
    let violations = fields.get("violations").map(|node| {
        let items = reader.list(node, &format!("`violations` in {whole}"), MAX_VALUES);
        items.iter().filter_map(|item| violation(reader, item, &whole)).collect()
    });
    let mut list = |name: &str| {
        let node = fields.get(name)?;
        let found = texts(reader, node, &format!("`{name}` in {whole}"), MAX_VALUES);
        Some(found.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let exemptions = list("exemptions");
    let notices = list("notices");
    let message_contains = list("messageContains").unwrap_or_default();
    let break_glass = fields.get("breakGlass").and_then(|node| {
        reader.text(node, &format!("`breakGlass` in {whole}"), MAX_RULE_NAME).map(str::to_owned)
    });
    let action = action?;
    Some(Expected { action, rule, violations, exemptions, notices, break_glass, message_contains })
}

fn name_of_rule(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Option<String> {
    let node = fields.get("rule")?;
    reader.text(node, &format!("`rule` in {what}"), MAX_RULE_NAME).map(str::to_owned)
}

fn violation(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<ExpectedViolation> {
    let whole = format!("a violation in {what}");
    let fields = reader.fields(node, &whole, &fields::VIOLATION)?;
    let rule = fields.get("rule").and_then(|_| name_of_rule(reader, &fields, &whole));
    let words = CONDITIONS.map(|word| (word, word));
    let condition = fields
        .get("condition")
        .and_then(|node| reader.word(node, &format!("`condition` of {whole}"), &words));
    let count = match fields.get("count") {
        Some(node) => {
            let count = reader.count(node, &format!("`count` of {whole}"))?;
            Some(usize::try_from(count).unwrap_or(usize::MAX))
        }
        None => None,
    };
    Some(ExpectedViolation { rule: rule?, condition: condition?, count })
}
