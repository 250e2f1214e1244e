//! A signature and a time in, an RFC 3161 token out: a good one, or one with a fault.

use portcullis_core::image::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, IsCa, KeyPair,
    KeyUsagePurpose, SigningKey as _,
};
use time::OffsetDateTime;
use time::macros::format_description;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::TestkitError;
use crate::der::{GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, tagged, utc, write};
use crate::keys::{KeyKind, subject, validity};

const SET: u8 = 0x31;
const NULL: &[u8] = &[5, 0];

/// Object identifier of signed data.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// Object identifier of the content of a token, `id-ct-TSTInfo`.
pub const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 4];
/// Object identifier of SHA-256.
pub const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// Object identifier of ECDSA with SHA-256.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// Object identifier of the policy of ETSI EN 319 421, whose tokens are accurate to the second.
pub const BASELINE_POLICY: &[u8] = &[4, 0, 0x8f, 0x67, 1, 1];
/// Object identifier of the attribute `content-type`.
pub const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
/// Object identifier of the attribute `message-digest`.
pub const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// Object identifier of the attribute `signing-time`.
pub const SIGNING_TIME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 5];
/// Object identifier of the attribute `signing-certificate-v2`.
pub const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 2, 47];

/// A timestamping authority that nobody else knows.
#[derive(Debug)]
pub struct Tsa {
    root: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    /// The signing certificate, in DER.
    certificate: Vec<u8>,
}

/// The certificates of an authority, to be changed.
#[derive(Debug, Clone)]
pub struct TsaPlan {
    /// The certificate that signs tokens.
    pub leaf: CertificateParams,
    /// The root, which issues it.
    pub root: CertificateParams,
}

/// What a token says, to be changed.
#[derive(Debug, Clone)]
pub struct TokenPlan {
    /// Type of the content.
    pub content_type: Vec<u8>,
    /// Version of the time information.
    pub version: u8,
    /// Policy.
    pub policy: Vec<u8>,
    /// Algorithm of the imprint.
    pub hash: Vec<u8>,
    /// Hash of what is stamped.
    pub imprint: Vec<u8>,
    /// The time, as written.
    pub time: String,
    /// Seconds by which the true time may differ.
    pub accuracy: Option<u8>,
    /// What follows the accuracy, in DER.
    pub rest: Vec<u8>,
    /// Certificates, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// Serial number by which the signer names its certificate.
    pub serial: Vec<u8>,
    /// Hash by which the signer names its certificate.
    pub certificate_hash: Vec<u8>,
    /// Hash of the content that is signed, if it is not the right one.
    pub message_digest: Option<Vec<u8>>,
    /// Type of the content that is signed.
    pub signed_content_type: Vec<u8>,
    /// When it says that it signed.
    pub signing_time: Option<OffsetDateTime>,
    /// Signed attributes that are left out.
    pub without: Vec<&'static [u8]>,
    /// Signed attributes that are there twice.
    pub twice: Vec<&'static [u8]>,
    /// How often there is a signer.
    pub signers: usize,
    /// Whether the signature is spoilt.
    pub spoilt: bool,
}

impl TsaPlan {
    /// An authority whose certificates are valid from a day before `now` until 365 days after.
    ///
    /// # Errors
    /// When the validity is out of the range of times.
    pub fn new(now: OffsetDateTime) -> Result<Self, TestkitError> {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = subject("clock", name)?;
            (params.not_before, params.not_after) = validity(now)?;
            Ok::<_, TestkitError>(params)
        };
        let (mut leaf, mut root) = (params("clock")?, params("clock root")?);
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.custom_extensions = vec![purposes(true, &[TIMESTAMPING])];
        Ok(Self { leaf, root })
    }
}

/// Object identifier of the purpose `timeStamping`.
pub const TIMESTAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
/// Object identifier of the purpose `codeSigning`.
pub const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// An extended key usage with these purposes. rcgen has none that is critical.
#[must_use]
pub fn purposes(critical: bool, ids: &[&[u8]]) -> CustomExtension {
    let ids: Vec<_> = ids.iter().map(|id| write(OID, &[id])).collect();
    let content = write(SEQUENCE, &[&ids.concat()]);
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 37], content);
    extension.set_criticality(critical);
    extension
}

impl Tsa {
    /// A new authority, as [`TsaPlan::new`] has it.
    ///
    /// # Errors
    /// When the system has no randomness, or the validity is out of the range of times.
    pub fn new(now: OffsetDateTime) -> Result<Self, TestkitError> {
        Self::made(TsaPlan::new(now)?)
    }

    /// A new authority with these certificates.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn made(plan: TsaPlan) -> Result<Self, TestkitError> {
        let key = KeyKind::P256.generate()?;
        let root = CertifiedIssuer::self_signed(plan.root, KeyKind::P256.generate()?)?;
        let certificate = plan.leaf.signed_by(&key, &root)?.der().to_vec();
        Ok(Self { root, key, certificate })
    }

    /// The root certificate in PEM: what goes into a `tsa` trust store.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The root certificate in DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        self.root.der()
    }

    /// The signing certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A good token: `signature` was there at `at`, to the second.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stamp(&self, signature: &[u8], at: OffsetDateTime) -> Result<Vec<u8>, TestkitError> {
        self.forge(&self.plan(signature, at)?)
    }

    /// What [`Tsa::stamp`] would make.
    ///
    /// # Errors
    /// When the time cannot be written.
    pub fn plan(&self, signature: &[u8], at: OffsetDateTime) -> Result<TokenPlan, TestkitError> {
        let written = format_description!("[year][month][day][hour][minute][second]Z");
        let (_, certificate) = parsed(&self.certificate)?;
        Ok(TokenPlan {
            content_type: TST_INFO.to_vec(),
            version: 1,
            policy: vec![0x2a, 3, 4],
            hash: SHA256.to_vec(),
            imprint: Digest::of(signature).as_bytes().to_vec(),
            time: at.format(&written)?,
            accuracy: Some(1),
            rest: write(INTEGER, &[&[7]]),
            certificates: vec![self.certificate.clone()],
            serial: certificate.raw_serial().to_vec(),
            certificate_hash: Digest::of(&self.certificate).as_bytes().to_vec(),
            message_digest: None,
            signed_content_type: TST_INFO.to_vec(),
            signing_time: None,
            without: Vec::new(),
            twice: Vec::new(),
            signers: 1,
            spoilt: false,
        })
    }

    /// A token as `plan` says, signed by this authority.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn forge(&self, plan: &TokenPlan) -> Result<Vec<u8>, TestkitError> {
        let hash = |id: &[u8]| write(SEQUENCE, &[&write(OID, &[id]), NULL]);
        let imprint = write(SEQUENCE, &[&hash(&plan.hash), &write(OCTET_STRING, &[&plan.imprint])]);
        let accuracy = plan.accuracy.map(|s| write(SEQUENCE, &[&write(INTEGER, &[&[s]])]));
        let content = write(
            SEQUENCE,
            &[
                &write(INTEGER, &[&[plan.version]]),
                &write(OID, &[&plan.policy]),
                &imprint,
                &write(INTEGER, &[&[42]]),
                &write(GENERALIZED_TIME, &[plan.time.as_bytes()]),
                &accuracy.unwrap_or_default(),
                &plan.rest,
            ],
        );
        let signer = self.signer(plan, &content)?;
        let wrapped = tagged(0, &[&write(OCTET_STRING, &[&content])]);
        let data = write(
            SEQUENCE,
            &[
                &write(INTEGER, &[&[3]]),
                &write(SET, &[&hash(SHA256)]),
                &write(SEQUENCE, &[&write(OID, &[&plan.content_type]), &wrapped]),
                &tagged(0, &[&plan.certificates.concat()]),
                &write(SET, &[&signer.repeat(plan.signers)]),
            ],
        );
        Ok(write(SEQUENCE, &[&write(OID, &[SIGNED_DATA]), &tagged(0, &[&data])]))
    }

    fn signer(&self, plan: &TokenPlan, content: &[u8]) -> Result<Vec<u8>, TestkitError> {
        let attributes = attributes(plan, content)?;
        let mut signature = self.key.sign(&write(SET, &[&attributes]))?;
        if plan.spoilt
            && let Some(last) = signature.last_mut()
        {
            *last ^= 1;
        }
        let (_, certificate) = parsed(&self.certificate)?;
        let name =
            write(SEQUENCE, &[certificate.issuer().as_raw(), &write(INTEGER, &[&plan.serial])]);
        Ok(write(
            SEQUENCE,
            &[
                &write(INTEGER, &[&[1]]),
                &name,
                &write(SEQUENCE, &[&write(OID, &[SHA256]), NULL]),
                &tagged(0, &[&attributes]),
                &write(SEQUENCE, &[&write(OID, &[ECDSA_SHA256])]),
                &write(OCTET_STRING, &[&signature]),
            ],
        ))
    }
}

/// The signed attributes, in the order of DER.
fn attributes(plan: &TokenPlan, content: &[u8]) -> Result<Vec<u8>, TestkitError> {
    let digest = plan.message_digest.clone();
    let digest = digest.unwrap_or_else(|| Digest::of(content).as_bytes().to_vec());
    let certificate = write(SEQUENCE, &[&write(OCTET_STRING, &[&plan.certificate_hash])]);
    let certificate = write(SEQUENCE, &[&write(SEQUENCE, &[&certificate])]);
    let mut values = vec![
        (CONTENT_TYPE, write(OID, &[&plan.signed_content_type])),
        (MESSAGE_DIGEST, write(OCTET_STRING, &[&digest])),
        (SIGNING_CERTIFICATE, certificate),
    ];
    if let Some(at) = plan.signing_time {
        values.push((SIGNING_TIME, utc(at)?));
    }
    let mut written = Vec::new();
    for (id, value) in values {
        let attribute = write(SEQUENCE, &[&write(OID, &[id]), &write(SET, &[&value])]);
        let count = match (plan.without.contains(&id), plan.twice.contains(&id)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        written.extend(std::iter::repeat_n(attribute, count));
    }
    written.sort();
    Ok(written.concat())
}

/// An extension of the time information, in DER, for [`TokenPlan::rest`].
#[must_use]
pub fn extension(critical: bool) -> Vec<u8> {
    tagged(1, &[&crate::der::extension(&[0x2a, 3, 4], critical, &[])])
}

fn parsed(der: &[u8]) -> Result<(&[u8], X509Certificate<'_>), TestkitError> {
    X509Certificate::from_der(der).map_err(|_| TestkitError::Parse)
}
