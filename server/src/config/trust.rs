//! The section on trust of a configuration in, where trust is read from out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, Span};
use crate::revocation::RevocationConfig;
use crate::rules::CosignConfig;
use crate::rules::trust::TrustConfig;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TrustFile {
    policy: Option<PathBuf>,
    store: Option<PathBuf>,
    notation: Option<PathBuf>,
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

#[derive(Deserialize, Clone)]
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

    /// Who signs cosign attestations. Relative paths start at `folder`.
    pub(super) fn cosign(&self, folder: &Path) -> Vec<CosignConfig> {
        self.cosign.iter().cloned().map(|file| file.into_config(folder)).collect()
    }

    /// Where Notary Project trust is read from. Relative paths start at `folder`.
    pub(super) fn into_config(self, folder: &Path) -> Result<TrustConfig, ConfigError> {
        let Self { policy, store, notation, cosign: _, revocation: _ } = self;
        match (notation, policy, store) {
            (None, None, None) => Ok(TrustConfig::Nobody),
            (None, Some(policy), store) => Ok(TrustConfig::Files {
                policy: folder.join(policy),
                store: store.map(|path| folder.join(path)),
            }),
            (Some(notation), None, None) => Ok(TrustConfig::Notation(folder.join(notation))),
            (None, None, Some(_)) => {
                Err(ConfigError::Trust("a `store` without a `policy`: nobody would be trusted"))
            }
            (Some(_), _, _) => Err(ConfigError::Trust(
                "`notation`, which has a policy and stores of its own, beside `policy` or `store`: \
                 keep one or the other",
            )),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<TrustConfig, ConfigError> {
        let file: TrustFile = portcullis_config::parse(text.as_bytes()).unwrap();
        file.into_config(Path::new("/etc"))
    }

    #[test]
    fn trust_is_read_from_files_or_from_a_folder_of_notation() {
        let files = |store: Option<&str>| TrustConfig::Files {
            policy: "/etc/t.json".into(),
            store: store.map(PathBuf::from),
        };
        assert_eq!(config("{}").unwrap(), TrustConfig::Nobody);
        assert_eq!(config("{policy: t.json}").unwrap(), files(None));
        assert_eq!(config("{policy: t.json, store: s}").unwrap(), files(Some("/etc/s")));
        let notation = TrustConfig::Notation("/etc/notation".into());
        assert_eq!(config("{notation: notation}").unwrap(), notation);
    }

    #[test]
    fn files_that_do_not_go_together_are_refused_with_the_cure() {
        let refused = |text, words: &str| {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused("{store: s}", "`trust` has a `store` without a `policy`");
        refused("{notation: n, policy: t.json}", "keep one");
        refused("{notation: n, store: s}", "keep one");
    }
}
