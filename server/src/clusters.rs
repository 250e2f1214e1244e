//! A cluster's name in, the platforms of its nodes out.

use std::collections::BTreeMap;

use portcullis_core::image::Nodes;

/// The most clusters that may be configured.
pub const MAX_CLUSTERS: usize = 1_000;

/// What is configured of clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters {
    /// The platforms of the nodes of clusters that are not named.
    pub default: Nodes,
    /// Those of the named ones.
    pub named: BTreeMap<String, Nodes>,
}

impl Clusters {
    /// The platforms of the nodes that an image may run on in `cluster`, if whoever asks says `asked`:
    /// what is configured bounds it.
    #[must_use]
    pub fn nodes(&self, cluster: &str, asked: &Nodes) -> Nodes {
        asked.within(self.named.get(cluster).unwrap_or(&self.default))
    }

    /// The fields of a context on which it depends.
    #[must_use]
    pub fn depends(&self) -> &'static [&'static str] {
        if self.named.is_empty() { &["platforms"] } else { &["platforms", "cluster"] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_its_own_nodes_and_the_others_those_of_the_default() {
        let of = |name: &str| Nodes::new([name.parse().unwrap()]);
        let named = BTreeMap::from([("edge".to_owned(), of("linux/arm64"))]);
        let clusters = Clusters { default: of("linux/amd64"), named };
        assert_eq!(clusters.nodes("edge", &Nodes::default()), of("linux/arm64"));
        assert_eq!(clusters.nodes("prod", &Nodes::default()), of("linux/amd64"));
        // Nobody talks a cluster into nodes that it has not.
        assert_eq!(clusters.nodes("edge", &of("linux/amd64")), of("linux/arm64"));
        let unknown = Clusters::default();
        assert_eq!(unknown.nodes("prod", &of("linux/s390x")), of("linux/s390x"));
        assert!(unknown.nodes("prod", &Nodes::default()).is_empty());
    }
}
