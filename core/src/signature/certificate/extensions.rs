//! The extensions of a certificate in, those facts of them that decide something out.

use x509_parser::der_parser::{Oid, oid};
use x509_parser::extensions::{
    CRLDistributionPoint, CRLDistributionPoints, DistributionPointName, GeneralName,
    ParsedExtension, X509Extension,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Rule;

/// What the extensions say that is processed here.
#[derive(Debug, Clone, Default)]
pub(super) struct Extensions {
    pub(super) ca: bool,
    pub(super) basic_constraints_critical: bool,
    pub(super) path_length: Option<u32>,
    /// RFC 5280 bits, bit 0 is `digitalSignature`. `None` without a critical extension.
    pub(super) key_usage: Option<u16>,
    /// The same, critical or not.
    pub(super) any_key_usage: Option<u16>,
    pub(super) forbidden_purpose: Option<&'static str>,
    pub(super) ocsp_signing: bool,
    /// A critical extended key usage that is `timeStamping` and nothing else.
    pub(super) timestamps_only: bool,
    pub(super) revocation: Sources,
}

/// Who can say whether a certificate was revoked, as it names them.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Sources {
    /// Whether it names an OCSP responder or a CRL at all, so that it could have been revoked.
    pub(in super::super) named: bool,
    /// URLs of OCSP responders.
    pub(in super::super) ocsp: Vec<String>,
    /// URLs of CRLs.
    pub(in super::super) crl: Vec<String>,
    /// URLs of delta CRLs.
    pub(in super::super) freshest_crl: Vec<String>,
}

impl Extensions {
    pub(super) fn read(certificate: &X509Certificate<'_>) -> Result<Self, Rule> {
        certificate.extensions_map().map_err(|_| Rule::DuplicateExtension)?;
        let mut read = Self::default();
        for extension in certificate.extensions() {
            read.add(extension)?;
        }
        Ok(read)
    }

    fn add(&mut self, extension: &X509Extension<'_>) -> Result<(), Rule> {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                self.ca = constraints.ca;
                self.path_length = constraints.path_len_constraint;
                self.basic_constraints_critical = extension.critical;
                return Ok(());
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = extension.critical.then_some(usage.flags);
                self.any_key_usage = Some(usage.flags);
                return Ok(());
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let forbidden = [
                    (usage.any, "anyExtendedKeyUsage"),
                    (usage.server_auth, "serverAuth"),
                    (usage.client_auth, "clientAuth"),
                    (usage.email_protection, "emailProtection"),
                    (usage.time_stamping, "timeStamping"),
                    (usage.ocsp_signing, "OCSPSigning"),
                ];
                self.ocsp_signing = usage.ocsp_signing;
                let others = usage.any
                    || usage.server_auth
                    || usage.client_auth
                    || usage.code_signing
                    || usage.email_protection
                    || usage.ocsp_signing
                    || !usage.other.is_empty();
                self.timestamps_only = extension.critical && usage.time_stamping && !others;
                self.forbidden_purpose =
                    forbidden.into_iter().find(|(has, _)| *has).map(|(_, name)| name);
                return Ok(());
            }
            ParsedExtension::NameConstraints(_) => return Err(Rule::NameConstraints),
            ParsedExtension::AuthorityInfoAccess(access) => {
                let ocsp = oid!(1.3.6.1.5.5.7.48.1);
                let responders = access.iter().filter(|a| a.access_method == ocsp);
                let responders: Vec<_> = responders.map(|a| &a.access_location).collect();
                self.revocation.named |= !responders.is_empty();
                self.revocation.ocsp.extend(responders.into_iter().filter_map(url));
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                self.revocation.named = true;
                self.revocation.crl.extend(urls(points));
            }
            ParsedExtension::UnsupportedExtension { oid } if *oid == oid!(2.5.29.46) => {
                let (_, points) = CRLDistributionPoints::from_der(extension.value)
                    .map_err(|_| Rule::UnreadableExtension(oid.to_id_string()))?;
                self.revocation.freshest_crl.extend(urls(&points));
            }
            ParsedExtension::ParseError { .. } if decides(&extension.oid) => {
                return Err(Rule::UnreadableExtension(extension.oid.to_id_string()));
            }
            _ => {}
        }
        if extension.critical {
            return Err(Rule::CriticalExtension(extension.oid.to_id_string()));
        }
        Ok(())
    }
}

fn urls(points: &[CRLDistributionPoint<'_>]) -> Vec<String> {
    let names = points.iter().filter_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => None,
    });
    names.flatten().filter_map(url).collect()
}

fn url(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(url) => Some((*url).to_owned()),
        _ => None,
    }
}

/// Whether what [`Extensions`] keeps would be wrong without this extension.
fn decides(extension: &Oid<'_>) -> bool {
    [
        oid!(2.5.29.15),         // key usage
        oid!(2.5.29.19),         // basic constraints
        oid!(2.5.29.30),         // name constraints
        oid!(2.5.29.31),         // CRL distribution points
        oid!(2.5.29.37),         // extended key usage
        oid!(1.3.6.1.5.5.7.1.1), // authority information access
    ]
    .iter()
    .any(|known| known == extension)
}
