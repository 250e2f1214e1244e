//! Bytes in, a tree of values out: within bounds, and with one reading only.
//!
//! Texts are borrowed from the bytes where they have no escapes. `metadata.managedFields` is as large as
//! the rest of many objects and says nothing of images, so it is passed over.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::de::Read;

use super::error::Fault;
use super::{MAX_DEPTH, MAX_REVIEW, MAX_UID, MAX_VALUES};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree<'a> {
    Null,
    Bool(bool),
    Number,
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

/// What stands for a member that is not there.
static NULL: Tree<'static> = Tree::Null;

impl<'a> Tree<'a> {
    /// A value that is not there.
    pub(super) fn null() -> &'static Tree<'static> {
        &NULL
    }

    /// The member `name`; null where there is none.
    pub(super) fn get(&self, name: &str) -> &Self {
        let found = self.members().iter().find(|(key, _)| key == name);
        found.map_or(&NULL, |(_, value)| value)
    }

    /// The members of an object; none where it is no object.
    pub(super) fn members(&self) -> &[(Cow<'a, str>, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What it is, for people.
    pub(super) const fn noun(&self) -> &'static str {
        match self {
            Self::Null => "missing",
            Self::Bool(_) => "a truth value",
            Self::Number => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a review. With it, or with what is wrong, comes its uid if there is one that can be repeated.
pub(super) fn parse(bytes: &[u8]) -> (Result<Tree<'_>, Fault>, Option<String>) {
    let reading = Reading::default();
    let beginning = bytes.get(..MAX_REVIEW).unwrap_or(bytes);
    let read = match str::from_utf8(beginning) {
        // All at once is quicker than text by text.
        Ok(text) => reading.read(serde_json::Deserializer::from_str(text)),
        Err(_) => reading.read(serde_json::Deserializer::from_slice(beginning)),
    };
    let read = match (read, reading.past.get()) {
        // What was read is a part of it, though it may be whole by itself.
        _ if bytes.len() > MAX_REVIEW => Err(Fault::TooLarge { limit: MAX_REVIEW }),
        (Err(_), Some((what, limit))) => Err(Fault::TooMany { what, limit }),
        (Err(error), None) => Err(Fault::Json(error)),
        (Ok(tree), _) => Ok(tree),
    };
    (read, reading.uid.into_inner())
}

/// The uid of a review of which only the beginning is there.
pub(super) fn uid(beginning: &[u8]) -> Option<String> {
    parse(beginning).1
}

/// What is known of a document that is being read.
#[derive(Default)]
struct Reading {
    values: Cell<usize>,
    /// The bound that was passed.
    past: Cell<Option<(&'static str, usize)>>,
    /// Kept as soon as it is read: the answer needs it whatever follows.
    uid: RefCell<Option<String>>,
}

impl Reading {
    /// Reads a whole document.
    fn read<'a, R: Read<'a>>(
        &self,
        mut reader: serde_json::Deserializer<R>,
    ) -> serde_json::Result<Tree<'a>> {
        let seed = Node { reading: self, depth: 0, place: Where::Root };
        seed.deserialize(&mut reader).and_then(|tree| reader.end().map(|()| tree))
    }
}

/// Where in a review a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Root,
    Request,
    Uid,
    Metadata,
    Elsewhere,
}

/// Reads a value.
struct Node<'c> {
    reading: &'c Reading,
    depth: usize,
    place: Where,
}

impl Node<'_> {
    fn past<E: de::Error>(&self, what: &'static str, limit: usize) -> E {
        self.reading.past.set(Some((what, limit)));
        E::custom(format_args!("more {what} than {limit}"))
    }

    /// The value of the member `name`.
    fn member(&self, name: &str) -> Self {
        let place = match (self.place, name) {
            (Where::Root, "request") => Where::Request,
            (Where::Request, "uid") => Where::Uid,
            (_, "metadata") => Where::Metadata,
            _ => Where::Elsewhere,
        };
        Self { reading: self.reading, depth: self.depth + 1, place }
    }

    fn keep_uid(&self, text: &str) {
        if self.place == Where::Uid && !text.is_empty() && text.len() <= MAX_UID {
            self.reading.uid.replace(Some(text.to_owned()));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Tree<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree<'de>, D::Error> {
        let values = self.reading.values.get() + 1;
        self.reading.values.set(values);
        if values > MAX_VALUES {
            return Err(self.past("values", MAX_VALUES));
        }
        if self.depth > MAX_DEPTH {
            return Err(self.past("levels", MAX_DEPTH));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Tree<'de>, E> {
        self.keep_uid(text);
        Ok(Tree::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree<'de>, E> {
        self.keep_uid(text);
        Ok(Tree::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree<'de>, A::Error> {
        let mut list = Vec::new();
        let inner =
            || Node { reading: self.reading, depth: self.depth + 1, place: Where::Elsewhere };
        while let Some(element) = elements.next_element_seed(inner())? {
            list.push(element);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree<'de>, A::Error> {
        let mut object = Vec::new();
        while let Some(name) = members.next_key_seed(Name)? {
            if self.place == Where::Metadata && name == "managedFields" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = members.next_value_seed(self.member(&name))?;
            object.push((name, value));
        }
        match twice(&object) {
            Some(name) => Err(de::Error::custom(format_args!("`{name}` is there twice"))),
            None => Ok(Tree::Object(object)),
        }
    }
}

/// A name that is there twice.
fn twice<'o>(object: &'o [(Cow<'_, str>, Tree<'_>)]) -> Option<&'o str> {
    /// As many are compared with each other; more are put into a set.
    const FEW: usize = 16;
    let mut names = object.iter().map(|(name, _)| &**name);
    if object.len() > FEW {
        let mut seen = HashSet::with_capacity(object.len());
        return names.find(|name| !seen.insert(*name));
    }
    let is_before = |at: usize, name: &str| object.iter().take(at).any(|(other, _)| other == name);
    names.enumerate().find(|(at, name)| is_before(*at, name)).map(|(_, name)| name)
}

/// Reads the name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
