//! Any bytes in, nothing out: what fuzz targets call.

use bytes::Bytes;

use super::certificate::Certificate;
use super::cosign::{Attestation, BUNDLE, CosignEntry, CosignTrust, DSSE};
use super::envelope::{COSE, Envelope, JOSE};
use super::identity::Identity;
use super::revocation;
use super::timestamp;
use super::{StoreFile, StoreKind, Trust};

/// Opens `bytes` as both kinds of envelope.
pub fn envelope(bytes: &[u8]) {
    for media_type in [JOSE, COSE] {
        let _ = Envelope::open(bytes, media_type);
    }
}

/// Reads `bytes` as a DSSE envelope.
pub fn dsse(bytes: &[u8]) {
    let _ = Attestation::parse(&Bytes::copy_from_slice(bytes), DSSE);
}

/// Reads `bytes` as a sigstore bundle, and as the key of an entry of cosign's signers.
pub fn bundle(bytes: &[u8]) {
    let _ = Attestation::parse(&Bytes::copy_from_slice(bytes), BUNDLE);
    let (name, scopes) = ("fuzz".to_owned(), vec!["*".to_owned()]);
    let key = Some(bytes.to_vec());
    let _ = CosignTrust::parse(&[CosignEntry { name, scopes, key, ..CosignEntry::default() }]);
}

/// Reads `bytes` as a timestamp token, with all that is in it.
pub fn timestamp(bytes: &[u8]) {
    let _ = timestamp::read(bytes);
}

/// Reads `bytes` as a trust policy without stores.
pub fn trust_policy(bytes: &[u8]) {
    let _ = Trust::parse(bytes, &[]);
}

/// Reads `bytes` as a certificate, its subject as an identity, and all as a trust store.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::parse(bytes) {
        let _ = Identity::parse(certificate.subject());
        let _ = certificate.check_leaf();
        let _ = certificate.check_issuer(0);
    }
    let file = StoreFile {
        kind: StoreKind::Ca,
        store: "fuzz".to_owned(),
        file: "fuzz".to_owned(),
        bytes: bytes.to_vec(),
    };
    let _ = Trust::parse(b"{}", &[file]);
}

/// Reads `bytes` as an OCSP response, with its signature and as if that were good.
pub fn ocsp(bytes: &[u8]) {
    if let Ok(issuer) = Certificate::parse(ISSUER) {
        revocation::fuzz_ocsp(bytes, issuer);
    }
}

/// Reads `bytes` as a revocation list, with its signature and as if that were good.
pub fn crl(bytes: &[u8]) {
    if let Ok(issuer) = Certificate::parse(ISSUER) {
        revocation::fuzz_crl(bytes, issuer);
    }
}

/// A made-up root whose key nobody has.
const ISSUER: &[u8] = include_bytes!("fuzzing/issuer.der");
