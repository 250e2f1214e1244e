//! A text in, its values out: within bounds, each name once in its object.
//!
//! serde_json reads; here what it reads is put into one list (`tree.rs`). `metadata.managedFields` is as large as the
//! rest of many objects and says nothing of images, so it is passed over.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::text::printable;
use super::tree::{Document, Kind, Node, behind};
use super::{MAX_DEPTH, MAX_UID, MAX_VALUES};

/// As many names of an object are compared with each other; more are put into a set.
const FEW: usize = 32;
/// How much of a name is told, in bytes.
const MAX_NAME: usize = 128;
/// How many bytes of a text a value takes, about: room is made by it.
const BYTES_A_VALUE: usize = 20;
/// For how many values room is made before any is read.
const MAX_ROOM: usize = 4_096;

/// Why a text is not read.
#[derive(Debug)]
pub(super) enum Stop {
    /// There is more of something than is read.
    Past(&'static str, usize),
    /// It is no JSON that can be read in one way.
    Wrong(serde_json::Error),
}

/// Reads a whole text. With it, or with what is wrong, comes the uid of the review.
pub(super) fn read(text: &str) -> (Result<Document<'_>, Stop>, Option<String>) {
    let mut reader = Reader {
        text,
        nodes: Vec::with_capacity((text.len() / BYTES_A_VALUE).min(MAX_ROOM)),
        values: 0,
        unescaped: String::new(),
        uid: None,
        past: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let root = Value { reader: &mut reader, depth: 0, place: Where::Root };
    let read = root.deserialize(&mut json).and_then(|()| json.end());
    let read = match (read, reader.past) {
        (Ok(()), _) => Ok(Document::new(text, reader.unescaped, reader.nodes)),
        (Err(_), Some((what, limit))) => Err(Stop::Past(what, limit)),
        (Err(error), None) => Err(Stop::Wrong(error)),
    };
    (read, reader.uid)
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

struct Reader<'a> {
    text: &'a str,
    nodes: Vec<Node>,
    /// How many there are without names.
    values: usize,
    unescaped: String,
    /// Kept as soon as it is read: the answer needs it whatever follows.
    uid: Option<String>,
    /// The bound that was passed.
    past: Option<(&'static str, usize)>,
}

impl<'a> Reader<'a> {
    fn past<E: de::Error>(&mut self, what: &'static str, limit: usize) -> E {
        self.past = Some((what, limit));
        E::custom(format_args!("more {what} than {limit}"))
    }

    /// A text that is a part of what is read.
    fn borrowed(&self, text: &'a str) -> Node {
        let start = text.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        Node { kind: Kind::Text, start: short(start), end: short(start + text.len()) }
    }

    /// A text that had escapes.
    fn unescaped(&mut self, text: &str) -> Node {
        let start = self.unescaped.len();
        self.unescaped.push_str(text);
        let end = short(self.unescaped.len());
        Node { kind: Kind::Unescaped, start: short(start), end }
    }

    fn text_of(&self, node: Node) -> &str {
        let text = if node.kind == Kind::Unescaped { &self.unescaped } else { self.text };
        text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// Begins what holds others; gives its place.
    fn open(&mut self, kind: Kind) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node { kind, start: 0, end: 0 });
        place
    }

    fn close(&mut self, place: usize) {
        let end = short(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(place) {
            node.end = end;
        }
    }

    /// What the value of the member `name` is; none where it is passed over.
    fn member(&self, place: Where, name: Node) -> Option<Where> {
        match (place, self.text_of(name)) {
            (Where::Root, "request") => Some(Where::Request),
            (Where::Request, "uid") => Some(Where::Uid),
            (_, "metadata") => Some(Where::Metadata),
            (Where::Metadata, "managedFields") => None,
            _ => Some(Where::Elsewhere),
        }
    }

    /// Refuses a name that its object has already, among the first few.
    fn not_twice<E: de::Error>(&self, names: &mut Names, name: Node) -> Result<(), E> {
        names.count += 1;
        let text = self.text_of(name);
        let bit = bit(text);
        if names.count > FEW || names.seen & bit == 0 {
            names.seen |= bit;
            return Ok(());
        }
        if self.names(names.object).any(|other| other == text) {
            return Err(twice(text));
        }
        Ok(())
    }

    /// Refuses an object that has a name twice, of however many.
    fn none_twice<E: de::Error>(&self, object: usize) -> Result<(), E> {
        let mut seen = HashSet::new();
        self.names(object).find(|name| !seen.insert(*name)).map_or(Ok(()), |name| Err(twice(name)))
    }

    /// The names of an object, as far as it is read.
    fn names(&self, object: usize) -> impl Iterator<Item = &str> {
        let mut at = object + 1;
        std::iter::from_fn(move || {
            let name = *self.nodes.get(at)?;
            at = behind(&self.nodes, at + 1);
            Some(self.text_of(name))
        })
    }
}

/// What is known of the names of an object that is being read.
struct Names {
    /// The place of the object.
    object: usize,
    count: usize,
    /// A bit for each of the first few, which another may share.
    seen: u64,
}

/// A bit for a name: that of another name is mostly another.
fn bit(name: &str) -> u64 {
    let [first, .., last] = name.as_bytes() else { return 1 };
    let mixed = usize::from(*first) * 5 + usize::from(*last) * 11 + name.len() * 3;
    1 << (mixed % 64)
}

fn twice<E: de::Error>(name: &str) -> E {
    E::custom(format_args!("`{}` is there twice", printable(name, MAX_NAME)))
}

/// A place in a text or a list: neither is longer than 32 bits can say, within the bounds of a review.
fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Reads a value.
struct Value<'r, 'a> {
    reader: &'r mut Reader<'a>,
    depth: usize,
    place: Where,
}

impl<'a> Value<'_, 'a> {
    fn put(self, kind: Kind) {
        self.reader.nodes.push(Node { kind, start: 0, end: 0 });
    }

    fn put_text(self, node: Node) {
        self.reader.nodes.push(node);
        if self.place == Where::Uid {
            let text = self.reader.text_of(node);
            if !text.is_empty() && text.len() <= MAX_UID {
                self.reader.uid = Some(text.to_owned());
            }
        }
    }

    /// A value in this one.
    fn inner(&mut self, place: Where) -> Value<'_, 'a> {
        Value { reader: &mut *self.reader, depth: self.depth + 1, place }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.reader.values += 1;
        if self.reader.values > MAX_VALUES {
            return Err(self.reader.past("values", MAX_VALUES));
        }
        if self.depth > MAX_DEPTH {
            return Err(self.reader.past("levels", MAX_DEPTH));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Kind::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(if value { Kind::True } else { Kind::False });
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.put(Kind::Number);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.put(Kind::Number);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.put(Kind::Number);
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        let node = self.reader.borrowed(text);
        self.put_text(node);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let node = self.reader.unescaped(text);
        self.put_text(node);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let list = self.reader.open(Kind::List);
        while elements.next_element_seed(self.inner(Where::Elsewhere))?.is_some() {}
        self.reader.close(list);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let object = self.reader.open(Kind::Object);
        let mut names = Names { object, count: 0, seen: 0 };
        while let Some(name) = members.next_key_seed(Name { reader: &mut *self.reader })? {
            self.reader.not_twice(&mut names, name)?;
            match self.reader.member(self.place, name) {
                Some(place) => {
                    self.reader.nodes.push(name);
                    members.next_value_seed(self.inner(place))?;
                }
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        if names.count > FEW {
            self.reader.none_twice(object)?;
        }
        self.reader.close(object);
        Ok(())
    }
}

/// Reads the name of a member.
struct Name<'r, 'a> {
    reader: &'r mut Reader<'a>,
}

impl<'de> DeserializeSeed<'de> for Name<'_, 'de> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_, 'de> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Node, E> {
        Ok(self.reader.borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Node, E> {
        Ok(self.reader.unescaped(name))
    }
}

#[cfg(test)]
mod tests;
