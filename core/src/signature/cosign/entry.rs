//! What is configured of cosign's signers in, whom to trust for which repository out.

use std::collections::HashSet;

use super::key::{Key, KeyError};
use crate::image::Digest;
use crate::signature::StatementError;
use crate::signature::statement::scopes;

/// The most entries: each may cost a signature check for each signature of an attestation.
pub const MAX_COSIGN_ENTRIES: usize = 32;
/// The largest key file that is read, in bytes.
pub const MAX_COSIGN_FILE: usize = 1024 * 1024;

/// One entry as it is configured: for some repositories, who signs attestations there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CosignEntry {
    /// Its name, which signers are shown under.
    pub name: String,
    /// `registry/repository` names, or `*` alone.
    pub scopes: Vec<String>,
    /// A public key in PEM.
    pub key: Option<Vec<u8>>,
}

/// Why entries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CosignTrustError {
    /// More entries than [`MAX_COSIGN_ENTRIES`].
    #[error("there are {count} cosign entries, more than the {MAX_COSIGN_ENTRIES} allowed")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// An entry without a name.
    #[error("a cosign entry has no name")]
    Nameless,
    /// Two entries of one name.
    #[error("two cosign entries have the name `{0}`")]
    DuplicateName(String),
    /// An entry without scopes.
    #[error("cosign entry `{0}` has no scopes: name repositories, or `*` for all")]
    NoScope(String),
    /// A scope is wrong.
    #[error("the scopes of cosign entry `{name}` are wrong")]
    Scope {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: Box<StatementError>,
    },
    /// Neither a key nor an identity.
    #[error("cosign entry `{0}` has no `key`")]
    NoSigner(String),
    /// A file larger than [`MAX_COSIGN_FILE`].
    #[error(
        "the {what} of cosign entry `{name}` is {length} bytes long, more than the \
         {MAX_COSIGN_FILE} allowed"
    )]
    TooLarge {
        /// Its name.
        name: String,
        /// Which file.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// The key is none.
    #[error("the key of cosign entry `{name}` cannot be used")]
    Key {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: KeyError,
    },
}

/// Whom to trust to sign attestations, and where.
#[derive(Debug, Clone, Default)]
pub struct CosignTrust {
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

/// One entry, checked.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    name: String,
    scopes: Vec<String>,
    checked: Checked,
}

/// Who signs.
#[derive(Debug, Clone)]
pub(super) enum Checked {
    /// Whoever has this key.
    Key(Key),
}

impl CosignTrust {
    /// Checks entries.
    ///
    /// # Errors
    /// When one cannot be used; the error names it.
    pub fn parse(entries: &[CosignEntry]) -> Result<Self, CosignTrustError> {
        if entries.len() > MAX_COSIGN_ENTRIES {
            return Err(CosignTrustError::TooMany { count: entries.len() });
        }
        let mut trust = Self::default();
        let mut names = HashSet::new();
        for raw in entries {
            if raw.name.is_empty() {
                return Err(CosignTrustError::Nameless);
            }
            if !names.insert(raw.name.as_str()) {
                return Err(CosignTrustError::DuplicateName(raw.name.clone()));
            }
            let entry = Entry::check(raw, &mut trust.warnings)?;
            trust.entries.push(entry);
        }
        Ok(trust)
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an attestation on an image of this repository could be trusted at all.
    #[must_use]
    pub fn covers(&self, repository: &str) -> bool {
        !self.entries(repository).is_empty()
    }

    /// What an operator should know, one sentence each.
    pub(in crate::signature) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The entries for a repository: those that name it, else those for `*`.
    pub(super) fn entries(&self, repository: &str) -> Vec<&Entry> {
        let find = |scope: &str| -> Vec<_> {
            self.entries.iter().filter(|e| e.scopes.iter().any(|s| s == scope)).collect()
        };
        let named = find(repository);
        if named.is_empty() { find("*") } else { named }
    }

    /// Digest of everything here that could change an answer.
    pub(in crate::signature) fn revision(&self) -> Digest {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8]| {
            // Length-prefixed, so that no two different inputs are written alike.
            all.extend_from_slice(&bytes.len().to_be_bytes());
            all.extend_from_slice(bytes);
        };
        for entry in &self.entries {
            add(entry.name.as_bytes());
            add(&entry.scopes.len().to_be_bytes());
            for scope in &entry.scopes {
                add(scope.as_bytes());
            }
            match &entry.checked {
                Checked::Key(key) => {
                    add(b"key");
                    add(key.fingerprint().as_bytes());
                }
            }
        }
        Digest::of(&all)
    }
}

impl Entry {
    fn check(raw: &CosignEntry, warnings: &mut Vec<String>) -> Result<Self, CosignTrustError> {
        let name = || raw.name.clone();
        if raw.scopes.is_empty() {
            return Err(CosignTrustError::NoScope(name()));
        }
        let mut warn = |text: String| warnings.push(format!("cosign entry `{}`: {text}", raw.name));
        let scopes = scopes(raw.scopes.clone(), &mut warn)
            .map_err(|source| CosignTrustError::Scope { name: name(), source: Box::new(source) })?;
        let pem = raw.key.as_deref().ok_or_else(|| CosignTrustError::NoSigner(name()))?;
        if pem.len() > MAX_COSIGN_FILE {
            let length = pem.len();
            return Err(CosignTrustError::TooLarge { name: name(), what: "key", length });
        }
        let key =
            Key::from_pem(pem).map_err(|source| CosignTrustError::Key { name: name(), source })?;
        Ok(Self { name: name(), scopes, checked: Checked::Key(key) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn checked(&self) -> &Checked {
        &self.checked
    }
}
