//! News that anybody may have written in, events about what is configured out.

use std::collections::BTreeSet;

use portcullis_core::image::Reference;

use super::news::News;
use super::queue::Event;
use crate::registry::HostPattern;

/// Why an event is not acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its registry is not one of the configured ones, or its repository not one of the source's.
    Unlisted,
    /// It names nothing that can be asked for.
    Malformed,
}

/// The registries that may be asked because of an event: those that the configuration lists.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// By name.
    pub hosts: BTreeSet<String>,
    /// By pattern.
    pub patterns: Vec<HostPattern>,
}

impl Listed {
    fn has(&self, registry: &str) -> bool {
        self.hosts.contains(registry) || self.patterns.iter().any(|p| p.matches(registry))
    }
}

/// Of what a source may tell.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The registry of all its events, whatever they say of it.
    pub registry: Option<String>,
    /// The repositories, with all that is below them; empty: all.
    pub repositories: Vec<String>,
}

impl Scope {
    /// What `news` are about, if the source may tell of it.
    ///
    /// # Errors
    /// When it may not, or nothing of that name can be.
    pub fn event(&self, news: &News, listed: &Listed) -> Result<Event, Refused> {
        let registry = self.registry.as_deref().or(news.registry.as_deref());
        let registry = registry.ok_or(Refused::Malformed)?;
        let (repository, tag) = (news.repository.as_str(), news.tag.as_deref());
        // Else one part could be written into another.
        if repository.contains([':', '@']) || tag.is_some_and(|t| t.contains([':', '@', '/'])) {
            return Err(Refused::Malformed);
        }
        let mut text = format!("{registry}/{repository}");
        if let Some(tag) = tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = news.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        let image: Reference = text.parse().map_err(|_| Refused::Malformed)?;
        // A host that reads as a part of a name on Docker Hub is none.
        if image.repository() != repository {
            return Err(Refused::Malformed);
        }
        if !listed.has(image.registry()) || !self.has(repository) {
            return Err(Refused::Unlisted);
        }
        Ok(Event { kind: news.kind, image, subject: news.subject })
    }

    fn has(&self, repository: &str) -> bool {
        let is_below = |name: &String| {
            repository
                .strip_prefix(name.as_str())
                .is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        self.repositories.is_empty() || self.repositories.iter().any(is_below)
    }
}

#[cfg(test)]
mod tests {
    use super::super::news::{Kind, Subject};
    use super::*;

    fn news(registry: Option<&str>, repository: &str, tag: Option<&str>) -> News {
        News {
            kind: Kind::Pushed,
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            digest: None,
            tag: tag.map(str::to_owned),
            subject: Subject::Unsaid,
        }
    }

    fn listed() -> Listed {
        let patterns = vec![HostPattern::parse("*.azurecr.io").unwrap()];
        Listed { hosts: ["reg.io".to_owned(), "reg.io:5000".to_owned()].into(), patterns }
    }

    #[track_caller]
    fn check(scope: &Scope, news: &News, expected: Result<&str, Refused>) {
        let event = scope.event(news, &listed());
        assert_eq!(event.as_ref().map(|e| e.image.as_str()).map_err(|e| *e), expected);
    }

    #[test]
    fn only_what_is_configured_is_asked() {
        let any = Scope::default();
        check(&any, &news(Some("reg.io"), "team/app", Some("v1")), Ok("reg.io/team/app:v1"));
        check(&any, &news(Some("REG.io:5000"), "a", Some("v1")), Ok("reg.io:5000/a:v1"));
        check(&any, &news(Some("x.azurecr.io"), "a", Some("v1")), Ok("x.azurecr.io/a:v1"));
        for host in ["evil.io", "reg.io:80", "azurecr.io", "a.b.azurecr.io", "169.254.169.254"] {
            check(&any, &news(Some(host), "a", Some("v1")), Err(Refused::Unlisted));
        }
        for host in ["reg", "", "reg.io/other", "a@reg.io", "reg.io/x:y@"] {
            check(&any, &news(Some(host), "a", Some("v1")), Err(Refused::Malformed));
        }
        check(&any, &news(None, "a", Some("v1")), Err(Refused::Malformed));
        for (repository, tag) in [("a:b", "v1"), ("a@b", "v1"), ("../a", "v1"), ("a", "v:1")] {
            check(&any, &news(Some("reg.io"), repository, Some(tag)), Err(Refused::Malformed));
        }
    }

    #[test]
    fn a_source_tells_of_its_own_registry_and_repositories() {
        let own =
            Scope { registry: Some("reg.io".to_owned()), repositories: vec!["team".to_owned()] };
        check(&own, &news(Some("evil.io"), "team/app", Some("v1")), Ok("reg.io/team/app:v1"));
        check(&own, &news(None, "team", Some("v1")), Ok("reg.io/team:v1"));
        check(&own, &news(None, "team-evil/app", Some("v1")), Err(Refused::Unlisted));
    }
}
