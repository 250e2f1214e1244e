//! One security rule, compiled, and the numbers of the vulnerabilities that rules name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::glob::ImagePatterns;
use super::narrow::Limit;
use super::node;
use super::scope::{Prefixes, Scope};
use crate::decide::Action;

/// One security rule, compiled.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) name: Arc<str>,
    pub(super) description: Option<String>,
    pub(super) enabled: bool,
    pub(super) action: Action,
    pub(crate) scope: Scope,
    /// Limits by population, and in each the most severe level first, unknown last.
    pub(crate) limits: Vec<Limit>,
    /// Which findings the limits look at: place of it among the policy's.
    pub(crate) narrowing: usize,
    pub(crate) forbidden: Vec<Forbidden>,
    pub(crate) allowed: Vec<Allowed>,
    pub(crate) block_unscanned: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) on_unavailable: Action,
    pub(crate) unsupported: Prefixes,
    /// Images that the rule is not about.
    pub(crate) allowed_images: ImagePatterns,
    /// The images that may be used at all: any other is a violation.
    pub(crate) trusted_images: Option<ImagePatterns>,
    pub(super) place: (Arc<str>, node::Place),
}

impl Rule {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            description: None,
            enabled: true,
            action: Action::Audit,
            scope: Scope::default(),
            limits: Vec::new(),
            narrowing: 0,
            forbidden: Vec::new(),
            allowed: Vec::new(),
            block_unscanned: false,
            max_age: None,
            on_unavailable: Action::Audit,
            unsupported: Prefixes::default(),
            allowed_images: ImagePatterns::default(),
            trusted_images: None,
            place: ("".into(), node::Place::default()),
        }
    }

    /// Its unique name, which appears in denials.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Whether it takes part in decisions.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// What it does with an image that violates it: [`Action::Audit`] or [`Action::Deny`].
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }
}

/// A vulnerability that must not be present.
#[derive(Debug, Clone)]
pub(crate) struct Forbidden {
    /// As it was written.
    pub(crate) id: Arc<str>,
    pub(crate) key: IdKey,
}

/// A vulnerability that is not counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) key: IdKey,
    /// The first instant at which it counts again.
    pub(crate) until: Option<OffsetDateTime>,
}

/// Number of a vulnerability that some rule names.
pub(crate) type IdKey = u32;

/// All vulnerabilities that rules name, so that findings are looked up once for all rules. Case
/// does not matter, as in [`crate::findings::Finding::is`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(pub(super) HashMap<String, IdKey>);

impl Ids {
    pub(super) fn intern(&mut self, id: &str) -> IdKey {
        let next = IdKey::try_from(self.0.len()).unwrap_or(IdKey::MAX);
        *self.0.entry(id.to_ascii_uppercase()).or_insert(next)
    }

    /// The number of `id`, if a rule names it. `buffer` is scratch space.
    pub(crate) fn find(&self, id: &str, buffer: &mut String) -> Option<IdKey> {
        buffer.clear();
        buffer.push_str(id);
        buffer.make_ascii_uppercase();
        self.0.get(buffer.as_str()).copied()
    }
}
