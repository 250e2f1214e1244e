//! Bytes, keys and a time in, `Verified` bytes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::image::Digest;

/// Bytes of a findings report whose signature, signer and subject were checked. Only
/// [`verify`] makes one.
#[derive(Debug, Clone)]
pub struct Verified {
    bytes: bytes::Bytes,
    report: Digest,
    subject: Digest,
    media_type: String,
    annotations: BTreeMap<String, String>,
    signer: Arc<Signer>,
}

impl Verified {
    /// The report itself: the bytes of the artifact's one layer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Digest of the report's manifest: its name in the registry.
    #[must_use]
    pub const fn report(&self) -> Digest {
        self.report
    }

    /// Digest of the image (or platform manifest) that the report is about, as its signed manifest
    /// says.
    #[must_use]
    pub const fn subject(&self) -> Digest {
        self.subject
    }

    /// Media type of the layer that holds the report.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Annotations of the report's manifest, over them those of its layer. They are covered by the
    /// signature, because it signs the manifest's digest.
    #[must_use]
    pub const fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// Who signed the report.
    #[must_use]
    pub const fn signer(&self) -> &Arc<Signer> {
        &self.signer
    }
}

/// Who signed a report, as its verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// Subject of the signing certificate, as RFC 4514 writes it.
    pub subject: String,
    /// SHA-256 of the signing certificate (DER), 64 hexadecimal digits.
    pub fingerprint: String,
    /// Name of the trust policy statement under which the signer is trusted.
    pub policy: String,
    /// When it says that it signed (signed by itself, hence a claim unless the scheme is
    /// `notary.x509.signingAuthority`).
    #[serde(with = "time::serde::rfc3339")]
    pub signed_at: OffsetDateTime,
}
