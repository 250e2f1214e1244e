//! The name of a registry that people use in, the ways in which it differs from the specification
//! out.
//!
//! Only what a client can trip over: the list of what is attached, the challenge and the token, and
//! how what is not there is told.

use super::Referrers;

/// A registry as people have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavor {
    /// As distribution-spec 1.1 has it.
    #[default]
    Specification,
    /// The distribution project's: no referrers API.
    Distribution,
    /// Docker Hub: no referrers API, and a service of another name.
    DockerHub,
    /// GitHub's: what would be the referrers API redirects with 303 to a page that is not there.
    Ghcr,
    /// GitLab's: a fallback tag is read as a digest, and answers the subject itself.
    GitLab,
    /// Harbor: `{}`, a filter header of its own, `X-Total-Count`, and `NOT_FOUND`.
    Harbor,
    /// zot: the filter, and no pages.
    Zot,
    /// Quay: no filter, no pages, and 404 for a subject that it does not have.
    Quay,
    /// Azure's: tokens are `access_token` alone.
    Acr,
    /// Amazon's: basic authentication, 403 for what has expired, and no parameters in `Accept`.
    Ecr,
    /// Google's Artifact Registry.
    Gar,
    /// JFrog's Artifactory since 7.117.
    Artifactory,
}

/// All of them.
pub const FLAVORS: [Flavor; 12] = [
    Flavor::Specification,
    Flavor::Distribution,
    Flavor::DockerHub,
    Flavor::Ghcr,
    Flavor::GitLab,
    Flavor::Harbor,
    Flavor::Zot,
    Flavor::Quay,
    Flavor::Acr,
    Flavor::Ecr,
    Flavor::Gar,
    Flavor::Artifactory,
];

/// The members of a token answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenForm {
    /// `token`, `access_token` and `expires_in`.
    Both,
    /// `token` alone: it lives for a minute.
    Token,
    /// `access_token` alone.
    AccessToken,
}

impl Flavor {
    pub(super) const fn referrers(self) -> Referrers {
        match self {
            Self::Specification | Self::Zot | Self::Acr => Referrers::Api,
            Self::Ecr | Self::Gar | Self::Artifactory => Referrers::Unfiltered,
            Self::Harbor => Referrers::Harbor,
            Self::Quay => Referrers::Quay,
            Self::Distribution | Self::DockerHub => Referrers::Absent,
            Self::Ghcr => Referrers::Ghcr,
            Self::GitLab => Referrers::GitLab,
        }
    }

    /// Whether a long list comes in pages.
    pub(super) const fn has_pages(self) -> bool {
        !matches!(self, Self::Zot | Self::Quay)
    }

    /// Whether an `Accept` with parameters is refused.
    pub(super) const fn refuses_parameters(self) -> bool {
        matches!(self, Self::Ecr)
    }

    /// Where tokens are given.
    pub(super) const fn token_path(self) -> &'static str {
        match self {
            Self::GitLab => "/jwt/auth",
            Self::Harbor => "/service/token",
            Self::Quay => "/v2/auth",
            Self::Acr => "/oauth2/token",
            Self::Gar | Self::Artifactory => "/v2/token",
            _ => "/token",
        }
    }

    /// The service that a challenge names, on the registry `host`.
    pub(super) fn service(self, host: &str) -> String {
        match self {
            Self::DockerHub => "registry.docker.io",
            Self::Ghcr => "ghcr.io",
            Self::GitLab => "container_registry",
            Self::Harbor => "harbor-registry",
            Self::Ecr => "ecr.amazonaws.com",
            _ => host,
        }
        .to_owned()
    }

    pub(super) const fn token_form(self) -> TokenForm {
        match self {
            Self::Acr => TokenForm::AccessToken,
            Self::Ghcr | Self::GitLab | Self::Quay => TokenForm::Token,
            _ => TokenForm::Both,
        }
    }

    /// The error code for a manifest that is not there.
    pub(super) const fn manifest_unknown(self) -> &'static str {
        if matches!(self, Self::Harbor) { "NOT_FOUND" } else { "MANIFEST_UNKNOWN" }
    }
}
