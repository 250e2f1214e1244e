//! What certificates say in, a chain that signs with its key out: a good one, or one with a fault.

use portcullis_core::signature::sign::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use crate::TestkitError;
use crate::keys::{KeyKind, subject, validity};

/// What the certificates of a chain say, to be changed.
#[derive(Debug, Clone)]
pub struct ChainPlan {
    /// Kind of the key that signs. The others are on P-256.
    pub kind: KeyKind,
    /// The certificate that signs.
    pub leaf: CertificateParams,
    /// Those above it, the root last.
    pub issuers: Vec<CertificateParams>,
}

/// A chain with the key of its first certificate.
pub struct Chain {
    key: KeyPair,
    ders: Vec<Vec<u8>>,
}

impl ChainPlan {
    /// A leaf, an intermediate and a root of the organisation `name`, valid from a day before `now`
    /// until 365 days after.
    ///
    /// # Errors
    /// When the validity is out of the range of times.
    pub fn new(name: &str, now: OffsetDateTime) -> Result<Self, TestkitError> {
        let params = |common_name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = subject(name, common_name)?;
            (params.not_before, params.not_after) = validity(now)?;
            Ok::<_, TestkitError>(params)
        };
        let mut leaf = params("leaf")?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let mut issuers = vec![params("intermediate")?, params("root")?];
        for issuer in &mut issuers {
            issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        Ok(Self { kind: KeyKind::P256, leaf, issuers })
    }

    /// The chain with new keys.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make(&self) -> Result<Chain, TestkitError> {
        self.make_with(self.kind.generate()?)
    }

    /// The chain with this key for its leaf. RSA keys are slow to make, and may be used again.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn make_with(&self, key: KeyPair) -> Result<Chain, TestkitError> {
        let mut ders = Vec::new();
        let mut above: Option<(&CertificateParams, KeyPair)> = None;
        for params in self.issuers.iter().rev() {
            let own = KeyKind::P256.generate()?;
            let certificate = match &above {
                None => params.self_signed(&own)?,
                Some((issuer, key)) => params.signed_by(&own, &Issuer::from_params(issuer, key))?,
            };
            ders.push(certificate.der().to_vec());
            above = Some((params, own));
        }
        let leaf = match &above {
            None => self.leaf.self_signed(&key)?,
            Some((issuer, issuer_key)) => {
                self.leaf.signed_by(&key, &Issuer::from_params(issuer, issuer_key))?
            }
        };
        ders.push(leaf.der().to_vec());
        ders.reverse();
        Ok(Chain { key, ders })
    }
}

impl Chain {
    /// The certificates in DER, leaf first.
    #[must_use]
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.ders
    }

    /// The root in DER: what goes into a trust store.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        self.ders.last().map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The chain for signing what is good.
    ///
    /// # Errors
    /// When the chain may not sign.
    pub fn signing_key(&self) -> Result<SigningKey, TestkitError> {
        use base64::Engine as _;
        let encode = |der: &Vec<u8>| {
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        let chain: String = self.ders.iter().map(encode).collect();
        Ok(SigningKey::from_pem(self.key.serialize_pem().as_bytes(), chain.as_bytes())?)
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("certificates", &self.ders.len()).finish_non_exhaustive()
    }
}
