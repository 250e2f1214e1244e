//! What can go wrong while a world is made.

use portcullis_core::image::{Digest, ImageError};
use portcullis_core::referrers::ReferrersError;
use portcullis_core::signature::sign::SignError;

/// Why the testkit could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TestkitError {
    /// No loopback port could be had.
    #[error("failed to listen on loopback")]
    Listen(#[source] std::io::Error),
    /// A key or certificate could not be made, mostly because of a name that X.509 cannot hold.
    #[error("failed to make a key or certificate")]
    Certificate(#[from] rcgen::Error),
    /// A document could not be written as JSON.
    #[error("failed to write a document")]
    Json(#[from] serde_json::Error),
    /// A time has no RFC 3339 form, because its year is before 0 or after 9999.
    #[error("failed to write a time")]
    Time(#[from] time::error::Format),
    /// DER is not what it must be, as an OCSP request.
    #[error("failed to read DER")]
    Der,
    /// A time is out of the range that times have.
    #[error("the validity of a certificate is out of range")]
    Validity,
    /// A certificate or an envelope of our own cannot be read.
    #[error("failed to read a certificate or an envelope")]
    Parse,
    /// An envelope could not be read or written as CBOR.
    #[error("failed to read or write an envelope")]
    Cbor(#[from] coset::CoseError),
    /// A key cannot be used.
    #[error("failed to use a key")]
    Key(#[from] aws_lc_rs::error::KeyRejected),
    /// The primitive failed.
    #[error("failed to sign")]
    Primitive(#[from] aws_lc_rs::error::Unspecified),
    /// A reference, digest or platform was malformed.
    #[error("failed to name an image")]
    Image(#[from] ImageError),
    /// A report could not be signed.
    #[error("failed to sign a report")]
    Sign(#[from] SignError),
    /// A manifest that the registry holds could not be read.
    #[error("failed to read a manifest")]
    Manifest(#[from] ReferrersError),
    /// The registry does not hold what was referred to.
    #[error("repository `{repository}` does not hold `{digest}`")]
    Absent {
        /// The repository that was asked.
        repository: String,
        /// The manifest or blob that it lacks.
        digest: Digest,
    },
    /// A manifest is not of the shape that the helper works on.
    #[error("manifest `{digest}` has no {part}")]
    Shape {
        /// The manifest.
        digest: Digest,
        /// What it should have.
        part: &'static str,
    },
}
