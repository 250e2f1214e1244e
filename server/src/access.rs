//! An image in, the scope of what may be remembered of it out.

use std::sync::Arc;

use portcullis_core::image::Reference;

use crate::registry::Registry;

/// Names whose credential each image is asked about with: part of the key of all that is remembered,
/// so that what one credential may see is never told to another.
#[derive(Clone)]
pub struct AccessScopes {
    registry: Registry,
}

impl AccessScopes {
    /// The scopes under which `registry` asks.
    #[must_use]
    pub const fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// The scope of `image`.
    #[must_use]
    pub fn of(&self, image: &Reference) -> Arc<str> {
        self.registry.identity(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Credentials, HostConfig, HostPattern, RegistryConfig, Secret};

    #[test]
    fn each_credential_is_a_scope_of_its_own() {
        let basic = |username: &str| Credentials::Basic {
            username: username.to_owned(),
            password: Secret::new("secret".to_owned()),
        };
        let host =
            |username: &str| HostConfig { credentials: basic(username), ..HostConfig::default() };
        let hosts = [
            ("a.io".to_owned(), host("anonymous")),
            ("b.io".to_owned(), host("robot")),
            ("c.io".to_owned(), HostConfig::default()),
        ];
        let patterns = [("*.d.io", "many"), ("*.io", "all"), ("x.d.io", "one")];
        let patterns = patterns.map(|(p, user)| (HostPattern::parse(p).unwrap(), basic(user)));
        let (hosts, patterns) = (hosts.into(), patterns.into());
        let config = RegistryConfig { hosts, patterns, ..RegistryConfig::default() };
        let scopes = AccessScopes::new(Registry::new(config).unwrap());
        // A user whose name is `anonymous` is not nobody.
        for (host, scope) in [
            ("a.io", "basic:anonymous"),
            ("b.io", "basic:robot"),
            ("c.io", "anonymous"),
            ("e.io", "basic:all"),
            ("a.io:5000", "anonymous"),
            ("unlisted.example", "anonymous"),
            ("y.d.io", "basic:many"),
            ("x.d.io", "basic:one"),
            ("x.y.d.io", "anonymous"),
        ] {
            assert_eq!(&*scopes.of(&format!("{host}/a:v1").parse().unwrap()), scope, "{host}");
        }
    }
}
