//! How much of a review is read, and how much of an answer is written.

/// The longest review that is read, in bytes: an object and what it was before, of 3 MiB each, which is what
/// the API server takes.
pub const MAX_REVIEW: usize = 6 * 1024 * 1024;
/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 100;
/// The most values (members, elements, scalars) in a review, `managedFields` not counted.
pub const MAX_VALUES: usize = 250_000;
/// The longest uid, in bytes.
pub const MAX_UID: usize = 128;
/// The most images that one review may ask about: as many as the service takes in one question.
pub const MAX_IMAGES: usize = 256;
/// The longest image reference, in bytes: as the service has it.
pub const MAX_IMAGE: usize = 1024;
/// The longest name of a container, in bytes: what Kubernetes allows for any name.
pub const MAX_CONTAINER: usize = 253;
/// The most bytes of names and labels in a context: below what the service takes, with what it adds.
pub const MAX_CONTEXT: usize = 192 * 1024;
/// The longest message of a denial, in bytes.
pub const MAX_MESSAGE: usize = 4096;
/// The longest warning, in bytes: the API server asks for at most 120 characters.
pub const MAX_WARNING: usize = 120;
/// The most warnings: with [`MAX_WARNING`] they stay below the 4,096 bytes that the API server passes on.
pub const MAX_WARNINGS: usize = 32;
/// The longest value of an audit annotation, in bytes.
pub const MAX_ANNOTATION: usize = 1024;
