//! A sigstore bundle in, its DSSE envelope and what is said of its signer out.
//!
//! Fields as in sigstore_bundle.proto of sigstore/protobuf-specs, in the JSON of protobuf: versions
//! 0.1, 0.2 and 0.3.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::dsse::{self, Envelope};
use super::{CosignError, Key};
use crate::findings::Capped;
use crate::json;

/// Media type of a bundle of version 0.3, which cosign 3 pushes.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Those of other versions, and the older spelling of 0.3.
const OTHERS: [&str; 3] = [
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];
/// The most entries of transparency logs in one bundle (as sigstore-go).
pub const MAX_LOG_ENTRIES: usize = 32;
/// The most RFC 3161 timestamps in one bundle (as sigstore-go).
pub const MAX_TIMESTAMPS: usize = 32;

pub(super) fn is_bundle(media_type: &str) -> bool {
    media_type == BUNDLE || OTHERS.contains(&media_type)
}

/// A bundle that holds an attestation.
pub(super) struct Bundle {
    pub(super) envelope: Envelope,
    pub(super) material: Material,
}

/// What an attestation says of its signer.
#[derive(Debug, Clone)]
pub(super) enum Material {
    /// Nothing: it is an envelope alone.
    None,
    /// By which key it is signed, in whatever words.
    Key { hint: String },
    /// A certificate, and the whole bundle to check it with.
    Certificate(
        #[cfg_attr(not(feature = "keyless"), expect(dead_code, reason = "nothing can check it"))]
        Bytes,
    ),
}

impl Material {
    /// Whether it says that it is signed by `key`. It may say anything.
    pub(super) fn claims(&self, key: &Key) -> bool {
        matches!(self, Self::Key { hint } if *hint == key.hint())
    }
}

// Unknown members are refused, as protobuf's JSON has it: the other spelling of a member, which others
// read, would be a second reading of what is signed (CASES T028).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    media_type: String,
    verification_material: RawMaterial,
    dsse_envelope: Option<dsse::Raw>,
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMaterial {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
    public_key: Option<RawKey>,
    tlog_entries: Option<Capped<IgnoredAny, MAX_LOG_ENTRIES>>,
    timestamp_verification_data: Option<RawTimestamps>,
}

#[derive(Deserialize)]
struct RawKey {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTimestamps {
    rfc3161_timestamps: Option<Capped<IgnoredAny, MAX_TIMESTAMPS>>,
}

impl Bundle {
    pub(super) fn parse(bytes: &Bytes) -> Result<Self, CosignError> {
        let raw: Raw = json::from_slice(bytes).map_err(CosignError::Malformed)?;
        if !is_bundle(&raw.media_type) {
            return Err(CosignError::MediaType(raw.media_type));
        }
        let RawMaterial {
            certificate,
            x509_certificate_chain,
            public_key,
            tlog_entries,
            timestamp_verification_data,
        } = raw.verification_material;
        let timestamps = timestamp_verification_data.and_then(|data| data.rfc3161_timestamps);
        for (what, count, limit) in [
            ("log entries", tlog_entries.map_or(0, |list| list.len()), MAX_LOG_ENTRIES),
            ("timestamps", timestamps.map_or(0, |list| list.len()), MAX_TIMESTAMPS),
        ] {
            if count > limit {
                return Err(CosignError::TooMany { what, limit });
            }
        }
        let material = match (certificate, x509_certificate_chain, public_key) {
            (Some(_), None, None) | (None, Some(_), None) => Material::Certificate(bytes.clone()),
            (None, None, Some(RawKey { hint })) => Material::Key { hint },
            _ => return Err(CosignError::Material),
        };
        let envelope: Envelope = raw.dsse_envelope.ok_or(CosignError::NoEnvelope)?.try_into()?;
        if raw.message_signature.is_some() {
            return Err(CosignError::TwoContents);
        }
        // bundle.md: "DSSE envelopes in a bundle MUST have exactly one signature".
        let count = envelope.signatures().len();
        if count != 1 {
            return Err(CosignError::Signatures { count });
        }
        Ok(Self { envelope, material })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{bundle, key, read, statement};
    use super::*;

    #[test]
    fn t028_a_bundle_with_two_contents_is_refused() {
        let key = key();
        let signature = || json!({"signature": "AAAA"});
        let with = |change: &dyn Fn(&mut Value)| {
            let mut bundle = bundle(&key, statement().to_string().as_bytes());
            change(&mut bundle);
            read(&bundle).err()
        };
        assert!(with(&|_| {}).is_none());
        let two = with(&|b| b["messageSignature"] = signature());
        assert!(matches!(two, Some(CosignError::TwoContents)), "{two:?}");
        // A signature alone is no attestation.
        let alone = with(&|b| {
            b["messageSignature"] = signature();
            b.as_object_mut().unwrap().remove("dsseEnvelope");
        });
        assert!(matches!(alone, Some(CosignError::NoEnvelope)), "{alone:?}");
        // Others read other spellings.
        for name in ["message_signature", "dsse_envelope", "verification_material", "media_type"] {
            let other = with(&|b| b[name] = signature());
            assert!(matches!(other, Some(CosignError::Malformed(_))), "{name}: {other:?}");
        }
        for name in ["x509_certificate_chain", "public_key", "tlog_entries", "other"] {
            let other = with(&|b| b["verificationMaterial"][name] = json!({}));
            assert!(matches!(other, Some(CosignError::Malformed(_))), "{name}: {other:?}");
        }
        let two = with(&|b| {
            b["verificationMaterial"] = json!({"certificate": {}, "x509CertificateChain": {}});
        });
        assert!(matches!(two, Some(CosignError::Material)), "{two:?}");
    }
}
