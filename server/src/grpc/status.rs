//! Errors in, gRPC statuses out: the one place where a code is chosen.

use std::time::Duration;

use http::HeaderValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::MAX_REQUEST;
use super::wire::Malformed;
use crate::answered::HearError;
use crate::check::CheckError;
use crate::identity::Refusal;
use crate::inspect::InspectError;
use crate::metrics::Metrics;
use crate::refresh::asked::RefreshError;

/// The type of all messages.
pub(super) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// All is well.
pub(super) const OK: HeaderValue = HeaderValue::from_static("0");

/// The longest name of an encoding that is repeated, in bytes.
const MAX_ENCODING: usize = 64;
/// When a caller for whose request there was no room should send it again.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Who gives the reasons of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "portcullis.dev";

/// The caller's `field` is wrong.
pub(crate) fn invalid(field: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(field, message);
    details.set_error_info("INVALID_ARGUMENT", DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// What the caller sent is not the message that the contract says.
pub(super) fn malformed(error: &Malformed) -> Status {
    Status::invalid_argument(format!("the message is malformed: {error}"))
}

/// The body ends within a message.
pub(super) fn cut_off() -> Status {
    Status::invalid_argument("the body ends in the middle of a message")
}

/// A message is longer than we take.
pub(super) fn too_large(length: u32) -> Status {
    let message =
        format!("the message is {length} bytes long, more than the {MAX_REQUEST} allowed");
    // Without a time to come again, and told apart from whoever else on the way has no room.
    let details = ErrorDetails::with_error_info("MESSAGE_TOO_LARGE", DOMAIN, []);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// More has arrived in parts than the `limit` bytes that there are for `whom`.
pub(super) fn no_room(limit: usize, whom: &str) -> Status {
    let message =
        format!("requests that have not arrived whole hold the {limit} bytes allowed to {whom}");
    overloaded(&message, RETRY_AFTER)
}

/// A message of a stream was begun, and its end did not come for as long as `wait`.
pub(super) fn unfinished(wait: Duration) -> Status {
    let seconds = wait.as_secs();
    Status::deadline_exceeded(format!(
        "a message of this stream was begun and not ended within {seconds} s"
    ))
}

/// A message has a flag that says it is compressed, and nothing says how (gRPC, "Compression").
pub(super) fn compressed(flag: u8) -> Status {
    Status::internal(format!("a message has the flag {flag}, and no `grpc-encoding` goes with it"))
}

/// Messages are compressed in a way that we do not know.
pub(super) fn unknown_encoding(encoding: &HeaderValue) -> Status {
    let name = String::from_utf8_lossy(encoding.as_bytes());
    let name = portcullis_core::decide::printable(&name, MAX_ENCODING);
    let mut status =
        Status::unimplemented(format!("the encoding `{name}` is not known: send `identity`"));
    let known = tonic::metadata::MetadataValue::from_static("identity");
    status.metadata_mut().insert("grpc-accept-encoding", known);
    status
}

/// Nobody records reports here.
pub(super) fn no_reports() -> Status {
    Status::unimplemented("the service takes no reports")
}

/// A call that has one message has none or several (gRPC, "Status codes").
pub(super) fn not_one() -> Status {
    Status::unimplemented("the call takes one message, and there are none or several")
}

/// The request broke off.
pub(super) fn broken(error: &dyn std::error::Error) -> Status {
    Status::cancelled(format!("the request broke off: {error}"))
}

/// The caller's time was up.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the question was answered")
}

/// The service stops and takes no more questions.
pub(crate) fn draining() -> Status {
    Status::unavailable("the service is draining; ask another replica")
}

/// What a stream sends was not read for as long as `wait`.
pub(crate) fn unread(wait: Duration) -> Status {
    let seconds = wait.as_secs();
    Status::aborted(format!("what this stream sends was not read for {seconds} s"))
}

/// A question was lost in a panic, which is counted here.
pub(super) fn lost(metrics: &Metrics) -> Status {
    metrics.panicked("question");
    tracing::error!("a question was lost in a panic");
    Status::internal(CheckError::Lost.to_string())
}

/// There is no answer.
pub(crate) fn from_check(error: &CheckError) -> Status {
    match error {
        CheckError::Overloaded { retry_after, .. } => overloaded(&error.to_string(), *retry_after),
        CheckError::DeadlineExceeded => deadline_exceeded(),
        CheckError::Lost => Status::internal(error.to_string()),
    }
}

/// There is no inspection.
pub(crate) fn from_inspect(error: &InspectError) -> Status {
    match error {
        InspectError::Busy { retry_after } => overloaded(&error.to_string(), *retry_after),
    }
}

/// Nothing is recorded. Neither says that the replica does not serve, or has no room for questions.
pub(crate) fn from_hear(error: &HearError) -> Status {
    match error {
        HearError::Busy => Status::aborted(error.to_string()),
        HearError::Unrecorded => Status::failed_precondition(error.to_string()),
    }
}

/// Nothing was refreshed.
pub(crate) fn from_refresh(error: &RefreshError) -> Status {
    match error {
        RefreshError::Busy { retry_after } => overloaded(&error.to_string(), *retry_after),
    }
}

/// Who asks may not.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let (code, reason) = match refusal {
        Refusal::Stranger(_) => (Code::Unauthenticated, "UNKNOWN_IDENTITY"),
        Refusal::Role(_) => (Code::PermissionDenied, "ROLE_MISSING"),
        Refusal::Elsewhere { .. } => (Code::PermissionDenied, "ANOTHER_CLUSTER"),
    };
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, refusal.to_string(), details)
}

/// There is no room; `retry_after` says when to come back.
pub(crate) fn overloaded(message: &str, retry_after: Duration) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(retry_after));
    details.set_error_info("OVERLOADED", DOMAIN, []);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}
