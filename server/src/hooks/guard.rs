//! The head of a request in, whether it comes from whom its source is configured for out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use super::google_token::{GoogleToken, TokenError};
use super::secret_file::SecretFile;

/// The longest credential that is looked at, in bytes.
pub const MAX_CREDENTIAL: usize = 16 * 1024;

/// How a sender shows who it is. There is no way to do without.
pub enum Guard {
    /// The value of a header.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its values.
        secret: SecretFile,
    },
    /// `Authorization: Bearer …`.
    Bearer(SecretFile),
    /// `Authorization: Basic …`.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        secret: SecretFile,
    },
    /// A parameter of the URL: for senders that can send no header.
    Query {
        /// Its name.
        parameter: String,
        /// Its values.
        secret: SecretFile,
    },
    /// A token that Google signed.
    Google(Box<GoogleToken>),
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It does not show who sends it.
    #[error("the request does not show who sends it")]
    Unknown,
    /// Its token is not good.
    #[error("the token of the request is refused")]
    Token(#[source] TokenError),
    /// It cannot be found out for now.
    #[error("the token of the request cannot be verified now")]
    Unverified(#[source] TokenError),
}

impl Guard {
    /// Lets a request through, or says why not.
    ///
    /// # Errors
    /// When it does not come from whom it should, or that cannot be found out.
    pub async fn admit(&self, head: &Parts) -> Result<(), Denied> {
        let known = match self {
            Self::Header { name, secret } => match header(head, name) {
                Some(value) => secret.knows(value).await,
                None => false,
            },
            Self::Bearer(secret) => match authorization(head, "bearer") {
                Some(token) => secret.knows(token).await,
                None => false,
            },
            Self::Basic { username, secret } => match basic(head) {
                // The name is no secret.
                Some((name, password)) => {
                    name == username.as_bytes() && secret.knows(&password).await
                }
                None => false,
            },
            Self::Query { parameter, secret } => match query(head, parameter) {
                Some(value) => secret.knows(value.as_bytes()).await,
                None => false,
            },
            Self::Google(google) => {
                let token = authorization(head, "bearer").and_then(|t| str::from_utf8(t).ok());
                let Some(token) = token else { return Err(Denied::Unknown) };
                return google.verify(token).await.map_err(|error| match error {
                    TokenError::Keys(_) => Denied::Unverified(error),
                    _ => Denied::Token(error),
                });
            }
        };
        if known { Ok(()) } else { Err(Denied::Unknown) }
    }
}

/// The value of a header that is there once.
fn header<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next()?.as_bytes();
    (values.next().is_none() && value.len() <= MAX_CREDENTIAL).then_some(value)
}

/// What follows the scheme in `Authorization`.
fn authorization<'a>(head: &'a Parts, scheme: &str) -> Option<&'a [u8]> {
    let value = header(head, &AUTHORIZATION)?;
    let (given, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    given.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

fn basic(head: &Parts) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut pair = BASE64_STANDARD.decode(authorization(head, "basic")?).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let password = pair.split_off(colon + 1);
    pair.pop();
    Some((pair, password))
}

/// The value of a parameter that is there once.
fn query(head: &Parts, parameter: &str) -> Option<String> {
    let text = head.uri.query().filter(|text| text.len() <= MAX_CREDENTIAL)?;
    let mut values =
        url::form_urlencoded::parse(text.as_bytes()).filter(|(name, _)| name == parameter);
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.into_owned())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    async fn admits(guard: &Guard, url: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.admit(&request.body(()).unwrap().into_parts().0).await.is_ok()
    }

    fn secret() -> (tempfile::TempDir, SecretFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "s3cret\n").unwrap();
        let file = SecretFile::open(&path).unwrap();
        (folder, file)
    }

    #[tokio::test]
    async fn a_header_opens_with_its_value_alone() {
        let (_folder, secret) = secret();
        let guard = Guard::Header { name: "x-secret".parse().unwrap(), secret };
        assert!(admits(&guard, "/", &[("X-Secret", "s3cret")]).await);
        for headers in [
            &[][..],
            &[("x-secret", "")],
            &[("x-secret", "S3cret")],
            &[("x-secret", "s3cret2")],
            &[("x-secret", "s3cret"), ("x-secret", "s3cret")],
            &[("authorization", "s3cret")],
        ] {
            assert!(!admits(&guard, "/?x-secret=s3cret", headers).await, "{headers:?}");
        }
        let long = "x".repeat(MAX_CREDENTIAL + 1);
        assert!(!admits(&guard, "/", &[("x-secret", &long)]).await);
    }

    #[tokio::test]
    async fn bearer_and_basic_read_their_own_scheme() {
        let (_folder, secret) = secret();
        let bearer = Guard::Bearer(secret.clone());
        let basic = Guard::Basic { username: "events".to_owned(), secret };
        let pair = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert!(admits(&bearer, "/", &[("authorization", "bEARER s3cret")]).await);
        assert!(admits(&basic, "/", &[("authorization", &pair("events:s3cret"))]).await);
        for value in ["s3cret", "Bearer", "Bearers3cret", "Basic s3cret", "Bearer s3cre"] {
            assert!(!admits(&bearer, "/", &[("authorization", value)]).await, "{value}");
        }
        for value in ["events", "events:", ":s3cret", "other:s3cret", "events:s3cret:"] {
            assert!(!admits(&basic, "/", &[("authorization", &pair(value))]).await, "{value}");
        }
        assert!(!admits(&basic, "/", &[("authorization", "Basic !")]).await);
    }

    #[tokio::test]
    async fn a_parameter_opens_when_it_is_there_once() {
        let (_folder, secret) = secret();
        let guard = Guard::Query { parameter: "code".to_owned(), secret };
        assert!(admits(&guard, "/v1?x=1&code=s3cret", &[]).await);
        assert!(admits(&guard, "/v1?code=s3cre%74", &[]).await);
        for url in
            ["/v1", "/v1?code=", "/v1?code=x", "/v1?code=s3cret&code=s3cret", "/v1?Code=s3cret"]
        {
            assert!(!admits(&guard, url, &[]).await, "{url}");
        }
    }
}
