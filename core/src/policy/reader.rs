//! A YAML tree in, checked values out; what is wrong is noted with its place, and reading goes on.

use std::sync::Arc;

use std::time::Duration;

use super::fields::{Demand, Field, Mapping, Shape};
use super::node::{Key, Kind, Node, Place};
use super::{MAX_PROBLEMS, MAX_RULE_NAME, MAX_VALUES, Problem};
use crate::decide::printable;

/// The most characters of a foreign text that a problem quotes.
const QUOTED: usize = 80;
/// The most letters between what was written and what was meant.
const FAR: usize = 2;

/// Notes what is wrong, and what is doubtful, in one file.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) problems: &'a mut Vec<Problem>,
    pub(crate) warnings: &'a mut Vec<Problem>,
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

    fn key(&self, name: &str) -> Option<Place> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(key, _)| key.place)
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// Whether `field` is there and asks for something.
    fn asks(&self, field: &Field) -> bool {
        self.get(field.name).is_some_and(|node| match (&node.kind, &field.shape) {
            (Kind::Bool(value), Shape::Flag) => *value,
            (Kind::List(items), _) => !items.is_empty(),
            _ => true,
        })
    }
}

impl Reader<'_> {
    /// Notes a problem: the files cannot be used.
    pub(crate) fn note(&mut self, place: Place, message: String) {
        push(self.problems, self.file, place, message);
    }

    /// Notes a warning: the files can be used, and may not do what is meant.
    pub(crate) fn warn(&mut self, place: Place, message: String) {
        push(self.warnings, self.file, place, message);
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

    /// A mapping; each field that `mapping` does not know is a problem, and so is each that it
    /// demands and that is not there.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        mapping: &Mapping,
    ) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            self.unexpected(node, what, "a mapping");
            return None;
        };
        let known = mapping.names();
        for (key, _) in entries {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            let cure = match nearest(&key.name, known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("expected one of {}", listed(&known)),
            };
            let name = quoted(&key.name);
            self.note(key.place, format!("unknown field {name} in {what}: {cure}"));
        }
        let fields = Fields { place: node.place, entries };
        self.lacks(&fields, what, mapping);
        Some(fields)
    }

    fn lacks(&mut self, fields: &Fields<'_>, what: &str, mapping: &Mapping) {
        for field in mapping.fields {
            let name = field.name;
            match (fields.key(name), field.required) {
                (None, Some(cure)) => {
                    self.note(fields.place, format!("{what} has no `{name}`: {cure}"));
                }
                (Some(place), _) if !field.beside.is_empty() && !fields.has_any(field.beside) => {
                    let others = listed(field.beside);
                    let message = format!("`{name}` of {what} needs one of {others} beside it");
                    self.note(place, message);
                }
                _ => {}
            }
        }
        let asks = |demand: &Demand| {
            let demanded = mapping.fields.iter().filter(|f| demand.fields.contains(&f.name));
            demanded.into_iter().any(|field| fields.asks(field))
        };
        if let Some(demand) = mapping.demand.as_ref().filter(|demand| !asks(demand)) {
            let cure = listed(demand.fields);
            let lack = demand.lack;
            self.note(fields.place, format!("{what} {lack}: give it at least one of {cure}"));
        }
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

    /// A number from 0 to `max`.
    pub(crate) fn number(&mut self, node: &Node, what: &str, max: f64) -> Option<f64> {
        let value = match node.kind {
            Kind::Float(value) => value,
            // No more than that is in range anyway.
            Kind::Int(value) => u32::try_from(value).map_or(f64::NAN, f64::from),
            _ => {
                self.unexpected(node, what, "a number");
                return None;
            }
        };
        if (0.0..=max).contains(&value) {
            return Some(value);
        }
        self.note(node.place, format!("{what} is out of range, expected 0 to {max}"));
        None
    }

    /// One of `words`.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let Kind::Text(text) = &node.kind else {
            self.unexpected(node, what, "a text");
            return None;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
            return Some(*value);
        }
        let known = super::fields::words(words);
        let meant = nearest(text, known.iter().copied());
        let meant = meant.map(|word| format!(": did you mean `{word}`?")).unwrap_or_default();
        let (found, known) = (quoted(text), listed(&known));
        self.note(node.place, format!("{what} is {found}, expected one of {known}{meant}"));
        None
    }
}

/// Adds a problem, as far as [`MAX_PROBLEMS`] allows.
pub(crate) fn push(list: &mut Vec<Problem>, file: &str, place: Place, message: String) {
    if list.len() < MAX_PROBLEMS {
        let Place { line, column } = place;
        list.push(Problem { file: file.to_owned(), line, column, message });
    }
}

/// A foreign text in backticks, cut and without control characters.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text, QUOTED))
}

fn listed(names: &[&str]) -> String {
    format!("`{}`", names.join("`, `"))
}

/// How long a whole number and a unit are: `30d`, `12h`, `90m`, `3600s`.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let unit = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 60 * 60,
        b'd' => 24 * 60 * 60,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    // A number's parser would take a sign.
    let plain = number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit).map(Duration::from_secs)
}

/// The one of `known` that was probably meant: at most two letters away.
pub(crate) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > MAX_RULE_NAME {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let near = known.filter(|k| k.len().abs_diff(name.len()) <= FAR);
    let distances = near.map(|k| (distance(&lower, &k.to_ascii_lowercase()), k));
    distances.filter(|(d, k)| *d <= FAR && *d < k.len()).min().map(|(_, k)| k)
}

/// How many letters must be put in, taken out or replaced (Levenshtein); more than [`FAR`] where it is
/// more than that.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut least = left;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
            least = least.min(left);
        }
        if least > FAR {
            return least;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
