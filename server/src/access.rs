//! A registry host in, the scope of what may be remembered of it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::registry::{Credentials, RegistryConfig};

/// Names whose credential each registry is asked with: part of the key of all that is remembered, so
/// that what one credential may see is never told to another.
#[derive(Debug, Clone)]
pub struct AccessScopes {
    anonymous: Arc<str>,
    named: BTreeMap<String, Arc<str>>,
}

impl AccessScopes {
    /// The scopes of the registries of `config`.
    #[must_use]
    pub fn new(config: &RegistryConfig) -> Self {
        let named = config.hosts.iter().filter_map(|(host, config)| match &config.credentials {
            Credentials::Anonymous => None,
            Credentials::Basic { username, .. } => {
                Some((host.clone(), Arc::from(format!("basic:{username}"))))
            }
        });
        Self { anonymous: Arc::from("anonymous"), named: named.collect() }
    }

    /// The scope of `host`.
    #[must_use]
    pub fn of(&self, host: &str) -> Arc<str> {
        Arc::clone(self.named.get(host).unwrap_or(&self.anonymous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{HostConfig, Secret};

    #[test]
    fn each_credential_is_a_scope_of_its_own() {
        let host = |username: &str| HostConfig {
            credentials: Credentials::Basic {
                username: username.to_owned(),
                password: Secret::new("secret".to_owned()),
            },
            ..HostConfig::default()
        };
        let hosts = [
            ("a.io".to_owned(), host("anonymous")),
            ("b.io".to_owned(), host("robot")),
            ("c.io".to_owned(), HostConfig::default()),
        ];
        let config = RegistryConfig { hosts: hosts.into(), ..RegistryConfig::default() };
        let scopes = AccessScopes::new(&config);
        let all = ["a.io", "b.io", "c.io", "unlisted.io"].map(|name| scopes.of(name));
        // A user whose name is `anonymous` is not nobody.
        assert_eq!(
            all.map(|scope| scope.to_string()),
            ["basic:anonymous", "basic:robot", "anonymous", "anonymous"]
        );
    }
}
