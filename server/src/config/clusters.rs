//! The sections on clusters of a configuration in, the platforms of their nodes and who speaks for them out.

use std::collections::BTreeMap;

use portcullis_core::image::{MAX_NODES, Nodes, Platform};
use serde::Deserialize;

use super::ConfigError;
use super::tls::names;
use crate::clusters::{Clusters, MAX_CLUSTERS};
use crate::identity::{Name, Place, Role};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClusterFile {
    name: String,
    platforms: Option<Vec<PlatformText>>,
    #[serde(default)]
    identities: Vec<String>,
    #[serde(default)]
    cloud: CloudFile,
}

/// Where a cluster is.
#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CloudFile {
    #[serde(default)]
    provider: String,
    #[serde(default)]
    account: String,
    #[serde(default)]
    region: String,
}

/// A platform as `os/architecture[/variant]`.
pub(super) struct PlatformText(Platform);

impl<'de> Deserialize<'de> for PlatformText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Who speaks for what.
pub(super) type Speakers = Vec<(Vec<Name>, Role)>;

/// What is configured of clusters, and who speaks for which.
pub(super) fn clusters(
    default: Vec<PlatformText>,
    files: Vec<ClusterFile>,
) -> Result<(Clusters, Speakers), ConfigError> {
    if files.len() > MAX_CLUSTERS {
        return Err(ConfigError::Range { field: "clusters", expected: "at most 1000" });
    }
    let (mut all, mut named, mut speakers) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for ClusterFile { name, platforms, identities, cloud } in files {
        if name.is_empty() {
            let expected = "a name for each cluster";
            return Err(ConfigError::Range { field: "clusters.name", expected });
        }
        if all.insert(name.clone(), ()).is_some() {
            return Err(ConfigError::ClusterTwice(name));
        }
        // A cluster of which nothing is known is one that is not named.
        if platforms.as_ref().map_or(identities.is_empty(), Vec::is_empty) {
            let expected = "at least one platform for each cluster, or `identities`";
            return Err(ConfigError::Range { field: "clusters.platforms", expected });
        }
        if let Some(platforms) = platforms {
            named.insert(name.clone(), nodes("clusters.platforms", platforms)?);
        }
        if identities.is_empty() {
            if cloud != CloudFile::default() {
                let expected = "`identities` beside it, which it holds for";
                return Err(ConfigError::Range { field: "clusters.cloud", expected });
            }
            continue;
        }
        let CloudFile { provider, account, region } = cloud;
        let place = Place { cluster: name, provider, account, region };
        speakers.push((names("clusters.identities", &identities)?, Role::Cluster(place)));
    }
    Ok((Clusters { default: nodes("platforms", default)?, named }, speakers))
}

fn nodes(field: &'static str, platforms: Vec<PlatformText>) -> Result<Nodes, ConfigError> {
    if platforms.len() > MAX_NODES {
        return Err(ConfigError::Range { field, expected: "at most 16 platforms" });
    }
    Ok(Nodes::new(platforms.into_iter().map(|platform| platform.0)))
}
