//! A token server's answer in, a token with its life out.

use std::time::Duration;

use portcullis_core::json;
use serde::Deserialize;

use super::fault::Fault;
use super::secret::Secret;

/// The shortest time for which a token is kept, and for how long if its server does not say.
pub(super) const SHORTEST_LIFE: f64 = 60.0;
/// The longest.
pub(super) const LONGEST_LIFE: f64 = 3600.0;
/// A token is not used in its last moments, since the registry's clock is not ours.
const SKEW: Duration = Duration::from_secs(10);

/// A token for one repository.
pub(super) struct Token {
    pub(super) value: Secret,
    /// For how long it is used.
    pub(super) life: Duration,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// Reads the answer to a request for a token.
pub(super) fn read_token(bytes: &[u8]) -> Result<Token, Fault> {
    // What the JSON reader says of a fault may repeat a token.
    let answer: TokenAnswer =
        json::from_slice(bytes).map_err(|_| Fault::Token("it is not a token document"))?;
    let given = |token: &String| !token.is_empty();
    let value = answer.token.filter(given).or(answer.access_token.filter(given));
    let value = value.ok_or(Fault::Token("it has no token"))?;
    // With a line break in it, the token would be another header.
    if !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Fault::Token("the token has characters that no token has"));
    }
    let seconds = answer.expires_in.unwrap_or(SHORTEST_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE);
    let life = Duration::from_secs_f64(seconds).saturating_sub(SKEW);
    Ok(Token { value: Secret::new(value), life })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lives(answer: &str, seconds: u64) {
        let life = read_token(answer.as_bytes()).map(|token| token.life).unwrap();
        assert_eq!(life, Duration::from_secs(seconds) - SKEW);
    }

    #[test]
    fn the_life_of_a_token_is_clamped() {
        lives(r#"{"token":"t"}"#, 60);
        lives(r#"{"token":"t","expires_in":null}"#, 60);
        lives(r#"{"token":"t","expires_in":-1}"#, 60);
        lives(r#"{"token":"t","expires_in":0}"#, 60);
        lives(r#"{"token":"t","expires_in":59}"#, 60);
        lives(r#"{"access_token":"t","expires_in":300}"#, 300);
        lives(r#"{"token":"","access_token":"t","expires_in":3600}"#, 3600);
        lives(r#"{"token":"t","expires_in":3601}"#, 3600);
        lives(r#"{"token":"t","expires_in":1000000000000}"#, 3600);
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        for answer in [
            "",
            "<html></html>",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\nX-Injected: b"}"#,
            r#"{"token":"a b"}"#,
            r#"{"token":"\u0000"}"#,
            r#"{"token":"é"}"#,
            r#"{"token":"t","token":"u"}"#,
            r#"{"token":"t","expires_in":"soon"}"#,
        ] {
            assert!(read_token(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
