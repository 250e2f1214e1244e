//! Names in, certificates for TLS out: of who serves, and of who asks.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use time::OffsetDateTime;

use super::{Authority, Issued, KeyKind, subject, validity};
use crate::TestkitError;

impl Authority {
    /// A certificate for TLS, of who serves as of who asks, valid as long as the root. A name is a SPIFFE ID
    /// (`spiffe://…`), an address or a DNS name.
    ///
    /// # Errors
    /// When the system has no randomness, or a name is not one.
    pub fn tls(&self, names: &[&str]) -> Result<Issued, TestkitError> {
        self.tls_valid(names, validity(self.now)?)
    }

    /// The same that is valid from one time until another.
    ///
    /// # Errors
    /// As [`Authority::tls`].
    pub fn tls_valid(
        &self,
        names: &[&str],
        (not_before, not_after): (OffsetDateTime, OffsetDateTime),
    ) -> Result<Issued, TestkitError> {
        let key = KeyKind::default().generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&self.name, "tls")?;
        (params.not_before, params.not_after) = (not_before, not_after);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if name.starts_with("spiffe://") => SanType::URI((*name).try_into()?),
                Err(_) => SanType::DnsName((*name).try_into()?),
            });
        }
        let certificate = params.signed_by(&key, &self.root)?;
        Ok(Issued {
            key_pem: key.serialize_pem(),
            chain_pem: certificate.pem(),
            chain: vec![certificate.der().to_vec()],
        })
    }

    /// The list, in PEM, of certificates of this authority that were revoked.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn revoked(&self, certificates: &[&Issued]) -> Result<String, TestkitError> {
        let (this_update, next_update) = validity(self.now)?;
        let revoked = |certificate: &&Issued| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&certificate.serial()?),
                revocation_time: this_update,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: certificates.iter().map(revoked).collect::<Result<_, TestkitError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.root)?.pem()?)
    }
}
