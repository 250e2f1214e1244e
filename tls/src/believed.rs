//! An authority and a certificate in, whether who trusts the one believes the other out.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use crate::{name, provider};

/// The first certificate of a PEM, in DER.
#[must_use]
pub fn first_certificate(pem: &[u8]) -> Option<Vec<u8>> {
    Some(CertificateDer::from_pem_slice(pem).ok()?.to_vec())
}

/// Whether a server with this certificate, in PEM, is believed to be `called` at `now` by who trusts this authority
/// alone.
#[must_use]
pub fn is_believed(authority: &[u8], pem: &[u8], called: &str, now: OffsetDateTime) -> bool {
    let verified = || {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority).ok()?).ok()?;
        let own = CertificateDer::from_pem_slice(pem).ok()?;
        let now = Duration::from_secs(u64::try_from(now.unix_timestamp()).ok()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .ok()?;
        let (name, now) = (name(called)?, UnixTime::since_unix_epoch(now));
        verifier.verify_server_cert(&own, &[], &name, &[], now).ok()
    };
    verified().is_some()
}
