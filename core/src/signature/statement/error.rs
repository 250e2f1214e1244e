//! Why a statement of a trust policy is wrong.

use super::super::certificate::CertificateError;
use super::super::identity::IdentityError;
use super::super::store::StoreError;
use super::MAX_IDENTITIES;
use crate::image::ImageError;

/// Why a statement of a trust policy is wrong.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// No scope.
    #[error("it has no `registryScopes`")]
    NoScope,
    /// `*` with others.
    #[error("registry scope `*` cannot be combined with others")]
    WildcardScope,
    /// Not a repository.
    #[error("registry scope `{0}` is not `registry/repository` without scheme, tag or `*`")]
    Scope(String),
    /// Not a repository, in detail.
    #[error("registry scope `{scope}` is not a repository")]
    Repository {
        /// The scope.
        scope: String,
        /// Why.
        #[source]
        source: ImageError,
    },
    /// The level is none.
    #[error("level `{0}` is none of `strict`, `permissive`, `audit` and `skip`")]
    Level(String),
    /// `skip` with overrides.
    #[error("level `skip` cannot have overrides")]
    SkipOverride,
    /// `skip` with stores or identities.
    #[error("level `skip` cannot have trust stores or identities")]
    SkipStores,
    /// An override of something unknown.
    #[error(
        "override `{0}` is none of `authenticity`, `authenticTimestamp`, `expiry`, `revocation`"
    )]
    Override(String),
    /// An override that is not possible.
    #[error("`{check}` cannot be overridden with `{action}`")]
    Action {
        /// What is to be overridden.
        check: String,
        /// With what.
        action: String,
    },
    /// `verifyTimestamp` is none.
    #[error("verifyTimestamp `{0}` is neither `always` nor `afterCertExpiry`")]
    VerifyTimestamp(String),
    /// Stores or identities missing.
    #[error("it needs both `trustStores` and `trustedIdentities`")]
    Incomplete,
    /// Not `kind:name`.
    #[error("trust store `{0}` is not `kind:name`")]
    Store(String),
    /// No kind or no name of a store.
    #[error("trust store `{reference}` cannot be named")]
    StoreName {
        /// What was written.
        reference: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The store is not there.
    #[error(
        "trust store `{0}` has no certificate: put its certificates into `x509/{path}/` where stores are read \
         from (`trust.store` in the configuration)", path = .0.replacen(':', "/", 1)
    )]
    NoStore(String),
    /// A certificate of a `tsa` store cannot be used.
    #[error("trust store `{0}` has a certificate that cannot be read")]
    Certificate(String, #[source] CertificateError),
    /// A certificate of a `tsa` store is no root.
    #[error("`{subject}` of trust store `{store}` is no root: a `tsa` store has roots only")]
    NotRoot {
        /// The store.
        store: String,
        /// Subject of the certificate.
        subject: String,
    },
    /// `*` with others.
    #[error("trusted identity `*` cannot be combined with others")]
    WildcardIdentity,
    /// More identities than [`MAX_IDENTITIES`].
    #[error("it has {count} trusted identities, more than the {MAX_IDENTITIES} allowed")]
    TooManyIdentities {
        /// How many.
        count: usize,
    },
    /// Not `prefix:value`.
    #[error("trusted identity `{0}` is neither `*` nor `x509.subject: …`")]
    Identity(String),
    /// Not a distinguished name that can be compared.
    #[error("trusted identity `{identity}` cannot be compared")]
    Name {
        /// What was written.
        identity: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// One identity is part of another.
    #[error("trusted identities `{0}` and `{1}` overlap")]
    Overlap(String, String),
}
