//! The bytes of a bundle in, a bundle within bounds that signs one known payload out.
//!
//! `sigstore-verify` reads a payload into a tree of values before it verifies anything, and takes
//! whichever content it meets first. So a payload is bounded here, and must be the one that was read.

use std::error::Error;

use sigstore_verify::SubjectAltName;
use sigstore_verify::crypto::{CertificateInfo, parse_certificate_info};
use sigstore_verify::types::{Bundle, SignatureContent};

use super::KeylessError;
use crate::image::Digest;
use crate::json;

/// The largest bundle with a certificate that is verified, in bytes.
pub const MAX_KEYLESS_BUNDLE: usize = 8 * 1024 * 1024;
/// The largest payload that a certificate's signature is verified of, in bytes.
pub const MAX_KEYLESS_PAYLOAD: usize = 4 * 1024 * 1024;
/// The most JSON values in a bundle with a certificate, and as many in its payload.
pub const MAX_KEYLESS_VALUES: usize = 200_000;

/// A bundle with a certificate, not verified.
pub(in crate::signature::cosign) struct Certified {
    bundle: Bundle,
    certificate: CertificateInfo,
    fingerprint: Digest,
}

impl Certified {
    /// Reads a bundle that was read to hold `payload`.
    pub(in crate::signature::cosign) fn read(
        bytes: &[u8],
        payload: &[u8],
    ) -> Result<Self, KeylessError> {
        for (what, length, limit) in [
            ("bundle", bytes.len(), MAX_KEYLESS_BUNDLE),
            ("payload", payload.len(), MAX_KEYLESS_PAYLOAD),
        ] {
            if length > limit {
                return Err(KeylessError::TooLarge { what, length, limit });
            }
        }
        for document in [bytes, payload] {
            json::walk(document, MAX_KEYLESS_VALUES).map_err(unreadable)?;
        }
        let text = std::str::from_utf8(bytes).map_err(unreadable)?;
        let bundle = Bundle::from_json(text).map_err(unreadable)?;
        match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) if envelope.payload.as_bytes() == payload => {}
            _ => return Err(KeylessError::Content),
        }
        let der = bundle.signing_certificate().ok_or(KeylessError::Content)?;
        let certificate = parse_certificate_info(der).map_err(unreadable)?;
        let fingerprint = Digest::of(der.as_bytes());
        Ok(Self { bundle, certificate, fingerprint })
    }

    pub(super) const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Who signed, as the certificate says.
    pub(super) const fn identity(&self) -> Option<&SubjectAltName> {
        self.certificate.identity.as_ref()
    }

    /// Who vouches for them, as the certificate says.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.certificate.issuer.as_deref()
    }

    pub(super) const fn fingerprint(&self) -> Digest {
        self.fingerprint
    }
}

fn unreadable(error: impl Error + Send + Sync + 'static) -> KeylessError {
    KeylessError::Unreadable(error.into())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::super::super::testing::{bundle, key};
    use super::*;

    /// A bundle with a certificate that nobody vouches for.
    fn certified(payload: &[u8]) -> Value {
        let key = key();
        let parameters = rcgen::CertificateParams::new(["example.com".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let mut bundle = bundle(&key, payload);
        bundle["verificationMaterial"] =
            json!({"certificate": {"rawBytes": STANDARD.encode(certificate.der())}});
        bundle
    }

    fn read(bundle: &Value, payload: &[u8]) -> Result<(), KeylessError> {
        Certified::read(bundle.to_string().as_bytes(), payload).map(|_| ())
    }

    #[test]
    fn t026_a_bundle_and_its_payload_are_read_up_to_their_bounds() {
        let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2)).into_bytes();
        let of = |payload: Vec<u8>| read(&certified(&payload), &payload);
        assert!(of(text(MAX_KEYLESS_PAYLOAD)).is_ok());
        let large = of(text(MAX_KEYLESS_PAYLOAD + 1));
        assert!(matches!(large, Err(KeylessError::TooLarge { what: "payload", .. })), "{large:?}");
        let padded = |length: usize| {
            let mut bytes = certified(b"{}").to_string().into_bytes();
            bytes.resize(length, b' ');
            Certified::read(&bytes, b"{}").map(|_| ())
        };
        assert!(padded(MAX_KEYLESS_BUNDLE).is_ok());
        let large = padded(MAX_KEYLESS_BUNDLE + 1);
        assert!(matches!(large, Err(KeylessError::TooLarge { what: "bundle", .. })), "{large:?}");
    }

    #[test]
    fn t026_values_are_refused_one_past_their_bound() {
        // The list itself is a value too.
        let list = |values: usize| format!("[{}1]", "1,".repeat(values - 2)).into_bytes();
        let of = |payload: Vec<u8>| read(&certified(&payload), &payload);
        assert!(of(list(MAX_KEYLESS_VALUES)).is_ok());
        let many = of(list(MAX_KEYLESS_VALUES + 1));
        assert!(matches!(many, Err(KeylessError::Unreadable(_))), "{many:?}");
        let mut bundle = certified(b"{}");
        bundle["verificationMaterial"]["certificate"]["x"] = vec![1; MAX_KEYLESS_VALUES].into();
        let many = read(&bundle, b"{}");
        assert!(matches!(many, Err(KeylessError::Unreadable(_))), "{many:?}");
    }

    #[test]
    fn t028_what_is_verified_is_what_was_read() {
        let good = certified(b"{}");
        assert!(read(&good, b"{}").is_ok());
        let other = read(&good, b"[]");
        assert!(matches!(other, Err(KeylessError::Content)), "{other:?}");
        // Of two contents, the first is taken.
        let text = good.to_string();
        let two = text.replacen('{', r#"{"messageSignature":{"signature":"AAAA"},"#, 1);
        let two = Certified::read(two.as_bytes(), b"{}").map(|_| ());
        assert!(matches!(two, Err(KeylessError::Content)), "{two:?}");
    }
}
