//! Names of signers in: RFC 4514 text out, and whether a trusted identity matches it.
//!
//! The rules are those of the Notary Project trust policy specification ("Trusted Identities
//! Constraints"), with the readings of the reference implementation: attribute types are compared
//! with their case, and a subject that these rules cannot express is only trusted by `*`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use x509_parser::der_parser::{Oid, oid};
use x509_parser::prelude::X509Name;

/// The longest distinguished name that is read, in bytes of text.
pub const MAX_NAME: usize = 4096;
/// The most attributes that one distinguished name may have. Real ones have fewer than ten.
pub const MAX_NAME_PARTS: usize = 32;

/// Why a text is not a distinguished name that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Longer than [`MAX_NAME`].
    #[error("the name is {length} bytes long, more than the {MAX_NAME} allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// More attributes than [`MAX_NAME_PARTS`].
    #[error("the name has more than {MAX_NAME_PARTS} attributes")]
    TooMany,
    /// A hexadecimal value or an attribute type without a name (CVE-2023-25656).
    #[error("`{0}` has a value written as `=#`, which identities cannot have")]
    Hexadecimal(String),
    /// Not RFC 4514.
    #[error("`{name}` is not a distinguished name (RFC 4514): {problem}")]
    Malformed {
        /// The name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two attributes in one part of the name.
    #[error("`{0}` has a part with several attributes (`+`), which identities cannot have")]
    MultiValued(String),
    /// An attribute twice.
    #[error("`{name}` has the attribute `{attribute}` twice")]
    Duplicate {
        /// The name.
        name: String,
        /// The attribute.
        attribute: String,
    },
    /// Country, state or organisation missing.
    #[error("`{name}` has no `{attribute}`: an identity needs `C`, `ST` (or `S`) and `O`")]
    Incomplete {
        /// The name.
        name: String,
        /// The attribute that is missing.
        attribute: &'static str,
    },
}

/// A distinguished name as a set of attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(BTreeMap<String, String>);

impl Identity {
    /// Reads RFC 4514 text.
    pub(super) fn parse(text: &str) -> Result<Self, IdentityError> {
        if text.len() > MAX_NAME {
            return Err(IdentityError::TooLong { length: text.len() });
        }
        if text.contains("=#") {
            return Err(IdentityError::Hexadecimal(text.to_owned()));
        }
        let mut attributes = BTreeMap::new();
        let mut rest = Some(text);
        while let Some(part) = rest {
            if attributes.len() == MAX_NAME_PARTS {
                return Err(IdentityError::TooMany);
            }
            let (attribute, value, next) = attribute(text, part)?;
            if attributes.insert(attribute.clone(), value).is_some() {
                return Err(IdentityError::Duplicate { name: text.to_owned(), attribute });
            }
            rest = next;
        }
        for attribute in ["C", "ST", "O"] {
            if !attributes.contains_key(attribute) {
                return Err(IdentityError::Incomplete { name: text.to_owned(), attribute });
            }
        }
        Ok(Self(attributes))
    }

    /// Whether every attribute of this identity is one of `subject`.
    pub(super) fn matches(&self, subject: &Self) -> bool {
        self.0.iter().all(|(attribute, value)| subject.0.get(attribute) == Some(value))
    }
}

/// Reads the first `type=value` of `part`, and says what follows its comma.
fn attribute<'a>(
    name: &str,
    part: &'a str,
) -> Result<(String, String, Option<&'a str>), IdentityError> {
    let malformed = |problem| IdentityError::Malformed { name: name.to_owned(), problem };
    let (attribute, rest) =
        part.split_once('=').ok_or_else(|| malformed("expected `type=value` parts and commas"))?;
    let attribute = attribute.trim_matches(' ');
    let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if attribute.is_empty() || !attribute.bytes().all(letters) {
        return Err(malformed("an attribute type has letters, digits, `-` and `.` only"));
    }
    let rest = rest.trim_start_matches(' ');
    let mut value = Vec::new();
    // Spaces at the end are not part of the value, unless they are escaped.
    let mut kept = 0;
    let mut next = None;
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => {
                next = Some(chars.as_str());
                break;
            }
            '+' => return Err(IdentityError::MultiValued(name.to_owned())),
            '"' | ';' | '<' | '>' | '\0' => {
                return Err(malformed("`\"`, `;`, `<`, `>` and NUL must be escaped with `\\`"));
            }
            '\\' => {
                value.push(escaped(&mut chars).ok_or_else(|| malformed("a bad `\\` escape"))?);
                kept = value.len();
            }
            c => {
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                if c != ' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    let value = String::from_utf8(value).map_err(|_| malformed("a value is not UTF-8"))?;
    if value.is_empty() {
        return Err(malformed("a value is empty"));
    }
    let attribute = if attribute == "S" { "ST" } else { attribute };
    Ok((attribute.to_owned(), value, next))
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<u8> {
    let first = chars.next()?;
    if let Some(high) = first.to_digit(16) {
        let low = chars.next()?.to_digit(16)?;
        return u8::try_from(high * 16 + low).ok();
    }
    let special = matches!(first, ' ' | '"' | '#' | '+' | ',' | ';' | '<' | '=' | '>' | '\\');
    u8::try_from(first).ok().filter(|_| special)
}

/// Writes a name as RFC 4514 does: last part first. Attributes without a name there, and values
/// that are no text, are written as `=#` and hexadecimal DER, which no identity matches.
///
/// # Errors
/// When it has more than [`MAX_NAME_PARTS`] attributes or its text is longer than [`MAX_NAME`].
pub(super) fn print(name: &X509Name<'_>) -> Result<String, IdentityError> {
    if name.iter_attributes().count() > MAX_NAME_PARTS {
        return Err(IdentityError::TooMany);
    }
    let length = name.as_raw().len();
    if length > MAX_NAME {
        return Err(IdentityError::TooLong { length });
    }
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (i, part) in parts.into_iter().rev().enumerate() {
        for (j, attribute) in part.iter().enumerate() {
            if j > 0 {
                text.push('+');
            } else if i > 0 {
                text.push(',');
            }
            match (short_name(attribute.attr_type()), attribute.as_str()) {
                (Some(short), Ok(value)) => {
                    text.push_str(short);
                    text.push('=');
                    escape(value, &mut text);
                }
                (short, _) => {
                    text.push_str(
                        &short.map_or_else(
                            || attribute.attr_type().to_id_string(),
                            ToOwned::to_owned,
                        ),
                    );
                    text.push_str("=#");
                    for byte in attribute.as_slice() {
                        let _ = write!(text, "{byte:02x}");
                    }
                }
            }
        }
    }
    if text.len() > MAX_NAME {
        return Err(IdentityError::TooLong { length: text.len() });
    }
    Ok(text)
}

/// The names that the reference implementation (Go's `crypto/x509/pkix`) writes.
fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    let names = [
        (oid!(2.5.4.3), "CN"),
        (oid!(2.5.4.5), "SERIALNUMBER"),
        (oid!(2.5.4.6), "C"),
        (oid!(2.5.4.7), "L"),
        (oid!(2.5.4.8), "ST"),
        (oid!(2.5.4.9), "STREET"),
        (oid!(2.5.4.10), "O"),
        (oid!(2.5.4.11), "OU"),
        (oid!(2.5.4.17), "POSTALCODE"),
    ];
    names.into_iter().find(|(known, _)| known == oid).map(|(_, name)| name)
}

fn escape(value: &str, text: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let edge = (c == ' ' && (i == 0 || i == last)) || (c == '#' && i == 0);
        if edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            text.push('\\');
            text.push(c);
        } else if c.is_control() {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(text, "\\{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
}

#[cfg(test)]
mod tests;
