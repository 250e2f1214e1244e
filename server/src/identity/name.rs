//! Text in, a name as certificates have it out: a SPIFFE ID or a DNS name.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes: that of a SPIFFE ID (SPIFFE-ID, section 2.3).
pub const MAX_NAME: usize = 2048;
/// The longest DNS name, in bytes.
const MAX_DNS: usize = 253;

/// The name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// `spiffe://trust-domain/path`.
    Spiffe(String),
    /// A DNS name, in lower case.
    Dns(String),
}

/// Text is no name.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a name of a certificate: expected `spiffe://trust-domain/path`, or a DNS name"
)]
pub struct NameError(String);

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is = |more: &'static str| {
            move |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c)
        };
        let in_path = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
        if let Some(id) = text.strip_prefix("spiffe://") {
            let (domain, path) = id.split_once('/').unwrap_or((id, ""));
            let segments = || path.split('/').all(|s| !matches!(s, "" | "." | ".."));
            let good = text.len() <= MAX_NAME
                && !domain.is_empty()
                && domain.chars().all(is("-._"))
                && path.chars().all(in_path)
                && (!id.contains('/') || segments());
            return if good { Ok(Self::Spiffe(text.to_owned())) } else { Err(error(text)) };
        }
        let lower = text.to_ascii_lowercase();
        let good = lower.len() <= MAX_DNS
            && lower.split('.').all(|label| !label.is_empty() && label.chars().all(is("-_")));
        if good { Ok(Self::Dns(lower)) } else { Err(error(text)) }
    }
}

fn error(text: &str) -> NameError {
    NameError(portcullis_core::decide::printable(text, 256))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(name) | Self::Dns(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&Name>) {
        assert_eq!(text.parse::<Name>().ok().as_ref(), expected, "{text}");
    }

    #[test]
    fn names_are_spiffe_ids_or_dns_names() {
        let spiffe = |text: &str| Name::Spiffe(text.to_owned());
        for id in ["spiffe://a.example/ns/x/sa/y", "spiffe://a", "spiffe://a_b/C.d-e"] {
            check(id, Some(&spiffe(id)));
        }
        check("Shim.Prod.example", Some(&Name::Dns("shim.prod.example".to_owned())));
        check("localhost", Some(&Name::Dns("localhost".to_owned())));
        for bad in [
            "",
            "spiffe://",
            "spiffe:///a",
            "spiffe://A/b",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/../b",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/%62",
            "https://a/b",
            "*.example",
            "a..b",
            ".a",
            "a b",
            "a/b",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn names_are_refused_one_past_their_bound() {
        let id = |length: usize| format!("spiffe://a/{}", "b".repeat(length - 11));
        assert!(id(MAX_NAME).parse::<Name>().is_ok());
        check(&id(MAX_NAME + 1), None);
        assert!("a".repeat(MAX_DNS).parse::<Name>().is_ok());
        check(&"a".repeat(MAX_DNS + 1), None);
    }
}
