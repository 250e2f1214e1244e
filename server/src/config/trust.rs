//! The `trust` section of the configuration in, where trust is read from out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Span;
use crate::revocation::RevocationConfig;
use crate::rules::{CosignConfig, RulesConfig};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TrustFile {
    policy: Option<PathBuf>,
    store: Option<PathBuf>,
    #[serde(default)]
    cosign: Vec<CosignFile>,
    #[serde(default)]
    revocation: RevocationFile,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevocationFile {
    #[serde(default)]
    hosts: BTreeSet<String>,
    ocsp_timeout: Option<Span>,
    crl_timeout: Option<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CosignFile {
    name: String,
    scopes: Vec<String>,
    key: Option<PathBuf>,
    identity: Option<String>,
    identity_regex: Option<String>,
    issuer: Option<String>,
    trust_root: Option<PathBuf>,
    require_log: Option<bool>,
    require_sct: Option<bool>,
}

impl TrustFile {
    /// Whom to ask which certificates were revoked.
    pub(super) fn revocation(&self) -> RevocationConfig {
        let RevocationFile { hosts, ocsp_timeout, crl_timeout } = &self.revocation;
        let defaults = RevocationConfig::default();
        RevocationConfig {
            hosts: hosts.clone(),
            ocsp_timeout: ocsp_timeout.map_or(defaults.ocsp_timeout, |span| span.0),
            crl_timeout: crl_timeout.map_or(defaults.crl_timeout, |span| span.0),
        }
    }

    /// Says in `rules` where trust is read from. Relative paths start at `folder`.
    pub(super) fn add_to(self, rules: &mut RulesConfig, folder: &Path) {
        let Self { policy, store, cosign, revocation: _ } = self;
        let at = |path: PathBuf| folder.join(path);
        rules.trust_policy = policy.map(at);
        rules.trust_store = store.map(at);
        rules.cosign = cosign.into_iter().map(|file| file.into_config(folder)).collect();
    }
}

impl CosignFile {
    fn into_config(self, folder: &Path) -> CosignConfig {
        let Self {
            name,
            scopes,
            key,
            identity,
            identity_regex,
            issuer,
            trust_root,
            require_log,
            require_sct,
        } = self;
        CosignConfig {
            name,
            scopes,
            key: key.map(|path| folder.join(path)),
            identity,
            identity_regex,
            issuer,
            trust_root: trust_root.map(|path| folder.join(path)),
            require_log,
            require_sct,
        }
    }
}
