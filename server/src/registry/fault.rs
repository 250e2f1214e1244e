//! What is wrong with a registry's answer in, words for it out.

use std::sync::Arc;

use portcullis_core::image::Digest;
use portcullis_core::referrers::ReferrersError;

/// What is wrong with a registry's answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// A status that has no meaning for what was asked.
    #[error("status {0} is not an answer to this question")]
    Status(u16),
    /// 404, but without the error document of a registry: it may be a proxy that says so.
    #[error("status 404 without a registry's error document")]
    NotFoundByWhom,
    /// The content is of another type than what was asked for, such as a login page.
    #[error("content type `{0}` is not one that was asked for")]
    ContentType(String),
    /// The body is encoded, which was not asked for.
    #[error("content encoding `{0}` was not asked for")]
    ContentEncoding(String),
    /// The document cannot be read.
    #[error("the document cannot be read")]
    Document(#[source] Arc<ReferrersError>),
    /// The bytes are not those that were asked for.
    #[error("asked for {asked}, received {received}")]
    Digest {
        /// The digest that was asked for.
        asked: Digest,
        /// The digest of what was received.
        received: Digest,
    },
    /// The content is not as long as its descriptor says.
    #[error("the content is not {declared} bytes long as its descriptor says")]
    Size {
        /// The size in the descriptor, in bytes.
        declared: u64,
    },
    /// The redirection is not followed.
    #[error("the redirection is refused: {0}")]
    Redirect(&'static str),
    /// The next page cannot be asked for, so the list is not complete.
    #[error("the link to the next page is refused: {0}")]
    Link(&'static str),
    /// The authentication challenge cannot be read.
    #[error("the authentication challenge cannot be read")]
    Challenge,
    /// The challenge sends us to a token server that is not trusted for this registry.
    #[error("token server `{0}` is not trusted for this registry")]
    Realm(String),
    /// The token server's answer is not a token.
    #[error("the token server's answer is refused: {0}")]
    Token(&'static str),
    /// The answer to an upload does not say where to go on, or says an origin other than its own.
    #[error("the upload location is refused")]
    Location,
    /// What is to be attached cannot be.
    #[error("the artifact cannot be attached: {0}")]
    Attach(&'static str),
}
