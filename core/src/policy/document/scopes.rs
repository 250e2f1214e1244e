//! The `scope` of a rule in, its compiled matchers out.

use super::values::texts;
use crate::image::Reference;
use crate::policy::doubts;
use crate::policy::fields::{CLOUD, EXPRESSION, MATCHER, Mapping, SCOPE, SELECTOR};
use crate::policy::labels::{Operator as LabelOperator, Requirement, Selector};
use crate::policy::node::{Kind, Node};
use crate::policy::prefix::{self, Prefix};
use crate::policy::reader::{Reader, quoted};
use crate::policy::scope::{Field, Matcher, Scope, Test};
use crate::policy::{MAX_TEXT, MAX_VALUE, MAX_VALUES};

pub(in crate::policy) const SCOPED: [(&str, Field); 9] = [
    ("cluster", Field::Cluster),
    ("namespace", Field::Namespace),
    ("workload", Field::Workload),
    ("pod", Field::Pod),
    ("serviceAccount", Field::ServiceAccount),
    ("container", Field::Container),
    ("image", Field::Image),
    ("registry", Field::Registry),
    ("repository", Field::Repository),
];

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Operator {
    Equals,
    NotEquals,
    StartsWith,
    EndsWith,
    Contains,
}

pub(in crate::policy) const SCOPED_OPERATORS: [(&str, Operator); 5] = [
    ("equals", Operator::Equals),
    ("notEquals", Operator::NotEquals),
    ("startsWith", Operator::StartsWith),
    ("endsWith", Operator::EndsWith),
    ("contains", Operator::Contains),
];

/// How an expression of a label selector compares.
pub(in crate::policy) const SELECTING: [(&str, LabelOperator); 4] = [
    ("In", LabelOperator::In),
    ("NotIn", LabelOperator::NotIn),
    ("Exists", LabelOperator::Exists),
    ("DoesNotExist", LabelOperator::DoesNotExist),
];

pub(super) fn scope(reader: &mut Reader<'_>, node: &Node, rule: &str) -> Scope {
    let mut scope = Scope::default();
    let Some(fields) = reader.fields(node, &format!("`scope` of {rule}"), &SCOPE) else {
        return scope;
    };
    if let Some(name) = fields.get("name") {
        reader.text(name, &format!("`scope.name` of {rule}"), MAX_TEXT);
    }
    if let Some(node) = fields.get("cloud") {
        scope.matchers.extend(cloud(reader, node, rule));
    }
    if let Some(node) = fields.get("match") {
        for item in reader.list(node, &format!("`scope.match` of {rule}"), MAX_VALUES) {
            let what = format!("a matcher of {rule}");
            let read = matcher(reader, item, &what, &MATCHER, &SCOPED, &SCOPED_OPERATORS);
            if let Some((field, operator, values)) = read {
                let test = test(reader, field, operator, &values);
                scope.matchers.push(Matcher { field, test });
            }
        }
    }
    for (name, field) in
        [("podLabels", Field::PodLabels), ("namespaceLabels", Field::NamespaceLabels)]
    {
        if let Some(node) = fields.get(name) {
            let what = format!("`scope.{name}` of {rule}");
            scope.selectors.push((field, selector(reader, node, &what)));
        }
    }
    if let Some(why) = doubts::impossible(&scope) {
        reader.warn(node.place, format!("nothing is in `scope` of {rule}: {why}"));
    }
    scope
}

fn cloud(reader: &mut Reader<'_>, node: &Node, rule: &str) -> Vec<Matcher> {
    let parts =
        [("provider", Field::Provider), ("account", Field::Account), ("region", Field::Region)];
    let Some(fields) = reader.fields(node, &format!("`scope.cloud` of {rule}"), &CLOUD) else {
        return Vec::new();
    };
    let mut matchers = Vec::new();
    for (name, field) in parts {
        if let Some(node) = fields.get(name) {
            let values = texts(reader, node, &format!("`scope.cloud.{name}` of {rule}"));
            let values = values.into_iter().map(|(_, value)| value.into()).collect();
            matchers.push(Matcher { field, test: Test::Equals(values) });
        }
    }
    matchers
}

/// The texts of a list, each with its node.
pub(super) type Values<'n> = Vec<(&'n Node, &'n str)>;

/// The field, the operator and the values of a matcher.
pub(super) fn matcher<'n, F: Copy>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    what: &str,
    mapping: &Mapping,
    known: &[(&'static str, F)],
    operators: &[(&'static str, Operator)],
) -> Option<(F, Operator, Values<'n>)> {
    let fields = reader.fields(node, what, mapping)?;
    let field = fields.get("field");
    let field = field.and_then(|n| reader.word(n, &format!("`field` of {what}"), known));
    let operator = fields.get("operator");
    let operator =
        operator.and_then(|n| reader.word(n, &format!("`operator` of {what}"), operators));
    let values = texts(reader, fields.get("values")?, &format!("`values` of {what}"));
    Some((field?, operator?, values))
}

pub(super) fn test(
    reader: &mut Reader<'_>,
    field: Field,
    operator: Operator,
    values: &[(&Node, &str)],
) -> Test {
    let operator = match (field, operator) {
        // A host is one part of a name, so that to begin with it is to be it.
        (Field::Registry, Operator::StartsWith) => Operator::Equals,
        (_, operator) => operator,
    };
    let is_name = matches!(field, Field::Image | Field::Repository);
    if is_name && operator == Operator::StartsWith {
        let mut prefixes = Vec::with_capacity(values.len());
        for (node, value) in values {
            let prefix = Prefix::parse(value);
            match prefix.filter(|p| field == Field::Image || !p.is_tagged()) {
                Some(prefix) => prefixes.push(prefix),
                None => refuse(reader, node, value, field),
            }
        }
        return Test::Within(prefixes);
    }
    let mut texts: Vec<Box<str>> = Vec::with_capacity(values.len());
    for (node, value) in values {
        match normalised(field, operator, value) {
            Some(text) => texts.push(text.into()),
            None => refuse(reader, node, value, field),
        }
    }
    match operator {
        Operator::Equals => Test::Equals(texts.into_iter().collect()),
        Operator::NotEquals => Test::NotEquals(texts.into_iter().collect()),
        Operator::StartsWith => Test::StartsWith(texts),
        Operator::EndsWith => Test::EndsWith(texts),
        Operator::Contains => Test::Contains(texts),
    }
}

fn refuse(reader: &mut Reader<'_>, node: &Node, value: &str, field: Field) {
    let expected = match field {
        Field::Image => "an image: write it as a pod names it, `reg.io/team/app:v1`",
        Field::Registry => "a registry host: write it with its domain, `reg.io` or `reg.io:5000`",
        _ => "a repository: write a host and a path without tag, `reg.io/team/app`",
    };
    reader.note(node.place, format!("{} is not {expected}", quoted(value)));
}

/// The text that a value is compared as: names are spelled as [`Reference`] spells them.
fn normalised(field: Field, operator: Operator, value: &str) -> Option<String> {
    let whole = matches!(operator, Operator::Equals | Operator::NotEquals);
    match field {
        Field::Image if whole => value.parse::<Reference>().ok().map(|image| image.to_string()),
        Field::Repository if whole => {
            let last = value.rsplit('/').next()?;
            let image = value.parse::<Reference>().ok()?;
            (!last.contains([':', '@'])).then(|| image.name().to_owned())
        }
        Field::Registry if whole => prefix::host(value),
        Field::Registry => Some(value.to_ascii_lowercase()),
        _ => Some(value.to_owned()),
    }
}

fn selector(reader: &mut Reader<'_>, node: &Node, what: &str) -> Selector {
    let mut selector = Selector::default();
    let Some(fields) = reader.fields(node, what, &SELECTOR) else {
        return selector;
    };
    if let Some(node) = fields.get("matchLabels") {
        for (key, value) in reader.entries(node, &format!("`matchLabels` of {what}")) {
            let label = format!("label {} of {what}", quoted(&key.name));
            if let Some(value) = label_value(reader, value, &label) {
                selector.requirements.push(Requirement {
                    key: key.name.clone(),
                    operator: LabelOperator::In,
                    values: vec![value],
                });
            }
        }
    }
    if let Some(node) = fields.get("matchExpressions") {
        for item in reader.list(node, &format!("`matchExpressions` of {what}"), MAX_VALUES) {
            selector.requirements.extend(expression(reader, item, what));
        }
    }
    selector
}

/// The value of a label may be empty, as in Kubernetes.
fn label_value(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<String> {
    if matches!(&node.kind, Kind::Text(text) if text.is_empty()) {
        return Some(String::new());
    }
    reader.text(node, what, MAX_VALUE).map(str::to_owned)
}

fn expression(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Requirement> {
    let what = format!("an expression of {what}");
    let fields = reader.fields(node, &what, &EXPRESSION)?;
    let operator = fields
        .get("operator")
        .and_then(|node| reader.word(node, &format!("`operator` of {what}"), &SELECTING));
    let key = fields.get("key")?;
    let key = reader.text(key, &format!("`key` of {what}"), MAX_VALUE);
    let mut values = Vec::new();
    if let Some(list) = fields.get("values") {
        for item in reader.list(list, &format!("`values` of {what}"), MAX_VALUES) {
            values.extend(label_value(reader, item, &format!("a value of {what}")));
        }
    }
    let (key, operator) = (key?, operator?);
    let needs_values = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
    if needs_values == values.is_empty() {
        let cure = if needs_values { "needs `values`" } else { "takes no `values`" };
        reader.note(fields.place, format!("the operator of {what} {cure}"));
        return None;
    }
    Some(Requirement { key: key.to_owned(), operator, values })
}
