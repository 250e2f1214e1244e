//! Why there is no answer.

use std::error::Error;
use std::sync::Arc;

use portcullis_tls::TlsError;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::MAX_TARGETS;
use crate::secure::Told;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address is not one.
    #[error("`{0}` is not a server address: expected `http://host:port` or `https://host:port`")]
    Address(String),
    /// There is no address, or there are more than [`MAX_TARGETS`].
    #[error("there are {0} server addresses: expected 1 to {MAX_TARGETS}")]
    Targets(usize),
    /// TLS is asked for, and nothing says by whom the service is known.
    #[error(
        "`{0}` is asked in TLS, and no authority of the service is given: give its file \
         (`--tls-ca`); a shim has it as `service.tls.caFile`"
    )]
    NoAuthorities(String),
    /// TLS is configured, and not asked for.
    #[error(
        "`{0}` is asked in plain text, and TLS is configured: write `https://`, or leave out the files of TLS"
    )]
    Plain(String),
    /// A name that a certificate should have is not one.
    #[error(
        "`{0}` is not a name that the certificate of a server can have: expected a DNS name or an address"
    )]
    ServerName(String),
    /// The files of TLS cannot be used.
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
    /// No replica can be reached.
    #[error("failed to reach the decision service at `{url}`")]
    Unreachable {
        /// The addresses, as given.
        url: String,
        /// Why the last attempt failed.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The service has no answer.
    #[error("the decision service has no answer")]
    NoAnswer(#[source] Box<tonic::Status>),
}

/// What a failure means to whoever must decide without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nobody is there to answer.
    Unreachable,
    /// No answer came in time.
    Late,
    /// The service is at its limit.
    Overloaded,
    /// The question is malformed, and asking again is of no use; what the service says of it.
    Refused(String),
    /// The service does not let this caller ask: its certificate, or the place that it says it is at. It is
    /// not the question's fault, and asking again is of no use before somebody mends that.
    Forbidden,
    /// Anything else: the service or the client is at fault.
    Failed,
}

impl ClientError {
    /// Whether the service says that what it was sent is malformed, and would say so again.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::NoAnswer(status) if status.code() == Code::InvalidArgument)
    }

    /// What it means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        let status = match self {
            Self::Unreachable { .. } => return ErrorKind::Unreachable,
            Self::NoAnswer(status) => status,
            _ => return ErrorKind::Failed,
        };
        match status.code() {
            Code::DeadlineExceeded => ErrorKind::Late,
            Code::Unavailable => ErrorKind::Unreachable,
            // What has a source happened on the way.
            _ if status.source().is_some() => ErrorKind::Unreachable,
            Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Forbidden,
            // Who has no room says when to come again.
            Code::ResourceExhausted if status.get_details_retry_info().is_some() => {
                ErrorKind::Overloaded
            }
            // The answer is longer than is read, and would be so again.
            Code::OutOfRange => ErrorKind::Refused(status.message().to_owned()),
            Code::InvalidArgument | Code::ResourceExhausted if blames_question(status) => {
                ErrorKind::Refused(status.message().to_owned())
            }
            _ => ErrorKind::Failed,
        }
    }
}

/// Whether the service says that the fault is in what the question is about: its containers, or what a pod
/// says of itself. What is configured in the caller is in no pod's power, and others on the way know
/// nothing of questions.
fn blames_question(status: &tonic::Status) -> bool {
    if let Some(info) = status.get_details_error_info()
        && (&*info.domain, &*info.reason) == ("portcullis.dev", "MESSAGE_TOO_LARGE")
    {
        return true;
    }
    let of_question = |field: &str| {
        field.starts_with("containers") || ["context", "context.break_glass"].contains(&field)
    };
    let request = status.get_details_bad_request();
    let mut fields = request.iter().flat_map(|request| &request.field_violations);
    fields.any(|violation| of_question(&violation.field))
}

/// Why a replica is not called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplicaError {
    /// It cannot be connected to.
    #[error("failed to connect")]
    Connect(#[source] tonic::transport::Error),
    /// The two do not come to terms on TLS.
    #[error("failed to connect in TLS")]
    Tls(#[source] Told),
    /// It does not say how it is.
    #[error("failed to ask for its health")]
    Health(#[source] Box<tonic::Status>),
    /// It says nothing.
    #[error("it does not answer")]
    Silent,
    /// It says that it does not serve.
    #[error("it says that it does not serve")]
    NotServing,
    /// A name has no address.
    #[error("failed to look up `{host}`")]
    Lookup {
        /// The name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tonic::Status;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_failure_says_whether_it_is_of_the_question_or_of_the_service() {
        let kind = |status| ClientError::NoAnswer(Box::new(status)).kind();
        assert_eq!(kind(Status::deadline_exceeded("late")), ErrorKind::Late);
        assert_eq!(kind(Status::unavailable("draining")), ErrorKind::Unreachable);
        let retry = ErrorDetails::with_retry_info(Some(Duration::from_millis(250)));
        let full = Status::with_error_details(Code::ResourceExhausted, "full", retry);
        assert_eq!(kind(full), ErrorKind::Overloaded);
        let refused = ErrorKind::Refused("why".to_owned());
        let info = |domain, reason| ErrorDetails::with_error_info(reason, domain, []);
        let large = |domain, reason| {
            kind(Status::with_error_details(Code::ResourceExhausted, "why", info(domain, reason)))
        };
        assert_eq!(large("portcullis.dev", "MESSAGE_TOO_LARGE"), refused);
        assert_eq!(large("example.com", "MESSAGE_TOO_LARGE"), ErrorKind::Failed);
        assert_eq!(kind(Status::resource_exhausted("a proxy is full")), ErrorKind::Failed);
        let wrong = |field: &str| {
            let details = ErrorDetails::with_bad_request_violation(field, "why");
            kind(Status::with_error_details(Code::InvalidArgument, "why", details))
        };
        for field in ["containers", "containers[0].image", "context", "context.break_glass"] {
            assert_eq!(wrong(field), refused, "{field}");
        }
        for field in ["context.platforms[0]", "grpc-timeout", "from"] {
            assert_eq!(wrong(field), ErrorKind::Failed, "{field}");
        }
        assert_eq!(kind(Status::invalid_argument("the message is malformed")), ErrorKind::Failed);
        assert_eq!(kind(Status::out_of_range("why")), refused);
        assert_eq!(kind(Status::internal("bug")), ErrorKind::Failed);
        assert_eq!(kind(Status::unauthenticated("who")), ErrorKind::Forbidden);
        assert_eq!(kind(Status::permission_denied("elsewhere")), ErrorKind::Forbidden);
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(kind(broken), ErrorKind::Unreachable);
        assert_eq!(ClientError::Targets(0).kind(), ErrorKind::Failed);
    }
}
