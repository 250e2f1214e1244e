//! The error of a connection in, what was wrong with TLS out, in words that can be counted.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No certificate was shown.
    NoCertificate,
    /// A certificate has expired, or is not valid yet.
    Expired,
    /// A certificate was revoked.
    Revoked,
    /// Nobody says whether a certificate was revoked.
    Unchecked,
    /// A certificate is of no authority that is trusted.
    Untrusted,
    /// A certificate is of somebody else.
    Name,
    /// A certificate is wrong in another way.
    Certificate,
    /// The two have no version or no algorithm in common.
    Version,
    /// The two have no protocol in common.
    Protocol,
    /// The other does not speak TLS, does it wrong, or went away.
    Broken,
}

/// Who found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finder {
    /// We did, about the other.
    Us,
    /// The other did, about us, and said so.
    Other,
}

impl Fault {
    /// What was wrong, and who found it; None if it has nothing to do with TLS.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<(Self, Finder)> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            Error::AlertReceived(alert) => (Self::told(*alert), Finder::Other),
            Error::NoCertificatesPresented => (Self::NoCertificate, Finder::Us),
            Error::InvalidCertificate(error) => (Self::found(error), Finder::Us),
            Error::NoApplicationProtocol => (Self::Protocol, Finder::Us),
            Error::PeerIncompatible(_) => (Self::Version, Finder::Us),
            _ => (Self::Broken, Finder::Us),
        })
    }

    const fn told(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateRequired => Self::NoCertificate,
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::UnknownCA => Self::Untrusted,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => Self::Certificate,
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity => Self::Version,
            AlertDescription::NoApplicationProtocol => Self::Protocol,
            AlertDescription::UnrecognisedName => Self::Name,
            _ => Self::Broken,
        }
    }

    const fn found(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::Unchecked,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Untrusted,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::Name
            }
            _ => Self::Certificate,
        }
    }

    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unchecked => "unchecked",
            Self::Untrusted => "untrusted",
            Self::Name => "name",
            Self::Certificate => "certificate",
            Self::Version => "version",
            Self::Protocol => "protocol",
            Self::Broken => "broken",
        }
    }
}
