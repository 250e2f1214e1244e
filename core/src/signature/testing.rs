//! Made-up certificate authorities, and artifacts that they signed: what tests of signatures share.

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, RsaKeySize,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::sign::{Format, SigningKey, Target};
use super::{
    Artifact, Examination, Request, Revocations, SignatureError, StoreFile, StoreKind, Trust,
    Verified, examine, verify,
};
use crate::image::Digest;
use crate::referrers::{NOTARY_SIGNATURE, OCI_EMPTY, OCI_MANIFEST};

pub(super) const SCOPE: &str = "reg.io/team/app";
pub(super) const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
pub(super) const SIGNED_AT: OffsetDateTime = datetime!(2026-05-01 12:30:00.5 UTC);
pub(super) const NOT_BEFORE: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
pub(super) const NOT_AFTER: OffsetDateTime = datetime!(2027-01-01 00:00 UTC);

#[derive(Debug, Clone, Copy)]
pub(super) enum KeyKind {
    P256,
    P384,
    P521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

pub(super) fn key(kind: KeyKind) -> KeyPair {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    match kind {
        KeyKind::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyKind::P521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
        KeyKind::Rsa2048 => rsa(RsaKeySize::_2048),
        KeyKind::Rsa3072 => rsa(RsaKeySize::_3072),
        KeyKind::Rsa4096 => rsa(RsaKeySize::_4096),
    }
    .expect("a key is made")
}

/// What a chain is made from. Tests change one thing in it.
pub(super) struct Plan {
    pub(super) leaf: CertificateParams,
    pub(super) leaf_key: KeyKind,
    pub(super) issuer_key: KeyKind,
    /// From the one above the leaf to the one below the root.
    pub(super) middle: Vec<CertificateParams>,
    /// `None` for a leaf that is its own root.
    pub(super) root: Option<CertificateParams>,
}

impl Default for Plan {
    fn default() -> Self {
        let mut leaf = params("scanner");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Self {
            leaf,
            leaf_key: KeyKind::P256,
            issuer_key: KeyKind::P256,
            middle: vec![issuer("middle")],
            root: Some(issuer("root")),
        }
    }
}

pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::OrganizationName, "acme"),
        (DnType::CommonName, name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params.not_before = NOT_BEFORE;
    params.not_after = NOT_AFTER;
    params
}

pub(super) fn issuer(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A chain with the key of its leaf.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) key_pem: String,
    /// DER, leaf first.
    pub(super) chain: Vec<Vec<u8>>,
}

impl Plan {
    pub(super) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut plan = Self::default();
        change(&mut plan);
        plan
    }

    pub(super) fn make(&self) -> Made {
        let leaf_key = key(self.leaf_key);
        let key_pem = leaf_key.serialize_pem();
        let Some(root) = &self.root else {
            let leaf = self.leaf.self_signed(&leaf_key).expect("a certificate is made");
            return Made { key_pem, chain: vec![leaf.der().to_vec()] };
        };
        let mut above = root;
        let mut above_key = key(self.issuer_key);
        let mut chain = vec![root.self_signed(&above_key).expect("a root is made")];
        for middle in self.middle.iter().rev() {
            let middle_key = key(self.issuer_key);
            let issuer = Issuer::from_params(above, &above_key);
            chain.push(middle.signed_by(&middle_key, &issuer).expect("an issuer is made"));
            above = middle;
            above_key = middle_key;
        }
        let issuer = Issuer::from_params(above, &above_key);
        chain.push(self.leaf.signed_by(&leaf_key, &issuer).expect("a leaf is made"));
        Made { key_pem, chain: chain.iter().rev().map(|c| c.der().to_vec()).collect() }
    }
}

impl Made {
    pub(super) fn signing_key(&self) -> SigningKey {
        SigningKey::from_pem(self.key_pem.as_bytes(), pem(&self.chain).as_bytes())
            .expect("the chain may sign")
    }

    pub(super) fn root(&self) -> &[u8] {
        self.chain.last().expect("a chain is not empty")
    }

    /// Trusts the root as `ca:acme`, for everybody and everything.
    pub(super) fn trust(&self) -> Trust {
        trust(&statement(), &[store(StoreKind::Ca, "acme", self.root())])
    }
}

pub(super) fn pem(ders: &[Vec<u8>]) -> String {
    use base64::Engine as _;
    let encode = |der: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(der);
    let wrap =
        |der| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", encode(der));
    ders.iter().map(wrap).collect()
}

pub(super) fn store(kind: StoreKind, name: &str, der: &[u8]) -> StoreFile {
    StoreFile { kind, store: name.to_owned(), file: "test.der".to_owned(), bytes: der.to_vec() }
}

/// One statement that trusts whoever `ca:acme` vouches for, everywhere.
pub(super) fn statement() -> Value {
    json!({
        "name": "scanners",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"],
        "trustedIdentities": ["*"],
    })
}

pub(super) fn policy(statements: &[Value]) -> Vec<u8> {
    json!({"version": "1.0", "trustPolicies": statements}).to_string().into_bytes()
}

#[track_caller]
pub(super) fn trust(statement: &Value, stores: &[StoreFile]) -> Trust {
    Trust::parse(&policy(std::slice::from_ref(statement)), stores).expect("the policy is good")
}

/// The two artifacts. Tests change one thing and see what [`verify`] says.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) scope: String,
    pub(super) subject: Digest,
    pub(super) report: Value,
    pub(super) report_type: String,
    pub(super) report_blob: Bytes,
    pub(super) signature: Value,
    pub(super) signature_type: String,
    pub(super) envelope: Bytes,
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

impl Case {
    /// A report on an image, signed with `key`.
    pub(super) fn new(key: &SigningKey, format: Format, expiry: Option<OffsetDateTime>) -> Self {
        let image = br#"{"an":"image"}"#;
        let report_blob = Bytes::from_static(br#"{"a":"report"}"#);
        let mut layer = descriptor("application/json", &report_blob);
        layer["annotations"] = json!({"b": "layer", "c": "layer"});
        let report = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.report",
            "config": descriptor(OCI_EMPTY, b"{}"),
            "layers": [layer],
            "subject": descriptor(OCI_MANIFEST, image),
            "annotations": {"a": "manifest", "b": "manifest"},
        });
        let manifest = report.to_string();
        let target = Target {
            media_type: OCI_MANIFEST.to_owned(),
            digest: Digest::of(manifest.as_bytes()),
            size: manifest.len() as u64,
        };
        let envelope = key.sign(format, &target, SIGNED_AT, expiry).expect("it is signed");
        let mut case = Self {
            scope: SCOPE.to_owned(),
            subject: Digest::of(image),
            report,
            report_type: OCI_MANIFEST.to_owned(),
            report_blob,
            signature: json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": NOTARY_SIGNATURE,
                "config": descriptor(OCI_EMPTY, b"{}"),
                "layers": [],
                "subject": descriptor(OCI_MANIFEST, manifest.as_bytes()),
            }),
            signature_type: OCI_MANIFEST.to_owned(),
            envelope: Bytes::new(),
        };
        case.enclose(format.media_type(), envelope);
        case
    }

    /// Makes `envelope` the one of the signature.
    pub(super) fn enclose(&mut self, media_type: &str, envelope: Vec<u8>) {
        self.signature["layers"] = json!([descriptor(media_type, &envelope)]);
        self.envelope = envelope.into();
    }

    pub(super) fn verify(
        &self,
        trust: &Trust,
        now: OffsetDateTime,
    ) -> Result<Verified, SignatureError> {
        self.asked(|request| verify(request, trust, now))
    }

    pub(super) fn examine(
        &self,
        trust: &Trust,
        revocations: &dyn Revocations,
        now: OffsetDateTime,
    ) -> Examination {
        self.asked(|request| examine(request, trust, revocations, now))
    }

    fn asked<T>(&self, ask: impl FnOnce(&Request<'_>) -> T) -> T {
        let (report, signature) = (self.report.to_string(), self.signature.to_string());
        ask(&Request {
            scope: &self.scope,
            subject: self.subject,
            report: Artifact {
                manifest: report.as_bytes(),
                media_type: &self.report_type,
                blob: &self.report_blob,
            },
            signature: Artifact {
                manifest: signature.as_bytes(),
                media_type: &self.signature_type,
                blob: &self.envelope,
            },
        })
    }
}

/// Protected headers that are good, as JSON.
pub(super) fn headers() -> Value {
    json!({
        "alg": "ES256",
        "crit": ["io.cncf.notary.signingScheme"],
        "cty": "application/vnd.cncf.notary.payload.v1+json",
        "io.cncf.notary.signingScheme": "notary.x509",
        "io.cncf.notary.signingTime": "2026-05-01T12:30:00Z",
    })
}

/// A JWS envelope with any protected header (JSON text), rightly signed.
pub(super) fn forge_jws(key: &SigningKey, protected: &str, payload: &[u8]) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let (protected, payload) = (URL_SAFE_NO_PAD.encode(protected), URL_SAFE_NO_PAD.encode(payload));
    let (_, signature, chain) = key.sign_raw(format!("{protected}.{payload}").as_bytes());
    let chain: Vec<_> = chain.iter().map(|der| STANDARD.encode(der)).collect();
    json!({
        "payload": payload,
        "protected": protected,
        "header": {"x5c": chain},
        "signature": URL_SAFE_NO_PAD.encode(signature),
    })
}
