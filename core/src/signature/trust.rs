//! A trust policy and certificate files in, what is trusted for which repository out.
//!
//! The document is notation's `trustpolicy.oci.json` (or `trustpolicy.json`), version 1.0, as the
//! Notary Project's trust-store-trust-policy.md has it; users can copy theirs in unchanged.

use std::collections::HashSet;

use serde::Deserialize;

use super::cosign::CosignTrust;
use super::error::SignatureError;
use super::statement::{Demands, RawStatement, Statement, StatementError, Unknown};
use super::store::{StoreError, StoreFile, Stores};
use crate::image::Digest;
use crate::json::{self, JsonError};

/// The largest trust policy that is read, in bytes.
pub const MAX_TRUST_POLICY: usize = 1024 * 1024;

/// Raised whenever these rules change so that a signature could be judged differently.
const RULES: &[u8] = b"portcullis notary rules 2";

/// Why a document is not a trust policy.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// More bytes than [`MAX_TRUST_POLICY`].
    #[error("the trust policy is {length} bytes long, more than the {MAX_TRUST_POLICY} allowed")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// Not JSON, or not of the shape of a trust policy.
    #[error("the trust policy cannot be read")]
    Malformed(#[source] JsonError),
    /// Another version.
    #[error("trust policy version `{0}` is not supported: only `1.0` is")]
    Version(String),
    /// No statement at all.
    #[error("the trust policy has no statement in `trustPolicies`")]
    Empty,
    /// A statement without a name.
    #[error("a statement of the trust policy has no name")]
    Nameless,
    /// Two statements of one name.
    #[error("the trust policy has two statements with the name `{0}`")]
    DuplicateName(String),
    /// Two statements, or one twice, for one scope.
    #[error("registry scope `{0}` is named twice: a scope belongs to one statement")]
    DuplicateScope(String),
    /// One statement is wrong.
    #[error("statement `{name}` of the trust policy is wrong")]
    Statement {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: Box<StatementError>,
    },
    /// The trust stores are wrong.
    #[error("the trust stores cannot be used")]
    Stores(#[from] StoreError),
}

/// A trust policy with its trust stores, checked.
#[derive(Debug, Clone)]
pub struct Trust {
    statements: Vec<Statement>,
    cosign: CosignTrust,
    revision: Digest,
    warnings: Vec<String>,
}

impl Trust {
    /// Reads a trust policy (JSON) and the certificate files of the stores that it names. Stores
    /// that it does not name are checked and else ignored.
    ///
    /// # Errors
    /// When notation would refuse the policy, a named store has no certificate, or a file is not
    /// certificates that can vouch for others.
    pub fn parse(policy: &[u8], stores: &[StoreFile]) -> Result<Self, TrustError> {
        if policy.len() > MAX_TRUST_POLICY {
            return Err(TrustError::TooLarge { length: policy.len() });
        }
        let document: Document = json::from_slice(policy).map_err(TrustError::Malformed)?;
        if document.version != "1.0" {
            return Err(TrustError::Version(document.version));
        }
        if document.trust_policies.is_empty() {
            return Err(TrustError::Empty);
        }
        let stores = Stores::parse(stores)?;
        let mut warnings: Vec<_> = document
            .unknown
            .keys()
            .map(|name| {
                format!("the trust policy has the unknown field `{name}`, which is ignored")
            })
            .collect();
        let (mut names, mut scopes) = (HashSet::new(), HashSet::new());
        let mut statements = Vec::new();
        for raw in document.trust_policies {
            let name = raw.name.clone();
            if name.is_empty() {
                return Err(TrustError::Nameless);
            }
            let statement = Statement::check(raw, &stores, &mut warnings).map_err(|source| {
                TrustError::Statement { name: name.clone(), source: Box::new(source) }
            })?;
            for scope in &statement.scopes {
                if !scopes.insert(scope.clone()) {
                    return Err(TrustError::DuplicateScope(scope.clone()));
                }
            }
            if !names.insert(name.clone()) {
                return Err(TrustError::DuplicateName(name));
            }
            statements.push(statement);
        }
        let (cosign, revision) = (CosignTrust::default(), revision(policy, &stores));
        Ok(Self { statements, cosign, revision, warnings })
    }

    /// Trusts nobody: what holds where no trust policy is configured.
    #[must_use]
    pub fn nobody() -> Self {
        let stores = Stores::default();
        let warning =
            "no trust policy is configured: nobody is trusted, and every report is rejected";
        Self {
            statements: Vec::new(),
            cosign: CosignTrust::default(),
            revision: revision(&[], &stores),
            warnings: vec![warning.to_owned()],
        }
    }

    /// The same, with the signers of cosign attestations beside it.
    #[must_use]
    pub fn with_cosign(mut self, cosign: CosignTrust) -> Self {
        if cosign.is_empty() {
            return self;
        }
        if self.statements.is_empty() {
            // Somebody is trusted after all.
            self.warnings.clear();
        }
        self.warnings.extend_from_slice(cosign.warnings());
        let (own, added) = (self.revision, cosign.revision());
        self.revision = Digest::of(&[own.as_bytes().as_slice(), added.as_bytes()].concat());
        self.cosign = cosign;
        self
    }

    /// Who is trusted to sign cosign attestations.
    #[must_use]
    pub const fn cosign(&self) -> &CosignTrust {
        &self.cosign
    }

    /// Digest of everything here that could change an answer: the policy's text, the certificates
    /// of all stores, and the version of the rules themselves.
    #[must_use]
    pub const fn revision(&self) -> Digest {
        self.revision
    }

    /// What an operator should know of this policy, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The same, with more for the operator to know: what was found beside the files.
    #[must_use]
    pub fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// The statement for a repository, with what it demands.
    ///
    /// # Errors
    /// When no statement is about the repository, or the one that is asks not to verify.
    pub(super) fn demanding(
        &self,
        repository: &str,
    ) -> Result<(&Statement, &Demands), SignatureError> {
        let statement = self
            .statement(repository)
            .ok_or_else(|| SignatureError::NoStatement { scope: repository.to_owned() })?;
        let demands = statement.demands.as_ref();
        let skipped = || SignatureError::Skipped { policy: statement.name.clone() };
        Ok((statement, demands.ok_or_else(skipped)?))
    }

    /// The statement for a repository: the one that names it, else the one for `*`.
    pub(super) fn statement(&self, repository: &str) -> Option<&Statement> {
        let find =
            |scope: &str| self.statements.iter().find(|s| s.scopes.iter().any(|s| s == scope));
        find(repository).or_else(|| find("*"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    version: String,
    #[serde(default)]
    trust_policies: Vec<RawStatement>,
    #[serde(flatten)]
    unknown: Unknown,
}

fn revision(policy: &[u8], stores: &Stores) -> Digest {
    let mut all = Vec::new();
    let mut add = |bytes: &[u8]| {
        // Length-prefixed, so that no two different inputs are written alike.
        all.extend_from_slice(&bytes.len().to_be_bytes());
        all.extend_from_slice(bytes);
    };
    add(RULES);
    add(policy);
    for (kind, name, certificates) in stores.iter() {
        add(kind.as_str().as_bytes());
        add(name.as_bytes());
        add(&certificates.len().to_be_bytes());
        for der in certificates {
            add(der);
        }
    }
    Digest::of(&all)
}

#[cfg(test)]
mod tests;
