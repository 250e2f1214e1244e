//! The tables of fields in, a JSON Schema of rule documents out.

use serde_json::{Map, Value, json};

use super::fields::{DOCUMENT, Demand, Field, Mapping, Shape};
use super::{MAX_ID, MAX_RULE_NAME, MAX_VALUE, MAX_VALUES};

/// A name as RFC 1123 has it.
pub(super) const NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
/// Printable ASCII without spaces.
pub(super) const IDENTIFIER: &str = "^[!-~]+$";
/// A number and a unit.
pub(super) const AGE: &str = "^[0-9]+[smhd]$";
/// A date, or a date and a time of RFC 3339.
pub(super) const INSTANT: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$";

/// The JSON Schema (draft 2020-12) of one rule document, for editors: it is made from the tables
/// that documents are read by. Who fulfils it has the right fields with the right kinds of values;
/// what only all files together tell, such as names that must be unique, it does not see.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let mut root = object(&DOCUMENT, &mut definitions);
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("$id".to_owned(), json!("https://portcullis.dev/schemas/v1/rules.schema.json"));
    root.insert("title".to_owned(), json!("Rules of Portcullis"));
    root.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(root)
}

fn object(mapping: &Mapping, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut dependent = Map::new();
    for field in mapping.fields {
        let mut property = shape(&field.shape, definitions);
        property.insert("description".to_owned(), json!(field.doc));
        properties.insert(field.name.to_owned(), Value::Object(property));
        if !field.beside.is_empty() {
            dependent.insert(field.name.to_owned(), json!({"anyOf": any(field.beside)}));
        }
    }
    let required: Vec<&str> =
        mapping.fields.iter().filter(|field| field.required.is_some()).map(|f| f.name).collect();
    let mut object = with([
        ("type", json!("object")),
        ("properties", Value::Object(properties)),
        ("additionalProperties", json!(false)),
    ]);
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    if let Some(demand) = &mapping.demand {
        object.insert("anyOf".to_owned(), demanded(mapping, demand));
    }
    if !dependent.is_empty() {
        object.insert("dependentSchemas".to_owned(), Value::Object(dependent));
    }
    object
}

fn any(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"required": [name]})).collect()
}

/// At least one field is there and asks for something.
fn demanded(mapping: &Mapping, demand: &Demand) -> Value {
    let fields = mapping.fields.iter().filter(|field| demand.fields.contains(&field.name));
    let asking = |field: &Field| {
        let name = field.name;
        match field.shape {
            Shape::Flag => json!({"required": [name], "properties": {name: {"const": true}}}),
            Shape::List(..) => json!({"required": [name], "properties": {name: {"minItems": 1}}}),
            _ => json!({"required": [name]}),
        }
    };
    fields.map(asking).collect()
}

fn shape(shape: &Shape, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let text = |least: usize, most: usize| {
        with([("type", json!("string")), ("minLength", json!(least)), ("maxLength", json!(most))])
    };
    let patterned = |pattern: &str, most: usize| {
        let mut text = text(1, most);
        text.insert("pattern".to_owned(), json!(pattern));
        text
    };
    match shape {
        Shape::Text(most) => text(1, *most),
        Shape::LabelValue => text(0, MAX_VALUE),
        Shape::Name => patterned(NAME, MAX_RULE_NAME),
        Shape::Id => patterned(IDENTIFIER, MAX_ID),
        Shape::Instant => patterned(INSTANT, MAX_VALUE),
        Shape::Age => patterned(AGE, MAX_VALUE),
        Shape::Flag | Shape::Choice => with([("type", json!("boolean"))]),
        Shape::True => with([("const", json!(true))]),
        Shape::Whole => {
            with([("type", json!("integer")), ("minimum", json!(0)), ("maximum", json!(u32::MAX))])
        }
        Shape::Number(most) => {
            with([("type", json!("number")), ("minimum", json!(0)), ("maximum", json!(most))])
        }
        Shape::Words(words) => with([("enum", json!(words()))]),
        Shape::Labels => with([
            ("type", json!("object")),
            ("additionalProperties", Value::Object(text(0, MAX_VALUE))),
            ("maxProperties", json!(MAX_VALUES)),
        ]),
        Shape::List(item, least, most) => with([
            ("type", json!("array")),
            ("items", Value::Object(self::shape(item, definitions))),
            ("minItems", json!(least)),
            ("maxItems", json!(most)),
        ]),
        Shape::Map(mapping) => {
            if !definitions.contains_key(mapping.title) {
                let object = object(mapping, definitions);
                definitions.insert(mapping.title.to_owned(), Value::Object(object));
            }
            with([("$ref", json!(format!("#/$defs/{}", mapping.title)))])
        }
        Shape::Either(one, other) => {
            let either = [*one, *other].map(|s| Value::Object(self::shape(s, definitions)));
            with([("anyOf", json!(either))])
        }
    }
}

fn with<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
