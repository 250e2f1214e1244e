//! Names and lives in, authorities and certificates that are signed here out.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::RenewalError;

/// By how much a certificate begins before it is made, for clocks that are behind; never more than its life.
pub(super) const EARLY: Duration = Duration::from_mins(5);

/// What part of a certificate's life is left when a configuration that may not trust the next is waited for no longer:
/// it was renewed when a third was left, so that there was time to mend that.
const LEAST_LEFT: u32 = 6;

/// How the name of each authority begins that we make.
const NAME: &str = "portcullis webhook authority ";

/// For whom and for how long certificates are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The DNS names by which the API server asks us, at least one.
    pub names: Vec<String>,
    /// How long a certificate lives.
    pub certificate_life: Duration,
    /// How long an authority lives: at least three times as long as a certificate.
    pub authority_life: Duration,
}

impl Terms {
    /// How much of what is trusted is left when nothing is waited for any more.
    pub(super) fn least_left(&self) -> Duration {
        self.certificate_life / LEAST_LEFT
    }
}

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) from: OffsetDateTime,
    pub(super) until: OffsetDateTime,
    is_authority: bool,
    name: String,
    public_key: Vec<u8>,
}

impl Read {
    /// What the first certificate of a PEM says; none, if it cannot be read.
    pub(super) fn of(pem: &str) -> Option<Self> {
        let der = portcullis_tls::first_certificate(pem.as_bytes())?;
        let (_, read) = X509Certificate::from_der(&der).ok()?;
        let name = read.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Some(Self {
            from: read.validity().not_before.to_datetime(),
            until: read.validity().not_after.to_datetime(),
            is_authority: read.is_ca(),
            name: name.unwrap_or_default().to_owned(),
            public_key: read.public_key().raw.to_vec(),
        })
    }

    /// Whether it is such an authority as we make.
    pub(super) fn is_ours(&self) -> bool {
        self.is_authority && self.name.starts_with(NAME)
    }

    /// Whether the key is that of the certificate.
    fn has(&self, key: &KeyPair) -> bool {
        key.subject_public_key_info() == self.public_key
    }
}

impl Pair {
    /// When it ends; none, if it cannot be read.
    pub(super) fn until(&self) -> Option<OffsetDateTime> {
        Read::of(&self.certificate).map(|read| read.until)
    }

    /// Whether this can sign certificates.
    pub(super) fn is_authority(&self) -> bool {
        let key = KeyPair::from_pem(&self.key);
        let read = Read::of(&self.certificate);
        matches!((read, key), (Some(read), Ok(key)) if read.is_authority && read.has(&key))
    }

    /// Whether this certificate, which is signed by `authority`, is believed for each of `names` at `now`.
    pub(super) fn is_good(&self, authority: &str, names: &[String], now: OffsetDateTime) -> bool {
        let key = KeyPair::from_pem(&self.key);
        let read = Read::of(&self.certificate);
        if !matches!((read, key), (Some(read), Ok(key)) if read.has(&key)) {
            return false;
        }
        let (authority, own) = (authority.as_bytes(), self.certificate.as_bytes());
        names.iter().all(|name| portcullis_tls::is_believed(authority, own, name, now))
    }
}

/// A new authority, which lives from `now`.
pub(super) fn authority(terms: &Terms, now: OffsetDateTime) -> Result<Pair, RenewalError> {
    let key = KeyPair::generate().map_err(RenewalError::Issue)?;
    // The API server tells authorities of the same name apart by their keys; people cannot.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key_raw());
    let part = digest
        .as_ref()
        .iter()
        .take(4)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let mut params = named(&format!("{NAME}{part}"));
    (params.not_before, params.not_after) = life(now, terms.authority_life);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let certificate = params.self_signed(&key).map_err(RenewalError::Issue)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// A new certificate of `authority`, which lives from `now` and never longer than its authority.
pub(super) fn certificate(
    authority: &Pair,
    terms: &Terms,
    now: OffsetDateTime,
) -> Result<Pair, RenewalError> {
    let signing = KeyPair::from_pem(&authority.key).map_err(RenewalError::Issue)?;
    let signer = Read::of(&authority.certificate).ok_or(RenewalError::Authority)?;
    let issuer = Issuer::new(named(&signer.name), signing);
    let mut params = CertificateParams::new(terms.names.clone()).map_err(RenewalError::Issue)?;
    let called = terms.names.first().map_or("", String::as_str);
    params.distinguished_name =
        named(&called.chars().take(64).collect::<String>()).distinguished_name;
    let (from, until) = life(now, terms.certificate_life);
    (params.not_before, params.not_after) = (from.max(signer.from), until.min(signer.until));
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(RenewalError::Issue)?;
    let certificate = params.signed_by(&key, &issuer).map_err(RenewalError::Issue)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// What an authority is signed with, and what it signs with: the same name, by the same kind of key.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn life(now: OffsetDateTime, life: Duration) -> (OffsetDateTime, OffsetDateTime) {
    (now - EARLY.min(life), now + life)
}
