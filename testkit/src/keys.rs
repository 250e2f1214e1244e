//! Names and times in, throw-away certificates out, that Notary's rules accept.
//!
//! The rules are those of the Notary Project signature specification, "Certificate Requirements":
//! the root has a critical `basicConstraints` and `keyCertSign`, the leaf a critical
//! `digitalSignature` and the extended usage `codeSigning`.

mod tls;

use std::fmt::Write as _;

use rcgen::string::PrintableString;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    RsaKeySize, SignatureAlgorithm, SigningKey as _,
};
use time::{Duration, OffsetDateTime};

use crate::TestkitError;
use crate::der;
use crate::responder::Delegate;

const COUNTRY: &str = "US";
const STATE: &str = "WA";

/// Which kind of key a signing certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// ECDSA on P-256, which signs as ES256.
    #[default]
    P256,
    /// ECDSA on P-384, which signs as ES384.
    P384,
    /// ECDSA on P-521, which signs as ES512.
    P521,
    /// RSA of 2048 bits, which signs as PS256.
    Rsa2048,
    /// RSA of 3072 bits, which signs as PS384.
    Rsa3072,
    /// RSA of 4096 bits, which signs as PS512.
    Rsa4096,
}

impl KeyKind {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::P256, Self::P384, Self::P521, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// A new key of this kind.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(self) -> Result<KeyPair, TestkitError> {
        let on = |curve: &'static SignatureAlgorithm| KeyPair::generate_for(curve);
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        Ok(match self {
            Self::P256 => on(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::P384 => on(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::P521 => on(&rcgen::PKCS_ECDSA_P521_SHA512),
            Self::Rsa2048 => rsa(RsaKeySize::_2048),
            Self::Rsa3072 => rsa(RsaKeySize::_3072),
            Self::Rsa4096 => rsa(RsaKeySize::_4096),
        }?)
    }
}

/// A certificate authority that nobody else knows: a root certificate and its key, in memory.
#[derive(Debug)]
pub struct Authority {
    name: String,
    root: CertifiedIssuer<'static, KeyPair>,
    now: OffsetDateTime,
}

/// A signing key and the chain that vouches for it.
#[derive(Clone)]
pub struct Issued {
    /// The private key, PKCS #8 in PEM.
    pub key_pem: String,
    /// The certificates in PEM: the signing one, then the root.
    pub chain_pem: String,
    /// The same in DER.
    pub chain: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

/// What a signing certificate says.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its common name.
    pub common_name: String,
    /// Its kind of key.
    pub kind: KeyKind,
    /// From when it is valid.
    pub not_before: OffsetDateTime,
    /// Until when it is valid.
    pub not_after: OffsetDateTime,
    /// Who can say whether it was revoked. Nobody, unless it is set.
    pub revocation: Sources,
}

/// URLs that a certificate names for whoever asks whether it was revoked.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Of OCSP responders.
    pub ocsp: Vec<String>,
    /// Of revocation lists.
    pub crl: Vec<String>,
    /// Of lists of changes to them.
    pub freshest_crl: Vec<String>,
}

impl Sources {
    fn write(&self, params: &mut CertificateParams) {
        // `id-ad-ocsp`.
        let id = der::write(der::OID, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1]]);
        let responder =
            |url: &String| der::write(der::SEQUENCE, &[&id, &der::write(0x86, &[url.as_bytes()])]);
        if !self.ocsp.is_empty() {
            let responders = self.ocsp.iter().map(responder).collect::<Vec<_>>().concat();
            params.custom_extensions.push(CustomExtension::from_oid_content(
                &[1, 3, 6, 1, 5, 5, 7, 1, 1],
                der::write(der::SEQUENCE, &[&responders]),
            ));
        }
        params.crl_distribution_points =
            self.crl.iter().map(|url| CrlDistributionPoint { uris: vec![url.clone()] }).collect();
        if !self.freshest_crl.is_empty() {
            let points = der::points(&self.freshest_crl);
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[2, 5, 29, 46], points));
        }
    }
}

impl Issued {
    /// The serial number of the signing certificate.
    ///
    /// # Errors
    /// Never, as certificates are made here.
    pub fn serial(&self) -> Result<Vec<u8>, TestkitError> {
        let leaf = self.chain.first().map(Vec::as_slice).unwrap_or_default();
        // After the version.
        der::inside(leaf, &[0, 0, 1]).map(<[u8]>::to_vec).ok_or(TestkitError::Der)
    }
}

impl Authority {
    /// A new authority. `name` is the organisation (O) of all its certificates; they are valid from
    /// a day before `now` until 365 days after.
    ///
    /// # Errors
    /// When the system has no randomness, or the validity is out of the range of times.
    pub fn new(name: &str, now: OffsetDateTime) -> Result<Self, TestkitError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, &format!("{name} root"))?;
        (params.not_before, params.not_after) = validity(now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(params, KeyKind::default().generate()?)?;
        Ok(Self { name: name.to_owned(), root, now })
    }

    /// The root certificate in PEM: what goes into a trust store.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A signing certificate on P-256 that is valid as long as the root.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn issue(&self, common_name: &str) -> Result<Issued, TestkitError> {
        self.issue_leaf(&self.leaf(common_name)?)
    }

    /// What [`Authority::issue`] would issue, to be changed and given to
    /// [`Authority::issue_leaf`].
    ///
    /// # Errors
    /// When the validity is out of the range of times.
    pub fn leaf(&self, common_name: &str) -> Result<Leaf, TestkitError> {
        let (not_before, not_after) = validity(self.now)?;
        Ok(Leaf {
            common_name: common_name.to_owned(),
            kind: KeyKind::default(),
            not_before,
            not_after,
            revocation: Sources::default(),
        })
    }

    /// A signing certificate with a new key, as `leaf` says.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn issue_leaf(&self, leaf: &Leaf) -> Result<Issued, TestkitError> {
        let key = leaf.kind.generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&self.name, &leaf.common_name)?;
        params.not_before = leaf.not_before;
        params.not_after = leaf.not_after;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        leaf.revocation.write(&mut params);
        let certificate = params.signed_by(&key, &self.root)?;
        Ok(Issued {
            key_pem: key.serialize_pem(),
            chain_pem: format!("{}{}", certificate.pem(), self.root.pem()),
            chain: vec![certificate.der().to_vec(), self.root_der().to_vec()],
        })
    }

    /// Somebody who answers OCSP for this authority. With `purpose` `OcspSigning` he may.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn delegate(&self, purpose: ExtendedKeyUsagePurpose) -> Result<Delegate, TestkitError> {
        let key = KeyKind::default().generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&self.name, "responder")?;
        (params.not_before, params.not_after) = validity(self.now)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.root)?.der().to_vec();
        Ok(Delegate { key, certificate })
    }

    /// The root certificate in DER.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        self.root.der()
    }

    /// The signature of the root's key: ECDSA with SHA-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TestkitError> {
        Ok(self.root.key().sign(message)?)
    }

    /// Notation's `trustpolicy.json` with one statement: artifacts in `scope` (`*`, or
    /// `registry/repository`) must be signed under the trust store `ca:<store>` by somebody of this
    /// authority's organisation, checked at level `strict`.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn trust_policy_json(&self, scope: &str, store: &str) -> Result<String, TestkitError> {
        let identity =
            format!("x509.subject: C={COUNTRY}, ST={STATE}, O={}", escape_attribute(&self.name));
        let policy = serde_json::json!({
            "version": "1.0",
            "trustPolicies": [{
                "name": store,
                "registryScopes": [scope],
                "signatureVerification": { "level": "strict" },
                "trustStores": [format!("ca:{store}")],
                "trustedIdentities": [identity],
            }],
        });
        Ok(serde_json::to_string_pretty(&policy)?)
    }
}

pub(crate) fn subject(
    organization: &str,
    common_name: &str,
) -> Result<DistinguishedName, TestkitError> {
    let mut subject = DistinguishedName::new();
    // RFC 5280 has the country as a PrintableString of two letters.
    subject
        .push(DnType::CountryName, DnValue::PrintableString(PrintableString::try_from(COUNTRY)?));
    subject.push(DnType::StateOrProvinceName, STATE);
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, common_name);
    Ok(subject)
}

pub(crate) fn validity(
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), TestkitError> {
    let from = now.checked_sub(Duration::days(1)).ok_or(TestkitError::Validity)?;
    let until = now.checked_add(Duration::days(365)).ok_or(TestkitError::Validity)?;
    Ok((from, until))
}

/// A value of a distinguished name as RFC 4514 section 2.4 escapes it.
fn escape_attribute(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (position, c) in value.chars().enumerate() {
        let at_edge =
            (c == ' ' && (position == 0 || position == last)) || (c == '#' && position == 0);
        if c.is_control() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a `String` cannot fail.
                let _ = write!(escaped, "\\{byte:02x}");
            }
            continue;
        }
        if at_edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
