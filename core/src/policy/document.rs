//! Rule files in, rules and problems out.

mod conditions;
mod counting;
mod exemptions;
mod names;
mod scopes;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use super::doubts::{self, Timed};
use super::fields::{DOCUMENT, METADATA, RULE, SPEC};
use super::node::{self, Node, Place};
use super::reader::{Fields, Reader, push, quoted};
use super::{
    Evaluation, MAX_FILE, MAX_PROBLEMS, MAX_RULES, MAX_TEXT, MAX_VALUES, Narrowing, Parts, Policy,
    PolicyErrors, Problem, Rule, Source, shadow,
};
use crate::decide::Action;

pub(super) use self::conditions::ON_UNAVAILABLE;
pub(super) use self::counting::NOT_STATED;
pub(super) use self::exemptions::{EXEMPT, EXEMPT_OPERATORS};
use self::names::{Mention, Names};
pub(super) use self::scopes::{SCOPED, SCOPED_OPERATORS, SELECTING};

pub(super) const API_VERSION: &str = "portcullis.dev/v1";
pub(super) const KIND: &str = "Policy";
pub(super) const EVALUATIONS: [(&str, Evaluation); 2] =
    [("firstMatch", Evaluation::FirstMatch), ("denyOverrides", Evaluation::DenyOverrides)];
pub(super) const ACTIONS: [(&str, Action); 2] = [("audit", Action::Audit), ("deny", Action::Deny)];

/// What was read so far, over all files.
#[derive(Debug, Default)]
pub(super) struct Reading {
    parts: Parts,
    /// Where each narrowing is among the parts.
    narrowings: HashMap<Narrowing, usize>,
    rules: Names,
    exemptions: Names,
    break_glass: Names,
    /// Rules that exemptions and break-glass entries name.
    mentions: Vec<Mention>,
    evaluation: Option<(Evaluation, Arc<str>)>,
    /// Whether some document says which rules there are.
    has_rules: bool,
    /// Where the first is that does not.
    without_rules: Option<(Arc<str>, Place)>,
    problems: Vec<Problem>,
    files: Vec<Arc<str>>,
    /// Whether something was not read, so that other rules may be there.
    incomplete: bool,
}

impl Reading {
    pub(super) fn file(&mut self, source: &Source) {
        if self.problems.len() >= MAX_PROBLEMS {
            self.incomplete = true;
            return;
        }
        let file: Arc<str> = source.file.as_str().into();
        let mut problems = std::mem::take(&mut self.problems);
        let mut warnings = std::mem::take(&mut self.parts.warnings);
        let mut reader = Reader { file: &file, problems: &mut problems, warnings: &mut warnings };
        self.documents(&mut reader, &source.text);
        self.problems = problems;
        self.parts.warnings = warnings;
        self.files.push(file);
    }

    fn documents(&mut self, reader: &mut Reader<'_>, text: &str) {
        let whole = Place::default();
        if text.len() > MAX_FILE {
            let length = text.len();
            self.incomplete = true;
            let message = format!("the file has {length} bytes, more than the {MAX_FILE} allowed");
            return reader.note(whole, message);
        }
        match node::documents(text) {
            Ok(documents) if documents.is_empty() => reader.note(
                whole,
                "the file holds no document: write `rules: []` in one to gate nothing".to_owned(),
            ),
            Ok(documents) => {
                for document in &documents {
                    self.document(reader, document);
                }
            }
            Err((place, message)) => {
                self.incomplete = true;
                reader.note(place, format!("the file is not readable YAML: {message}"));
            }
        }
    }

    fn document(&mut self, reader: &mut Reader<'_>, node: &Node) {
        let Some(fields) = reader.fields(node, "the document", &DOCUMENT) else {
            return;
        };
        let mut header = |name: &str, value: &'static str| {
            let node = fields.get(name)?;
            reader.word(node, &format!("`{name}`"), &[(value, ())])
        };
        let (version, kind) = (header("apiVersion", API_VERSION), header("kind", KIND));
        if version.is_none() || kind.is_none() {
            self.incomplete = true;
            return;
        }
        if let Some(metadata) = fields.get("metadata")
            && let Some(metadata) = reader.fields(metadata, "`metadata`", &METADATA)
            && let Some(name) = metadata.get("name")
        {
            reader.text(name, "`metadata.name`", MAX_TEXT);
        }
        if let Some(spec) = fields.get("spec")
            && let Some(spec) = reader.fields(spec, "`spec`", &SPEC)
        {
            self.spec(reader, &spec);
        }
    }

    fn spec(&mut self, reader: &mut Reader<'_>, spec: &Fields<'_>) {
        self.evaluation(reader, spec);
        match spec.get("rules") {
            Some(node) => {
                self.has_rules = true;
                for node in reader.list(node, "`rules`", MAX_RULES) {
                    self.rule(reader, node);
                }
            }
            None => {
                let place = (Arc::clone(reader.file), spec.place);
                self.without_rules.get_or_insert(place);
            }
        }
        if let Some(node) = spec.get("allowedImages") {
            let patterns = values::patterns(reader, node, "`allowedImages`");
            self.parts.allowed_images.extend(patterns);
        }
        if let Some(node) = spec.get("exemptions") {
            self.exemptions(reader, node, None);
        }
        if let Some(node) = spec.get("breakGlass") {
            self.break_glass(reader, node);
        }
    }

    fn evaluation(&mut self, reader: &mut Reader<'_>, spec: &Fields<'_>) {
        let Some(node) = spec.get("evaluation") else {
            return;
        };
        let Some(evaluation) = reader.word(node, "`evaluation`", &EVALUATIONS) else {
            return;
        };
        match &self.evaluation {
            Some((other, file)) if *other != evaluation => {
                let message = format!(
                    "`evaluation` differs from the one in {}: state it once for all files",
                    quoted(file)
                );
                reader.note(node.place, message);
            }
            Some(_) => {}
            None => self.evaluation = Some((evaluation, Arc::clone(reader.file))),
        }
    }

    fn rule(&mut self, reader: &mut Reader<'_>, node: &Node) {
        if self.rules.len() >= MAX_RULES {
            if !self.incomplete {
                let message = format!("there are more than the {MAX_RULES} rules allowed");
                reader.note(node.place, message);
            }
            self.incomplete = true;
            return;
        }
        let before = reader.problems.len();
        let what = names::called(node, "rule");
        let Some(fields) = reader.fields(node, &what, &RULE) else {
            self.incomplete = true;
            return;
        };
        let name = self.rules.read(reader, &fields, "rule");
        // A rule without a good name is read on for its other problems, and not kept.
        self.incomplete |= name.is_none();
        let mut rule = Rule::new(name.unwrap_or_default());
        rule.place = (Arc::clone(reader.file), node.place);
        if let Some(node) = fields.get("description") {
            let text = reader.text(node, &format!("`description` of {what}"), MAX_TEXT);
            rule.description = text.map(str::to_owned);
        }
        if let Some(node) = fields.get("enabled") {
            let enabled = reader.boolean(node, &format!("`enabled` of {what}"));
            rule.enabled = enabled.unwrap_or(true);
        }
        if let Some(node) = fields.get("action") {
            let action = reader.word(node, &format!("`action` of {what}"), &ACTIONS);
            rule.action = action.unwrap_or(Action::Audit);
        }
        if let Some(node) = fields.get("scope") {
            rule.scope = scopes::scope(reader, node, &what);
        }
        self.conditions(reader, &fields, &what, &mut rule);
        if let Some(node) = fields.get("exemptions") {
            self.exemptions(reader, node, Some(&rule));
        }
        if reader.problems.len() == before {
            self.parts.rules.push(rule);
        }
    }

    /// Notes that something ends.
    fn ends(&mut self, reader: &Reader<'_>, what: String, until: OffsetDateTime, node: &Node) {
        let (file, place) = (Arc::clone(reader.file), node.place);
        self.parts.timed.push(Timed::Ends { what: what.into(), until, file, place });
    }

    /// Names of rules, which must all be there in the end.
    fn mentions(&mut self, reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<Arc<str>> {
        let what = format!("`rules` of {what}");
        let items = reader.list(node, &what, MAX_VALUES);
        if node.is_empty_list() {
            let message = format!("{what} is empty: name a rule, or leave it out for all");
            reader.note(node.place, message);
        }
        let mut names = Vec::with_capacity(items.len());
        for item in items {
            if let Some(name) = names::label(reader, item, &format!("a name in {what}"), "rule") {
                let (file, name) = (Arc::clone(reader.file), Arc::<str>::from(name));
                names.push(Arc::clone(&name));
                self.mentions.push(Mention { name, what: what.clone(), file, place: item.place });
            }
        }
        names
    }

    pub(super) fn finish(mut self, revision: String) -> Result<Policy, PolicyErrors> {
        let whole = |list: &mut Vec<Problem>, message: &str| {
            push(list, "policy", Place::default(), message.to_owned());
        };
        if self.files.is_empty() {
            whole(&mut self.problems, "there are no rule files: name at least one");
        }
        if let Some((file, place)) = self.without_rules.filter(|_| !self.has_rules) {
            let message = "`spec` has no `rules`: write `rules: []` to gate nothing";
            push(&mut self.problems, &file, place, message.to_owned());
        }
        if !self.incomplete {
            for mention in &self.mentions {
                if self.problems.len() >= MAX_PROBLEMS {
                    break;
                }
                self.rules.check(mention, &mut self.problems);
            }
        }
        if !self.problems.is_empty() {
            let problems = in_order(self.problems, &self.files);
            return Err(PolicyErrors { problems });
        }
        let mut parts = self.parts;
        if parts.narrowings.is_empty() {
            parts.narrowings.push(Narrowing::default());
        }
        parts.evaluation = self.evaluation.map(|(evaluation, _)| evaluation).unwrap_or_default();
        if !parts.rules.iter().any(Rule::is_enabled) {
            whole(&mut parts.warnings, "no rule is enabled: every image is allowed");
        }
        doubts::warn(&mut parts);
        if parts.evaluation == Evaluation::FirstMatch {
            shadow::warn(&mut parts);
        }
        parts.warnings = in_order(parts.warnings, &self.files);
        Ok(Policy::new(revision.into(), parts))
    }
}

/// One reads files in their order, and each from its top.
fn in_order(mut problems: Vec<Problem>, files: &[Arc<str>]) -> Vec<Problem> {
    let places: HashMap<&str, usize> =
        files.iter().enumerate().rev().map(|(place, file)| (&**file, place)).collect();
    problems.sort_by_key(|p| (places.get(p.file.as_str()).copied(), p.line, p.column));
    problems
}
