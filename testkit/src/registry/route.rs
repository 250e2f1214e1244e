//! Method and path in, what is asked of a registry out (distribution-spec 1.1, "Endpoints").

/// What a request asks for. The parts are as sent, not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call<'a> {
    /// `/v2/`: whether this is a registry.
    Base,
    /// `/token`: a token, of the registry's own issuer.
    Token,
    /// `/v2/<repository>/manifests/<tag or digest>`
    Manifest { repository: &'a str, reference: &'a str },
    /// `/v2/<repository>/blobs/<digest>`
    Blob { repository: &'a str, digest: &'a str },
    /// `/v2/<repository>/referrers/<digest>`
    Referrers { repository: &'a str, digest: &'a str },
    /// `/v2/<repository>/tags/list`
    Tags { repository: &'a str },
    /// `/v2/<repository>/blobs/uploads/<id>`; the id is empty where an upload begins.
    Upload { repository: &'a str, id: &'a str },
    /// None of these.
    Unknown,
}

impl<'a> Call<'a> {
    pub(super) fn read(path: &'a str) -> Self {
        if path == "/token" {
            return Self::Token;
        }
        let Some(rest) = path.strip_prefix("/v2") else {
            return Self::Unknown;
        };
        if matches!(rest, "" | "/") {
            return Self::Base;
        }
        let Some(rest) = rest.strip_prefix('/') else {
            return Self::Unknown;
        };
        // A repository may itself have a part that is named as an endpoint: the last one counts.
        let split = |marker: &str| {
            let (repository, last) = rest.rsplit_once(marker)?;
            (!repository.is_empty() && !last.contains('/')).then_some((repository, last))
        };
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return Self::Tags { repository };
        }
        if let Some((repository, id)) = split("/blobs/uploads/") {
            return Self::Upload { repository, id };
        }
        if let Some((repository, reference)) = split("/manifests/") {
            return Self::Manifest { repository, reference };
        }
        if let Some((repository, digest)) = split("/blobs/") {
            return Self::Blob { repository, digest };
        }
        if let Some((repository, digest)) = split("/referrers/") {
            return Self::Referrers { repository, digest };
        }
        Self::Unknown
    }

    pub(super) const fn repository(self) -> Option<&'a str> {
        match self {
            Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Referrers { repository, .. }
            | Self::Tags { repository }
            | Self::Upload { repository, .. } => Some(repository),
            Self::Base | Self::Token | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Call<'_>) {
        assert_eq!(Call::read(path), expected);
    }

    #[test]
    fn paths_are_read() {
        check("/v2/", Call::Base);
        check("/token", Call::Token);
        check("/v2/a/b/manifests/v1", Call::Manifest { repository: "a/b", reference: "v1" });
        check("/v2/a/blobs/sha256:00", Call::Blob { repository: "a", digest: "sha256:00" });
        check("/v2/a/blobs/uploads/", Call::Upload { repository: "a", id: "" });
        check("/v2/a/blobs/uploads/7", Call::Upload { repository: "a", id: "7" });
        check("/v2/a/referrers/x", Call::Referrers { repository: "a", digest: "x" });
        check("/v2/a/tags/list", Call::Tags { repository: "a" });
        check(
            "/v2/a/manifests/b/manifests/c",
            Call::Manifest { repository: "a/manifests/b", reference: "c" },
        );
        for unknown in ["", "/", "/v1/", "/v2x", "/v2/a", "/v2//manifests", "/v2/a/manifests/b/c"] {
            check(unknown, Call::Unknown);
        }
    }
}
