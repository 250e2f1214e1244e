//! The bytes of an `AdmissionReview` in, images and their context out; decisions in, the answer out.
//!
//! ```text
//! bytes → json → tree → request → kinds → pod, context → Review      (read)
//! Review, Outcome → answer, pin → Response                    (validated, mutated)
//! ```
//!
//! It does no IO and has no clock. What cannot be read is an error and never a review without images.

mod bounds;
mod error;
mod settings;
mod text;
mod json;
mod tree;
mod pod;
mod kinds;
mod context;
mod question;
mod read;
mod outcome;
mod pin;
mod answer;
mod response;
#[cfg(test)]
mod given;
#[cfg(test)]
mod tests;

pub use self::answer::{mutated, skipped, skipped_unread, unreadable, validated};
pub use self::bounds::{
    MAX_ANNOTATION, MAX_CONTAINER, MAX_CONTEXT, MAX_DEPTH, MAX_IMAGE, MAX_IMAGES, MAX_MESSAGE,
    MAX_REVIEW, MAX_UID, MAX_VALUES, MAX_WARNING, MAX_WARNINGS,
};
pub use self::error::{Fault, ReviewError, Seen};
pub use self::outcome::{Action, Cause, Decision, FailPolicy, Known, Outcome, Source};
pub use self::question::{
    Asked, Context, Image, Level, Object, Operation, Place, Question, Review, Untouched, Workload,
};
pub use self::read::read;
pub use self::response::{Annotation, PatchOp, Response};
pub use self::settings::{
    AnnotationKey, CustomKind, CustomKinds, Enforcement, ImagePath, MAX_CUSTOM_KINDS, MAX_KEY,
    MAX_PATH, MAX_PATHS, MAX_STEPS, Settings, SettingsError,
};
