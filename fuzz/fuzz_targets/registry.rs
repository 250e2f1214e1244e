//! What registries say in headers and answers: what is read is read again from its own print.
//!
//! The files themselves are compiled, as the crate that they are of would bring its HTTP client.
#![allow(dead_code, reason = "each target uses a part")]

#[path = "../../server/src/registry/challenge.rs"]
mod challenge;
#[path = "../../server/src/registry/fault.rs"]
mod fault;
#[path = "../../server/src/registry/link.rs"]
mod link;
#[path = "../../server/src/registry/retry_after.rs"]
mod retry_after;
#[path = "../../server/src/registry/secret.rs"]
mod secret;
#[path = "../../server/src/registry/token.rs"]
mod token;

use std::time::Duration;

use http::header::{DATE, HeaderMap, HeaderName, HeaderValue, LINK, RETRY_AFTER, WWW_AUTHENTICATE};

use self::challenge::Challenge;

/// A line for each header of that name.
pub fn challenge(bytes: &[u8]) {
    let read = |bytes: &[u8]| Challenge::parse(&headers(WWW_AUTHENTICATE, bytes));
    let Ok(Some(challenge)) = read(bytes) else { return };
    let printed = match &challenge {
        Challenge::Basic => "Basic realm=\"\"".to_owned(),
        Challenge::Bearer { realm, service } => {
            let service = service.as_ref().map(|service| format!(",service={}", quoted(service)));
            format!("Bearer realm={}{}", quoted(realm), service.unwrap_or_default())
        }
    };
    assert_eq!(read(printed.as_bytes()).unwrap(), Some(challenge), "{printed}");
}

/// A line for each header of that name.
pub fn link(bytes: &[u8]) {
    let read = |bytes: &[u8]| link::next_link(&headers(LINK, bytes));
    let Ok(Some(next)) = read(bytes) else { return };
    let printed = format!("<{next}>; rel=\"next\"");
    assert_eq!(read(printed.as_bytes()).unwrap(), Some(next), "{printed}");
}

/// The first line is `Retry-After`, the second `Date`.
pub fn retry_after(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut said = headers(RETRY_AFTER, lines.next().unwrap_or_default());
    said.extend(headers(DATE, lines.next().unwrap_or_default()));
    let wait = retry_after::wait(&said);
    assert!((retry_after::SHORTEST..=retry_after::LONGEST).contains(&wait), "{wait:?}");
    let printed = wait.as_secs().to_string();
    assert_eq!(retry_after::wait(&headers(RETRY_AFTER, printed.as_bytes())), wait);
}

/// The body of a token server's answer.
pub fn token(bytes: &[u8]) {
    let Ok(token) = token::read_token(bytes) else { return };
    assert!(token.life <= Duration::from_secs_f64(token::LONGEST_LIFE), "{:?}", token.life);
    let value = token.value.expose();
    assert!(!value.is_empty() && HeaderValue::from_str(value).is_ok());
    let printed = format!("{{\"access_token\":{}}}", quoted(value));
    assert!(token::read_token(printed.as_bytes()).unwrap().value == token.value);
}

/// Of what cannot be a header there is none.
fn headers(name: HeaderName, bytes: &[u8]) -> HeaderMap {
    let lines = bytes.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}
