//! Rule files in, rules and problems out.

mod conditions;
mod scopes;

use std::collections::HashMap;
use std::sync::Arc;

use super::node::{self, Node, Place};
use super::reader::{Fields, Reader, quoted};
use super::{
    Evaluation, Ids, MAX_FILE, MAX_PROBLEMS, MAX_RULE_NAME, MAX_RULES, MAX_TEXT, Parts, Policy,
    PolicyErrors, Problem, Rule, Source, shadow,
};
use crate::decide::Action;

const API_VERSION: &str = "portcullis.dev/v1";
const KIND: &str = "Policy";
const RULE_FIELDS: [&str; 12] = [
    "name",
    "description",
    "enabled",
    "action",
    "scope",
    "maxAllowed",
    "forbiddenVulnerabilities",
    "allowedVulnerabilities",
    "blockUnscannedImages",
    "maxFindingsAge",
    "onUnavailable",
    "unsupportedRegistries",
];

/// What was read so far, over all files.
#[derive(Debug, Default)]
pub(super) struct Reading {
    rules: Vec<Rule>,
    ids: Ids,
    /// Where each name was used first.
    names: HashMap<Arc<str>, (Arc<str>, Place)>,
    evaluation: Option<(Evaluation, String)>,
    problems: Vec<Problem>,
    files: usize,
    too_many: bool,
}

impl Reading {
    pub(super) fn file(&mut self, source: &Source) {
        if self.problems.len() >= MAX_PROBLEMS || self.too_many {
            return;
        }
        self.files += 1;
        let mut problems = std::mem::take(&mut self.problems);
        let before = problems.len();
        let mut reader = Reader { file: &source.file, problems: &mut problems };
        if source.text.len() > MAX_FILE {
            let length = source.text.len();
            let message = format!("the file has {length} bytes, more than the {MAX_FILE} allowed");
            reader.note(Place::default(), message);
        } else {
            match node::documents(&source.text) {
                Ok(documents) if documents.is_empty() => reader.note(
                    Place::default(),
                    "the file holds no document: write `rules: []` in one to gate nothing"
                        .to_owned(),
                ),
                Ok(documents) => {
                    let file: Arc<str> = source.file.as_str().into();
                    for document in &documents {
                        self.document(&mut reader, &file, document);
                    }
                }
                Err((place, message)) => {
                    reader.note(place, format!("the file is not readable YAML: {message}"));
                }
            }
        }
        // One reads a file from its top.
        if let Some(own) = problems.get_mut(before..) {
            own.sort_by_key(|problem| (problem.line, problem.column));
        }
        self.problems = problems;
    }

    fn document(&mut self, reader: &mut Reader<'_>, file: &Arc<str>, node: &Node) {
        let known = ["apiVersion", "kind", "metadata", "spec"];
        let Some(fields) = reader.fields(node, "the document", &known) else {
            return;
        };
        let version = self.header(reader, &fields, "apiVersion", API_VERSION);
        let kind = self.header(reader, &fields, "kind", KIND);
        if !version || !kind {
            return;
        }
        if let Some(metadata) = fields.get("metadata")
            && let Some(metadata) = reader.fields(metadata, "`metadata`", &["name"])
            && let Some(name) = metadata.get("name")
        {
            reader.text(name, "`metadata.name`", MAX_TEXT);
        }
        let Some(spec) = fields.get("spec") else {
            return reader.note(node.place, "the document has no `spec`: add one".to_owned());
        };
        let Some(spec) = reader.fields(spec, "`spec`", &["evaluation", "rules"]) else {
            return;
        };
        self.evaluation(reader, &spec);
        let Some(rules) = spec.get("rules") else {
            let message = "`spec` has no `rules`: write `rules: []` to gate nothing";
            return reader.note(spec.place, message.to_owned());
        };
        for node in reader.list(rules, "`rules`", MAX_RULES) {
            if self.rules.len() >= MAX_RULES {
                self.too_many = true;
                let message = format!("there are more than the {MAX_RULES} rules allowed");
                return reader.note(node.place, message);
            }
            if let Some(rule) = self.rule(reader, file, node) {
                self.rules.push(rule);
            }
        }
    }

    #[expect(clippy::unused_self, reason = "reads as its neighbours do")]
    fn header(
        &self,
        reader: &mut Reader<'_>,
        fields: &Fields<'_>,
        name: &str,
        value: &str,
    ) -> bool {
        match fields.get(name) {
            Some(node) => reader.word(node, &format!("`{name}`"), &[(value, ())]).is_some(),
            None => {
                let message = format!("the document has no `{name}`: write `{name}: {value}`");
                reader.note(fields.place, message);
                false
            }
        }
    }

    fn evaluation(&mut self, reader: &mut Reader<'_>, spec: &Fields<'_>) {
        let words =
            [("firstMatch", Evaluation::FirstMatch), ("denyOverrides", Evaluation::DenyOverrides)];
        let Some(node) = spec.get("evaluation") else {
            return;
        };
        let Some(evaluation) = reader.word(node, "`evaluation`", &words) else {
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
            None => self.evaluation = Some((evaluation, reader.file.to_owned())),
        }
    }

    fn rule(&mut self, reader: &mut Reader<'_>, file: &Arc<str>, node: &Node) -> Option<Rule> {
        let before = reader.problems.len();
        let fields = reader.fields(node, "the rule", &RULE_FIELDS)?;
        let name = self.name(reader, file, &fields);
        // A rule without a good name is read on for its other problems, and not kept.
        let what = name.as_ref().map_or("the rule".to_owned(), |name| format!("rule `{name}`"));
        let mut rule = Rule::new(name.unwrap_or_default());
        rule.place = (Arc::clone(file), node.place);
        if let Some(node) = fields.get("description") {
            let text = reader.text(node, &format!("`description` of {what}"), MAX_TEXT);
            rule.description = text.map(str::to_owned);
        }
        if let Some(node) = fields.get("enabled") {
            let enabled = reader.boolean(node, &format!("`enabled` of {what}"));
            rule.enabled = enabled.unwrap_or(true);
        }
        if let Some(node) = fields.get("action") {
            let words = [("audit", Action::Audit), ("deny", Action::Deny)];
            rule.action =
                reader.word(node, &format!("`action` of {what}"), &words).unwrap_or(Action::Audit);
        }
        if let Some(node) = fields.get("scope") {
            rule.scope = scopes::scope(reader, node, &what);
        }
        conditions::read(reader, &fields, &what, &mut self.ids, &mut rule);
        (reader.problems.len() == before).then_some(rule)
    }

    fn name(
        &mut self,
        reader: &mut Reader<'_>,
        file: &Arc<str>,
        fields: &Fields<'_>,
    ) -> Option<Arc<str>> {
        let Some(node) = fields.get("name") else {
            reader.note(fields.place, "the rule has no `name`: give it a unique one".to_owned());
            return None;
        };
        let name = reader.text(node, "`name` of the rule", MAX_RULE_NAME)?;
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !name.bytes().all(good) || name.starts_with('-') || name.ends_with('-') {
            let message = format!(
                "{} is not a name of a rule: use lower-case letters, digits and `-` between them",
                quoted(name)
            );
            reader.note(node.place, message);
            return None;
        }
        let name: Arc<str> = name.into();
        if let Some((file, place)) = self.names.get(&name) {
            let message = format!(
                "there is a rule `{name}` already, at {file}:{}:{}: give each its own name",
                place.line, place.column
            );
            reader.note(node.place, message);
            return None;
        }
        self.names.insert(Arc::clone(&name), (Arc::clone(file), node.place));
        Some(name)
    }

    pub(super) fn finish(mut self, revision: String) -> Result<Policy, PolicyErrors> {
        let whole = |message: &str| Problem {
            file: "policy".to_owned(),
            line: 0,
            column: 0,
            message: message.to_owned(),
        };
        if self.files == 0 {
            self.problems.push(whole("there are no rule files: name at least one"));
        }
        if !self.problems.is_empty() {
            return Err(PolicyErrors { problems: self.problems });
        }
        let evaluation = self.evaluation.map(|(evaluation, _)| evaluation).unwrap_or_default();
        let mut warnings = Vec::new();
        if !self.rules.iter().any(Rule::is_enabled) {
            warnings.push(whole("no rule is enabled: every image is allowed"));
        }
        if evaluation == Evaluation::FirstMatch {
            shadow::warn(&self.rules, &mut warnings);
        }
        let parts =
            Parts { evaluation, rules: self.rules, ids: self.ids, warnings, ..Parts::default() };
        Ok(Policy::new(revision.into(), parts))
    }
}
