//! What is configured of cosign's signers in, the same with their files read out.

use std::path::PathBuf;

use portcullis_core::image::Digest;
use portcullis_core::signature::cosign::CosignEntry;

use super::{RulesError, read};

/// Who signs attestations for some repositories, as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CosignConfig {
    /// Its name.
    pub name: String,
    /// `registry/repository` names, or `*` alone.
    pub scopes: Vec<String>,
    /// A file with a public key in PEM, as `cosign generate-key-pair` writes `cosign.pub`.
    pub key: Option<PathBuf>,
    /// Instead of a key: the identity in a certificate, whole.
    pub identity: Option<String>,
    /// Or a pattern of identities.
    pub identity_regex: Option<String>,
    /// Who vouches for the identity.
    pub issuer: Option<String>,
    /// A file with the trusted authorities and logs, as sigstore's `trusted_root.json`.
    pub trust_root: Option<PathBuf>,
    /// Whether a transparency log must have the signature.
    pub require_log: Option<bool>,
    /// Whether a certificate log must have the certificate.
    pub require_sct: Option<bool>,
}

/// Reads the files of all entries.
pub(super) fn entries(configs: &[CosignConfig]) -> Result<Vec<CosignEntry>, RulesError> {
    let file = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
    let entry = |config: &CosignConfig| {
        let CosignConfig {
            name,
            scopes,
            key,
            identity,
            identity_regex,
            issuer,
            trust_root,
            require_log,
            require_sct,
        } = config.clone();
        let (key, trust_root) = (file(&key)?, file(&trust_root)?);
        Ok(CosignEntry {
            name,
            scopes,
            key,
            identity,
            identity_regex,
            issuer,
            trust_root,
            require_log,
            require_sct,
        })
    };
    configs.iter().map(entry).collect()
}

/// Tells one state of their files from another.
pub(super) fn fingerprint(entries: &[CosignEntry]) -> Vec<u8> {
    let files = entries.iter().flat_map(|entry| [&entry.key, &entry.trust_root]);
    files.flat_map(|file| *Digest::of(file.as_deref().unwrap_or_default()).as_bytes()).collect()
}
