//! A number in, an image's report and its signature out: real ones, that verify.
//!
//! A million of them are not kept: what is asked for is made again, and only the bytes of signatures are
//! remembered, 64 of each, since no two signatures of ECDSA are alike. Everything else follows from the
//! seed.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::image::Digest;
use portcullis_core::referrers::{IN_TOTO, NOTARY_SIGNATURE, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use portcullis_core::signature::sign::{Format, SigningKey, Target};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::RegistryError;
use crate::image::{self, Images};

/// The most findings of one report.
pub(crate) const MAX_FINDINGS: u32 = 10_000;
/// How many images' artifacts are kept made, for those who come back for the next part.
const RECENT: usize = 1_024;
/// The length of a signature of P-256, at the end of its envelope.
const SIGNATURE: usize = 64;
/// Every so many images have a critical finding.
const CRITICAL_EACH: u32 = 50;
/// The empty config of an artifact.
const EMPTY: &str = "{}";

/// Which document of an image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The manifest of the report.
    Report,
    /// The findings.
    Findings,
    /// The manifest of the signature.
    Signature,
    /// The signature.
    Envelope,
}

/// What is attached to one image.
pub(super) struct Attached {
    report: Bytes,
    findings: Bytes,
    signature: Bytes,
    envelope: Bytes,
}

impl Attached {
    pub(super) fn part(&self, part: Part) -> Bytes {
        match part {
            Part::Report => self.report.clone(),
            Part::Findings => self.findings.clone(),
            Part::Signature => self.signature.clone(),
            Part::Envelope => self.envelope.clone(),
        }
    }
}

/// What a registry holds.
pub(super) struct Content {
    images: Arc<Images>,
    findings: u32,
    scanned_at: OffsetDateTime,
    key: SigningKey,
    thumbprints: String,
    /// How often an image was scanned again.
    scans: HashMap<u32, u32>,
    signatures: HashMap<(u32, u32), [u8; SIGNATURE]>,
    /// By the first half of its digest, which document something is.
    places: HashMap<u64, (u32, Part)>,
    recent: HashMap<u32, Arc<Attached>>,
    order: VecDeque<u32>,
}

impl Content {
    /// `findings` in each report, at most [`MAX_FINDINGS`], signed with `key`; scanned at `scanned_at`.
    pub(super) fn new(
        images: Arc<Images>,
        findings: u32,
        key: SigningKey,
        scanned_at: OffsetDateTime,
    ) -> Result<Self, RegistryError> {
        if findings > MAX_FINDINGS {
            return Err(RegistryError::Findings(findings));
        }
        let quoted: Vec<_> = key.thumbprints().iter().map(|t| format!("\\\"{t}\\\"")).collect();
        Ok(Self {
            images,
            findings,
            scanned_at,
            thumbprints: format!("[{}]", quoted.join(",")),
            key,
            scans: HashMap::new(),
            signatures: HashMap::new(),
            places: HashMap::new(),
            recent: HashMap::new(),
            order: VecDeque::new(),
        })
    }

    /// The image is scanned again: its report is another one from now on.
    pub(super) fn scan(&mut self, index: u32) {
        *self.scans.entry(index).or_default() += 1;
        self.recent.remove(&index);
    }

    /// Which image's document has this digest. Only what was named to somebody can be asked for.
    pub(super) fn find(&self, digest: Digest) -> Option<(u32, Part)> {
        self.places.get(&start(digest)).copied()
    }

    /// What is attached to an image.
    pub(super) fn attached(&mut self, index: u32) -> Result<Arc<Attached>, RegistryError> {
        if let Some(made) = self.recent.get(&index) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(self.make(index)?);
        for part in [Part::Report, Part::Findings, Part::Signature, Part::Envelope] {
            self.places.insert(start(Digest::of(&made.part(part))), (index, part));
        }
        if self.order.len() >= RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        self.order.push_back(index);
        self.recent.insert(index, Arc::clone(&made));
        Ok(made)
    }

    /// The list of what is attached to an image, or to its report.
    pub(super) fn referrers(
        &mut self,
        index: u32,
        of: Option<Part>,
    ) -> Result<String, RegistryError> {
        let attached = self.attached(index)?;
        let entry = match of {
            None => Some((&attached.report, IN_TOTO)),
            Some(Part::Report) => Some((&attached.signature, NOTARY_SIGNATURE)),
            Some(_) => None,
        };
        let created = self.created(index)?;
        let entry = entry.map_or_else(String::new, |(manifest, kind)| {
            let descriptor = descriptor(OCI_MANIFEST, manifest);
            let members = descriptor.trim_end_matches('}');
            format!(
                r#"{members},"artifactType":"{kind}","annotations":{{"org.opencontainers.image.created":"{created}"}}}}"#
            )
        });
        Ok(format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entry}]}}"#))
    }

    fn scanned(&self, index: u32) -> (u32, OffsetDateTime) {
        let scans = self.scans.get(&index).copied().unwrap_or_default();
        (scans, self.scanned_at + time::Duration::seconds(i64::from(scans)))
    }

    fn created(&self, index: u32) -> Result<String, RegistryError> {
        Ok(self.scanned(index).1.format(&Rfc3339)?)
    }

    fn make(&mut self, index: u32) -> Result<Attached, RegistryError> {
        let digest = self.images.digest(index).ok_or(RegistryError::NoImage(index))?;
        let (scans, scanned_at) = self.scanned(index);
        let created = self.created(index)?;
        let findings = findings(self.findings, index, scans, digest, &created);
        let of_image = descriptor(OCI_MANIFEST, self.images.manifest(index).as_bytes());
        let kind = r#""scanner":"trivy","report-type":"VulnerabilityAssessment","in-toto.io/predicate-type":"https://in-toto.io/attestation/vulns/v0.2""#;
        let layer = descriptor(IN_TOTO, findings.as_bytes());
        let report = manifest(IN_TOTO, &layer, &of_image, &created, kind);
        let target = Target {
            media_type: OCI_MANIFEST.to_owned(),
            digest: Digest::of(report.as_bytes()),
            size: u64::try_from(report.len()).unwrap_or_default(),
        };
        let envelope = self.sign((index, scans), &target, scanned_at)?;
        let layer = descriptor(Format::Cose.media_type(), &envelope);
        let of_report = descriptor(OCI_MANIFEST, report.as_bytes());
        let thumbprints =
            format!(r#""io.cncf.notary.x509chain.thumbprint#S256":"{}""#, self.thumbprints);
        let signature = manifest(NOTARY_SIGNATURE, &layer, &of_report, &created, &thumbprints);
        Ok(Attached {
            report: report.into(),
            findings: findings.into(),
            signature: signature.into(),
            envelope: envelope.into(),
        })
    }

    /// The envelope, with the signature that it had before if there was one.
    fn sign(
        &mut self,
        which: (u32, u32),
        target: &Target,
        at: OffsetDateTime,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut envelope = self.key.sign(Format::Cose, target, at, None)?;
        // A COSE_Sign1 ends with its signature (RFC 9052 section 4.2).
        if let Some(signature) = envelope.last_chunk_mut::<SIGNATURE>() {
            *signature = *self.signatures.entry(which).or_insert(*signature);
        }
        Ok(envelope)
    }
}

fn start(digest: Digest) -> u64 {
    digest.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> String {
    let (digest, size) = (Digest::of(bytes), bytes.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn manifest(kind: &str, layer: &str, subject: &str, created: &str, annotations: &str) -> String {
    let config = descriptor(OCI_EMPTY, EMPTY.as_bytes());
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"{kind}","config":{config},"layers":[{layer}],"subject":{subject},"annotations":{{"org.opencontainers.image.created":"{created}",{annotations}}}}}"#
    )
}

/// An in-toto statement with the predicate vulns v0.2, as scanners publish it. Of a hundred findings
/// two are high, 38 medium and 60 low; one of some images is critical.
fn findings(count: u32, index: u32, scans: u32, subject: Digest, at: &str) -> String {
    let length = usize::try_from(count).unwrap_or_default().saturating_mul(330);
    let mut text = String::with_capacity(length + 700);
    let (name, hex) = (image::repository(index), subject.hex());
    // Writing to a `String` cannot fail.
    let _ = write!(
        text,
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"{name}","digest":{{"sha256":"{hex}"}}}}],"predicateType":"https://in-toto.io/attestation/vulns/v0.2","predicate":{{"scanner":{{"uri":"pkg:github/aquasecurity/trivy@0.65.0","version":"0.65.0","db":{{"uri":"ghcr.io/aquasecurity/trivy-db:2","lastUpdate":"{at}"}},"result":["#
    );
    for at in 0..count {
        // Images share most of their vulnerabilities with others, and none has the same as another.
        let number = (index.wrapping_mul(7).wrapping_add(at.wrapping_mul(13)) % 50_000) + 1_000;
        let package = number % 400;
        let critical = at == 0 && index % CRITICAL_EACH == CRITICAL_EACH - 1;
        let (severity, score) = match at % 100 {
            _ if critical => ("critical", "9.8"),
            1 | 51 => ("high", "7.5"),
            2..=39 => ("medium", "5.3"),
            _ => ("low", "3.1"),
        };
        let fixed = if at % 3 == 0 {
            format!(r#","fixed_version":"1.{at}.{scans}-2""#)
        } else {
            String::new()
        };
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}{{"id":"CVE-2025-{number}","severity":[{{"method":"nvd","score":"{severity}"}},{{"method":"cvss_score","score":"{score}"}}],"annotations":[{{"package":"lib{package}","installed_version":"1.{at}.0-1","purl":"pkg:deb/debian/lib{package}@1.{at}.0-1?distro=12"{fixed}}}]}}"#
        );
    }
    let _ =
        write!(text, r#"]}},"metadata":{{"scanStartedOn":"{at}","scanFinishedOn":"{at}"}}}}}}"#);
    text
}

#[cfg(test)]
mod tests;
