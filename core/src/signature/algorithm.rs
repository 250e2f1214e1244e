//! Public keys in, the one algorithm that each may sign envelopes with out.
//!
//! The table is that of the Notary Project signature specification ("Signature Algorithm
//! Requirements"): the size of the key alone decides the algorithm.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{self as primitive, UnparsedPublicKey, VerificationAlgorithm};
use coset::iana;
use x509_parser::der_parser::{Oid, oid};
use x509_parser::prelude::{AlgorithmIdentifier, FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey as Spki;
use x509_parser::signature_algorithm::SignatureAlgorithm;

use super::der::{OID, Reader, SEQUENCE};

/// A signature algorithm of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256, for RSA keys of 2048 bits.
    Ps256,
    /// RSASSA-PSS with SHA-384, for RSA keys of 3072 bits.
    Ps384,
    /// RSASSA-PSS with SHA-512, for RSA keys of 4096 bits.
    Ps512,
    /// ECDSA with SHA-256, for P-256.
    Es256,
    /// ECDSA with SHA-384, for P-384.
    Es384,
    /// ECDSA with SHA-512, for P-521.
    Es512,
}

impl Algorithm {
    const ALL: [Self; 6] =
        [Self::Ps256, Self::Ps384, Self::Ps512, Self::Es256, Self::Es384, Self::Es512];

    /// Its name in JOSE (RFC 7518, section 3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Its number in COSE (RFC 9053, section 2; RFC 8230, section 2).
    pub(super) const fn cose(self) -> iana::Algorithm {
        match self {
            Self::Ps256 => iana::Algorithm::PS256,
            Self::Ps384 => iana::Algorithm::PS384,
            Self::Ps512 => iana::Algorithm::PS512,
            Self::Es256 => iana::Algorithm::ES256,
            Self::Es384 => iana::Algorithm::ES384,
            Self::Es512 => iana::Algorithm::ES512,
        }
    }

    pub(super) fn from_cose(algorithm: iana::Algorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.cose() == algorithm)
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Ps256 => &primitive::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &primitive::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &primitive::RSA_PSS_2048_8192_SHA512,
            Self::Es256 => &primitive::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &primitive::ECDSA_P384_SHA384_FIXED,
            Self::Es512 => &primitive::ECDSA_P521_SHA512_FIXED,
        }
    }
}

/// What kind of key a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// RSA, with the length of its modulus in bits, rounded up to whole bytes.
    Rsa(usize),
    P256,
    P384,
    P521,
    Unsupported,
}

/// The public key of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    kind: Kind,
    /// An RFC 8017 `RSAPublicKey`, or an uncompressed curve point.
    bytes: Vec<u8>,
}

impl PublicKey {
    pub(super) fn of(info: &SubjectPublicKeyInfo<'_>) -> Self {
        let curve = || info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
        let bytes = info.subject_public_key.data.to_vec();
        let kind = match info.parsed() {
            Ok(Spki::RSA(key)) => {
                let zeros = key.modulus.iter().take_while(|b| **b == 0).count();
                Kind::Rsa((key.modulus.len() - zeros) * 8)
            }
            // Only the uncompressed form: one key has one spelling.
            Ok(Spki::EC(_)) if bytes.first() == Some(&4) => match curve() {
                Some(oid) if oid == oid!(1.2.840.10045.3.1.7) => Kind::P256,
                Some(oid) if oid == oid!(1.3.132.0.34) => Kind::P384,
                Some(oid) if oid == oid!(1.3.132.0.35) => Kind::P521,
                _ => Kind::Unsupported,
            },
            _ => Kind::Unsupported,
        };
        Self { kind, bytes }
    }

    /// The bytes as the key pair of the same key gives them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its type and size, for people.
    pub(super) fn kind(&self) -> String {
        match self.kind {
            Kind::Rsa(bits) => format!("RSA {bits}"),
            Kind::P256 => "P-256".to_owned(),
            Kind::P384 => "P-384".to_owned(),
            Kind::P521 => "P-521".to_owned(),
            Kind::Unsupported => "unsupported".to_owned(),
        }
    }

    /// The algorithm with which this key signs envelopes, if it may.
    pub(super) const fn algorithm(&self) -> Option<Algorithm> {
        match self.kind {
            Kind::Rsa(2048) => Some(Algorithm::Ps256),
            Kind::Rsa(3072) => Some(Algorithm::Ps384),
            Kind::Rsa(4096) => Some(Algorithm::Ps512),
            Kind::P256 => Some(Algorithm::Es256),
            Kind::P384 => Some(Algorithm::Es384),
            Kind::P521 => Some(Algorithm::Es512),
            Kind::Rsa(_) | Kind::Unsupported => None,
        }
    }

    /// Whether `signature` is this key's over `message`, as an envelope has it.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Unspecified> {
        UnparsedPublicKey::new(algorithm.verification(), &self.bytes).verify(message, signature)
    }

    /// Whether `signature` is this key's over `message`, as a certificate has it.
    pub(super) fn verify_issued(
        &self,
        algorithm: Issuance,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Unspecified> {
        let algorithm = algorithm.verification(self.kind).ok_or(Unspecified)?;
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature)
    }
}

/// How a certificate is signed. SHA-1 and whatever else is older than the specification allows is
/// `Unsupported`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Issuance {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    Unsupported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Reads the `AlgorithmIdentifier` of a hash, with or without a `NULL` (RFC 5754, section 2).
    pub(super) fn parse(identifier: &[u8]) -> Option<Self> {
        const NULL: &[u8] = &[5, 0];
        let mut fields = Reader::only(identifier, SEQUENCE)?;
        let hash = match fields.take(OID)? {
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 1] => Self::Sha256,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 2] => Self::Sha384,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 3] => Self::Sha512,
            _ => return None,
        };
        let has_null = fields.any().is_none_or(|parameters| parameters.all == NULL);
        (has_null && fields.is_empty()).then_some(hash)
    }

    pub(super) fn digest(self, message: &[u8]) -> aws_lc_rs::digest::Digest {
        use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
        let algorithm = match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        };
        digest(algorithm, message)
    }
}

impl Issuance {
    /// Reads an `AlgorithmIdentifier`, as strictly as DER is: x509-parser takes other tags.
    pub(super) fn parse(identifier: &[u8]) -> Self {
        let is_strict = Reader::only(identifier, SEQUENCE).and_then(|mut fields| fields.take(OID));
        match AlgorithmIdentifier::from_der(identifier) {
            Ok((&[], identifier)) if is_strict.is_some() => Self::of(&identifier),
            _ => Self::Unsupported,
        }
    }

    /// Reads the algorithm of a CMS signer, which may name the kind of key alone (RFC 3370, section
    /// 3.2): then the hash is that of the digest.
    pub(super) fn of_cms(identifier: &[u8], digest: Hash) -> Self {
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        let id = Reader::only(identifier, SEQUENCE).and_then(|mut fields| fields.take(OID));
        if id == Some(RSA) { Self::RsaPkcs1(digest) } else { Self::parse(identifier) }
    }

    pub(super) fn of(identifier: &AlgorithmIdentifier<'_>) -> Self {
        let is = |oid: Oid<'_>| identifier.algorithm == oid;
        if is(oid!(1.2.840.113549.1.1.11)) {
            Self::RsaPkcs1(Hash::Sha256)
        } else if is(oid!(1.2.840.113549.1.1.12)) {
            Self::RsaPkcs1(Hash::Sha384)
        } else if is(oid!(1.2.840.113549.1.1.13)) {
            Self::RsaPkcs1(Hash::Sha512)
        } else if is(oid!(1.2.840.113549.1.1.10)) {
            pss_hash(identifier).map_or(Self::Unsupported, Self::RsaPss)
        } else if is(oid!(1.2.840.10045.4.3.2)) {
            Self::Ecdsa(Hash::Sha256)
        } else if is(oid!(1.2.840.10045.4.3.3)) {
            Self::Ecdsa(Hash::Sha384)
        } else if is(oid!(1.2.840.10045.4.3.4)) {
            Self::Ecdsa(Hash::Sha512)
        } else {
            Self::Unsupported
        }
    }

    fn verification(self, key: Kind) -> Option<&'static dyn VerificationAlgorithm> {
        use Hash::{Sha256, Sha384, Sha512};
        Some(match (self, key) {
            (Self::RsaPkcs1(Sha256), Kind::Rsa(_)) => &primitive::RSA_PKCS1_2048_8192_SHA256,
            (Self::RsaPkcs1(Sha384), Kind::Rsa(_)) => &primitive::RSA_PKCS1_2048_8192_SHA384,
            (Self::RsaPkcs1(Sha512), Kind::Rsa(_)) => &primitive::RSA_PKCS1_2048_8192_SHA512,
            (Self::RsaPss(Sha256), Kind::Rsa(_)) => &primitive::RSA_PSS_2048_8192_SHA256,
            (Self::RsaPss(Sha384), Kind::Rsa(_)) => &primitive::RSA_PSS_2048_8192_SHA384,
            (Self::RsaPss(Sha512), Kind::Rsa(_)) => &primitive::RSA_PSS_2048_8192_SHA512,
            (Self::Ecdsa(Sha256), Kind::P256) => &primitive::ECDSA_P256_SHA256_ASN1,
            (Self::Ecdsa(Sha384), Kind::P256) => &primitive::ECDSA_P256_SHA384_ASN1,
            (Self::Ecdsa(Sha512), Kind::P256) => &primitive::ECDSA_P256_SHA512_ASN1,
            (Self::Ecdsa(Sha256), Kind::P384) => &primitive::ECDSA_P384_SHA256_ASN1,
            (Self::Ecdsa(Sha384), Kind::P384) => &primitive::ECDSA_P384_SHA384_ASN1,
            (Self::Ecdsa(Sha512), Kind::P384) => &primitive::ECDSA_P384_SHA512_ASN1,
            (Self::Ecdsa(Sha256), Kind::P521) => &primitive::ECDSA_P521_SHA256_ASN1,
            (Self::Ecdsa(Sha384), Kind::P521) => &primitive::ECDSA_P521_SHA384_ASN1,
            (Self::Ecdsa(Sha512), Kind::P521) => &primitive::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        })
    }
}

/// The hash of RSASSA-PSS parameters (RFC 4055, section 3.1) that are those of TLS and JOSE: the
/// same hash everywhere and a salt of its length.
fn pss_hash(identifier: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(identifier)
    else {
        return None;
    };
    let mask = parameters.mask_gen_algorithm().ok()?;
    let hash = parameters.hash_algorithm_oid();
    let (hash_kind, length) = if *hash == oid!(2.16.840.1.101.3.4.2.1) {
        (Hash::Sha256, 32)
    } else if *hash == oid!(2.16.840.1.101.3.4.2.2) {
        (Hash::Sha384, 48)
    } else if *hash == oid!(2.16.840.1.101.3.4.2.3) {
        (Hash::Sha512, 64)
    } else {
        return None;
    };
    (mask.mgf == oid!(1.2.840.113549.1.1.8)
        && mask.hash == *hash
        && parameters.salt_length() == length
        && parameters.trailer_field() == 1)
        .then_some(hash_kind)
}
