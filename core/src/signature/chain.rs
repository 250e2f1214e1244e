//! Certificates in, leaf first, a chain that may sign out.

use super::certificate::{Certificate, CertificateError};

/// The most certificates that one chain may have. Real ones have two to four.
pub const MAX_CHAIN: usize = 10;

/// Certificates that fulfil the rules, from the one that signs to the self-signed root.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    leaf: Certificate,
    /// Those above it; the last one is the root. Empty if the leaf is self-signed.
    issuers: Vec<Certificate>,
}

impl Chain {
    /// Reads the certificates, leaf first, and checks everything but time.
    pub(super) fn check<T: AsRef<[u8]>>(ders: &[T]) -> Result<Self, CertificateError> {
        let chain = Self::parse(ders)?;
        chain.check_rules()?;
        Ok(chain)
    }

    /// Reads the certificates, leaf first, and does not yet judge them.
    pub(super) fn parse<T: AsRef<[u8]>>(ders: &[T]) -> Result<Self, CertificateError> {
        if ders.len() > MAX_CHAIN {
            return Err(CertificateError::TooMany { count: ders.len() });
        }
        let mut certificates = ders.iter().map(|der| Certificate::parse(der.as_ref()));
        let leaf = certificates.next().ok_or(CertificateError::Empty)??;
        let issuers = certificates.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { leaf, issuers })
    }

    /// Checks everything but time: rules, order, and every signature up to the root.
    pub(super) fn check_rules(&self) -> Result<(), CertificateError> {
        let rule = |certificate: &Certificate, rule| CertificateError::Rule {
            subject: certificate.subject().to_owned(),
            rule,
        };
        self.leaf.check_leaf().map_err(|r| rule(&self.leaf, r))?;
        for (below, issuer) in self.issuers.iter().enumerate() {
            issuer.check_issuer(below).map_err(|r| rule(issuer, r))?;
        }
        self.check_order()
    }

    fn check_order(&self) -> Result<(), CertificateError> {
        let mut certificates = self.certificates().peekable();
        while let Some(certificate) = certificates.next() {
            let subject = || certificate.subject().to_owned();
            let self_signed = certificate.is_signed_by(certificate);
            match certificates.peek() {
                None if !self_signed => {
                    return Err(CertificateError::NoRoot { subject: subject() });
                }
                Some(_) if self_signed => {
                    return Err(CertificateError::EarlyRoot { subject: subject() });
                }
                Some(issuer) if !certificate.is_signed_by(issuer) => {
                    let issuer = issuer.subject().to_owned();
                    return Err(CertificateError::NotIssued { subject: subject(), issuer });
                }
                None | Some(_) => {}
            }
        }
        Ok(())
    }

    /// The certificate that signs.
    pub(super) const fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// All of them, leaf first.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &Certificate> + Clone {
        std::iter::once(&self.leaf).chain(&self.issuers)
    }
}
