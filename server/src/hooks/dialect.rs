//! A request's body in, news out: one entry for all dialects.

use super::news::{Delivery, NewsError};
use super::{acr, distribution, ecr, event_grid, google, harbor, quay, zot};

/// What a source speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A webhook of Azure Container Registry.
    Acr,
    /// Azure Event Grid, in its own schema or as CloudEvents.
    EventGrid,
    /// Amazon ECR and Inspector, by an API destination of EventBridge.
    Ecr,
    /// Google Artifact Registry, by a push subscription of Pub/Sub.
    GooglePubsub,
    /// Docker's registry.
    Distribution,
    /// Harbor, in its default form or as CloudEvents.
    Harbor,
    /// zot, as CloudEvents.
    Zot,
    /// Quay.
    Quay,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Acr,
        Self::EventGrid,
        Self::Ecr,
        Self::GooglePubsub,
        Self::Distribution,
        Self::Harbor,
        Self::Zot,
        Self::Quay,
    ];

    /// Reads a body of at most [`super::news::MAX_BODY`] bytes. `ce_type` is the header `ce-type`, which
    /// says in binary CloudEvents what the body is.
    ///
    /// # Errors
    /// When it is no JSON that is read, or no event of the dialect.
    pub fn parse(self, ce_type: Option<&str>, body: &[u8]) -> Result<Delivery, NewsError> {
        match self {
            Self::Acr => acr::parse(body),
            Self::EventGrid => event_grid::parse(body),
            Self::Ecr => ecr::parse(body),
            Self::GooglePubsub => google::parse(body),
            Self::Distribution => distribution::parse(body),
            Self::Harbor => harbor::parse(ce_type, body),
            Self::Zot => zot::parse(ce_type, body),
            Self::Quay => quay::parse(body),
        }
    }

    /// Whether its events never say at which host the registry is.
    #[must_use]
    pub const fn names_no_host(self) -> bool {
        matches!(self, Self::Zot)
    }
}
