//! A DSSE envelope in, its payload and what its signatures are over out.
//!
//! Fields as in envelope.md of secure-systems-lab/dsse, version 1.0. Key ids are hints that nobody
//! signed, and are not read.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use serde::Deserialize;

use super::CosignError;
use crate::findings::Capped;
use crate::json;
use crate::referrers::IN_TOTO;

/// Media type of a DSSE envelope as a layer.
pub const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
/// The most signatures that one envelope may have. cosign makes one.
pub const MAX_DSSE_SIGNATURES: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Raw {
    payload_type: String,
    payload: String,
    signatures: Capped<RawSignature, MAX_DSSE_SIGNATURES>,
}

#[derive(Deserialize)]
struct RawSignature {
    sig: String,
}

/// An envelope around an in-toto statement.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    payload: Bytes,
    signatures: Vec<Vec<u8>>,
}

impl Envelope {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, CosignError> {
        let raw: Raw = json::from_slice(bytes).map_err(CosignError::Malformed)?;
        raw.try_into()
    }

    pub(super) const fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub(super) fn signatures(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.signatures.iter().map(Vec::as_slice)
    }

    /// What is signed (protocol.md, "Signature Definition").
    pub(super) fn message(&self) -> Vec<u8> {
        let length = self.payload.len();
        let mut message = format!("DSSEv1 {} {IN_TOTO} {length} ", IN_TOTO.len()).into_bytes();
        message.extend_from_slice(&self.payload);
        message
    }
}

impl TryFrom<Raw> for Envelope {
    type Error = CosignError;

    fn try_from(raw: Raw) -> Result<Self, CosignError> {
        if raw.payload_type != IN_TOTO {
            return Err(CosignError::PayloadType(raw.payload_type));
        }
        if raw.signatures.len() > MAX_DSSE_SIGNATURES {
            return Err(CosignError::TooMany { what: "signatures", limit: MAX_DSSE_SIGNATURES });
        }
        if raw.signatures.len() == 0 {
            return Err(CosignError::Unsigned);
        }
        let signatures = raw.signatures.iter().map(|signature| decode("sig", &signature.sig));
        Ok(Self {
            signatures: signatures.collect::<Result<_, _>>()?,
            payload: decode("payload", &raw.payload)?.into(),
        })
    }
}

/// Either alphabet, as the specification has it.
fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, CosignError> {
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    alphabet.decode(text).map_err(|source| CosignError::Encoding { field, source })
}
