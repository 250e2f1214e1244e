//! Headers, a payload and a chain in, a Notary Project envelope out: a good one, or one with a fault.
//!
//! It shares nothing with what core writes and reads envelopes with, so that each is a check of the
//! other.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as primitive, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use coset::cbor::value::Value as Cbor;
use coset::{CborSerializable as _, CoseSign1, Label, TaggedCborSerializable as _};
use portcullis_core::image::Digest;
use portcullis_core::signature::sign::Format;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::TestkitError;
use crate::chain::Chain;
use crate::keys::KeyKind;

/// Prefix of the headers of the Notary Project.
const PREFIX: &str = "io.cncf.notary.";
const TIMESTAMP: &str = "io.cncf.notary.timestampSignature";
const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";

/// The value of a protected header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// A text.
    Text(String),
    /// A time.
    Time(OffsetDateTime),
}

/// An envelope, to be changed.
#[derive(Debug, Clone)]
pub struct EnvelopePlan {
    /// Its form.
    pub format: Format,
    /// The algorithm that it states.
    pub algorithm: KeyKind,
    /// The content type that it states.
    pub content_type: String,
    /// Names of critical headers.
    pub critical: Vec<String>,
    /// The other protected headers.
    pub headers: Vec<(String, Header)>,
    /// The payload.
    pub payload: Vec<u8>,
    /// What the payload is replaced with after it was signed.
    pub replaced: Option<Vec<u8>>,
    /// The certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Whether the signature is spoilt.
    pub spoilt: bool,
}

impl EnvelopePlan {
    /// A good signature of the manifest `target` by the leaf of `chain`, under scheme `notary.x509`.
    #[must_use]
    pub fn x509(
        format: Format,
        kind: KeyKind,
        chain: &Chain,
        target: &[u8],
        at: OffsetDateTime,
    ) -> Self {
        let headers = [
            ("signingScheme", Header::Text("notary.x509".to_owned())),
            ("signingTime", Header::Time(at)),
        ];
        Self::new(format, kind, chain, target, headers, &["signingScheme"])
    }

    /// The same under scheme `notary.x509.signingAuthority`.
    #[must_use]
    pub fn signing_authority(
        format: Format,
        kind: KeyKind,
        chain: &Chain,
        target: &[u8],
        at: OffsetDateTime,
    ) -> Self {
        let headers = [
            ("signingScheme", Header::Text("notary.x509.signingAuthority".to_owned())),
            ("authenticSigningTime", Header::Time(at)),
        ];
        let critical = ["signingScheme", "authenticSigningTime"];
        Self::new(format, kind, chain, target, headers, &critical)
    }

    fn new(
        format: Format,
        kind: KeyKind,
        chain: &Chain,
        target: &[u8],
        headers: [(&str, Header); 2],
        critical: &[&str],
    ) -> Self {
        let target = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(target),
            "size": target.len(),
        });
        Self {
            format,
            algorithm: kind,
            content_type: PAYLOAD.to_owned(),
            critical: critical.iter().map(|name| format!("{PREFIX}{name}")).collect(),
            headers: headers.map(|(name, value)| (format!("{PREFIX}{name}"), value)).to_vec(),
            payload: json!({"targetArtifact": target}).to_string().into_bytes(),
            replaced: None,
            chain: chain.ders().to_vec(),
            spoilt: false,
        }
    }

    /// Adds a protected header of the Notary Project, named without its prefix, as a critical one.
    pub fn add_critical(&mut self, name: &str, value: Header) {
        self.critical.push(format!("{PREFIX}{name}"));
        self.headers.push((format!("{PREFIX}{name}"), value));
    }

    /// Removes a protected header of the Notary Project, named without its prefix.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(header, _)| header.strip_prefix(PREFIX) != Some(name));
    }

    /// Signs with the key of `chain`.
    ///
    /// # Errors
    /// When it cannot be signed or written.
    pub fn seal(&self, chain: &Chain, kind: KeyKind) -> Result<Vec<u8>, TestkitError> {
        let sign = |message: &[u8]| -> Result<Vec<u8>, TestkitError> {
            let mut signature = sign(&chain.key().serialize_der(), kind, message)?;
            if self.spoilt
                && let Some(first) = signature.first_mut()
            {
                *first ^= 1;
            }
            Ok(signature)
        };
        match self.format {
            Format::Jws => self.jws(sign),
            Format::Cose => self.cose(sign),
        }
    }

    fn jws(
        &self,
        sign: impl Fn(&[u8]) -> Result<Vec<u8>, TestkitError>,
    ) -> Result<Vec<u8>, TestkitError> {
        let mut headers = Map::new();
        headers.insert("alg".to_owned(), jose(self.algorithm).into());
        headers.insert("cty".to_owned(), self.content_type.clone().into());
        headers.insert("crit".to_owned(), self.critical.clone().into());
        for (name, value) in &self.headers {
            let value = match value {
                Header::Text(text) => text.clone(),
                Header::Time(time) => time.format(&Rfc3339)?,
            };
            headers.insert(name.clone(), value.into());
        }
        let protected = URL_SAFE_NO_PAD.encode(Value::from(headers).to_string());
        let payload = URL_SAFE_NO_PAD.encode(&self.payload);
        let signature = sign(format!("{protected}.{payload}").as_bytes())?;
        let chain: Vec<_> = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
        let payload = self.replaced.as_ref().map_or(payload, |other| URL_SAFE_NO_PAD.encode(other));
        Ok(serde_json::to_vec(&json!({
            "payload": payload,
            "protected": protected,
            "header": {"x5c": chain},
            "signature": URL_SAFE_NO_PAD.encode(signature),
        }))?)
    }

    fn cose(
        &self,
        sign: impl Fn(&[u8]) -> Result<Vec<u8>, TestkitError>,
    ) -> Result<Vec<u8>, TestkitError> {
        let critical = self.critical.iter().map(|name| Cbor::from(name.as_str())).collect();
        let mut headers = vec![
            (Cbor::from(1), Cbor::from(cose(self.algorithm))),
            (Cbor::from(2), Cbor::Array(critical)),
            (Cbor::from(3), Cbor::from(self.content_type.as_str())),
        ];
        headers.extend(self.headers.iter().map(|(name, value)| {
            let value = match value {
                Header::Text(text) => Cbor::from(text.as_str()),
                Header::Time(time) => Cbor::Tag(1, Box::new(Cbor::from(time.unix_timestamp()))),
            };
            (Cbor::from(name.as_str()), value)
        }));
        let protected = Cbor::Map(headers).to_vec()?;
        let signed = Cbor::Array(vec![
            Cbor::from("Signature1"),
            Cbor::from(protected.clone()),
            Cbor::Bytes(Vec::new()),
            Cbor::from(self.payload.clone()),
        ]);
        let signature = sign(&signed.to_vec()?)?;
        let chain = self.chain.iter().map(|der| Cbor::from(der.clone())).collect();
        let payload = self.replaced.as_ref().unwrap_or(&self.payload).clone();
        let message = Cbor::Array(vec![
            Cbor::from(protected),
            Cbor::Map(vec![(Cbor::from(33), Cbor::Array(chain))]),
            Cbor::from(payload),
            Cbor::from(signature),
        ]);
        Ok(Cbor::Tag(18, Box::new(message)).to_vec()?)
    }
}

/// Puts a timestamp into an envelope: `stamp` makes it from the bytes of the signature.
///
/// # Errors
/// When the envelope cannot be read or written, or `stamp` fails.
pub fn stamped(
    format: Format,
    envelope: &[u8],
    stamp: impl FnOnce(&[u8]) -> Result<Vec<u8>, TestkitError>,
) -> Result<Vec<u8>, TestkitError> {
    match format {
        Format::Jws => {
            let mut envelope: Value = serde_json::from_slice(envelope)?;
            let signature = envelope.get("signature").and_then(Value::as_str).unwrap_or_default();
            let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TestkitError::Parse)?;
            let token = STANDARD.encode(stamp(&signature)?);
            let header = envelope.get_mut("header").and_then(Value::as_object_mut);
            header.ok_or(TestkitError::Parse)?.insert(TIMESTAMP.to_owned(), token.into());
            Ok(serde_json::to_vec(&envelope)?)
        }
        Format::Cose => {
            let mut envelope = CoseSign1::from_tagged_slice(envelope)?;
            let token = stamp(&envelope.signature)?;
            let label = Label::Text(TIMESTAMP.to_owned());
            envelope.unprotected.rest.retain(|(other, _)| *other != label);
            envelope.unprotected.rest.push((label, Cbor::from(token)));
            Ok(envelope.to_tagged_vec()?)
        }
    }
}

/// RFC 7518, section 3.1.
const fn jose(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::P256 => "ES256",
        KeyKind::P384 => "ES384",
        KeyKind::P521 => "ES512",
        KeyKind::Rsa2048 => "PS256",
        KeyKind::Rsa3072 => "PS384",
        KeyKind::Rsa4096 => "PS512",
    }
}

/// RFC 9053, section 2.1; RFC 8230, section 2.
const fn cose(kind: KeyKind) -> i32 {
    match kind {
        KeyKind::P256 => -7,
        KeyKind::P384 => -35,
        KeyKind::P521 => -36,
        KeyKind::Rsa2048 => -37,
        KeyKind::Rsa3072 => -38,
        KeyKind::Rsa4096 => -39,
    }
}

/// The signature of JOSE and COSE by a key in PKCS #8.
pub(crate) fn sign(pkcs8: &[u8], kind: KeyKind, message: &[u8]) -> Result<Vec<u8>, TestkitError> {
    let ec = |curve| -> Result<Vec<u8>, TestkitError> {
        let pair = EcdsaKeyPair::from_pkcs8(curve, pkcs8)?;
        Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
    };
    let rsa = |padding: &'static dyn primitive::RsaEncoding| -> Result<Vec<u8>, TestkitError> {
        let pair = RsaKeyPair::from_pkcs8(pkcs8)?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature)?;
        Ok(signature)
    };
    match kind {
        KeyKind::P256 => ec(&primitive::ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyKind::P384 => ec(&primitive::ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyKind::P521 => ec(&primitive::ECDSA_P521_SHA512_FIXED_SIGNING),
        KeyKind::Rsa2048 => rsa(&primitive::RSA_PSS_SHA256),
        KeyKind::Rsa3072 => rsa(&primitive::RSA_PSS_SHA384),
        KeyKind::Rsa4096 => rsa(&primitive::RSA_PSS_SHA512),
    }
}
