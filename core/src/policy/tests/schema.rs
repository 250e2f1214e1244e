//! The JSON Schema and the reader of documents say the same.

use super::*;
use crate::policy::fields::{DOCUMENT, Mapping, Shape};
use crate::policy::node::{Kind, Node};
use crate::policy::schema::{AGE, IDENTIFIER, INSTANT, NAME};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Whether `value` fulfils `schema`, which knows only what our schema uses.
fn fulfils(root: &Value, schema: &Value, value: &Value) -> bool {
    let text = |test: &dyn Fn(&str) -> bool| value.as_str().is_none_or(test);
    let number = |test: &dyn Fn(f64) -> bool| value.as_f64().is_none_or(test);
    let items = |test: &dyn Fn(&Vec<Value>) -> bool| value.as_array().is_none_or(test);
    let size = |limit: &Value| usize::try_from(limit.as_u64().unwrap()).unwrap();
    let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
    schema.as_object().unwrap().iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$id" | "$defs" | "title" | "description" => true,
        "$ref" => {
            let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
            fulfils(root, root.pointer(pointer).unwrap(), value)
        }
        "type" => match rule.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            other => panic!("type {other}"),
        },
        "const" => value == rule,
        "enum" => rule.as_array().unwrap().contains(value),
        "anyOf" => rule.as_array().unwrap().iter().any(|one| fulfils(root, one, value)),
        "required" => rule.as_array().unwrap().iter().all(has),
        "properties" => rule.as_object().unwrap().iter().all(|(name, property)| {
            value.get(name).is_none_or(|value| fulfils(root, property, value))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let others = object
                .iter()
                .filter(|(name, _)| schema.get("properties").is_none_or(|p| p.get(name).is_none()));
            others.into_iter().all(|(_, value)| match rule {
                Value::Bool(allowed) => *allowed,
                rule => fulfils(root, rule, value),
            })
        }),
        "dependentSchemas" => rule
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, rule)| value.get(name).is_none() || fulfils(root, rule, value)),
        "minLength" => text(&|text| text.chars().count() >= size(rule)),
        "maxLength" => text(&|text| text.chars().count() <= size(rule)),
        "pattern" => text(&|text| fits(rule.as_str().unwrap(), text)),
        "minimum" => number(&|number| number >= rule.as_f64().unwrap()),
        "maximum" => number(&|number| number <= rule.as_f64().unwrap()),
        "items" => items(&|items| items.iter().all(|item| fulfils(root, rule, item))),
        "minItems" => items(&|items| items.len() >= size(rule)),
        "maxItems" => items(&|items| items.len() <= size(rule)),
        "maxProperties" => value.as_object().is_none_or(|object| object.len() <= size(rule)),
        other => panic!("keyword {other}"),
    })
}

/// The patterns that our schema uses.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern {
        NAME => {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
        }
        IDENTIFIER => text.bytes().all(|b| b.is_ascii_graphic()),
        AGE => {
            let (number, unit) = text.split_at(text.len().saturating_sub(1));
            !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
                && "smhd".contains(unit)
        }
        INSTANT => {
            let day = text.get(..10).unwrap_or_default();
            let plain = |(n, c): (usize, char)| {
                if n == 4 || n == 7 { c == '-' } else { c.is_ascii_digit() }
            };
            day.char_indices().all(plain)
                && !day.is_empty()
                && (text.len() == 10
                    || text.get(10..).is_some_and(|t| t.starts_with(['T', 't', ' '])))
        }
        other => panic!("pattern {other}"),
    }
}

fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => json!(value),
        Kind::Int(value) => i64::try_from(*value).map_or(json!(1e30), |value| json!(value)),
        Kind::Float(value) => json!(value),
        Kind::Text(text) => json!(text),
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Map(entries) => {
            entries.iter().map(|(key, node)| (key.name.clone(), json(node))).collect()
        }
    }
}

/// What the schema and the reader say of a document, which must be the same.
#[track_caller]
fn agree(document: &Value, expected: bool) {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
    let schema = &*SCHEMA;
    let text = document.to_string();
    let read = parse(&[source(&text)]);
    assert_eq!(fulfils(schema, schema, document), expected, "the schema: {text}");
    assert_eq!(read.is_ok(), expected, "the reader: {text}\n{read:?}");
}

/// The document of the manual that has every field. What a rule's own exemption may hold, it says of
/// the others.
fn full() -> Value {
    let manual = include_str!("../../../../docs/configuration.md");
    let blocks = manual.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains("kind: Policy")).unwrap();
    let mut full = json(&node::documents(block).unwrap()[0]);
    let exemption = full.pointer("/spec/exemptions/0").unwrap().clone();
    let own = full.pointer_mut("/spec/rules/0/exemptions/0").unwrap();
    for name in ["from", "until", "untilFixed", "ticket"] {
        own[name] = exemption[name].clone();
    }
    full
}

/// Calls `found` with the place of each field of `mapping` in `value`, and with that of each item of a
/// list, and tells which fields are there.
fn walk(
    mapping: &Mapping,
    pointer: &str,
    value: &Value,
    found: &mut impl FnMut(String),
    seen: &mut BTreeSet<(&'static str, &'static str)>,
) {
    for (name, value) in value.as_object().unwrap() {
        let field = mapping.fields.iter().find(|field| field.name == name).unwrap();
        seen.insert((mapping.title, field.name));
        let pointer = format!("{pointer}/{name}");
        walk_shape(&field.shape, &pointer, value, found, seen);
        found(pointer);
    }
}

fn walk_shape(
    shape: &Shape,
    pointer: &str,
    value: &Value,
    found: &mut impl FnMut(String),
    seen: &mut BTreeSet<(&'static str, &'static str)>,
) {
    match shape {
        Shape::Map(mapping) => walk(mapping, pointer, value, found, seen),
        Shape::List(item, ..) => {
            for (n, value) in value.as_array().unwrap().iter().enumerate() {
                let pointer = format!("{pointer}/{n}");
                walk_shape(item, &pointer, value, found, seen);
                found(pointer);
            }
        }
        Shape::Either(_, other) if value.is_object() => {
            walk_shape(other, pointer, value, found, seen);
        }
        _ => {}
    }
}

/// All fields of `mapping` and of what is in it.
fn all(mapping: &'static Mapping, fields: &mut BTreeSet<(&'static str, &'static str)>) {
    fn inner(shape: &'static Shape, fields: &mut BTreeSet<(&'static str, &'static str)>) {
        match shape {
            Shape::Map(mapping) => all(mapping, fields),
            Shape::List(item, ..) => inner(item, fields),
            Shape::Either(one, other) => {
                inner(one, fields);
                inner(other, fields);
            }
            _ => {}
        }
    }
    for field in mapping.fields {
        fields.insert((mapping.title, field.name));
        inner(&field.shape, fields);
    }
}

static ROOT: Mapping = DOCUMENT;

#[test]
fn the_manual_shows_every_field_and_no_other() {
    let (mut known, mut shown) = (BTreeSet::new(), BTreeSet::new());
    all(&ROOT, &mut known);
    walk(&ROOT, "", &full(), &mut |_| {}, &mut shown);
    assert_eq!(known, shown);
    agree(&full(), true);
}

#[test]
fn every_field_is_read_and_checked() {
    let mut places = Vec::new();
    walk(&ROOT, "", &full(), &mut |place| places.push(place), &mut BTreeSet::new());
    assert!(places.len() > 100, "{places:?}");
    for place in places {
        let mut document = full();
        let value = document.pointer_mut(&place).unwrap();
        *value = if value.is_object() { json!(7) } else { json!({"wrong": null}) };
        agree(&document, false);
        *document.pointer_mut(&place).unwrap() = Value::Null;
        agree(&document, false);
    }
}

#[test]
fn every_mapping_refuses_what_it_does_not_know() {
    let mut places = Vec::new();
    walk(&ROOT, "", &full(), &mut |place| places.push(place), &mut BTreeSet::new());
    for place in places {
        let mut document = full();
        if place.ends_with("matchLabels") {
            continue;
        }
        if let Some(mapping) = document.pointer_mut(&place).and_then(Value::as_object_mut) {
            mapping.insert("unknown-field".to_owned(), json!(1));
            agree(&document, false);
        }
    }
}

#[test]
fn what_must_be_there_is_demanded_by_both() {
    let schema = schema();
    let mut places = Vec::new();
    walk(&ROOT, "", &full(), &mut |place| places.push(place), &mut BTreeSet::new());
    for place in places {
        let mut document = full();
        let (parent, name) = place.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        let Some(parent) = parent.as_object_mut() else { continue };
        parent.remove(name);
        // A rule may be named elsewhere, and rules there must be somewhere: no schema sees that.
        if !["/spec/rules", "/spec/rules/0/scope/podLabels/matchExpressions/0/values"]
            .contains(&place.as_str())
        {
            agree(&document, fulfils(&schema, &schema, &document));
        }
    }
}

#[test]
fn both_draw_the_same_lines() {
    let rule = |fields: Value| {
        let mut rule = json!({"name": "r", "maxAllowed": {"high": 0}});
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"apiVersion": "portcullis.dev/v1", "kind": "Policy", "spec": {"rules": [rule]}})
    };
    for good in [
        json!({}),
        json!({"enabled": false}),
        json!({"maxAllowed": {"unknown": u32::MAX}}),
        json!({"count": {"minCvss": 10, "notStated": "ignore"}}),
        json!({"count": {"minEpss": 0.0}}),
        json!({"count": {"fixAvailable": false}}),
        json!({"forbiddenVulnerabilities": []}),
        json!({"allowedVulnerabilities": [{"id": "C", "until": "2027-01-01T00:00:00Z"}, "D"]}),
        json!({"scope": {"podLabels": {"matchLabels": {"a": ""}}}}),
        json!({"maxFindingsAge": "90m"}),
    ] {
        agree(&rule(good), true);
    }
    for bad in [
        json!({"name": "R"}),
        json!({"name": "-r"}),
        json!({"name": "x".repeat(MAX_RULE_NAME + 1)}),
        json!({"description": ""}),
        json!({"description": "x".repeat(MAX_TEXT + 1)}),
        json!({"action": "allow"}),
        json!({"maxAllowed": {}}),
        json!({"maxAllowed": {"high": -1}}),
        json!({"maxAllowed": {"high": 1.5}}),
        json!({"maxAllowed": {"high": u64::from(u32::MAX) + 1}}),
        json!({"count": {}}),
        json!({"count": {"notStated": "count"}}),
        json!({"count": {"minCvss": 10.1}}),
        json!({"count": {"minEpss": 1.1}}),
        json!({"count": {"minEpss": -0.1}}),
        json!({"count": {"knownExploited": false}}),
        json!({"count": {"packages": []}}),
        json!({"count": {"minPublishedAge": "14"}}),
        json!({"trustedImages": []}),
        json!({"maxFindingsAge": "30 days"}),
        json!({"forbiddenVulnerabilities": ["a b"]}),
        json!({"forbiddenVulnerabilities": ["x".repeat(MAX_ID + 1)]}),
        json!({"allowedVulnerabilities": [{"id": "C", "until": "tomorrow"}]}),
        json!({"scope": {"match": [{"field": "pod", "operator": "equal", "values": ["a"]}]}}),
        json!({"scope": {"match": [{"field": "pod", "operator": "equals", "values": []}]}}),
        json!({"scope": {"cloud": {"provider": []}}}),
        json!({"scope": {"podLabels": {"matchLabels": {"a": 1}}}}),
        json!({"exemptions": [{"name": "e", "owner": "o", "reason": "r", "match": []}]}),
    ] {
        agree(&rule(bad), false);
    }
    let only = |fields: Value| {
        let mut rule = json!({"name": "r"});
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"apiVersion": "portcullis.dev/v1", "kind": "Policy", "spec": {"rules": [rule]}})
    };
    agree(&only(json!({"maxAllowedFixable": {"low": 0}, "count": {"minCvss": 5.0}})), true);
    agree(&only(json!({"trustedImages": ["reg.io/**"]})), true);
    agree(&only(json!({"blockUnscannedImages": false})), false);
    agree(&only(json!({"forbiddenVulnerabilities": []})), false);
    agree(&only(json!({"maxFindingsAge": "1d"})), false);
    agree(&only(json!({"blockUnscannedImages": true, "count": {"minCvss": 5.0}})), false);
}

#[test]
fn the_schema_that_is_shipped_is_the_one_that_is_made() {
    let shipped = include_str!("../../../../docs/rules.schema.json");
    assert!(
        shipped == format!("{:#}\n", schema()),
        "write it anew: portcullis rules schema > docs/rules.schema.json"
    );
}
