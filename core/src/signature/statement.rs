//! One statement of a trust policy in, what it demands of a signature out.

mod error;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

pub use self::error::StatementError;
use super::certificate::Certificate;
use super::envelope::Scheme;
use super::identity::{Identity, IdentityError};
use super::store::{StoreKind, Stores, checked_name};
use crate::image::Reference;

/// The most identities that one statement may list: they are compared pair by pair.
pub const MAX_IDENTITIES: usize = 256;

/// Fields that notation ignores, and that are worth a warning.
pub(super) type Unknown = BTreeMap<String, IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawStatement {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    registry_scopes: Vec<String>,
    #[serde(default)]
    signature_verification: RawVerification,
    #[serde(default)]
    trust_stores: Vec<String>,
    #[serde(default)]
    trusted_identities: Vec<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawVerification {
    #[serde(default)]
    level: String,
    #[serde(default, rename = "override")]
    overrides: BTreeMap<String, String>,
    #[serde(default)]
    verify_timestamp: String,
    #[serde(flatten)]
    unknown: Unknown,
}

/// What is trusted for some repositories.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) name: String,
    /// Canonical `registry/repository` names, or `*` alone.
    pub(super) scopes: Vec<String>,
    /// `None` for level `skip`, which asks to verify nothing.
    pub(super) demands: Option<Demands>,
}

/// What a statement demands of a signature.
#[derive(Debug, Clone)]
pub(super) struct Demands {
    pub(super) authenticity: Action,
    pub(super) timestamp: Action,
    pub(super) expiry: Action,
    pub(super) revocation: Action,
    pub(super) tokens: Tokens,
    issuers: Anchors,
    authorities: Anchors,
    timestampers: Vec<Anchor>,
    /// `None` is `*`: whoever the trusted issuers vouch for.
    identities: Option<Vec<Identity>>,
}

/// Certificates (DER) that are trusted, each with the store that has it, such as `ca:acme`.
pub(super) type Anchors = BTreeMap<Vec<u8>, String>;

/// A root that is trusted to vouch for timestamping authorities.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) certificate: Certificate,
    /// The store that has it, such as `tsa:acme`.
    pub(super) store: String,
}

impl Anchor {
    pub(super) fn read(der: &[u8], store: &str) -> Result<Self, StatementError> {
        let certificate = Certificate::parse(der)
            .map_err(|source| StatementError::Certificate(store.to_owned(), source))?;
        let store = store.to_owned();
        if !certificate.is_signed_by(&certificate) {
            let subject = certificate.subject().to_owned();
            return Err(StatementError::NotRoot { store, subject });
        }
        Ok(Self { certificate, store })
    }
}

/// What happens when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The signature is refused.
    Enforce,
    /// It is accepted, with a notice.
    Log,
    /// The check is not made.
    Skip,
}

/// When an RFC 3161 token is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tokens {
    /// Never: the statement names no `tsa` store.
    Never,
    /// For every signature.
    Always,
    /// Once a certificate has expired.
    AfterCertificateExpiry,
}

impl Statement {
    pub(super) fn check(
        raw: RawStatement,
        stores: &Stores,
        warnings: &mut Vec<String>,
    ) -> Result<Self, StatementError> {
        let name = raw.name;
        let mut warn = |text: String| warnings.push(format!("statement `{name}`: {text}"));
        for field in raw.unknown.keys().chain(raw.signature_verification.unknown.keys()) {
            warn(format!("the unknown field `{field}` is ignored"));
        }
        let scopes = scopes(raw.registry_scopes, &mut warn)?;
        let verification = raw.signature_verification;
        let tokens = match verification.verify_timestamp.as_str() {
            "" | "always" => Tokens::Always,
            "afterCertExpiry" => Tokens::AfterCertificateExpiry,
            _ => {
                return Err(StatementError::VerifyTimestamp(verification.verify_timestamp));
            }
        };
        let lists = (raw.trust_stores, raw.trusted_identities);
        if verification.level == "skip" {
            if !verification.overrides.is_empty() {
                return Err(StatementError::SkipOverride);
            }
            if !lists.0.is_empty() || !lists.1.is_empty() {
                return Err(StatementError::SkipStores);
            }
            warn("level `skip` verifies nothing, so no report there is ever evaluated".to_owned());
            return Ok(Self { name, scopes, demands: None });
        }
        let mut demands = Demands::at_level(&verification.level, tokens)?;
        demands.override_with(verification.overrides)?;
        if demands.authenticity != Action::Enforce {
            warn("authenticity is enforced here although it is to be logged only".to_owned());
        }
        if lists.0.is_empty() || lists.1.is_empty() {
            return Err(StatementError::Incomplete);
        }
        demands.add_stores(&lists.0, stores)?;
        demands.identities = identities(&lists.1, &mut warn)?;
        Ok(Self { name, scopes, demands: Some(demands) })
    }
}

impl Demands {
    fn at_level(level: &str, tokens: Tokens) -> Result<Self, StatementError> {
        use Action::{Enforce, Log};
        let (authenticity, others) = match level {
            "strict" => (Enforce, Enforce),
            "permissive" => (Enforce, Log),
            "audit" => (Log, Log),
            _ => return Err(StatementError::Level(level.to_owned())),
        };
        Ok(Self {
            authenticity,
            timestamp: others,
            expiry: others,
            revocation: others,
            tokens,
            issuers: Anchors::new(),
            authorities: Anchors::new(),
            timestampers: Vec::new(),
            identities: None,
        })
    }

    fn override_with(&mut self, overrides: BTreeMap<String, String>) -> Result<(), StatementError> {
        for (check, action) in overrides {
            let parsed = match action.as_str() {
                "enforce" => Some(Action::Enforce),
                "log" => Some(Action::Log),
                "skip" if check == "revocation" => Some(Action::Skip),
                _ => None,
            };
            let place = match check.as_str() {
                "authenticity" => &mut self.authenticity,
                "authenticTimestamp" => &mut self.timestamp,
                "expiry" => &mut self.expiry,
                "revocation" => &mut self.revocation,
                "integrity" => return Err(StatementError::Action { check, action }),
                _ => return Err(StatementError::Override(check)),
            };
            *place = parsed.ok_or(StatementError::Action { check, action })?;
        }
        Ok(())
    }

    fn add_stores(&mut self, names: &[String], stores: &Stores) -> Result<(), StatementError> {
        for reference in names {
            let (kind, name) = reference
                .split_once(':')
                .ok_or_else(|| StatementError::Store(reference.clone()))?;
            let named = |source| StatementError::StoreName { reference: reference.clone(), source };
            let kind: StoreKind = kind.parse().map_err(named)?;
            let certificates = stores
                .get(kind, checked_name(name).map_err(named)?)
                .ok_or_else(|| StatementError::NoStore(reference.clone()))?;
            let anchors = certificates.iter().map(|der| (der.clone(), reference.clone()));
            match kind {
                StoreKind::Ca => self.issuers.extend(anchors),
                StoreKind::SigningAuthority => self.authorities.extend(anchors),
                StoreKind::Tsa => {
                    for der in certificates {
                        self.timestampers.push(Anchor::read(der, reference)?);
                    }
                }
            }
        }
        if self.timestampers.is_empty() {
            self.tokens = Tokens::Never;
        }
        Ok(())
    }

    /// The certificates of the stores for this scheme. A chain is trusted that has one of them,
    /// byte for byte.
    pub(super) const fn anchors(&self, scheme: Scheme) -> &Anchors {
        match scheme {
            Scheme::X509 => &self.issuers,
            Scheme::SigningAuthority => &self.authorities,
        }
    }

    /// The roots that are trusted to vouch for timestamping authorities.
    pub(super) fn timestampers(&self) -> &[Anchor] {
        &self.timestampers
    }

    /// Whether the subject is one of the trusted identities.
    ///
    /// # Errors
    /// When the subject cannot be compared, and is not covered by `*`.
    pub(super) fn trusts_subject(&self, subject: &str) -> Result<bool, IdentityError> {
        let Some(identities) = &self.identities else {
            return Ok(true);
        };
        let subject = Identity::parse(subject)?;
        Ok(identities.iter().any(|identity| identity.matches(&subject)))
    }
}

/// Scopes in the spelling of [`Reference::name`]: another spelling of a registry must not lead to
/// the statement for `*`.
pub(super) fn scopes(
    raw: Vec<String>,
    warn: &mut impl FnMut(String),
) -> Result<Vec<String>, StatementError> {
    if raw.is_empty() {
        return Err(StatementError::NoScope);
    }
    if raw.iter().any(|s| s == "*") {
        return if raw.len() == 1 { Ok(raw) } else { Err(StatementError::WildcardScope) };
    }
    raw.into_iter()
        .map(|scope| {
            let malformed = || StatementError::Scope(scope.clone());
            let (host, repository) = scope.split_once('/').ok_or_else(malformed)?;
            if repository.contains([':', '@']) || scope.contains('*') {
                return Err(malformed());
            }
            let reference: Reference = scope
                .parse()
                .map_err(|source| StatementError::Repository { scope: scope.clone(), source })?;
            // The first part is a host to notation, and to an image reference only if it has a
            // dot, a port or is `localhost`.
            if reference.name().ends_with(&format!("/{scope}")) {
                warn(format!("no image has the registry `{host}` of scope `{scope}`"));
                return Ok(scope);
            }
            Ok(reference.name().to_owned())
        })
        .collect()
}

fn identities(
    raw: &[String],
    warn: &mut impl FnMut(String),
) -> Result<Option<Vec<Identity>>, StatementError> {
    if raw.iter().any(|identity| identity == "*") {
        return if raw.len() == 1 { Ok(None) } else { Err(StatementError::WildcardIdentity) };
    }
    if raw.len() > MAX_IDENTITIES {
        return Err(StatementError::TooManyIdentities { count: raw.len() });
    }
    let mut parsed: Vec<(&String, Identity)> = Vec::new();
    for text in raw {
        let (prefix, name) =
            text.split_once(':').ok_or_else(|| StatementError::Identity(text.clone()))?;
        if prefix != "x509.subject" {
            warn(format!("trusted identity `{text}` needs a plugin and is ignored"));
            continue;
        }
        let identity = Identity::parse(name)
            .map_err(|source| StatementError::Name { identity: text.clone(), source })?;
        for (other, known) in &parsed {
            if known.matches(&identity) || identity.matches(known) {
                return Err(StatementError::Overlap((*other).clone(), text.clone()));
            }
        }
        parsed.push((text, identity));
    }
    if parsed.is_empty() {
        warn("it has no identity that can be compared here, so it trusts nobody".to_owned());
    }
    Ok(Some(parsed.into_iter().map(|(_, identity)| identity).collect()))
}
