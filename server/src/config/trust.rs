//! The `trust` section of the configuration in, where trust is read from out.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::rules::{CosignConfig, RulesConfig};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TrustFile {
    policy: Option<PathBuf>,
    store: Option<PathBuf>,
    #[serde(default)]
    cosign: Vec<CosignFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CosignFile {
    name: String,
    scopes: Vec<String>,
    key: Option<PathBuf>,
}

impl TrustFile {
    /// Says in `rules` where trust is read from. Relative paths start at `folder`.
    pub(super) fn add_to(self, rules: &mut RulesConfig, folder: &Path) {
        let Self { policy, store, cosign } = self;
        let at = |path: PathBuf| folder.join(path);
        rules.trust_policy = policy.map(at);
        rules.trust_store = store.map(at);
        let entry =
            |CosignFile { name, scopes, key }| CosignConfig { name, scopes, key: key.map(at) };
        rules.cosign = cosign.into_iter().map(entry).collect();
    }
}
