//! The bytes of a file in, its values out, or what is wrong, where, and what would be right.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, MessageFormatter};

/// The most of a value that is shown, in characters.
const MAX_SHOWN: usize = 60;

/// Why a file is not of the right shape: what, and in which line and column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// Reads YAML. Fields that nobody knows are errors where `T` says so.
///
/// # Errors
/// When it is not YAML, or not of the shape of `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|error| Malformed(error.render_with_formatter(&Words::of(&error, bytes))))
}

/// What stands at the place of an error.
#[derive(Debug, Default)]
struct Words<'a> {
    /// The field, where its name and its value are in one line.
    field: Option<&'a str>,
    value: &'a str,
}

impl<'a> Words<'a> {
    fn of(error: &Error, bytes: &'a [u8]) -> Self {
        let found = || {
            let place = error.location()?;
            let line = usize::try_from(place.line()).ok()?.checked_sub(1)?;
            let column = usize::try_from(place.column()).ok()?.checked_sub(1)?;
            let text = std::str::from_utf8(bytes).ok()?.lines().nth(line)?;
            let at = text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
            let (before, value) = text.split_at_checked(at)?;
            let field = before.trim_end().strip_suffix(':')?;
            let begin = field.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
            Some(Self { field: field.get(begin..), value: value.trim_end() })
        };
        found().unwrap_or_default()
    }

    /// The value as far as it is one in any surroundings.
    fn shown(&self) -> &str {
        let end = self.value.find([',', '}', ']', '#', '&', '*']).unwrap_or(self.value.len());
        let shown = self.value.get(..end).unwrap_or_default().trim_end();
        let end = shown.char_indices().nth(MAX_SHOWN).map_or(shown.len(), |(at, _)| at);
        shown.get(..end).unwrap_or_default()
    }
}

impl MessageFormatter for Words<'_> {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        let said = serde_saphyr::DefaultMessageFormatter.format_message(error);
        let Some(field) = self.field.filter(|field| !field.is_empty()) else {
            return match error {
                Error::Unexpected { expected: "sequence start", .. } => "expected a list".into(),
                Error::Unexpected { expected: "mapping start", .. } => "expected fields".into(),
                _ => said,
            };
        };
        match (error, self.shown()) {
            (Error::Unexpected { expected: "sequence start", .. }, "") => {
                format!("`{field}` is a list: expected `{field}: [one, another]`").into()
            }
            (Error::Unexpected { expected: "sequence start", .. }, value) => {
                format!("`{field}` is a list: expected `{field}: [{value}]`").into()
            }
            // What stands there may be a secret: a proxy with its password, or a token.
            (Error::Unexpected { expected: "mapping start", .. }, _) => format!(
                "`{field}` has fields of its own: expected `{field}: {{name: value}}` (docs/configuration.md has the \
                 names)"
            )
            .into(),
            _ if said.contains(&format!("`{field}`")) => said,
            _ => format!("`{field}`: {said}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::{Address, Span};

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct File {
        rules: Vec<String>,
        policy: BTreeMap<String, String>,
        listen: Option<Address>,
        budget: Option<Span<30>>,
        count: Option<u32>,
        inner: Option<Box<Self>>,
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = parse::<File>(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }

    #[test]
    fn what_is_wrong_names_its_field_and_what_would_be_right() {
        check("rules: x.yaml", "`rules` is a list: expected `rules: [x.yaml]` at line 1, column 8");
        check(
            "inner: {rules: x.yaml}",
            "`rules` is a list: expected `rules: [x.yaml]` at line 1, column 16",
        );
        check(
            "count: 1\npolicy: deny",
            "`policy` has fields of its own: expected `policy: {name: value}` (docs/configuration.md has the names) at \
             line 2, column 9",
        );
        // What stands in its place may be a secret.
        let error = parse::<File>(b"policy: http://me:s3cret@proxy:3128").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        check(
            "listen: localhost:7443",
            "`listen`: `localhost:7443` is not an address to listen on: expected an IP address and a port, such as \
             `127.0.0.1:7443`; a name is none at line 1, column 9",
        );
        check("count: one", "`count`: invalid u32 at line 1, column 8");
    }

    #[test]
    fn a_field_that_nobody_knows_is_named() {
        let error = parse::<File>(b"rules: []\nrulez: []").unwrap_err().to_string();
        assert!(error.contains("unknown field `rulez`") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn no_more_of_a_value_is_shown_than_tells_it_and_nothing_breaks_a_line() {
        let long = "é".repeat(1000);
        let error = parse::<File>(format!("rules: {long}").as_bytes()).unwrap_err().to_string();
        assert_eq!(error.matches('é').count(), MAX_SHOWN);
        for text in
            ["rules: \"a\\u001b[31m\"", "\u{feff}rules: a", "rules: 'a\n\n  b'", "rules: ? a"]
        {
            let error = parse::<File>(text.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
