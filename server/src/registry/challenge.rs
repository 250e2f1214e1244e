//! `WWW-Authenticate` headers in, what a registry wants to see out.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::fault::Fault;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// Reads the challenges of a 401 or 403. Where there are several that we can answer, a token is
    /// preferred, so that the password is not sent with every request.
    pub(super) fn parse(headers: &HeaderMap) -> Result<Option<Self>, Fault> {
        let mut basic = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let text = value.to_str().map_err(|_| Fault::Challenge)?;
            let challenges = http_auth::parse_challenges(text).map_err(|_| Fault::Challenge)?;
            for challenge in challenges {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let realm = parameter(&challenge, "realm")?.ok_or(Fault::Challenge)?;
                    let service = parameter(&challenge, "service")?;
                    return Ok(Some(Self::Bearer { realm, service }));
                }
            }
        }
        Ok(basic)
    }
}

fn parameter(challenge: &http_auth::ChallengeRef<'_>, name: &str) -> Result<Option<String>, Fault> {
    let mut named = challenge.params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    match (named.next(), named.next()) {
        (value, None) => Ok(value.map(|(_, value)| value.to_unescaped())),
        // Two realms: one for whoever checks, one for whoever asks.
        _ => Err(Fault::Challenge),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn challenge(values: &[&'static str]) -> Result<Option<Challenge>, ()> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        Challenge::parse(&headers).map_err(|_| ())
    }

    fn bearer(realm: &str, service: Option<&str>) -> Result<Option<Challenge>, ()> {
        Ok(Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) }))
    }

    #[test]
    fn a_challenge_is_read_in_every_spelling() {
        assert_eq!(
            challenge(&[r#"Bearer realm="https://a.io/t",service="r",scope="repository:x:pull""#]),
            bearer("https://a.io/t", Some("r"))
        );
        assert_eq!(
            challenge(&[r#"bEARER Realm="https://a.io/t""#]),
            bearer("https://a.io/t", None)
        );
        assert_eq!(challenge(&["Basic realm=x"]), Ok(Some(Challenge::Basic)));
        assert_eq!(
            challenge(&["Basic realm=x", r#"Bearer realm="https://a.io/t""#]),
            bearer("https://a.io/t", None)
        );
        assert_eq!(challenge(&["Negotiate realm=x"]), Ok(None));
        assert_eq!(challenge(&[]), Ok(None));
    }

    #[test]
    fn a_challenge_with_two_readings_is_refused() {
        assert_eq!(challenge(&[r#"Bearer realm="https://a.io/", realm="https://b.io/""#]), Err(()));
        assert_eq!(challenge(&[r#"Bearer realm="https://a.io/", REALM="https://b.io/""#]), Err(()));
        assert_eq!(challenge(&[r#"Bearer realm="https://a.io"#]), Err(()));
        assert_eq!(challenge(&["Bearer service=x"]), Err(()));
    }
}
