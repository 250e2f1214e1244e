//! Nodes in, a tree drawn with lines out: in colour on a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

/// What stands before a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// As it must be.
    Good,
    /// Not as it must be.
    Bad,
    /// Worth a look.
    Doubt,
    /// Nothing to judge.
    None,
}

/// One line of a tree, with those below it.
pub(super) struct Node {
    mark: Mark,
    text: String,
    children: Vec<Self>,
}

impl Node {
    pub(super) fn new(mark: Mark, text: impl Into<String>) -> Self {
        Self { mark, text: text.into(), children: Vec::new() }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(Mark::None, text)
    }

    pub(super) fn with(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    pub(super) fn add(&mut self, child: Self) {
        self.children.push(child);
    }
}

/// Whether to write colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Colour,
    Plain,
}

impl Ink {
    /// In colour on a terminal, unless `NO_COLOR` asks for none.
    pub(crate) fn of_output() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !is_unwanted { Self::Colour } else { Self::Plain }
    }
}

/// The lines of a tree.
pub(super) fn draw(root: &Node, ink: Ink) -> String {
    let mut text = String::new();
    line(&mut text, "", root, ink);
    below(&mut text, "", root, ink);
    text
}

fn below(text: &mut String, before: &str, node: &Node, ink: Ink) {
    for (index, child) in node.children.iter().enumerate() {
        let (branch, trunk) = if index + 1 == node.children.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        line(text, &format!("{before}{branch}"), child, ink);
        below(text, &format!("{before}{trunk}"), child, ink);
    }
}

fn line(text: &mut String, before: &str, node: &Node, ink: Ink) {
    let (mark, colour) = match node.mark {
        Mark::Good => ("✓ ", "32"),
        Mark::Bad => ("✗ ", "31"),
        Mark::Doubt => ("! ", "33"),
        Mark::None => ("", ""),
    };
    let body = &node.text;
    // Writing to a `String` does not fail.
    let _ = match ink {
        Ink::Colour if !colour.is_empty() => {
            writeln!(text, "{before}\u{1b}[{colour}m{mark}\u{1b}[0m{body}")
        }
        Ink::Colour | Ink::Plain => writeln!(text, "{before}{mark}{body}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_with_its_branches() {
        let leaf = |text: &str| Node::new(Mark::Good, text);
        let root = Node::plain("image")
            .with(Node::new(Mark::Bad, "first").with(leaf("a")).with(leaf("b")))
            .with(Node::new(Mark::Doubt, "last").with(leaf("c")));
        let expected = "image\n├─ ✗ first\n│  ├─ ✓ a\n│  └─ ✓ b\n└─ ! last\n   └─ ✓ c\n";
        assert_eq!(draw(&root, Ink::Plain), expected);
        let coloured = draw(&root, Ink::Colour);
        assert!(coloured.contains("├─ \u{1b}[31m✗ \u{1b}[0mfirst\n"), "{coloured}");
    }
}
