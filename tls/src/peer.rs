//! A certificate that was verified in, who it says that its holder is out.

use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The most names in one certificate.
pub const MAX_NAMES: usize = 64;

/// Who a certificate is of. Its common name is nobody's: it was never bound to anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its SPIFFE IDs: of a good certificate there is one at the most.
    pub spiffe: Vec<String>,
    /// Its DNS names, in lower case.
    pub dns: Vec<String>,
    /// Until when it is valid.
    pub until: OffsetDateTime,
}

/// Why it cannot be said who a certificate is of.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It is malformed.
    #[error("the certificate cannot be read")]
    Malformed,
    /// It has more names than [`MAX_NAMES`].
    #[error("the certificate has {0} names, more than the {MAX_NAMES} allowed")]
    ManyNames(usize),
}

impl Peer {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When it is malformed, or has too many names.
    pub fn of(certificate: &[u8]) -> Result<Self, PeerError> {
        let malformed = |_| PeerError::Malformed;
        let (_, read) = X509Certificate::from_der(certificate).map_err(|_| PeerError::Malformed)?;
        let until = read.validity().not_after.to_datetime();
        let mut peer = Self { spiffe: Vec::new(), dns: Vec::new(), until };
        let Some(names) = read.subject_alternative_name().map_err(malformed)? else {
            return Ok(peer);
        };
        let names = &names.value.general_names;
        if names.len() > MAX_NAMES {
            return Err(PeerError::ManyNames(names.len()));
        }
        for name in names {
            match name {
                GeneralName::URI(uri) if uri.starts_with("spiffe://") => {
                    peer.spiffe.push((*uri).to_owned());
                }
                GeneralName::DNSName(name) => peer.dns.push(name.to_ascii_lowercase()),
                _ => {}
            }
        }
        Ok(peer)
    }
}
