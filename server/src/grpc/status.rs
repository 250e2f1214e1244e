//! Errors in, gRPC statuses out: the one place where a code is chosen.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::check::CheckError;
use crate::inspect::InspectError;

/// Who gives the reasons of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "portcullis.dev";

/// The caller's `field` is wrong.
pub(crate) fn invalid(field: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(field, message);
    details.set_error_info("INVALID_ARGUMENT", DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The caller's time was up.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the question was answered")
}

/// The service stops and takes no more questions.
pub(crate) fn draining() -> Status {
    Status::unavailable("the service is draining; ask another replica")
}

/// The answers of a stream were not read for as long as `wait`.
pub(crate) fn unread(wait: Duration) -> Status {
    let seconds = wait.as_secs();
    Status::aborted(format!("the answers of this stream were not read for {seconds} s"))
}

/// The work on a question was lost.
pub(crate) fn lost(error: &tokio::task::JoinError) -> Status {
    tracing::error!(%error, "a question was lost");
    Status::internal("a question of this stream was lost")
}

/// There is no answer.
pub(crate) fn from_check(error: &CheckError) -> Status {
    match error {
        CheckError::Overloaded { retry_after, .. } => overloaded(&error.to_string(), *retry_after),
        CheckError::DeadlineExceeded => deadline_exceeded(),
    }
}

/// There is no inspection.
pub(crate) fn from_inspect(error: &InspectError) -> Status {
    match error {
        InspectError::Busy { retry_after } => overloaded(&error.to_string(), *retry_after),
    }
}

fn overloaded(message: &str, retry_after: Duration) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(retry_after));
    details.set_error_info("OVERLOADED", DOMAIN, []);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}
