//! A question to a token service of a cloud in, its answer within bounds out.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_core::json;
use reqwest::Client;
use serde::de::DeserializeOwned;
use tracing::debug;
use url::{Host, Url};

use super::error::CredentialError;
use crate::registry::gate::jitter;

/// The largest answer of a token service that is read, in bytes.
pub(in crate::registry) const MAX_ANSWER: usize = 64 * 1024;
/// The most times that a service is asked, where it fails or cannot be reached.
const MAX_TRIES: usize = 2;
/// The longest word of a service that is repeated in an error, in characters.
const MAX_CODE: usize = 64;

/// A question, of which nothing is logged but whom it is for.
pub(super) struct Call {
    service: &'static str,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// What a service has answered: 200, or that it refuses.
pub(super) struct Reply {
    service: &'static str,
    pub(super) status: u16,
    pub(super) bytes: Bytes,
}

impl Call {
    pub(super) fn get(service: &'static str, url: Url) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { service, method: Method::GET, url, headers, body }
    }

    pub(super) fn form(service: &'static str, url: Url, fields: &[(&str, &str)]) -> Self {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::post(service, url, "application/x-www-form-urlencoded", form.into())
    }

    pub(super) fn post(
        service: &'static str,
        url: Url,
        media_type: &'static str,
        body: Bytes,
    ) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        Self { service, method: Method::POST, url, headers, body }
    }

    /// Adds a header whose value may be secret.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, CredentialError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| CredentialError::Answer {
            service: self.service,
            why: "what is to be sent to it cannot be in a header",
        })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }
}

/// Asks token services.
#[derive(Clone)]
pub(in crate::registry) struct Caller {
    /// For what is somewhere on the internet.
    pub(in crate::registry) client: Client,
    /// For what is on this machine or its link, where no proxy is to be asked.
    pub(in crate::registry) direct: Client,
    pub(in crate::registry) backoff: Duration,
}

impl Caller {
    /// Asks a service of a cloud; on the machine's own link without a proxy.
    pub(super) async fn ask(&self, call: &Call) -> Result<Reply, CredentialError> {
        let client = if is_near(&call.url) { &self.direct } else { &self.client };
        self.ask_with(client, call).await
    }

    /// Asks with the client of a registry.
    pub(super) async fn ask_with(
        &self,
        client: &Client,
        call: &Call,
    ) -> Result<Reply, CredentialError> {
        let service = call.service;
        let mut tries = 1;
        loop {
            let request = client
                .request(call.method.clone(), call.url.clone())
                .header(ACCEPT, "*/*")
                .headers(call.headers.clone())
                .body(call.body.clone());
            let failed = match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    debug!(service, status = status.as_u16(), tries, "asked for a credential");
                    if !status.is_server_error() {
                        return read(service, response).await;
                    }
                    CredentialError::Failed { service, status: status.as_u16() }
                }
                Err(error) => unreachable(service, error),
            };
            if tries == MAX_TRIES {
                return Err(failed);
            }
            tries += 1;
            tokio::time::sleep(self.backoff + jitter(self.backoff)).await;
        }
    }
}

async fn read(
    service: &'static str,
    mut response: reqwest::Response,
) -> Result<Reply, CredentialError> {
    let status = response.status().as_u16();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(service, e))? {
        if chunk.len() > MAX_ANSWER - bytes.len() {
            return Err(CredentialError::Answer { service, why: "it is larger than 64 KiB" });
        }
        bytes.extend_from_slice(&chunk);
    }
    match status {
        429 => Err(CredentialError::Failed { service, status }),
        300..=399 => Err(CredentialError::Answer { service, why: "it leads elsewhere" }),
        _ => Ok(Reply { service, status, bytes: bytes.freeze() }),
    }
}

impl Reply {
    /// The answer as `T`; or the error whose code `code` finds in it.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        code: impl FnOnce(&serde_json::Value) -> Option<String>,
    ) -> Result<T, CredentialError> {
        if self.status != 200 {
            let document = json::from_slice(&self.bytes).ok();
            return Err(self.refused(document.and_then(|document| code(&document))));
        }
        // What the JSON reader says of a fault may repeat what is secret.
        json::from_slice(&self.bytes).map_err(|_| self.wrong("it is not the document expected"))
    }

    /// That the service refuses, with its code if that is a word.
    pub(super) fn refused(&self, code: Option<String>) -> CredentialError {
        let is_word = |code: &String| {
            code.len() <= MAX_CODE
                && code
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'#' | b'.'))
        };
        let code = code.filter(is_word).unwrap_or_else(|| "no code".to_owned());
        CredentialError::Refused { service: self.service, status: self.status, code }
    }

    pub(super) const fn wrong(&self, why: &'static str) -> CredentialError {
        CredentialError::Answer { service: self.service, why }
    }

    /// `text` if it can be sent as a token.
    pub(super) fn token(&self, text: String) -> Result<super::Secret, CredentialError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(self.wrong("its token has characters that no token has"));
        }
        Ok(super::Secret::new(text))
    }
}

/// The code of an OAuth2 error (RFC 6749, 5.2), with Entra's number where there is one.
pub(super) fn oauth_code(document: &serde_json::Value) -> Option<String> {
    let error = document.get("error")?;
    let number = document.get("error_codes").and_then(|codes| codes.get(0)?.as_u64());
    match (error.as_str(), number) {
        (Some(error), Some(number)) => Some(format!("{error}.AADSTS{number}")),
        (Some(error), None) => Some(error.to_owned()),
        // As Google's services say it.
        (None, _) => Some(error.get("status")?.as_str()?.to_owned()),
    }
}

/// A number of seconds, which some services write as text.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    /// As a duration; what is no number, or a negative one, is none at all.
    pub(super) fn duration(&self) -> Duration {
        let seconds = match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.parse().unwrap_or(0.0),
        };
        // More than fits is a very long time.
        if seconds > 1e9 {
            Duration::MAX
        } else {
            Duration::try_from_secs_f64(seconds).unwrap_or_default()
        }
    }
}

fn unreachable(service: &'static str, error: reqwest::Error) -> CredentialError {
    CredentialError::Unreachable { service, source: Arc::new(error.without_url()) }
}

/// Whether a URL is that of the machine itself or of its link: loopback, link-local, or a name that
/// clouds give to their metadata service.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        Some(Host::Domain(name)) => matches!(name, "localhost" | "metadata.google.internal"),
        None => false,
    }
}

/// Whether a URL is that of this machine.
pub(in crate::registry) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// An origin in place of a cloud's own, for a sovereign cloud or a test: TLS, or this machine.
pub(super) fn own_endpoint(text: &str) -> Result<Url, CredentialError> {
    let refused = || CredentialError::Endpoint(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path() == "/";
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if bare && safe { Ok(url) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::cloud::{Answer, Service};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound_and_not_a_byte_past_it() {
        let service = Service::start(|asked| {
            let size = asked.path.strip_prefix('/').unwrap().parse().unwrap();
            Answer::new(200, "application/json", vec![b' '; size])
        })
        .await
        .unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let caller = Caller { client: client.clone(), direct: client, backoff: Duration::ZERO };
        let ask = async |size: usize| {
            let url = Url::parse(&format!("{}{size}", service.origin())).unwrap();
            caller.ask(&Call::get("x", url)).await.map(|reply| reply.bytes.len())
        };
        assert_eq!(ask(MAX_ANSWER).await.unwrap(), MAX_ANSWER);
        let error = ask(MAX_ANSWER + 1).await.unwrap_err();
        assert!(matches!(error, CredentialError::Answer { .. }), "{error}");
        assert!(error.to_string().contains("64 KiB"), "{error}");
    }

    #[test]
    fn an_own_endpoint_is_tls_or_this_machine() {
        for text in [
            "https://sts.example",
            "https://sts.example:8443/",
            "http://127.0.0.1:1",
            "http://[::1]/",
            "http://localhost:1",
        ] {
            assert!(own_endpoint(text).is_ok(), "{text}");
        }
        for text in [
            "http://sts.example",
            "http://169.254.169.254",
            "http://localhost.evil.example",
            "https://u:p@sts.example",
            "https://sts.example/path",
            "https://sts.example/?q",
            "ftp://127.0.0.1",
            "sts.example",
            "",
        ] {
            assert!(own_endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_read_however_they_are_written() {
        let read = |text: &str| serde_json::from_str::<Seconds>(text).unwrap().duration();
        assert_eq!(read("3599"), Duration::from_secs(3599));
        assert_eq!(read("\"3599\""), Duration::from_secs(3599));
        for absurd in ["-1", "\"-1\"", "\"soon\"", "\"NaN\"", "0"] {
            assert_eq!(read(absurd), Duration::ZERO, "{absurd}");
        }
        for absurd in ["1e12", "\"1000000000000\"", "1e300", "\"inf\""] {
            assert_eq!(read(absurd), Duration::MAX, "{absurd}");
        }
    }

    #[test]
    fn only_a_word_of_a_refusal_is_repeated() {
        let reply = Reply { service: "x", status: 400, bytes: Bytes::new() };
        let code = |code: &str| reply.refused(Some(code.to_owned())).to_string();
        assert!(code("invalid_client.AADSTS700213").contains("AADSTS700213"));
        for code in [code("not a word"), code(&"x".repeat(MAX_CODE + 1)), code("a-canary")] {
            assert!(code.contains("no code"), "{code}");
        }
    }
}
