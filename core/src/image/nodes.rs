//! The platforms of a cluster's nodes in, which entries of an index can run there out.
//!
//! A node takes one entry: the best that it can run, by the order that containerd has for its platform
//! (`platforms.Only`): its own variant, then lower ones, then what its processor runs besides.

use super::Platform;

/// The most platforms that one question or cluster may name.
pub const MAX_NODES: usize = 16;

/// The platforms of the nodes that an image may run on. Empty: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes(Vec<Platform>);

impl Nodes {
    /// Nodes of these platforms, each once. At most [`MAX_NODES`] are to be given; it is for the rim to
    /// refuse more.
    #[must_use]
    pub fn new(platforms: impl IntoIterator<Item = Platform>) -> Self {
        let mut all: Vec<_> = platforms.into_iter().map(normal).collect();
        all.sort();
        all.dedup();
        Self(all)
    }

    /// Whether nothing is known of the nodes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of `self` that `others` has too; `others`, where that is none or `self` is not known. Whoever
    /// asks may say on which of a cluster's nodes, and not that it has others.
    #[must_use]
    pub fn within(&self, others: &Self) -> Self {
        if others.is_empty() {
            return self.clone();
        }
        let both: Vec<_> = self.0.iter().filter(|p| others.0.contains(p)).cloned().collect();
        if both.is_empty() { others.clone() } else { Self(both) }
    }

    /// Which of `entries` these nodes take, as a mark for each. Entries that any node may run, and which
    /// say nothing of their platform, are taken always. If no node can run any, all are marked: what
    /// is not understood is looked at whole.
    #[must_use]
    pub fn take(&self, entries: &[Platform]) -> Vec<bool> {
        let entries: Vec<_> = entries.iter().cloned().map(normal).collect();
        let any = |entry: &Platform| entry.os == crate::referrers::ANY_PLATFORM;
        let mut taken = vec![false; entries.len()];
        let mut found = self.is_empty();
        for node in &self.0 {
            let best = entries.iter().filter_map(|entry| rank(node, entry)).min();
            let Some(best) = best else { continue };
            found = true;
            for (mark, entry) in taken.iter_mut().zip(&entries) {
                *mark |= rank(node, entry) == Some(best);
            }
        }
        if self.is_empty() || !found {
            return vec![true; entries.len()];
        }
        taken.iter().zip(&entries).map(|(mark, entry)| *mark || any(entry)).collect()
    }
}

/// How far down in a node's order an entry stands, if the node can run it.
fn rank(node: &Platform, entry: &Platform) -> Option<usize> {
    if node.os != entry.os {
        return None;
    }
    let entry = (entry.architecture.as_str(), entry.variant.as_deref().unwrap_or_default());
    order(node)
        .iter()
        .position(|(architecture, variant)| (*architecture, variant.as_str()) == entry)
}

/// What a node can run, the best first, normalised.
fn order(node: &Platform) -> Vec<(&str, String)> {
    let variant = node.variant.as_deref().unwrap_or_default();
    let lower = |architecture, from: u32, to: u32, none: u32| {
        let name = move |n: u32| if n == none { String::new() } else { format!("v{n}") };
        (to..=from).rev().map(move |n| (architecture, name(n)))
    };
    let number = |none: u32| match variant.strip_prefix('v') {
        Some(digits) => digits.parse::<u32>().ok().filter(|n| (1..=9).contains(n)),
        None if variant.is_empty() => Some(none),
        None => None,
    };
    match (node.architecture.as_str(), variant) {
        ("amd64", _) => match number(1) {
            Some(level) => lower("amd64", level, 1, 1).chain([("386", String::new())]).collect(),
            None => vec![("amd64", variant.to_owned())],
        },
        ("arm64", _) => match number(8) {
            Some(level) if level >= 8 => {
                lower("arm64", level, 8, 8).chain(lower("arm", 8, 5, 7)).collect()
            }
            _ => vec![("arm64", variant.to_owned())],
        },
        ("arm", _) => match number(7) {
            Some(level) if level >= 5 => lower("arm", level, 5, 7).collect(),
            _ => vec![("arm", variant.to_owned())],
        },
        (other, _) => vec![(other, variant.to_owned())],
    }
}

/// A platform by the one name that containerd has for it: lower case, no aliases, and no variant where
/// it is the one that is meant without.
fn normal(platform: Platform) -> Platform {
    let Platform { os, architecture, variant } = platform;
    let os = match os.to_ascii_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    };
    let variant = variant.unwrap_or_default().to_ascii_lowercase();
    let (architecture, variant) = match (architecture.to_ascii_lowercase(), variant.as_str()) {
        (a, v) if a == "x86_64" || a == "x86-64" => ("amd64".to_owned(), v.to_owned()),
        (a, v) if a == "aarch64" => ("arm64".to_owned(), v.to_owned()),
        (a, _) if a == "armhf" => ("arm".to_owned(), "v7".to_owned()),
        (a, _) if a == "armel" => ("arm".to_owned(), "v6".to_owned()),
        (a, _) if matches!(a.as_str(), "i386" | "i486" | "i586" | "i686") => {
            ("386".to_owned(), String::new())
        }
        (a, v) => (a, v.to_owned()),
    };
    // `8` is `v8`.
    let digits = !variant.is_empty() && variant.bytes().all(|b| b.is_ascii_digit());
    let variant = if digits { format!("v{variant}") } else { variant };
    let without = matches!(
        (architecture.as_str(), variant.as_str()),
        ("amd64", "v1") | ("arm64", "v8") | ("arm", "v7")
    );
    let variant = Some(variant).filter(|v| !v.is_empty() && !without);
    Platform { os, architecture, variant }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &str) -> Nodes {
        Nodes::new(names.split_whitespace().map(|name| name.parse().unwrap()))
    }

    /// Of the entries, those that are taken.
    #[track_caller]
    fn check(of: &str, entries: &str, taken: &str) {
        let names: Vec<_> = entries.split_whitespace().collect();
        let platforms: Vec<Platform> = names.iter().map(|name| name.parse().unwrap()).collect();
        let marks = nodes(of).take(&platforms);
        let found: Vec<_> =
            names.iter().zip(marks).filter(|(_, mark)| *mark).map(|(name, _)| *name).collect();
        assert_eq!(found.join(" "), taken, "{of} of {entries}");
    }

    #[test]
    fn a_node_takes_the_best_that_it_can_run() {
        check("linux/amd64", "linux/386 linux/amd64 linux/arm64", "linux/amd64");
        check("linux/amd64", "linux/386 linux/arm64", "linux/386");
        check("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", "linux/amd64/v2");
        check("linux/amd64", "linux/amd64/v2 linux/amd64", "linux/amd64");
        check("linux/arm64", "linux/arm/v7 linux/arm64/v8", "linux/arm64/v8");
        check("linux/arm64/v8", "linux/arm64 linux/amd64", "linux/arm64");
        check("linux/arm64", "linux/arm/v6 linux/arm/v7 linux/amd64", "linux/arm/v7");
        check("linux/arm/v7", "linux/arm/v5 linux/arm/v6 linux/arm/v8", "linux/arm/v6");
        check("linux/arm", "linux/arm/v7", "linux/arm/v7");
        check("linux/s390x", "linux/amd64 linux/s390x", "linux/s390x");
        check("windows/amd64", "linux/amd64 windows/amd64", "windows/amd64");
        check("linux/x86", "linux/x86 linux/amd64", "linux/x86");
        check("Linux/AMD64", "linux/amd64 linux/arm64", "linux/amd64");
        check("linux/aarch64", "linux/amd64 linux/arm64", "linux/arm64");
    }

    #[test]
    fn every_node_takes_its_own_and_two_of_one_platform_are_both_taken() {
        let all = "linux/amd64 linux/arm64 linux/s390x";
        check("linux/amd64 linux/arm64", all, "linux/amd64 linux/arm64");
        check("linux/amd64", "linux/amd64 linux/amd64", "linux/amd64 linux/amd64");
    }

    #[test]
    fn what_is_not_understood_is_looked_at_whole() {
        check("", "linux/amd64 linux/arm64", "linux/amd64 linux/arm64");
        check("linux/riscv64", "linux/amd64 linux/arm64", "linux/amd64 linux/arm64");
        check("linux/amd64", "any/any linux/amd64 linux/arm64", "any/any linux/amd64");
        check("linux/amd64", "", "");
    }

    #[test]
    fn who_asks_may_name_some_of_a_clusters_nodes_and_no_others() {
        let within = |asked: &str, cluster: &str| nodes(asked).within(&nodes(cluster));
        assert_eq!(within("linux/arm64", "linux/amd64 linux/arm64/v8"), nodes("linux/arm64"));
        assert_eq!(within("linux/s390x", "linux/amd64"), nodes("linux/amd64"));
        assert_eq!(within("linux/s390x", ""), nodes("linux/s390x"));
        assert_eq!(within("", "linux/amd64"), nodes("linux/amd64"));
        assert!(within("", "").is_empty());
    }
}
