//! Reports of answers that were given without the service in, events of them out: what passes between who reads
//! them and who records them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use portcullis_core::decide::{Action, Context};
use portcullis_core::event::Answered;
use portcullis_core::image::Digest;

use crate::caller::Caller;

/// The most reports in one call.
pub const MAX_REPORTS: usize = 256;
/// The most containers in all reports of one call.
pub const MAX_CONTAINERS: usize = 4_096;
/// The most bytes of one call.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The longest name of a container or a rule, in bytes.
pub const MAX_NAME: usize = 512;
/// The longest reason, in bytes.
pub const MAX_REASON: usize = 1024;

/// Names one run of whoever reports.
pub type Run = [u8; 16];

/// Reports of one call, each with a higher number than the one before.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Who reports.
    pub caller: Caller,
    /// Whose run the dropped ones are of.
    pub run: Run,
    /// How many answers of that run will never be reported.
    pub dropped: u64,
    /// The reports.
    pub reports: Vec<Report>,
}

/// One answer, about one context.
#[derive(Debug, Clone)]
pub struct Report {
    /// The run that it was given in.
    pub run: Run,
    /// By whom and when it was given.
    pub answered: Answered,
    /// Where the images would run.
    pub context: Arc<Context>,
    /// The containers, at least one.
    pub containers: Vec<Container>,
    /// Revision of the policy that was applied; empty if none was.
    pub policy_revision: String,
    /// Whether something was left out to make it shorter.
    pub cut: bool,
}

/// What was answered about one container.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image as it was asked about.
    pub image: String,
    /// Digest of what the image names, where that was known.
    pub digest: Option<Digest>,
    /// The answer.
    pub action: Action,
    /// The rule that decided; empty if none did.
    pub rule: String,
    /// For people: why.
    pub reason: String,
}

/// Why reports are not recorded. Whoever has them keeps them and comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HearError {
    /// Too many report at a time, or the disk is slow.
    #[error("too many reports are being recorded: keep these, and send them again")]
    Busy,
    /// The record cannot be written.
    #[error("the reports cannot be recorded here now: keep them, and send them again")]
    Unrecorded,
}

/// What [`Hear::hear`] gives.
pub type Hearing = Pin<Box<dyn Future<Output = Result<(), HearError>> + Send>>;

/// Something that records reports.
pub trait Hear: Send + Sync + 'static {
    /// Records them. Once it gives `Ok`, they are on disk where there is a record; whoever gives up meanwhile
    /// does not hear of it.
    fn hear(self: Arc<Self>, batch: Batch) -> Hearing;
}
