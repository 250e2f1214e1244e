//! The sections on clusters of a configuration in, the platforms of their nodes out.

use std::collections::BTreeMap;

use portcullis_core::image::{MAX_NODES, Nodes, Platform};
use serde::Deserialize;

use super::ConfigError;
use crate::clusters::{Clusters, MAX_CLUSTERS};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClusterFile {
    name: String,
    platforms: Vec<PlatformText>,
}

/// A platform as `os/architecture[/variant]`.
pub(super) struct PlatformText(Platform);

impl<'de> Deserialize<'de> for PlatformText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

pub(super) fn clusters(
    default: Vec<PlatformText>,
    files: Vec<ClusterFile>,
) -> Result<Clusters, ConfigError> {
    if files.len() > MAX_CLUSTERS {
        return Err(ConfigError::Range { field: "clusters", expected: "at most 1000" });
    }
    let mut named = BTreeMap::new();
    for ClusterFile { name, platforms } in files {
        // A cluster of which nothing is known is one that is not named.
        if platforms.is_empty() {
            let expected = "at least one platform for each cluster";
            return Err(ConfigError::Range { field: "clusters.platforms", expected });
        }
        if named.insert(name.clone(), nodes("clusters.platforms", platforms)?).is_some() {
            return Err(ConfigError::ClusterTwice(name));
        }
    }
    Ok(Clusters { default: nodes("platforms", default)?, named })
}

fn nodes(field: &'static str, platforms: Vec<PlatformText>) -> Result<Nodes, ConfigError> {
    if platforms.len() > MAX_NODES {
        return Err(ConfigError::Range { field, expected: "at most 16 platforms" });
    }
    Ok(Nodes::new(platforms.into_iter().map(|platform| platform.0)))
}
