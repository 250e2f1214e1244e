//! A token in, the time out at which it says that it ends. Nothing is verified: it is our own.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use portcullis_core::json;
use serde::Deserialize;
use time::OffsetDateTime;

/// The longest payload that is looked at, in bytes of base64.
const MAX_PAYLOAD: usize = 64 * 1024;

#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

/// When a JSON web token ends (RFC 7519, 4.1.4). `None` for every other text.
pub(super) fn expiry(token: &str) -> Option<OffsetDateTime> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || payload.len() > MAX_PAYLOAD {
        return None;
    }
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Claims = json::from_slice(&payload).ok()?;
    OffsetDateTime::from_unix_timestamp(claims.exp).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_token_is_read_and_of_nothing_else() {
        let token = |claims: &str| format!("h.{}.s", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let end = expiry(&token(r#"{"exp":1700000000}"#)).unwrap();
        assert_eq!(end.unix_timestamp(), 1_700_000_000);
        for claims in ["{}", r#"{"exp":"soon"}"#, r#"{"exp":1,"exp":2}"#, "x", ""] {
            assert!(expiry(&token(claims)).is_none(), "{claims}");
        }
        assert!(expiry(&token(r#"{"exp":9223372036854775807}"#)).is_none());
        let long = format!(r#"{{"exp":1,"x":"{}"}}"#, "x".repeat(MAX_PAYLOAD));
        for text in ["", "password", "a.b", "a.b.c", &format!("{}.x", token("{}")), &token(&long)] {
            assert!(expiry(text).is_none());
        }
    }
}
