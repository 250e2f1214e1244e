//! Parts of policies by hand in, policies that have them out: for tests of other modules.

use std::sync::Arc;

use time::OffsetDateTime;

use super::exemption::{BreakGlass, Exemption, IdTest, TextTest};
use super::narrow::Narrowing;
use super::node::Place;
use super::scope::{Field, Matcher, Scope, Test};
use super::{ImagePattern, ImagePatterns, Policy, Rule};

/// What an exemption is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waiver<'a> {
    pub(crate) namespace: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
    pub(crate) id: Option<&'a str>,
    pub(crate) rule: Option<&'a str>,
    pub(crate) from: Option<OffsetDateTime>,
    pub(crate) until: Option<OffsetDateTime>,
    pub(crate) until_fixed: bool,
}

fn namespace(name: Option<&str>) -> Scope {
    let matcher = |name: &str| Matcher {
        field: Field::Namespace,
        test: Test::Equals([Box::from(name)].into_iter().collect()),
    };
    Scope { matchers: name.into_iter().map(matcher).collect(), ..Scope::default() }
}

impl Policy {
    /// With an exemption more.
    pub(crate) fn exempting(mut self, name: &str, waiver: Waiver<'_>) -> Self {
        let equals = |value: &str| TextTest::Equals(vec![value.into()]);
        self.exemptions.push(Arc::new(Exemption {
            name: name.into(),
            owner: "team@example.com".into(),
            reason: "not reachable".into(),
            ticket: None,
            from: waiver.from,
            until: waiver.until,
            until_fixed: waiver.until_fixed,
            rules: waiver.rule.map(|rule| vec![rule.into()]),
            scope: namespace(waiver.namespace),
            images: waiver.digest.into_iter().map(equals).collect(),
            vulnerabilities: waiver.id.map(|id| IdTest::Text(equals(id))).into_iter().collect(),
            place: ("".into(), Place::default()),
        }));
        self
    }

    /// With a break-glass entry more, in one namespace.
    pub(crate) fn lifting(mut self, name: &str, in_namespace: &str) -> Self {
        let scope = namespace(Some(in_namespace));
        self.break_glass.push(BreakGlass { name: name.into(), scope, rules: None });
        self
    }

    /// With all rules changed.
    pub(crate) fn changed(mut self, change: impl Fn(&mut Rule)) -> Self {
        self.rules.iter_mut().for_each(change);
        self
    }

    /// With what all rules' limits look at.
    pub(crate) fn looking_at(mut self, narrowing: Narrowing) -> Self {
        self.narrowings = vec![narrowing];
        self
    }
}

/// One pattern.
pub(crate) fn pattern(text: &str) -> ImagePatterns {
    ImagePatterns::new(vec![ImagePattern::parse(text).unwrap()])
}
