//! A text in, what serde_json says of it out: what our own reading is compared with.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::tree::{Kind, Tree};

/// Reads a text by serde_json: each name once in its object, numbers as 0, and what is passed over as not there.
pub(super) fn read(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { is_metadata: false }.deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// What we read, in the same form.
pub(super) fn value(tree: Tree<'_>) -> Value {
    match tree.kind() {
        Kind::Null => Value::Null,
        Kind::True => true.into(),
        Kind::False => false.into(),
        Kind::Number => 0.into(),
        Kind::Text | Kind::Unescaped => tree.text().unwrap_or_default().into(),
        Kind::List => tree.elements().map(value).collect(),
        Kind::Object => {
            tree.members().map(|(name, member)| (name.to_owned(), value(member))).collect()
        }
    }
}

struct Node {
    is_metadata: bool,
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(0.into())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(0.into())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(0.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Self { is_metadata: false })? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if self.is_metadata && name == "managedFields" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = members.next_value_seed(Self { is_metadata: name == "metadata" })?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a name is there twice"));
            }
        }
        Ok(object.into())
    }
}
