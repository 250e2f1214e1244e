//! A text in, its values out: the grammar of JSON (RFC 8259), within bounds, each name once in its object.
//!
//! `metadata.managedFields` is as large as the rest of many objects and says nothing of images, so it is passed
//! over: of that only the grammar is looked at.

use std::collections::HashSet;

use super::scan::{self, JsonError, Wrong};
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
    Wrong(JsonError),
}

/// Reads a whole text. With it, or with what is wrong, comes the uid of the review.
pub(super) fn read(text: &str) -> (Result<Document<'_>, Stop>, Option<String>) {
    let room = (text.len() / BYTES_A_VALUE).min(MAX_ROOM);
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        nodes: Vec::with_capacity(room),
        values: 0,
        unescaped: String::new(),
        uid: None,
    };
    let read = match reader.whole() {
        Ok(()) => Ok(Document::new(text, reader.unescaped, reader.nodes)),
        Err(Halt::Past(what, limit)) => Err(Stop::Past(what, limit)),
        Err(Halt::Wrong(what)) => Err(Stop::Wrong(JsonError::new(what, text, reader.at))),
    };
    (read, reader.uid)
}

/// Why reading stops.
#[derive(Debug)]
enum Halt {
    Past(&'static str, usize),
    Wrong(Wrong),
}

impl From<Wrong> for Halt {
    fn from(what: Wrong) -> Self {
        Self::Wrong(what)
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

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// How many there are without names.
    values: usize,
    unescaped: String,
    /// Kept as soon as it is read: the answer needs it whatever follows.
    uid: Option<String>,
}

impl Reader<'_> {
    fn whole(&mut self) -> Result<(), Halt> {
        self.value(0, Where::Root)?;
        match self.next() {
            None => Ok(()),
            Some(_) => Err(Wrong::End.into()),
        }
    }

    /// The next byte that is no space; it is not taken.
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at).copied() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// The same, and it is taken if it is `byte`.
    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.next() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn value(&mut self, depth: usize, place: Where) -> Result<(), Halt> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Halt::Past("values", MAX_VALUES));
        }
        if depth > MAX_DEPTH {
            return Err(Halt::Past("levels", MAX_DEPTH));
        }
        match self.next() {
            Some(b'"') => {
                let node = self.string()?;
                self.nodes.push(node);
                if place == Where::Uid {
                    self.keep_uid(node);
                }
                Ok(())
            }
            Some(b'{') => self.object(depth, place),
            Some(b'[') => self.list(depth),
            _ => {
                let kind = self.scalar()?;
                self.nodes.push(Node { kind, start: 0, end: 0 });
                Ok(())
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), Halt> {
        self.at += 1;
        let place = self.open(Kind::List);
        if !self.take(b']') {
            loop {
                self.value(depth + 1, Where::Elsewhere)?;
                match self.next() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    _ => return Err(Wrong::List.into()),
                }
            }
            self.at += 1;
        }
        self.close(place);
        Ok(())
    }

    fn object(&mut self, depth: usize, place: Where) -> Result<(), Halt> {
        self.at += 1;
        let object = self.open(Kind::Object);
        if !self.take(b'}') {
            let mut names = Names { first: object + 1, count: 0, seen: 0 };
            loop {
                let name = self.name()?;
                self.not_twice(&mut names, name)?;
                let place = self.member(place, name);
                if let Some(place) = place {
                    self.nodes.push(name);
                    self.value(depth + 1, place)?;
                } else {
                    self.pass_over()?;
                }
                match self.next() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => break,
                    _ => return Err(Wrong::Object.into()),
                }
            }
            self.at += 1;
            if names.count > FEW {
                self.none_twice(object)?;
            }
        }
        self.close(object);
        Ok(())
    }

    /// Begins what holds others; gives its place.
    fn open(&mut self, kind: Kind) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node { kind, start: 0, end: 0 });
        place
    }

    fn close(&mut self, place: usize) {
        let end = scan::short(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(place) {
            node.end = end;
        }
    }

    /// The name of a member, and the colon behind it.
    fn name(&mut self) -> Result<Node, Halt> {
        if self.next() != Some(b'"') {
            return Err(Wrong::Name.into());
        }
        let name = self.string()?;
        if !self.take(b':') {
            return Err(Wrong::Colon.into());
        }
        Ok(name)
    }

    /// What the value of the member `name` is; none where it is passed over.
    fn member(&self, place: Where, name: Node) -> Option<Where> {
        // Nearly every name is of another length.
        match (place, name.end - name.start) {
            (Where::Root, 7) if self.text_of(name) == "request" => Some(Where::Request),
            (Where::Request, 3) if self.text_of(name) == "uid" => Some(Where::Uid),
            (_, 8) if self.text_of(name) == "metadata" => Some(Where::Metadata),
            (Where::Metadata, 13) if self.text_of(name) == "managedFields" => None,
            _ => Some(Where::Elsewhere),
        }
    }

    /// A text; its first quote is next.
    fn string(&mut self) -> Result<Node, Halt> {
        let start = self.at + 1;
        let end = scan::special(self.bytes, start);
        self.at = end;
        if self.bytes.get(end) == Some(&b'"') {
            self.at += 1;
            return Ok(Node { kind: Kind::Text, start: scan::short(start), end: scan::short(end) });
        }
        let first = self.unescaped.len();
        self.at = scan::unescape(self.text, start, &mut self.unescaped).map_err(|(what, at)| {
            self.at = at;
            what
        })?;
        let (start, end) = (scan::short(first), scan::short(self.unescaped.len()));
        Ok(Node { kind: Kind::Unescaped, start, end })
    }

    fn text_of(&self, node: Node) -> &str {
        let text = if node.kind == Kind::Unescaped { &self.unescaped } else { self.text };
        text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    fn keep_uid(&mut self, node: Node) {
        let text = self.text_of(node);
        if !text.is_empty() && text.len() <= MAX_UID {
            self.uid = Some(text.to_owned());
        }
    }

    /// What is neither a text nor holds others.
    fn scalar(&mut self) -> Result<Kind, Halt> {
        let (kind, end) = scan::scalar(self.bytes, self.at).ok_or(Wrong::Value)?;
        if kind == Kind::Number && !scan::is_finite(self.text, self.at, end) {
            return Err(Wrong::Number.into());
        }
        self.at = end;
        Ok(kind)
    }

    /// Takes a value of which nothing is kept, however deep it is.
    fn pass_over(&mut self) -> Result<(), Halt> {
        // What is open, by the bytes that close it.
        let mut open = Vec::new();
        loop {
            match self.next() {
                Some(b'{') => {
                    self.at += 1;
                    open.push(b'}');
                    if self.next() != Some(b'}') {
                        self.pass_name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    open.push(b']');
                    if self.next() != Some(b']') {
                        continue;
                    }
                }
                Some(b'"') => self.pass_string()?,
                _ => self.at = scan::scalar(self.bytes, self.at).ok_or(Wrong::Value)?.1,
            }
            // A value has ended, or the first one is not there.
            loop {
                let Some(close) = open.last().copied() else { return Ok(()) };
                match self.next() {
                    Some(b',') => {
                        self.at += 1;
                        if close == b'}' {
                            self.pass_name()?;
                        }
                        break;
                    }
                    Some(byte) if byte == close => {
                        self.at += 1;
                        open.pop();
                    }
                    _ if close == b'}' => return Err(Wrong::Object.into()),
                    _ => return Err(Wrong::List.into()),
                }
            }
        }
    }

    fn pass_name(&mut self) -> Result<(), Halt> {
        if self.next() != Some(b'"') {
            return Err(Wrong::Name.into());
        }
        self.pass_string()?;
        if self.take(b':') { Ok(()) } else { Err(Wrong::Colon.into()) }
    }

    fn pass_string(&mut self) -> Result<(), Halt> {
        self.at = scan::pass_over(self.bytes, self.at + 1).map_err(|(what, at)| {
            self.at = at;
            what
        })?;
        Ok(())
    }

    /// Refuses a name that its object has already, among the first few.
    fn not_twice(&self, names: &mut Names, name: Node) -> Result<(), Halt> {
        names.count += 1;
        if names.count > FEW {
            return Ok(());
        }
        let holder = if name.kind == Kind::Unescaped { &self.unescaped } else { self.text };
        let (start, end) = (name.start as usize, name.end as usize);
        let bit = 1 << (scan::mixed(holder.as_bytes(), start, end) >> 58);
        if names.seen & bit == 0 {
            names.seen |= bit;
            return Ok(());
        }
        let text = self.text_of(name);
        let mut at = names.first;
        while let Some(other) = self.nodes.get(at) {
            if self.text_of(*other) == text {
                return Err(twice(text));
            }
            at = behind(&self.nodes, at + 1);
        }
        Ok(())
    }

    /// Refuses an object that has a name twice, of however many.
    fn none_twice(&self, object: usize) -> Result<(), Halt> {
        let mut seen = HashSet::new();
        let mut at = object + 1;
        while let Some(name) = self.nodes.get(at) {
            let text = self.text_of(*name);
            if !seen.insert(text) {
                return Err(twice(text));
            }
            at = behind(&self.nodes, at + 1);
        }
        Ok(())
    }
}

/// What is known of the names of an object that is being read.
struct Names {
    /// The place of the first.
    first: usize,
    count: usize,
    /// A bit for each of the first few, which another may share.
    seen: u64,
}

fn twice(name: &str) -> Halt {
    Wrong::Twice(printable(name, MAX_NAME)).into()
}

#[cfg(test)]
mod tests;
