//! What is configured of cosign's signers in, the same with their files read out.

use std::path::{Path, PathBuf};

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
}

/// Reads the files of all entries.
pub(super) fn entries(configs: &[CosignConfig]) -> Result<Vec<CosignEntry>, RulesError> {
    let file = |path: &Option<PathBuf>| path.as_deref().map(Path::new).map(read).transpose();
    configs
        .iter()
        .map(|CosignConfig { name, scopes, key }| {
            Ok(CosignEntry { name: name.clone(), scopes: scopes.clone(), key: file(key)? })
        })
        .collect()
}

/// Tells one state of their files from another.
pub(super) fn fingerprint(entries: &[CosignEntry]) -> Vec<u8> {
    let files = entries.iter().map(|entry| &entry.key);
    files.flat_map(|file| *Digest::of(file.as_deref().unwrap_or_default()).as_bytes()).collect()
}
