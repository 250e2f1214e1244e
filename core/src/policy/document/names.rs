//! Names that must be unique, and those that must be there.

use std::collections::HashMap;
use std::sync::Arc;

use crate::policy::node::{Kind, Node, Place};
use crate::policy::reader::{Fields, Reader, nearest, push, quoted};
use crate::policy::{MAX_RULE_NAME, Problem};

/// The names of all rules, say, and where each was given first.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Arc<str>, (Arc<str>, Place)>);

/// A place that names a rule.
#[derive(Debug)]
pub(super) struct Mention {
    pub(super) name: Arc<str>,
    /// What names it, for people.
    pub(super) what: String,
    pub(super) file: Arc<str>,
    pub(super) place: Place,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The `name` of a rule, or of whatever `kind` is, if it is good and the first of its kind.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader<'_>,
        fields: &Fields<'_>,
        kind: &str,
    ) -> Option<Arc<str>> {
        let node = fields.get("name")?;
        let name: Arc<str> = label(reader, node, &format!("`name` of the {kind}"), kind)?.into();
        if let Some((file, place)) = self.0.get(&name) {
            let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
            let message = format!(
                "there is {article} {kind} `{name}` already, at {file}:{}:{}: give each its own \
                 name",
                place.line, place.column
            );
            reader.note(node.place, message);
            return None;
        }
        self.0.insert(Arc::clone(&name), (Arc::clone(reader.file), node.place));
        Some(name)
    }

    /// Notes a problem if what `mention` names is not there.
    pub(super) fn check(&self, mention: &Mention, problems: &mut Vec<Problem>) {
        let Mention { name, what, file, place } = mention;
        if self.0.contains_key(name) {
            return;
        }
        let cure = match nearest(name, self.0.keys().map(|name| &**name)) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "name one that is there".to_owned(),
        };
        push(
            problems,
            file,
            *place,
            format!("there is no rule `{name}`, which {what} names: {cure}"),
        );
    }
}

/// What to call a rule, or whatever `kind` is, whether or not its name is good.
pub(super) fn called(node: &Node, kind: &str) -> String {
    match node.field("name").map(|name| &name.kind) {
        Some(Kind::Text(name)) => format!("{kind} {}", quoted(name)),
        _ => format!("the {kind}"),
    }
}

/// A label as RFC 1123 has it, with lower-case letters only.
pub(super) fn label<'n>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    what: &str,
    kind: &str,
) -> Option<&'n str> {
    let name = reader.text(node, what, MAX_RULE_NAME)?;
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.bytes().all(good) && !name.starts_with('-') && !name.ends_with('-') {
        return Some(name);
    }
    let message = format!(
        "{} is not a name of a {kind}: use lower-case letters, digits and `-` between them",
        quoted(name)
    );
    reader.note(node.place, message);
    None
}
