//! What is configured of cosign's signers in, whom to trust for which repository out.

use std::collections::HashSet;
#[cfg(feature = "keyless")]
use std::sync::Arc;

use super::key::{Key, KeyError};
#[cfg(feature = "keyless")]
use super::keyless::{Authority, AuthorityError};
use crate::image::Digest;
use crate::signature::StatementError;
use crate::signature::statement::scopes;

/// The most entries: each may cost a signature check for each signature of an attestation.
pub const MAX_COSIGN_ENTRIES: usize = 32;
/// The largest key or root file that is read, in bytes.
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
    /// Instead of a key: the identity in a certificate, whole.
    pub identity: Option<String>,
    /// Or a pattern of identities, from `^` to `$`.
    pub identity_regex: Option<String>,
    /// Who vouches for the identity.
    pub issuer: Option<String>,
    /// The authorities and logs that are trusted, as sigstore's `trusted_root.json`.
    pub trust_root: Option<Vec<u8>>,
    /// Whether a transparency log must have the signature; it must unless this is `false`.
    pub require_log: Option<bool>,
    /// Whether a certificate log must have the certificate; it must unless this is `false`.
    pub require_sct: Option<bool>,
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
    /// Neither a key nor an identity, or both.
    #[error("cosign entry `{0}` needs a `key`, or an identity with `issuer` and `trustRoot`")]
    Signer(String),
    /// What is said of certificates cannot be used.
    #[cfg(feature = "keyless")]
    #[error("cosign entry `{name}` cannot trust certificates")]
    Authority {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: AuthorityError,
    },
    /// This build trusts no certificates.
    #[cfg(not(feature = "keyless"))]
    #[error("cosign entry `{0}` trusts certificates, which needs a build with feature `keyless`")]
    NoKeyless(String),
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
    /// Of all that was configured.
    revision: Digest,
}

/// Who signs.
#[derive(Debug, Clone)]
pub(super) enum Checked {
    /// Whoever has this key.
    Key(Key),
    /// Whoever has this identity.
    #[cfg(feature = "keyless")]
    Identity(Arc<Authority>),
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
        let each = self.entries.iter().flat_map(|entry| *entry.revision.as_bytes());
        Digest::of(&each.collect::<Vec<_>>())
    }
}

impl CosignEntry {
    fn revision(&self) -> Digest {
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
        let mut all = Vec::new();
        // Length-prefixed, so that no two different inputs are written alike.
        let mut add = |bytes: Option<&[u8]>| {
            all.extend_from_slice(&bytes.map_or(u64::MAX, |b| b.len() as u64).to_be_bytes());
            all.extend_from_slice(bytes.unwrap_or_default());
        };
        add(Some(name.as_bytes()));
        add(Some(&scopes.len().to_be_bytes()));
        for scope in scopes {
            add(Some(scope.as_bytes()));
        }
        add(key.as_deref());
        for text in [identity, identity_regex, issuer] {
            add(text.as_deref().map(str::as_bytes));
        }
        add(trust_root.as_deref());
        for flag in [require_log, require_sct] {
            add(flag.map(|flag| [u8::from(flag)]).as_ref().map(<[u8; 1]>::as_slice));
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
        for (what, file) in [("key", &raw.key), ("trustRoot", &raw.trust_root)] {
            if let Some(length) = file.as_ref().map(Vec::len).filter(|l| *l > MAX_COSIGN_FILE) {
                return Err(CosignTrustError::TooLarge { name: name(), what, length });
            }
        }
        let says_who = raw.identity.is_some() || raw.identity_regex.is_some();
        let says_how = raw.issuer.is_some()
            || raw.trust_root.is_some()
            || raw.require_log.is_some()
            || raw.require_sct.is_some();
        let checked = match &raw.key {
            Some(pem) if !says_who && !says_how => Key::from_pem(pem)
                .map(Checked::Key)
                .map_err(|source| CosignTrustError::Key { name: name(), source })?,
            None if says_who => identity(raw)?,
            _ => return Err(CosignTrustError::Signer(name())),
        };
        Ok(Self { name: name(), scopes, checked, revision: raw.revision() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn checked(&self) -> &Checked {
        &self.checked
    }
}

#[cfg(feature = "keyless")]
fn identity(raw: &CosignEntry) -> Result<Checked, CosignTrustError> {
    Authority::parse(raw)
        .map(|authority| Checked::Identity(Arc::new(authority)))
        .map_err(|source| CosignTrustError::Authority { name: raw.name.clone(), source })
}

#[cfg(not(feature = "keyless"))]
fn identity(raw: &CosignEntry) -> Result<Checked, CosignTrustError> {
    Err(CosignTrustError::NoKeyless(raw.name.clone()))
}
