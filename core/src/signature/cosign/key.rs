//! A public key in PEM in, whether it made a signature out.
//!
//! The algorithms are those with which cosign signs by a key of each kind: the hash of the curve's
//! size, or SHA-256 whatever the curve, as versions 1 and 2 do.

use aws_lc_rs::signature::{self as primitive, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::der_parser::oid;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey as Spki;

use crate::image::Digest;

/// Why a file is not one public key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not PEM.
    #[error("it is not PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// No key, or several.
    #[error("it has {0} public keys (`BEGIN PUBLIC KEY`) instead of one")]
    Count(usize),
    /// Not a key.
    #[error("it is not a SubjectPublicKeyInfo in DER")]
    Malformed,
    /// A kind of key with which cosign does not sign, or a weak one.
    #[error("its key is none of P-256, P-384, P-521, Ed25519 and RSA of 2048 to 8192 bits")]
    Kind,
}

/// The key of a signer.
#[derive(Debug, Clone)]
pub(super) struct Key {
    der: Vec<u8>,
    kind: Kind,
    /// An RFC 8017 `RSAPublicKey`, an uncompressed curve point, or the 32 bytes of RFC 8032.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

impl Key {
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(KeyError::Pem)?;
        let [der] = keys.as_slice() else {
            return Err(KeyError::Count(keys.len()));
        };
        let (rest, info) =
            SubjectPublicKeyInfo::from_der(der).map_err(|_error| KeyError::Malformed)?;
        if !rest.is_empty() {
            return Err(KeyError::Malformed);
        }
        let bytes = info.subject_public_key.data.to_vec();
        let kind = Kind::of(&info, &bytes).ok_or(KeyError::Kind)?;
        Ok(Self { der: der.to_vec(), kind, bytes })
    }

    /// What names it: the SHA-256 of its SubjectPublicKeyInfo.
    pub(super) fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// The hint with which cosign names it in a bundle.
    pub(super) fn hint(&self) -> String {
        STANDARD.encode(self.fingerprint().as_bytes())
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let is_good = |algorithm: &&'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(*algorithm, &self.bytes).verify(message, signature).is_ok()
        };
        self.kind.algorithms().iter().any(is_good)
    }
}

impl Kind {
    fn of(info: &SubjectPublicKeyInfo<'_>, bytes: &[u8]) -> Option<Self> {
        if info.algorithm.algorithm == oid!(1.3.101.112) {
            return (bytes.len() == 32).then_some(Self::Ed25519);
        }
        match info.parsed().ok()? {
            Spki::RSA(key) => (2048..=8192).contains(&key.key_size()).then_some(Self::Rsa),
            Spki::EC(_) if bytes.first() == Some(&4) => {
                let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
                let known = [
                    (oid!(1.2.840.10045.3.1.7), Self::P256),
                    (oid!(1.3.132.0.34), Self::P384),
                    (oid!(1.3.132.0.35), Self::P521),
                ];
                known.into_iter().find_map(|(oid, kind)| (oid == curve).then_some(kind))
            }
            _ => None,
        }
    }

    fn algorithms(self) -> &'static [&'static dyn VerificationAlgorithm] {
        match self {
            Self::P256 => &[&primitive::ECDSA_P256_SHA256_ASN1],
            Self::P384 => &[&primitive::ECDSA_P384_SHA384_ASN1, &primitive::ECDSA_P384_SHA256_ASN1],
            Self::P521 => &[&primitive::ECDSA_P521_SHA512_ASN1, &primitive::ECDSA_P521_SHA256_ASN1],
            Self::Rsa => &[&primitive::RSA_PKCS1_2048_8192_SHA256],
            Self::Ed25519 => &[&primitive::ED25519],
        }
    }
}
