//! A tagged `COSE_Sign1` in, its parts out; and back.
//!
//! RFC 9052, section 4.2, as the Notary Project's signature-envelope-cose.md narrows it.

use coset::cbor::value::Value;
use coset::iana::EnumI64 as _;
use coset::{
    CoseSign1, CoseSign1Builder, Header, Label, RegisteredLabel, RegisteredLabelWithPrivate,
    TaggedCborSerializable as _,
};
use time::OffsetDateTime;

use super::algorithm::Algorithm;
use super::envelope::{
    AGENT, AUTHENTIC_SIGNING_TIME, EXPIRY, EnvelopeError, Headers, PAYLOAD, PLUGIN,
    PLUGIN_MIN_VERSION, Parts, SCHEME, SIGNING_TIME, TIMESTAMP, since_1970,
};

/// Label of the certificate chain (RFC 9360, section 2).
const X5CHAIN: i64 = 33;
/// Tag of a time in seconds since 1970 (RFC 8949, section 3.4.2).
const EPOCH_TIME: u64 = 1;

pub(super) fn read(bytes: &[u8]) -> Result<Parts, EnvelopeError> {
    let message = CoseSign1::from_tagged_slice(bytes).map_err(EnvelopeError::Cbor)?;
    let CoseSign1 { protected, unprotected, .. } = &message;
    check_separate(&protected.header, unprotected)?;
    let headers = headers(&protected.header)?;
    let chain = chain(unprotected)?;
    let timestamp = timestamp(unprotected)?;
    let signed = message.tbs_data(&[]);
    let payload = message.payload.ok_or_else(|| header("payload", "is detached"))?;
    Ok(Parts { payload, signed, signature: message.signature, chain, timestamp, headers })
}

/// RFC 9052, section 3: a label is protected or it is not; and what decides is protected.
fn check_separate(protected: &Header, unprotected: &Header) -> Result<(), EnvelopeError> {
    let misplaced = [
        ("alg", unprotected.alg.is_some()),
        ("crit", !unprotected.crit.is_empty()),
        ("content type", unprotected.content_type.is_some()),
    ];
    if let Some((name, _)) = misplaced.iter().find(|(_, is)| *is) {
        return Err(header(name, "must be in the protected header"));
    }
    for (label, _) in &unprotected.rest {
        if find(protected, label).is_some() {
            let problem = "is both in the protected and in the unprotected header";
            return Err(header(&name_of(label), problem));
        }
    }
    Ok(())
}

fn headers(protected: &Header) -> Result<Headers, EnvelopeError> {
    let algorithm = match &protected.alg {
        Some(RegisteredLabelWithPrivate::Assigned(alg)) => Algorithm::from_cose(*alg)
            .ok_or_else(|| EnvelopeError::Algorithm(alg.to_i64().to_string()))?,
        Some(RegisteredLabelWithPrivate::PrivateUse(number)) => {
            return Err(EnvelopeError::Algorithm(number.to_string()));
        }
        Some(RegisteredLabelWithPrivate::Text(name)) => {
            return Err(EnvelopeError::Algorithm(name.clone()));
        }
        None => return Err(header("alg", "is missing")),
    };
    let content_type = match &protected.content_type {
        Some(RegisteredLabel::Text(text)) => text.clone(),
        Some(RegisteredLabel::Assigned(number)) => {
            return Err(EnvelopeError::ContentType(number.to_i64().to_string()));
        }
        None => return Err(header("content type", "is missing")),
    };
    let critical = protected.crit.iter().map(|label| match label {
        RegisteredLabelWithPrivate::Text(name) => name.clone(),
        RegisteredLabelWithPrivate::Assigned(label) => label.to_i64().to_string(),
        RegisteredLabelWithPrivate::PrivateUse(label) => label.to_string(),
    });
    Ok(Headers {
        algorithm,
        content_type,
        critical: critical.collect(),
        scheme: text(protected, SCHEME)?.ok_or_else(|| header(SCHEME, "is missing"))?,
        signing_time: time(protected, SIGNING_TIME)?,
        authentic_signing_time: time(protected, AUTHENTIC_SIGNING_TIME)?,
        expiry: time(protected, EXPIRY)?,
        plugin: text(protected, PLUGIN)?,
        plugin_min_version: text(protected, PLUGIN_MIN_VERSION)?,
    })
}

fn find<'a>(headers: &'a Header, label: &Label) -> Option<&'a Value> {
    headers.rest.iter().find(|(l, _)| l == label).map(|(_, value)| value)
}

fn text(headers: &Header, name: &str) -> Result<Option<String>, EnvelopeError> {
    match find(headers, &Label::Text(name.to_owned())) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.clone())),
        Some(_) => Err(header(name, "is not a text")),
    }
}

fn time(headers: &Header, name: &str) -> Result<Option<OffsetDateTime>, EnvelopeError> {
    let problem = || header(name, "is not a time in whole seconds with tag 1");
    match find(headers, &Label::Text(name.to_owned())) {
        None => Ok(None),
        Some(Value::Tag(EPOCH_TIME, seconds)) => {
            let seconds = seconds.as_integer().ok_or_else(problem)?;
            let seconds = i64::try_from(seconds).map_err(|_| problem())?;
            since_1970(seconds).map(Some).ok_or_else(problem)
        }
        Some(_) => Err(problem()),
    }
}

/// An array of certificates; a single one may stand alone (RFC 9360).
fn chain(unprotected: &Header) -> Result<Vec<Vec<u8>>, EnvelopeError> {
    let problem = || header("x5chain", "is not a list of certificates");
    match find(unprotected, &Label::Int(X5CHAIN)) {
        Some(Value::Bytes(der)) => Ok(vec![der.clone()]),
        Some(Value::Array(chain)) => {
            chain.iter().map(|der| der.as_bytes().cloned().ok_or_else(problem)).collect()
        }
        _ => Err(problem()),
    }
}

fn timestamp(unprotected: &Header) -> Result<Option<Vec<u8>>, EnvelopeError> {
    match find(unprotected, &Label::Text(TIMESTAMP.to_owned())) {
        None => Ok(None),
        Some(Value::Bytes(token)) => Ok(Some(token.clone())),
        Some(_) => Err(header(TIMESTAMP, "is not a byte string")),
    }
}

fn name_of(label: &Label) -> String {
    match label {
        Label::Int(number) => number.to_string(),
        Label::Text(name) => name.clone(),
    }
}

fn header(name: &str, problem: &'static str) -> EnvelopeError {
    EnvelopeError::Header { name: name.to_owned(), problem }
}

/// What is to be signed, before it is.
pub(super) struct Draft(CoseSign1);

impl Draft {
    /// Writes the headers of scheme `notary.x509`, text labels ordered as canonical CBOR has them
    /// (shorter first), like the reference implementation.
    pub(super) fn new(
        payload: Vec<u8>,
        algorithm: Algorithm,
        signing_time: OffsetDateTime,
        expiry: Option<OffsetDateTime>,
    ) -> Self {
        let label = |name: &str| Label::Text(name.to_owned());
        let critical = |name: &str| RegisteredLabelWithPrivate::Text(name.to_owned());
        let time =
            |t: OffsetDateTime| Value::Tag(EPOCH_TIME, Box::new(Value::from(t.unix_timestamp())));
        let mut header = Header {
            alg: Some(RegisteredLabelWithPrivate::Assigned(algorithm.cose())),
            crit: vec![critical(SCHEME)],
            content_type: Some(RegisteredLabel::Text(PAYLOAD.to_owned())),
            ..Header::default()
        };
        if let Some(expiry) = expiry {
            header.crit.push(critical(EXPIRY));
            header.rest.push((label(EXPIRY), time(expiry)));
        }
        header.rest.push((label(SIGNING_TIME), time(signing_time)));
        header.rest.push((label(SCHEME), Value::from("notary.x509")));
        Self(CoseSign1Builder::new().protected(header).payload(payload).build())
    }

    /// The bytes that the signature must cover.
    pub(super) fn signed(&self) -> Vec<u8> {
        self.0.tbs_data(&[])
    }

    pub(super) fn seal(
        self,
        signature: Vec<u8>,
        chain: &[Vec<u8>],
        agent: &str,
    ) -> Result<Vec<u8>, coset::CoseError> {
        let chain = chain.iter().map(|der| Value::Bytes(der.clone())).collect();
        let mut message = self.0;
        message.signature = signature;
        message.unprotected.rest = vec![
            (Label::Int(X5CHAIN), Value::Array(chain)),
            (Label::Text(AGENT.to_owned()), Value::from(agent)),
        ];
        message.to_tagged_vec()
    }
}
