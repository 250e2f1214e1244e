//! Bytes in, a flat list of values out: within bounds, and with one reading only.
//!
//! Values stand in the order of the text, and what holds others says where it ends, so that neither objects nor
//! lists have storage of their own. Texts are borrowed from the bytes where they have no escapes.

use serde::de::Error as _;

use super::MAX_REVIEW;
use super::error::Fault;
use super::json::{self, Stop};

/// A text of JSON that was read.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    text: &'a str,
    /// Texts that had escapes, without them.
    unescaped: String,
    nodes: Vec<Node>,
}

/// A value, or the name of a member. Texts are shorter than [`MAX_REVIEW`], so that 32 bits are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Of a text, where it begins.
    pub(super) start: u32,
    /// Of a text, where it ends. Of an object or a list, the place behind all that is in it.
    pub(super) end: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    /// A text as it is written.
    Text,
    /// A text that had escapes.
    Unescaped,
    List,
    Object,
}

/// What stands for a value that is not there.
const NULL: Node = Node { kind: Kind::Null, start: 0, end: 0 };
/// Where it stands, in every document.
const NOWHERE: usize = usize::MAX;
static EMPTY: Document<'static> =
    Document { text: "", unescaped: String::new(), nodes: Vec::new() };

impl<'a> Document<'a> {
    pub(super) const fn new(text: &'a str, unescaped: String, nodes: Vec<Node>) -> Self {
        Self { text, unescaped, nodes }
    }

    /// The value that the document is.
    pub(super) const fn root(&self) -> Tree<'_> {
        Tree { document: self, at: 0 }
    }

    fn node(&self, at: usize) -> Node {
        self.nodes.get(at).copied().unwrap_or(NULL)
    }

    fn text(&self, node: Node) -> Option<&str> {
        let text = match node.kind {
            Kind::Text => self.text,
            Kind::Unescaped => &self.unescaped,
            _ => return None,
        };
        text.get(node.start as usize..node.end as usize)
    }
}

/// The place behind the value at `at`.
pub(super) fn behind(nodes: &[Node], at: usize) -> usize {
    match nodes.get(at) {
        Some(Node { kind: Kind::List | Kind::Object, end, .. }) => *end as usize,
        _ => at + 1,
    }
}

/// A value of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'t> {
    document: &'t Document<'t>,
    at: usize,
}

impl<'t> Tree<'t> {
    /// A value that is not there.
    pub(super) const fn null() -> Tree<'static> {
        Tree { document: &EMPTY, at: NOWHERE }
    }

    fn node(self) -> Node {
        self.document.node(self.at)
    }

    pub(super) fn kind(self) -> Kind {
        self.node().kind
    }

    /// The member `name`; null where there is none.
    pub(super) fn get(self, name: &str) -> Self {
        let found = self.members().find(|(key, _)| *key == name);
        found.map_or(Self { at: NOWHERE, ..self }, |(_, value)| value)
    }

    /// The members of an object; none where it is no object.
    pub(super) fn members(self) -> impl Iterator<Item = (&'t str, Self)> {
        let mut below = self.below(Kind::Object);
        std::iter::from_fn(move || {
            let name = below.one()?;
            Some((name.text().unwrap_or_default(), below.one()?))
        })
    }

    /// The elements of a list; none where it is no list.
    pub(super) fn elements(self) -> impl Iterator<Item = Self> {
        let mut below = self.below(Kind::List);
        std::iter::from_fn(move || below.one())
    }

    fn below(self, kind: Kind) -> Below<'t> {
        let node = self.node();
        let end = if node.kind == kind { node.end as usize } else { 0 };
        Below { document: self.document, at: self.at.saturating_add(1), end }
    }

    pub(super) fn text(self) -> Option<&'t str> {
        self.document.text(self.node())
    }

    pub(super) fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// What it is, for people.
    pub(super) fn noun(self) -> &'static str {
        match self.kind() {
            Kind::Null => "missing",
            Kind::True | Kind::False => "a truth value",
            Kind::Number => "a number",
            Kind::Text | Kind::Unescaped => "a text",
            Kind::List => "a list",
            Kind::Object => "an object",
        }
    }
}

/// What is in an object or a list, one after the other.
struct Below<'t> {
    document: &'t Document<'t>,
    at: usize,
    end: usize,
}

impl<'t> Below<'t> {
    fn one(&mut self) -> Option<Tree<'t>> {
        if self.at >= self.end {
            return None;
        }
        let tree = Tree { document: self.document, at: self.at };
        self.at = behind(&self.document.nodes, self.at);
        Some(tree)
    }
}

/// Reads a review. With it, or with what is wrong, comes its uid if there is one that can be repeated.
pub(super) fn parse(bytes: &[u8]) -> (Result<Document<'_>, Fault>, Option<String>) {
    let beginning = bytes.get(..MAX_REVIEW).unwrap_or(bytes);
    let (text, is_text) = match str::from_utf8(beginning) {
        Ok(text) => (text, true),
        Err(error) => {
            let valid = beginning.get(..error.valid_up_to()).map(str::from_utf8);
            (valid.and_then(Result::ok).unwrap_or_default(), false)
        }
    };
    let (read, uid) = json::read(text);
    let read = match read {
        // What was read is a part of it, though it may be whole by itself.
        _ if bytes.len() > MAX_REVIEW => Err(Fault::TooLarge { limit: MAX_REVIEW }),
        Err(Stop::Past(what, limit)) => Err(Fault::TooMany { what, limit }),
        _ if !is_text => Err(Fault::Json(serde_json::Error::custom("what follows is no UTF-8"))),
        Err(Stop::Wrong(error)) => Err(Fault::Json(error)),
        Ok(document) => Ok(document),
    };
    (read, uid)
}

/// The uid of a review of which only the beginning is there.
pub(super) fn uid(beginning: &[u8]) -> Option<String> {
    parse(beginning).1
}
