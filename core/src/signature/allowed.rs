//! What is written of a signer in, whether a verified signer is it out.
//!
//! Trust policies say whose signatures are good; this says which of these signers may say what.

use serde::Deserialize;

use super::Signer;
use super::identity::{Identity, IdentityError, MAX_NAME};

/// What begins a distinguished name, as in the trusted identities of a trust policy.
const X509: &str = "x509.subject:";

/// A signer who may sign something: whoever a statement of the trust policy trusts, or a subject, or
/// both at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Allowed {
    policy: Option<String>,
    subject: Option<Subject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// Each of these attributes is one of the signer's.
    Attributes(Identity),
    /// The signer's subject is this very text.
    Exact(String),
}

/// Why something names no signer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowedError {
    /// Neither of the two.
    #[error("a signer has neither `policy` nor `subject`: anybody would be it")]
    Nobody,
    /// An empty text, which nobody is.
    #[error("a signer has an empty `{0}`")]
    Empty(&'static str),
    /// A text longer than any signer's.
    #[error("a signer has a `{0}` longer than the {MAX_NAME} bytes allowed")]
    TooLong(&'static str),
    /// A distinguished name that cannot be compared.
    #[error("`{subject}` cannot be compared with a signer: {source}")]
    Identity {
        /// As written.
        subject: String,
        /// Why. It is in the text, because whoever reads files shows the text alone.
        source: IdentityError,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    policy: Option<String>,
    subject: Option<String>,
}

impl TryFrom<Raw> for Allowed {
    type Error = AllowedError;

    fn try_from(raw: Raw) -> Result<Self, AllowedError> {
        let Raw { policy, subject } = raw;
        for (field, text) in [("policy", &policy), ("subject", &subject)] {
            match text.as_deref().map(str::len) {
                Some(0) => return Err(AllowedError::Empty(field)),
                Some(length) if length > MAX_NAME => return Err(AllowedError::TooLong(field)),
                Some(_) | None => {}
            }
        }
        if policy.is_none() && subject.is_none() {
            return Err(AllowedError::Nobody);
        }
        Ok(Self { policy, subject: subject.map(Subject::parse).transpose()? })
    }
}

impl Subject {
    fn parse(text: String) -> Result<Self, AllowedError> {
        let Some(name) = text.strip_prefix(X509) else {
            return Ok(Self::Exact(text));
        };
        match Identity::parse(name.trim_start_matches(' ')) {
            Ok(identity) => Ok(Self::Attributes(identity)),
            Err(source) => Err(AllowedError::Identity { subject: text, source }),
        }
    }

    /// A subject that cannot be compared is nobody.
    fn is(&self, subject: &str) -> bool {
        match self {
            Self::Attributes(identity) => {
                Identity::parse(subject).is_ok_and(|signer| identity.matches(&signer))
            }
            Self::Exact(text) => text == subject,
        }
    }
}

impl Allowed {
    /// Whether `signer` is it.
    #[must_use]
    pub fn is(&self, signer: &Signer) -> bool {
        self.policy.as_ref().is_none_or(|policy| *policy == signer.policy)
            && self.subject.as_ref().is_none_or(|subject| subject.is(&signer.subject))
    }
}
