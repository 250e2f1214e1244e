//! A flattened JWS in, its parts out; and back.
//!
//! RFC 7515, section 7.2.2, as the Notary Project's signature-envelope-jws.md narrows it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::algorithm::Algorithm;
use super::envelope::{
    AGENT, AUTHENTIC_SIGNING_TIME, EXPIRY, EnvelopeError, Headers, PAYLOAD, PLUGIN,
    PLUGIN_MIN_VERSION, Parts, SCHEME, SIGNING_TIME, TIMESTAMP, since_1970,
};
use crate::json;

pub(super) fn read(bytes: &[u8]) -> Result<Parts, EnvelopeError> {
    let json = |part| move |source| EnvelopeError::Json { part, source };
    // As a map: a struct could also be read from a list.
    let whole: Map<String, Value> = json::from_slice(bytes).map_err(json("whole"))?;
    let known = ["payload", "protected", "header", "signature"];
    // With `signatures` it would be another document.
    if let Some(name) = whole.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(header(name, "is no member of a flattened JWS"));
    }
    let member = |name| optional_text(&whole, name)?.ok_or_else(|| header(name, "is missing"));
    let (signed_protected, signed_payload) = (member("protected")?, member("payload")?);
    let payload = decode("payload", &signed_payload)?;
    let signature = decode("signature", &member("signature")?)?;
    let protected: Map<String, Value> =
        json::from_slice(&decode("protected header", &signed_protected)?)
            .map_err(json("protected header"))?;
    let Some(Value::Object(unprotected)) = whole.get("header") else {
        return Err(header("header", "is missing or not an object"));
    };
    // RFC 7515, section 4: a header is protected or it is not.
    if let Some(name) = unprotected.keys().find(|name| protected.contains_key(*name)) {
        return Err(header(name, "is both in the protected and in the unprotected header"));
    }
    Ok(Parts {
        payload,
        signed: format!("{signed_protected}.{signed_payload}").into_bytes(),
        signature,
        chain: chain(unprotected)?,
        timestamp: timestamp(unprotected)?,
        headers: headers(&protected)?,
    })
}

fn headers(protected: &Map<String, Value>) -> Result<Headers, EnvelopeError> {
    let text = |name| optional_text(protected, name);
    let needed = |name| text(name)?.ok_or_else(|| header(name, "is missing"));
    let time = |name| text(name)?.map(|t| utc(name, &t)).transpose();
    let algorithm = needed("alg")?;
    let problem = || header("crit", "is not a list of names");
    let critical = protected.get("crit").and_then(Value::as_array).ok_or_else(problem)?;
    Ok(Headers {
        algorithm: Algorithm::from_name(&algorithm).ok_or(EnvelopeError::Algorithm(algorithm))?,
        content_type: needed("cty")?,
        critical: critical
            .iter()
            .map(|name| name.as_str().map(ToOwned::to_owned).ok_or_else(problem))
            .collect::<Result<_, _>>()?,
        scheme: needed(SCHEME)?,
        signing_time: time(SIGNING_TIME)?,
        authentic_signing_time: time(AUTHENTIC_SIGNING_TIME)?,
        expiry: time(EXPIRY)?,
        plugin: text(PLUGIN)?,
        plugin_min_version: text(PLUGIN_MIN_VERSION)?,
    })
}

/// In UTC, and cut to whole seconds as COSE has them: an expiry comes earlier by it, never later.
fn utc(name: &str, text: &str) -> Result<OffsetDateTime, EnvelopeError> {
    let problem = || header(name, "is not an RFC 3339 time");
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| problem())?;
    since_1970(time.unix_timestamp()).ok_or_else(problem)
}

fn optional_text(
    headers: &Map<String, Value>,
    name: &str,
) -> Result<Option<String>, EnvelopeError> {
    match headers.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(header(name, "is not a text")),
    }
}

/// Standard base64 here, unlike everywhere else (RFC 7515, section 4.1.6).
fn chain(unprotected: &Map<String, Value>) -> Result<Vec<Vec<u8>>, EnvelopeError> {
    let problem = || header("x5c", "is not a list of certificates");
    let chain = unprotected.get("x5c").and_then(Value::as_array).ok_or_else(problem)?;
    let certificate = |value: &Value| {
        let text = value.as_str().ok_or_else(problem)?;
        STANDARD
            .decode(text)
            .map_err(|source| EnvelopeError::Base64 { part: "certificate chain", source })
    };
    chain.iter().map(certificate).collect()
}

fn timestamp(unprotected: &Map<String, Value>) -> Result<Option<Vec<u8>>, EnvelopeError> {
    let decode = |text: String| {
        STANDARD.decode(text).map_err(|source| EnvelopeError::Base64 { part: "timestamp", source })
    };
    optional_text(unprotected, TIMESTAMP)?.map(decode).transpose()
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, EnvelopeError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|source| EnvelopeError::Base64 { part, source })
}

fn header(name: &str, problem: &'static str) -> EnvelopeError {
    EnvelopeError::Header { name: name.to_owned(), problem }
}

/// What is to be signed, before it is.
pub(super) struct Draft {
    payload: String,
    protected: String,
}

impl Draft {
    /// Writes the headers of scheme `notary.x509`.
    pub(super) fn new(
        payload: &[u8],
        algorithm: Algorithm,
        signing_time: OffsetDateTime,
        expiry: Option<OffsetDateTime>,
    ) -> Result<Self, time::error::Format> {
        let mut headers = Map::new();
        let mut put = |name: &str, value: Value| headers.insert(name.to_owned(), value);
        let mut critical = vec![Value::from(SCHEME)];
        put("alg", algorithm.name().into());
        put("cty", PAYLOAD.into());
        put(SCHEME, "notary.x509".into());
        put(SIGNING_TIME, signing_time.format(&Rfc3339)?.into());
        if let Some(expiry) = expiry {
            put(EXPIRY, expiry.format(&Rfc3339)?.into());
            critical.push(EXPIRY.into());
        }
        put("crit", critical.into());
        Ok(Self {
            payload: URL_SAFE_NO_PAD.encode(payload),
            protected: URL_SAFE_NO_PAD.encode(Value::from(headers).to_string()),
        })
    }

    /// The bytes that the signature must cover.
    pub(super) fn signed(&self) -> Vec<u8> {
        format!("{}.{}", self.protected, self.payload).into_bytes()
    }

    pub(super) fn seal(self, signature: &[u8], chain: &[Vec<u8>], agent: &str) -> Vec<u8> {
        let chain: Vec<Value> = chain.iter().map(|der| STANDARD.encode(der).into()).collect();
        let mut header = Map::new();
        header.insert("x5c".to_owned(), chain.into());
        header.insert(AGENT.to_owned(), agent.into());
        serde_json::json!({
            "payload": self.payload,
            "protected": self.protected,
            "header": header,
            "signature": URL_SAFE_NO_PAD.encode(signature),
        })
        .to_string()
        .into_bytes()
    }
}
