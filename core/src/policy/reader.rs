//! A YAML tree in, checked values out; what is wrong is noted with its place, and reading goes on.

use super::node::{Key, Kind, Node, Place};
use super::{MAX_PROBLEMS, MAX_VALUES, Problem};
use crate::decide::printable;

/// The most characters of a foreign text that a problem quotes.
const QUOTED: usize = 80;

/// Notes the problems of one file.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a str,
    pub(crate) problems: &'a mut Vec<Problem>,
}

/// The entries of a mapping whose fields are all known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'n> {
    pub(crate) place: Place,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }
}

impl Reader<'_> {
    pub(crate) fn note(&mut self, place: Place, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            let (line, column) = (place.line, place.column);
            self.problems.push(Problem { file: self.file.to_owned(), line, column, message });
        }
    }

    fn unexpected(&mut self, node: &Node, what: &str, expected: &str) {
        let cure = match node.kind {
            Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) if expected == "a text" => {
                ": write it in quotes"
            }
            _ => "",
        };
        let found = node.kind.describe();
        self.note(node.place, format!("{what} is {found}, expected {expected}{cure}"));
    }

    /// A mapping; each field that is not in `known` is a problem.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            self.unexpected(node, what, "a mapping");
            return None;
        };
        for (key, _) in entries {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            let cure = match nearest(&key.name, known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("expected one of `{}`", known.join("`, `")),
            };
            let name = quoted(&key.name);
            self.note(key.place, format!("unknown field {name} in {what}: {cure}"));
        }
        Some(Fields { place: node.place, entries })
    }

    /// A mapping from free names to texts.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        match &node.kind {
            Kind::Map(entries) if entries.len() > MAX_VALUES => {
                let count = entries.len();
                self.note(node.place, format!("{what} has {count} entries, over {MAX_VALUES}"));
                &[]
            }
            Kind::Map(entries) => entries,
            _ => {
                self.unexpected(node, what, "a mapping");
                &[]
            }
        }
    }

    /// A list of at most `limit` items.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str, limit: usize) -> &'n [Node] {
        match &node.kind {
            Kind::List(items) if items.len() > limit => {
                let count = items.len();
                let message = format!("{what} has {count} items, more than the {limit} allowed");
                self.note(node.place, message);
                &[]
            }
            Kind::List(items) => items,
            _ => {
                self.unexpected(node, what, "a list");
                &[]
            }
        }
    }

    /// A text of 1 to `limit` bytes without white space around it or control characters in it.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str, limit: usize) -> Option<&'n str> {
        let Kind::Text(text) = &node.kind else {
            self.unexpected(node, what, "a text");
            return None;
        };
        let fault = if text.is_empty() {
            "is empty".to_owned()
        } else if text.len() > limit {
            format!("is {} bytes long, more than the {limit} allowed", text.len())
        } else if text.trim() != text {
            format!("{} has white space around it: remove it", quoted(text))
        } else if text.chars().any(|c| c.is_control() && c != '\n') {
            format!("{} has control characters: remove them", quoted(text))
        } else {
            return Some(text);
        };
        self.note(node.place, format!("{what} {fault}"));
        None
    }

    pub(crate) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Kind::Bool(value) = node.kind {
            return Some(value);
        }
        self.unexpected(node, what, "`true` or `false`");
        None
    }

    /// A whole number from 0 to `u32::MAX`.
    pub(crate) fn count(&mut self, node: &Node, what: &str) -> Option<u32> {
        if let Kind::Int(value) = node.kind {
            if let Ok(value) = u32::try_from(value) {
                return Some(value);
            }
            let max = u32::MAX;
            self.note(node.place, format!("{what} is `{value}`, expected 0 to {max}"));
            return None;
        }
        self.unexpected(node, what, "a whole number");
        None
    }

    /// One of `words`.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let Kind::Text(text) = &node.kind else {
            self.unexpected(node, what, "a text");
            return None;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let found = quoted(text);
        let known = known.join("`, `");
        self.note(node.place, format!("{what} is {found}, expected one of `{known}`"));
        None
    }
}

/// A foreign text in backticks, cut and without control characters.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text, QUOTED))
}

/// The one of `known` that was probably meant: at most two letters away.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let distances = known.iter().map(|k| (distance(&lower, &k.to_ascii_lowercase()), *k));
    distances.filter(|(d, k)| *d <= 2 && *d < k.len()).min().map(|(_, k)| k)
}

/// How many letters must be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
