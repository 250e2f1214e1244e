//! A key, its chain and a manifest in, a signature envelope out.

use std::fmt;

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self as primitive, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

use super::algorithm::Algorithm;
use super::artifact::TargetArtifact;
use super::certificate::CertificateError;
use super::chain::{Chain, MAX_CHAIN};
use super::envelope::{COSE, JOSE};
use super::{cose, jws};
use crate::image::Digest;

/// Signing agent that envelopes name.
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key is no PEM private key.
    #[error("the signing key is not a PEM private key")]
    KeyPem(#[source] rustls_pki_types::pem::Error),
    /// The key cannot be used.
    #[error("the signing key cannot be used with its certificate, which demands {algorithm}")]
    Key {
        /// The algorithm that follows from the certificate.
        algorithm: &'static str,
        /// Why not.
        #[source]
        source: KeyRejected,
    },
    /// The key is not that of the certificate.
    #[error("the signing key is not the one of the first certificate of its chain")]
    KeyMismatch,
    /// The chain is no PEM.
    #[error("the certificate chain is not PEM")]
    ChainPem(#[source] rustls_pki_types::pem::Error),
    /// The chain may not sign.
    #[error("the certificate chain cannot be used")]
    Chain(#[from] CertificateError),
    /// A certificate is not valid at the signing time.
    #[error("certificate `{0}` is not valid at the signing time")]
    NotValid(String),
    /// It would expire before it is made.
    #[error("the expiry is not after the signing time")]
    Expiry,
    /// A time is out of the range of RFC 3339 in UTC.
    #[error("the signing time or expiry is out of range")]
    Range(#[from] time::error::ComponentRange),
    /// A time cannot be written.
    #[error("the signing time or expiry cannot be written as RFC 3339")]
    Time(#[from] time::error::Format),
    /// The payload cannot be written.
    #[error("the payload cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The envelope cannot be written.
    #[error("the envelope cannot be written as COSE")]
    Cbor(#[source] coset::CoseError),
    /// The primitive failed.
    #[error("the signature primitive failed")]
    Primitive(#[source] Unspecified),
}

/// A form of envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Flattened JWS.
    Jws,
    /// `COSE_Sign1`.
    Cose,
}

impl Format {
    /// The media type of such an envelope, which its layer must have.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jws => JOSE,
            Self::Cose => COSE,
        }
    }
}

/// The manifest that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its media type.
    pub media_type: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Length of its bytes.
    pub size: u64,
}

/// A private key with the certificate chain of its public key.
pub struct SigningKey {
    key: Key,
    algorithm: Algorithm,
    chain: Chain,
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
}

impl SigningKey {
    /// Reads a private key (PKCS#8, PKCS#1 or SEC1) and its chain, both PEM. The chain has the
    /// leaf first and the self-signed root last, or is one self-signed certificate.
    ///
    /// # Errors
    /// When either cannot be read, the key is not the leaf's, or the chain would not be accepted
    /// by [`super::verify`].
    pub fn from_pem(key_pem: &[u8], chain_pem: &[u8]) -> Result<Self, SignError> {
        let ders = CertificateDer::pem_slice_iter(chain_pem)
            .take(MAX_CHAIN + 1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(SignError::ChainPem)?;
        let chain = Chain::check(&ders)?;
        let leaf = chain.leaf().key();
        let algorithm = leaf.algorithm().ok_or(SignError::KeyMismatch)?;
        let pem = PrivateKeyDer::from_pem_slice(key_pem).map_err(SignError::KeyPem)?;
        let key = Key::read(&pem, algorithm)
            .map_err(|source| SignError::Key { algorithm: algorithm.name(), source })?;
        if key.public() != leaf.bytes() {
            return Err(SignError::KeyMismatch);
        }
        Ok(Self { key, algorithm, chain })
    }

    /// Signs `target` under scheme `notary.x509`, and gives the envelope. Times are cut to whole
    /// seconds.
    ///
    /// # Errors
    /// When a certificate is not valid at `signed_at`, or `expiry` is not after it.
    pub fn sign(
        &self,
        format: Format,
        target: &Target,
        signed_at: OffsetDateTime,
        expiry: Option<OffsetDateTime>,
    ) -> Result<Vec<u8>, SignError> {
        let signed_at = whole_seconds(signed_at)?;
        let expiry = expiry.map(whole_seconds).transpose()?;
        if expiry.is_some_and(|expiry| expiry <= signed_at) {
            return Err(SignError::Expiry);
        }
        if let Some(bad) = self.chain.certificates().find(|c| !c.is_valid_at(signed_at)) {
            return Err(SignError::NotValid(bad.subject().to_owned()));
        }
        let payload = TargetArtifact {
            media_type: target.media_type.clone(),
            digest: target.digest,
            size: target.size,
        }
        .payload()?;
        let chain: Vec<_> = self.chain.certificates().map(|c| c.der().to_vec()).collect();
        match format {
            Format::Jws => {
                let draft = jws::Draft::new(&payload, self.algorithm, signed_at, expiry)?;
                let signature = self.key.sign(&draft.signed()).map_err(SignError::Primitive)?;
                Ok(draft.seal(&signature, &chain, AGENT))
            }
            Format::Cose => {
                let draft = cose::Draft::new(payload, self.algorithm, signed_at, expiry);
                let signature = self.key.sign(&draft.signed()).map_err(SignError::Primitive)?;
                draft.seal(signature, &chain, AGENT).map_err(SignError::Cbor)
            }
        }
    }

    /// Tests forge envelopes with it.
    #[cfg(test)]
    pub(super) fn sign_raw(&self, message: &[u8]) -> (Algorithm, Vec<u8>, Vec<Vec<u8>>) {
        let chain = self.chain.certificates().map(|c| c.der().to_vec()).collect();
        (self.algorithm, self.key.sign(message).expect("it signs"), chain)
    }

    /// SHA-256 of every certificate (DER), leaf first, 64 hexadecimal digits each: the value of
    /// the annotation `io.cncf.notary.x509chain.thumbprint#S256` on the signature's manifest, once
    /// written as a JSON list.
    #[must_use]
    pub fn thumbprints(&self) -> Vec<String> {
        self.chain.certificates().map(|c| Digest::of(c.der()).hex()).collect()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("subject", &self.chain.leaf().subject())
            .finish_non_exhaustive()
    }
}

impl Key {
    fn read(pem: &PrivateKeyDer<'_>, algorithm: Algorithm) -> Result<Self, KeyRejected> {
        let rsa = |padding: &'static dyn RsaEncoding| {
            let pair = match pem {
                PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
                other => RsaKeyPair::from_pkcs8(other.secret_der()),
            };
            pair.map(|pair| Self::Rsa(pair, padding))
        };
        let ec = |curve: &'static EcdsaSigningAlgorithm| {
            let pair = match pem {
                PrivateKeyDer::Sec1(key) => {
                    EcdsaKeyPair::from_private_key_der(curve, key.secret_sec1_der())
                }
                other => EcdsaKeyPair::from_pkcs8(curve, other.secret_der()),
            };
            pair.map(Self::Ec)
        };
        match algorithm {
            Algorithm::Ps256 => rsa(&primitive::RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&primitive::RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&primitive::RSA_PSS_SHA512),
            Algorithm::Es256 => ec(&primitive::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => ec(&primitive::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::Es512 => ec(&primitive::ECDSA_P521_SHA512_FIXED_SIGNING),
        }
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Rsa(pair, _) => pair.public_key().as_ref(),
            Self::Ec(pair) => pair.public_key().as_ref(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ec(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
        }
    }
}

/// Envelopes have whole seconds in UTC, as the reference implementation writes them.
fn whole_seconds(time: OffsetDateTime) -> Result<OffsetDateTime, SignError> {
    Ok(OffsetDateTime::from_unix_timestamp(time.unix_timestamp())?)
}

#[cfg(test)]
mod tests;
