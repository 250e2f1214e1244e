//! Requests to registries in, whatever counts them out.

use std::time::Duration;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// A manifest or an index, by tag or digest.
    Manifest,
    /// A page of the referrers API.
    Referrers,
    /// A blob, also from where the registry keeps it.
    Blob,
    /// A token.
    Token,
    /// A part of a push.
    Push,
}

impl Route {
    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Referrers => "referrers",
            Self::Blob => "blob",
            Self::Token => "token",
            Self::Push => "push",
        }
    }

    /// The path without what differs from request to request, as the distribution specification has
    /// it; `None` where there is more than one.
    #[must_use]
    pub const fn template(self) -> Option<&'static str> {
        match self {
            Self::Manifest => Some("/v2/{name}/manifests/{reference}"),
            Self::Referrers => Some("/v2/{name}/referrers/{digest}"),
            Self::Blob => Some("/v2/{name}/blobs/{digest}"),
            Self::Token | Self::Push => None,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An answer with this HTTP status came.
    Answered(u16),
    /// No answer came.
    Unanswered,
    /// It was not sent, because the host wants to be left alone.
    Withheld,
    /// It was not sent, because the host's budget is spent until after the deadline.
    Shed,
}

/// Is told of every request.
pub trait Observe: Send + Sync {
    /// A request for `registry`, as image references name it, has ended. Unlisted registries are
    /// named too: whoever makes a label of the name must bound how many there are. It took so long
    /// until the head of the response or the failure; `None` where it was not sent.
    fn on_request(&self, registry: &str, route: Route, outcome: Outcome, took: Option<Duration>);

    /// A request for `registry` has waited for its turn in the budget.
    fn on_wait(&self, registry: &str, waited: Duration);

    /// Content that never changes was wanted, and was there or not; all that is kept now takes
    /// `kept_bytes`.
    fn on_content(&self, hit: bool, kept_bytes: u64);

    /// A credential of this kind was renewed, or could not be: `renewed` or `failed`.
    fn on_credential(&self, _kind: &'static str, _outcome: &'static str) {}
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observe for Unobserved {
    fn on_request(&self, _: &str, _: Route, _: Outcome, _: Option<Duration>) {}

    fn on_wait(&self, _: &str, _: Duration) {}

    fn on_content(&self, _: bool, _: u64) {}
}
